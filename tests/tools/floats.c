/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the float32 values of a vector, one a line, read through mmap. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct stat st;
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
	const float *values;

	if (fd < 0 || fstat(fd, &st) != 0)
		return 1;
	values = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (values == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < (size_t)st.st_size / sizeof *values; i++)
		printf("%.3f\n", (double)values[i]);
	return 0;
}
