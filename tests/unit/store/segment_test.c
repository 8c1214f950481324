/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/scratch.h"
#include "store/array/npy.h"
#include "store/segment/segment.h"
#include "store/base/checksum.h"

static struct files files;
static const struct vs_schema schema = {.dim = 4, .dtype = VS_F32};

static int new_scratch(void **state)
{
	struct scratch *sc = malloc(sizeof *sc);

	scratch_new(sc);
	assert_int_equal(sc->io->ops->mkdir(sc->io, "collections", 0700), 0);
	assert_int_equal(sc->io->ops->mkdir(sc->io, "collections/1", 0700), 0);
	files_init(&files, sc->io, false, 2, 0);
	*state = sc;
	return 0;
}

static int free_scratch(void **state)
{
	files_free(&files);
	scratch_free(*state);
	free(*state);
	return 0;
}

static int write_column(struct segment *seg, enum segment_column column, const void *data, size_t size,
			uint64_t off)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};

	return segment_writev(seg, column, &iov, 1, off);
}

/* Writes row slot as the applier would. */
static void write_row(struct segment *seg, uint32_t slot, const char *id)
{
	struct segment_space space = {seg->allocated, seg->names_allocated};
	float data[4] = {(float)slot};
	char name[256] = {0};
	struct row r = {.name_len = (uint8_t)strlen(id), .data_sum = sum_data(data, sizeof data)};

	row_set_entry(&r, VS_ENTRY_FIRST + slot);
	r.name_at = name_heap_alloc(&seg->names, r.name_len) & ROW_NAME_AT_MAX;
	r.row_sum = sum_row(&r, id);
	memcpy(name, id, r.name_len);
	assert_int_equal(segment_allocate(seg, slot + 1, seg->names.end, &space), 0);
	seg->allocated = space.rows;
	seg->names_allocated = space.granules;
	assert_int_equal(write_column(seg, SEGMENT_VECTORS, data, sizeof data, segment_offset(seg, slot)), 0);
	assert_int_equal(write_column(seg, SEGMENT_ROWS, &r, sizeof r, slot * sizeof r), 0);
	assert_int_equal(write_column(seg, SEGMENT_NAMES, name, names_granules(r.name_len) * NAME_GRANULE,
				      r.name_at * NAME_GRANULE),
			 0);
	if (slot >= seg->count)
		seg->count = slot + 1;
	seg->digest_valid = false;
}

static uint64_t file_size(struct scratch *sc, enum segment_column column)
{
	char path[SEGMENT_PATH_MAX];
	uint64_t size;
	int fd;

	segment_path(path, 1, 0, column);
	fd = sc->io->ops->open(sc->io, path, O_RDONLY, 0);
	assert_true(fd >= 0);
	assert_int_equal(sc->io->ops->size(sc->io, fd, &size), 0);
	sc->io->ops->close(sc->io, fd);
	return size;
}

static struct segment *new_segment(void)
{
	struct segment *seg;

	assert_int_equal(segment_create(&files, 1, 0, &schema, &seg), 0);
	for (uint32_t i = 0; i < 3; i++)
		write_row(seg, i, i == 1 ? "a rather long identifier" : "id");
	return seg;
}

static void a_segment_is_at_most_so_big(void **state)
{
	(void)state;
	assert_int_equal(segment_shift(1), SEGMENT_ROWS_BITS_MAX);
	assert_int_equal(segment_shift(256), SEGMENT_ROWS_BITS_MAX);
	assert_int_equal(segment_shift(257), SEGMENT_ROWS_BITS_MAX - 1);
	assert_int_equal(segment_shift(3072), 16);
	assert_int_equal(segment_shift(VS_ROW_BYTES_MAX), 8);
}

static void a_settled_segment_has_no_slack(void **state)
{
	struct scratch *sc = *state;
	struct segment *seg = new_segment();
	unsigned char page[NPY_HEADER_BYTES];
	struct npy_shape shape;
	size_t header_bytes;
	char why[256];

	assert_int_equal(segment_finalize(seg, &schema), 0);
	assert_int_equal(file_size(sc, SEGMENT_VECTORS), SEGMENT_HEADER_BYTES + 3 * 16);
	assert_int_equal(file_size(sc, SEGMENT_ROWS), 3 * sizeof(struct row));
	assert_int_equal(file_size(sc, SEGMENT_NAMES), 5 * NAME_GRANULE);
	assert_int_equal(seg->digests[SEGMENT_ROWS], XXH3_64bits(segment_rows(seg), 3 * sizeof(struct row)));
	assert_int_equal(segment_read(seg, SEGMENT_VECTORS, page, sizeof page, 0), 0);
	assert_int_equal(npy_header_parse(page, sizeof page, &shape, &header_bytes, why, sizeof why), 0);
	assert_int_equal(shape.rows, 3);
	assert_int_equal(shape.dim, 4);
	segment_put(sc->io, seg);
}

static void what_was_written_is_there_again(void **state)
{
	struct scratch *sc = *state;
	struct segment *seg = new_segment(), *again;

	assert_int_equal(segment_finalize(seg, &schema), 0);
	segment_put(sc->io, seg);
	assert_int_equal(segment_open(&files, 1, 0, &schema, 3, 5, &again), 0);
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(segment_row_valid(again, &segment_rows(again)[i]));
		assert_int_equal(row_entry(&segment_rows(again)[i]), VS_ENTRY_FIRST + i);
	}
	assert_memory_equal(segment_name(again, &segment_rows(again)[1]), "a rather long identifier", 24);
	segment_put(sc->io, again);
}

static void a_file_that_is_too_short_is_refused(void **state)
{
	struct scratch *sc = *state;
	struct segment *seg = new_segment(), *again;

	assert_int_equal(segment_finalize(seg, &schema), 0);
	segment_put(sc->io, seg);
	assert_int_equal(segment_open(&files, 1, 0, &schema, 4, 5, &again), -EUCLEAN);
	assert_null(again);
	assert_int_equal(segment_open(&files, 1, 0, &schema, 3, 6, &again), -EUCLEAN);
	assert_int_equal(segment_open(&files, 1, 1, &schema, 0, 0, &again), -ENOENT);
	segment_unlink(sc->io, 1, 0);
	assert_int_equal(segment_open(&files, 1, 0, &schema, 0, 0, &again), -ENOENT);
}

static void each_byte_of_a_row_and_its_id_counts(void **state)
{
	struct scratch *sc = *state;
	struct segment *seg = new_segment();
	struct row whole = segment_rows(seg)[1], changed;

	assert_true(segment_row_valid(seg, &whole));
	for (size_t i = 0; i < sizeof whole; i++) {
		changed = whole;
		((char *)&changed)[i] = (char)(((char *)&changed)[i] ^ 1);
		assert_false(segment_row_valid(seg, &changed));
	}
	assert_int_equal(write_column(seg, SEGMENT_NAMES, "A", 1, whole.name_at * NAME_GRANULE), 0);
	assert_false(segment_row_valid(seg, &whole));
	changed = (struct row){0};
	assert_true(segment_row_valid(seg, &changed)); /* dead */
	changed.mtime = 1;
	assert_false(segment_row_valid(seg, &changed));
	segment_put(sc->io, seg);
}

static void dead_rows_are_marked(void **state)
{
	struct scratch *sc = *state;
	struct segment *seg = new_segment();

	assert_false(segment_is_deleted(seg, 1));
	assert_int_equal(segment_set_deleted(seg, 1), 0);
	assert_int_equal(segment_set_deleted(seg, 2), 0);
	assert_true(segment_is_deleted(seg, 1));
	assert_false(segment_is_deleted(seg, 0));
	segment_clear_deleted(seg, 1);
	assert_false(segment_is_deleted(seg, 1));
	assert_true(segment_is_deleted(seg, 2));
	segment_clear_deleted(seg, 2);
	assert_int_equal(seg->deleted, 0);
	segment_put(sc->io, seg);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, new_scratch, free_scratch)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_segment_is_at_most_so_big),
		WITH_SCRATCH(a_settled_segment_has_no_slack),
		WITH_SCRATCH(what_was_written_is_there_again),
		WITH_SCRATCH(a_file_that_is_too_short_is_refused),
		WITH_SCRATCH(each_byte_of_a_row_and_its_id_counts),
		WITH_SCRATCH(dead_rows_are_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
