/* SPDX-License-Identifier: Apache-2.0 */
/* vs_check names every kind of damage, down to each single byte of a closed store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/crash/wreck.h"

#define SMALL_BYTES 8192
#define SAMPLES 200

static int new_store(void **state)
{
	struct wreck *w = malloc(sizeof *w);

	wreck_new(w);
	*state = w;
	return 0;
}

static int free_store(void **state)
{
	wreck_free(*state);
	free(*state);
	return 0;
}

/* ------------------------------------------------------------------ bytes */

static uint64_t flips;

/* Whether a line names the file, or an id or row of the collection it belongs to. */
static bool named(const struct wreck *w, const char *path)
{
	static const char *const titles[] = {"", "docs", "tiny", "twin", "empty"};
	unsigned long id;

	if (wreck_said(w, path))
		return true;
	if (strncmp(path, "collections/", 12))
		return false;
	id = strtoul(path + 12, NULL, 10);
	return id && id < sizeof titles / sizeof *titles &&
	       !strncmp(w->lines, titles[id], strlen(titles[id]));
}

static void flip_and_check(struct wreck *w, const char *path, uint64_t off)
{
	int rc;

	wreck_flip(w, path, off);
	rc = wreck_check(w, false);
	if (rc != VS_CHECK_DAMAGED || !named(w, path))
		fail_msg("%s, byte %llu: check answers %d and says: %s", path, (unsigned long long)off, rc,
			 w->lines);
	wreck_flip(w, path, off);
	flips++;
}

/* An instrumented program takes fewer: it is to find wrong accesses, not flips. */
static uint64_t fewer(void)
{
	return getenv("VECFS_SANITIZED") ? 20 : 1;
}

static void flip_file(struct wreck *w, const char *path)
{
	uint64_t few = fewer();
	uint64_t size = wreck_size(w, path), step = size <= SMALL_BYTES / few ? 1 : size * few / SAMPLES;

	for (uint64_t off = 0; off < size; off += step)
		flip_and_check(w, path, off);
	for (uint64_t off = 1; off < 128 && off < size && step > 1; off++)
		flip_and_check(w, path, off);
	if (size)
		flip_and_check(w, path, size - 1);
}

static void each_flipped_byte_is_named(void **state)
{
	struct wreck *w = *state;

	flips = 0;
	wreck_files(w, flip_file);
	assert_true(flips > 10000 / fewer());
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_string_equal(w->lines, "");
}

/* ------------------------------------------------------------------ open batches */

static void open_batch(struct wreck *w)
{
	static const struct vs_perm perm = {.mode = 0700};
	struct vs_schema schema = {.dim = 2, .dtype = VS_F32};
	struct vs_store *s = wreck_open(w);
	struct vs_collection_info tiny;
	struct vs_upload *u;
	uint32_t batch;

	assert_int_equal(vs_collection_find(s, 0, "tiny", &tiny), 0);
	assert_int_equal(vs_collection_create(s, tiny.id, "b", &perm, &batch), 0);
	assert_int_equal(batch, 7);
	assert_int_equal(vs_upload_begin(s, batch, &schema, &u), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vs_upload_append(u, "8 bytes.", 8), 0);
	assert_int_equal(vs_upload_end(u, true), 0);
	assert_int_equal(vs_close(s), 0);
}

/* Nothing of an open batch is durable: what is wrong with its upload is said, and is no damage. */
static void what_is_wrong_with_an_upload_is_said(void **state)
{
	struct wreck *w = *state;

	open_batch(w);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_string_equal(w->lines, "");
	wreck_flip(w, "collections/7/upload.0.npy", 4096 + 9);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_true(wreck_said(
		w, "tiny/.vecfs/tx/b: collections/7/upload.0.npy: vector 1 of the upload is damaged"));
	wreck_flip(w, "collections/7/upload.0.npy", 4096 + 9);
	wreck_flip(w, "collections/7/upload.sums", 8);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_true(wreck_said(w, "vector 2 of the upload is damaged"));
	wreck_flip(w, "collections/7/upload.sums", 12);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_true(wreck_said(w, "its upload did not get to its end"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_flipped_byte_is_named, new_store, free_store),
		cmocka_unit_test_setup_teardown(what_is_wrong_with_an_upload_is_said, new_store, free_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
