/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole files to import: texts and .npz archives, and compressed ones. First byte of the input: the form;
 * second: the dim that is expected, and whether ids are percent-encoded. The rest is the file. What is handed
 * out is whole rows with legal ids, as many as were told.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/cli/array_reader.h"
#include "tests/fuzz/fuzz.h"
#include "store/base/idlist.h"

#define CAPACITY (VS_ROW_BYTES_MAX + 4096)

static void check_ids(const struct array_reader *s, uint64_t rows)
{
	struct idlist ids;
	char why[256];
	size_t size;
	const char *lines = array_reader_ids(s, &size);
	char *copy = malloc(size + 1);

	assert(copy);
	memcpy(copy, lines, size);
	assert(idlist_parse(copy, size, IDLIST_LINES, NULL, &ids, why, sizeof why) == 0);
	assert(ids.count == rows);
	idlist_free(&ids);
}

static void read_all(struct array_reader *s, unsigned char *buf)
{
	const struct array_shape *shape = array_reader_shape(s);
	size_t row_bytes = array_row_bytes(shape);
	uint64_t bytes = 0;
	char why[256] = "";
	ssize_t n;

	if (row_bytes == 0) {
		assert(shape->rows == 0 || shape->rows == ARRAY_ROWS_UNTOLD);
		return;
	}
	while ((n = array_reader_read(s, buf, CAPACITY, why, sizeof why)) > 0) {
		bytes += (uint64_t)n;
		if (array_reader_has_ids(s))
			check_ids(s, (uint64_t)n / row_bytes);
	}
	assert(n == 0 || *why);
	assert(n < 0 || shape->rows == ARRAY_ROWS_UNTOLD || bytes == shape->rows * row_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {".txt",     ".word2vec", ".glove",   ".tsv",       ".npz",
					    ".txt.zst", ".npy.zst",  ".npz.zst", ".fvecs.zst", ".f32.zst"};
	static unsigned char *buf;
	struct array_reader_options options = {0};
	struct array_reader *s;
	char path[32], why[256] = "";
	int fd, rc;

	if (size < 2)
		return 0;
	if (!buf)
		assert((buf = malloc(CAPACITY)) != NULL);
	rc = array_reader_format_of_name(names[data[0] % (sizeof names / sizeof *names)], &options);
	assert(rc == 0);
	options.dim_guess = data[1] % 8;
	if (options.text == VECTEXT_NONE && options.format == ARRAY_RAW)
		options.dim = data[1] % 8;
	options.escape = data[1] & 0x80;
	fd = memfd_create("import", MFD_CLOEXEC);
	assert(fd >= 0 && write(fd, data + 2, size - 2) == (ssize_t)(size - 2));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (array_reader_open(path, &options, &s, why, sizeof why) == 0) {
		read_all(s, buf);
		array_reader_close(s);
	} else {
		assert(*why);
	}
	close(fd);
	return 0;
}
