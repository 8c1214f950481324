/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/scratch.h"
#include "store/collection/id_index.h"

/* The hash of entry e is hashes[e]; an entry is the one looked for if its number is. */
static uint64_t *hashes;

static int hash_of(void *arg, uint64_t entry, uint64_t *hash)
{
	(void)arg;
	*hash = hashes[entry];
	return 0;
}

static bool is_entry(void *arg, uint64_t entry)
{
	return *(const uint64_t *)arg == entry;
}

static bool is_found(const struct id_index *ix, uint64_t entry)
{
	return id_index_find(ix, hashes[entry], is_entry, &entry) == entry;
}

static void insert(struct id_index *ix, uint64_t entry)
{
	assert_int_equal(id_index_reserve(ix, hashes[entry], hash_of, NULL), 0);
	id_index_insert(ix, hashes[entry], entry);
}

static void an_empty_index_finds_nothing(void **state)
{
	uint64_t entry = 1;
	struct id_index ix;

	(void)state;
	id_index_init(&ix);
	assert_int_equal(id_index_find(&ix, 0, is_entry, &entry), 0);
	id_index_free(&ix);
}

static void what_was_inserted_is_found_until_it_is_removed(void **state)
{
	enum { COUNT = 20000 };
	struct numbers numbers = {1};
	bool *there = calloc(COUNT, sizeof *there);
	struct id_index ix;

	(void)state;
	hashes = malloc(COUNT * sizeof *hashes);
	for (int i = 0; i < COUNT; i++)
		hashes[i] = numbers_next(&numbers);
	id_index_init(&ix);
	for (int round = 0; round < 5 * COUNT; round++) {
		uint64_t entry = 1 + numbers_below(&numbers, COUNT - 1);

		assert_int_equal(is_found(&ix, entry), there[entry]);
		if (there[entry])
			id_index_remove(&ix, hashes[entry], entry);
		else
			insert(&ix, entry);
		there[entry] = !there[entry];
	}
	for (uint64_t entry = 1; entry < COUNT; entry++)
		assert_int_equal(is_found(&ix, entry), there[entry]);
	id_index_free(&ix);
	free(hashes);
	free(there);
}

static void equal_hashes_fill_a_page_and_then_refuse(void **state)
{
	enum { COUNT = INDEX_PAGE_SLOTS + 1 };
	struct id_index ix;

	(void)state;
	hashes = malloc((COUNT + 1) * sizeof *hashes);
	for (int i = 0; i <= COUNT; i++)
		hashes[i] = 0x123456789abcdef0ull;
	id_index_init(&ix);
	for (uint64_t entry = 1; entry < COUNT; entry++)
		insert(&ix, entry);
	assert_int_equal(id_index_reserve(&ix, hashes[COUNT], hash_of, NULL), -EOVERFLOW);
	for (uint64_t entry = 1; entry < COUNT; entry++)
		assert_true(is_found(&ix, entry));
	id_index_free(&ix);
	free(hashes);
}

static void removing_what_is_not_there_changes_nothing(void **state)
{
	struct id_index ix;

	(void)state;
	hashes = malloc(3 * sizeof *hashes);
	hashes[1] = hashes[2] = 7;
	id_index_init(&ix);
	insert(&ix, 1);
	id_index_remove(&ix, hashes[2], 2);
	assert_true(is_found(&ix, 1));
	id_index_free(&ix);
	free(hashes);
}

static void entry_numbers_have_forty_bits(void **state)
{
	uint64_t highest = (1ull << 40) - 1;
	struct id_index ix;

	(void)state;
	id_index_init(&ix);
	assert_int_equal(id_index_reserve(&ix, 5, hash_of, NULL), 0);
	id_index_insert(&ix, 5, highest);
	assert_int_equal(id_index_find(&ix, 5, is_entry, &highest), highest);
	id_index_free(&ix);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_index_finds_nothing),
		cmocka_unit_test(what_was_inserted_is_found_until_it_is_removed),
		cmocka_unit_test(equal_hashes_fill_a_page_and_then_refuse),
		cmocka_unit_test(removing_what_is_not_there_changes_nothing),
		cmocka_unit_test(entry_numbers_have_forty_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
