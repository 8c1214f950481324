/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the neighbours of a stored vector, as near/ID and as search/query tell them, by nothing but file
 * calls: near COLLECTION ID. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static int open_below(const char *collection, const char *name, const char *id, int flags)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s%s", collection, name, id);
	return open(path, flags);
}

/* Reads to the end, and prints it. */
static int print_rest(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	return n < 0;
}

int main(int argc, char **argv)
{
	const char *collection = argc == 3 ? argv[1] : ".", *id = argc == 3 ? argv[2] : "";
	char vector[65536];
	ssize_t size;
	int fd = open_below(collection, ".vecfs/near/", id, O_RDONLY);

	if (fd < 0 || print_rest(fd))
		return 1;
	fd = open_below(collection, "", id, O_RDONLY);
	size = fd < 0 ? -1 : read(fd, vector, sizeof vector);
	if (size <= 0)
		return 1;
	fd = open_below(collection, ".vecfs/search/query", "", O_RDWR);
	if (fd < 0 || write(fd, vector, (size_t)size) != size)
		return 1;
	return print_rest(fd);
}
