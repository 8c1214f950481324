/* SPDX-License-Identifier: Apache-2.0 */
/* Files of vectors through source and transfer: read in one format, written in another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/transfer.h"
#include "tests/unit/scratch.h"

#define DIM 100u
#define ROWS 6000u /* more than two chunks */
#define IN path_of("in")
#define OUT path_of("out")
#define OUT2 path_of("out2")

static char why[256];
static struct scratch scratch;

/* A file of the test's own folder; good for the next few calls. */
static const char *path_of(const char *name)
{
	static char paths[4][sizeof scratch.dir + 16];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", scratch.dir, name);
	return path;
}

static void write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(transfer_write(fd, data, size), 0);
	close(fd);
}

static size_t read_file(const char *path, unsigned char **data)
{
	FILE *file = fopen(path, "r");
	size_t size;

	assert_non_null(file);
	*data = malloc((size_t)ROWS * (DIM + 1) * 4 + ARRAY_HEADER_BYTES_MAX);
	size = fread(*data, 1, (size_t)ROWS * (DIM + 1) * 4 + ARRAY_HEADER_BYTES_MAX, file);
	fclose(file);
	return size;
}

/* Small integers: every float format holds them exactly. */
static float value(size_t i)
{
	return (float)(i % 251) - 100.0f;
}

static void write_raw_input(void)
{
	float *rows = malloc((size_t)ROWS * DIM * sizeof *rows);

	for (size_t i = 0; i < (size_t)ROWS * DIM; i++)
		rows[i] = value(i);
	write_file(IN, rows, (size_t)ROWS * DIM * sizeof *rows);
	free(rows);
}

static void transfer_file(const char *from, enum array_format from_format, enum vs_dtype from_dtype,
			  const char *to, enum array_format to_format, enum vs_dtype to_dtype)
{
	struct array_reader_options options = {.format = from_format, .dtype = from_dtype};
	struct transfer_target target = {.format = to_format, .ids_fd = -1};
	struct progress progress;
	struct array_reader *source;

	options.dim = from_format == ARRAY_RAW ? DIM : 0;
	assert_int_equal(array_reader_open(from, &options, &source, why, sizeof why), 0);
	target.shape = *array_reader_shape(source);
	assert_int_equal(target.shape.rows, ROWS);
	assert_int_equal(target.shape.dim, DIM);
	target.shape.dtype = to_dtype;
	progress_start(&progress, "test", 0, array_row_bytes(&target.shape), true);
	target.fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(transfer_run(source, &target, &progress, why, sizeof why), 0);
	assert_int_equal(progress.done_bytes, array_row_bytes(&target.shape) * ROWS);
	close(target.fd);
	array_reader_close(source);
}

static void assert_same_files(const char *path, const char *other)
{
	unsigned char *data, *other_data;
	size_t size = read_file(path, &data), other_size = read_file(other, &other_data);

	assert_int_equal(size, other_size);
	assert_memory_equal(data, other_data, size);
	free(data);
	free(other_data);
}

static void test_there_and_back_in_each_format(void **state)
{
	static const enum array_format formats[] = {ARRAY_NPY, ARRAY_FVECS, ARRAY_FBIN, ARRAY_RAW};

	(void)state;
	write_raw_input();
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		transfer_file(IN, ARRAY_RAW, VS_F32, OUT, formats[i], VS_F32);
		transfer_file(OUT, formats[i], VS_F32, OUT2, ARRAY_RAW, VS_F32);
		assert_same_files(IN, OUT2);
	}
}

static void test_fvecs_layout(void **state)
{
	unsigned char *data;
	float third;

	(void)state;
	write_raw_input();
	transfer_file(IN, ARRAY_RAW, VS_F32, OUT, ARRAY_FVECS, VS_F32);
	assert_int_equal(read_file(OUT, &data), ROWS * (DIM + 1) * 4);
	assert_memory_equal(data + 2 * (DIM + 1) * 4, ((unsigned char[]){DIM, 0, 0, 0}), 4);
	memcpy(&third, data + 2 * (DIM + 1) * 4 + 4, sizeof third);
	assert_true(third == value(2 * DIM));
	free(data);
}

static void test_conversions_there_and_back(void **state)
{
	(void)state;
	write_raw_input();
	transfer_file(IN, ARRAY_RAW, VS_F32, OUT, ARRAY_RAW, VS_F16);
	transfer_file(OUT, ARRAY_RAW, VS_F16, OUT2, ARRAY_NPY, VS_BF16);
	transfer_file(OUT2, ARRAY_NPY, VS_F32, OUT, ARRAY_RAW, VS_F32);
	assert_same_files(IN, OUT);
}

static void assert_refused(enum array_format format, const void *data, size_t size, const char *says)
{
	struct array_reader *source;

	write_file(IN, data, size);
	assert_true(array_reader_open(IN, &(struct array_reader_options){.format = format}, &source, why,
				      sizeof why) < 0);
	assert_null(source);
	assert_non_null(strstr(why, says));
}

static void test_sizes_that_lie_are_refused(void **state)
{
	static const unsigned char bin[8 + 32] = {2, 0, 0, 0, 4}, vecs[40] = {4};
	unsigned char npy[ARRAY_HEADER_BYTES_MAX + 16] = {0};

	(void)state;
	array_header_build(ARRAY_NPY, &(struct array_shape){.dtype = VS_F32, .dim = 4, .rows = 2}, npy);
	assert_refused(ARRAY_NPY, npy, sizeof npy, "2 rows of dim 4, which is 160 bytes; found 144");
	assert_refused(ARRAY_FBIN, bin, sizeof bin - 1, "2 rows of dim 4, which is 40 bytes; found 39");
	assert_refused(ARRAY_FBIN, bin, 7, "end within the fbin header");
	assert_refused(ARRAY_FVECS, vecs, 39, "want a multiple of 20");
	assert_refused(ARRAY_FVECS, vecs, 3, "end within the fvecs header");
	assert_refused(ARRAY_RAW, vecs, sizeof vecs, "--dim");
	assert_refused(ARRAY_NPY, "hello, world", 12, "no .npy header");
}

static void test_a_row_with_another_dim_is_refused(void **state)
{
	static const unsigned char vecs[40] = {[0] = 4, [20] = 5};
	struct array_reader *source;
	unsigned char buf[64];

	(void)state;
	write_file(IN, vecs, sizeof vecs);
	assert_int_equal(array_reader_open(IN, &(struct array_reader_options){.format = ARRAY_FVECS}, &source,
					   why, sizeof why),
			 0);
	assert_int_equal(array_reader_read(source, buf, sizeof buf, why, sizeof why), -EINVAL);
	assert_string_equal(why, "row 1: found dim 5, want 4 like the first");
	array_reader_close(source);
}

static void test_a_file_that_shrinks_is_refused(void **state)
{
	struct array_reader *source;
	unsigned char *buf = malloc(1 << 20);
	ssize_t n;

	(void)state;
	write_raw_input();
	assert_int_equal(array_reader_open(IN,
					   &(struct array_reader_options){.format = ARRAY_RAW, .dim = DIM},
					   &source, why, sizeof why),
			 0);
	assert_int_equal(truncate(IN, ROWS / 2 * DIM * 4), 0);
	while ((n = array_reader_read(source, buf, 1 << 20, why, sizeof why)) > 0)
		continue;
	assert_int_equal(n, -EINVAL);
	assert_string_equal(why, "the file ends before its 6000 rows of dim 100 do");
	array_reader_close(source);
	free(buf);
}

static int make_folder(void **state)
{
	(void)state;
	scratch_new(&scratch);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	scratch_free(&scratch);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back_in_each_format),
		cmocka_unit_test(test_fvecs_layout),
		cmocka_unit_test(test_conversions_there_and_back),
		cmocka_unit_test(test_sizes_that_lie_are_refused),
		cmocka_unit_test(test_a_row_with_another_dim_is_refused),
		cmocka_unit_test(test_a_file_that_shrinks_is_refused),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
