/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the bytes of a vector's code as numbers, and how many of all codes are the same, by nothing but file
 * calls: codes VIEW ID, VIEW being a directory views/V. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 128 /* of codes.npy: NumPy's version 1 */

int main(int argc, char **argv)
{
	unsigned char code[65536];
	const unsigned char *all;
	char path[PATH_MAX];
	struct stat st;
	ssize_t size;
	int fd, same = 0;

	snprintf(path, sizeof path, "%s/%s", argv[1], argc == 3 ? argv[2] : "");
	fd = open(path, O_RDONLY);
	size = fd < 0 ? -1 : read(fd, code, sizeof code);
	if (size <= 0)
		return 1;
	for (ssize_t i = 0; i < size; i++)
		printf("%d\n", code[i]);
	snprintf(path, sizeof path, "%s/.vecfs/codes.npy", argv[1]);
	fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) != 0)
		return 1;
	all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (all == MAP_FAILED)
		return 1;
	for (off_t at = HEADER_BYTES; at < st.st_size; at += size)
		same += memcmp(all + at, code, (size_t)size) == 0;
	printf("%d\n", same);
	return 0;
}
