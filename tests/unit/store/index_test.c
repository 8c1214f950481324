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

static int counted_hash_of(void *arg, uint64_t entry, uint64_t *hash)
{
	++*(unsigned *)arg;
	*hash = hashes[entry];
	return 0;
}

static void a_prepared_index_hardly_looks_an_id_up_again(void **state)
{
	enum { COUNT = 20000 };
	struct numbers numbers = {1};
	unsigned looked_up = 0;
	struct id_index ix;

	(void)state;
	hashes = malloc((COUNT + 1) * sizeof *hashes);
	id_index_init(&ix);
	assert_int_equal(id_index_prepare(&ix, COUNT), 0);
	for (uint64_t entry = 1; entry <= COUNT; entry++) {
		hashes[entry] = numbers_next(&numbers);
		assert_int_equal(id_index_reserve(&ix, hashes[entry], counted_hash_of, &looked_up), 0);
		id_index_insert(&ix, hashes[entry], entry);
	}
	assert_true(looked_up < COUNT / 5);
	for (uint64_t entry = 1; entry <= COUNT; entry++)
		assert_true(is_found(&ix, entry));
	id_index_free(&ix);
	free(hashes);
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

/* ------------------------------------------------------------------ packed */

struct packed {
	struct index_pack pack;
	uint8_t *depths, *counts;
	uint32_t entries, pages;
};

/* What index_file.c writes and maps. */
static struct packed pack(const struct id_index *ix, bool wide)
{
	struct packed p = {0};
	struct index_slots s;

	for (uint64_t at = 0; id_index_next_page(ix, &at, &s); p.pages++)
		p.entries += *s.count;
	p.pack.low = malloc(p.entries * sizeof *p.pack.low + 1);
	p.pack.tag = malloc(p.entries + INDEX_SCAN_BYTES);
	p.pack.high = wide ? malloc(p.entries + 1) : NULL;
	p.depths = malloc(p.pages + 1);
	p.counts = malloc(p.pages + 1);
	p.entries = p.pages = 0;
	for (uint64_t at = 0; id_index_next_page(ix, &at, &s); p.pages++) {
		p.depths[p.pages] = s.depth;
		p.counts[p.pages] = *s.count;
		for (unsigned i = 0; i < *s.count; i++, p.entries++) {
			p.pack.low[p.entries] = s.low[i];
			p.pack.tag[p.entries] = s.tag[i];
			if (wide)
				p.pack.high[p.entries] = s.high ? s.high[i] : 0;
		}
	}
	return p;
}

static int use(struct id_index *ix, unsigned depth, const struct packed *p)
{
	id_index_init(ix);
	return id_index_use_pack(ix, depth, &p->pack, p->depths, p->counts, p->pages);
}

static void packed_free(struct packed *p)
{
	free(p->pack.low);
	free(p->pack.tag);
	free(p->pack.high);
	free(p->depths);
	free(p->counts);
}

/* Changes of an index some of whose pages are packed, and packs all of it again. */
static void a_packed_index_is_the_same_and_can_be_changed(void **state)
{
	enum { COUNT = 20000, ROUNDS = 3 };
	struct numbers numbers = {1};
	bool *there = calloc(COUNT, sizeof *there);
	struct packed p[ROUNDS];
	struct id_index ix;

	(void)state;
	hashes = malloc(COUNT * sizeof *hashes);
	for (int i = 0; i < COUNT; i++)
		hashes[i] = numbers_next(&numbers);
	id_index_init(&ix);
	for (int round = 0; round < ROUNDS; round++) {
		unsigned depth;

		for (int n = 0; n < (round ? 2000 : 5 * COUNT); n++) {
			uint64_t entry = 1 + numbers_below(&numbers, COUNT - 1);

			if (there[entry])
				id_index_remove(&ix, hashes[entry], entry);
			else
				insert(&ix, entry);
			there[entry] = !there[entry];
		}
		p[round] = pack(&ix, round == 1);
		depth = ix.depth;
		id_index_free(&ix);
		assert_int_equal(use(&ix, depth, &p[round]), 0);
		for (uint64_t entry = 1; entry < COUNT; entry++)
			assert_int_equal(is_found(&ix, entry), there[entry]);
	}
	id_index_free(&ix);
	for (int round = 0; round < ROUNDS; round++)
		packed_free(&p[round]);
	free(hashes);
	free(there);
}

/* A page without room is enough for that. */
static void an_entry_of_a_packed_page_can_be_replaced(void **state)
{
	struct id_index ix;
	struct packed p;

	(void)state;
	hashes = malloc((INDEX_PAGE_SLOTS + 2) * sizeof *hashes);
	for (unsigned i = 0; i < INDEX_PAGE_SLOTS + 2; i++)
		hashes[i] = 7;
	id_index_init(&ix);
	for (uint64_t entry = 1; entry <= INDEX_PAGE_SLOTS; entry++)
		insert(&ix, entry);
	p = pack(&ix, false);
	id_index_free(&ix);
	assert_int_equal(use(&ix, 0, &p), 0);
	for (uint64_t entry = 1; entry <= INDEX_PAGE_SLOTS; entry++) {
		assert_int_equal(id_index_reserve_replacement(&ix, 7), 0);
		id_index_remove(&ix, 7, entry);
		id_index_insert(&ix, 7, entry + 1);
		assert_true(is_found(&ix, entry + 1));
		id_index_remove(&ix, 7, entry + 1);
		id_index_insert(&ix, 7, entry);
	}
	id_index_free(&ix);
	packed_free(&p);
	free(hashes);
}

static void forty_bits_are_packed_too(void **state)
{
	uint64_t highest = (1ull << 40) - 1;
	struct id_index ix;
	struct packed p;

	(void)state;
	id_index_init(&ix);
	assert_int_equal(id_index_reserve(&ix, 5, hash_of, NULL), 0);
	id_index_insert(&ix, 5, highest);
	p = pack(&ix, true);
	id_index_free(&ix);
	assert_int_equal(use(&ix, 0, &p), 0);
	assert_int_equal(id_index_find(&ix, 5, is_entry, &highest), highest);
	id_index_remove(&ix, 5, highest);
	assert_int_equal(id_index_find(&ix, 5, is_entry, &highest), 0);
	id_index_free(&ix);
	packed_free(&p);
}

/* Pages tile the directory, each at a multiple of its size. */
static void pages_that_make_no_directory_are_refused(void **state)
{
	uint32_t low[4] = {1, 2, 3, 4};
	uint8_t tag[4 + INDEX_SCAN_BYTES] = {0}, counts[4] = {1, 1, 1, 1}, many[4] = {65, 1, 1, 1};
	uint8_t good[] = {2, 2, 1}, crooked[] = {2, 1, 2}, less[] = {2, 2, 2}, more[] = {1, 1, 1},
		deep[] = {3, 3, 1};
	uint8_t *const bad[] = {crooked, less, more, deep};
	struct packed p = {.pack = {.low = low, .tag = tag}, .depths = good, .counts = counts, .pages = 3};
	struct id_index ix;

	(void)state;
	assert_int_equal(use(&ix, 2, &p), 0);
	id_index_free(&ix);
	p.counts = many;
	assert_int_equal(use(&ix, 2, &p), -EUCLEAN);
	p.counts = counts;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		p.depths = bad[i];
		assert_int_equal(use(&ix, 2, &p), -EUCLEAN);
	}
	assert_int_equal(use(&ix, 40, &p), -EUCLEAN); /* and no directory of 2^40 places is made */
	p.pages = 0;
	assert_int_equal(use(&ix, 2, &p), -EUCLEAN);
}

static int hash_is_not_asked_for(void *arg, uint64_t entry, uint64_t *hash)
{
	(void)arg;
	(void)entry;
	(void)hash;
	fail();
	return -EIO;
}

/* Lays an index out for `count` hashes, and fills it: page by page as if they had been inserted one by one.
 */
static void lay_out(uint64_t count)
{
	unsigned bits = id_index_bits(count);
	uint8_t *counts = calloc((size_t)1 << bits, 1);
	struct id_index laid, grown;

	id_index_init(&laid);
	id_index_init(&grown);
	for (uint64_t entry = 1; entry <= count; entry++) {
		uint8_t *n = &counts[bits ? hashes[entry] >> (64 - bits) : 0];

		*n = *n < 255 ? (uint8_t)(*n + 1) : 255;
		insert(&grown, entry);
	}
	assert_int_equal(id_index_lay_out(&laid, counts, bits), 0);
	for (uint64_t entry = 1; entry <= count; entry++) {
		assert_int_equal(id_index_reserve(&laid, hashes[entry], hash_is_not_asked_for, NULL), 0);
		id_index_insert(&laid, hashes[entry], entry);
	}
	for (uint64_t entry = 1; entry <= count; entry++)
		assert_true(is_found(&laid, entry));
	assert_int_equal(laid.pages, count ? grown.pages : 1);
	id_index_free(&laid);
	id_index_free(&grown);
	free(counts);
}

static void an_index_laid_out_is_as_if_it_had_grown(void **state)
{
	static const uint64_t sizes[] = {0, 1, 16, 17, 64, 65, 1000, 4096, 77777, 300000};
	struct numbers numbers = {5};

	(void)state;
	hashes = malloc(300001 * sizeof *hashes);
	for (int i = 0; i <= 300000; i++)
		hashes[i] = numbers_next(&numbers);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		lay_out(sizes[i]);
	free(hashes);
}

static bool is_odd(void *arg, uint64_t entry)
{
	++*(unsigned *)arg;
	return entry % 2;
}

static void a_page_is_swept(void **state)
{
	enum { COUNT = 5000 };
	struct numbers numbers = {6};
	struct id_index ix;
	unsigned asked = 0;

	(void)state;
	hashes = malloc((COUNT + 1) * sizeof *hashes);
	id_index_init(&ix);
	id_index_sweep(&ix, 0, false, is_odd, &asked);
	for (uint64_t entry = 1; entry <= COUNT; entry++) {
		hashes[entry] = numbers_next(&numbers);
		insert(&ix, entry);
	}
	/* Those with the tag of an odd one go, itself among them; then all of one page. */
	for (uint64_t entry = 1; entry <= COUNT / 2; entry += 2)
		id_index_sweep(&ix, hashes[entry], true, is_odd, &asked);
	assert_true(asked < COUNT);
	for (uint64_t entry = 1; entry <= COUNT; entry++) {
		if (entry % 2 == 0)
			assert_true(is_found(&ix, entry));
		else if (entry <= COUNT / 2)
			assert_false(is_found(&ix, entry));
	}
	for (uint64_t entry = 1; entry <= COUNT; entry += 2)
		id_index_sweep(&ix, hashes[entry], false, is_odd, &asked);
	for (uint64_t entry = 1; entry <= COUNT; entry++)
		assert_int_equal(is_found(&ix, entry), entry % 2 == 0);
	id_index_free(&ix);
	free(hashes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_index_finds_nothing),
		cmocka_unit_test(what_was_inserted_is_found_until_it_is_removed),
		cmocka_unit_test(a_prepared_index_hardly_looks_an_id_up_again),
		cmocka_unit_test(equal_hashes_fill_a_page_and_then_refuse),
		cmocka_unit_test(removing_what_is_not_there_changes_nothing),
		cmocka_unit_test(entry_numbers_have_forty_bits),
		cmocka_unit_test(a_packed_index_is_the_same_and_can_be_changed),
		cmocka_unit_test(an_entry_of_a_packed_page_can_be_replaced),
		cmocka_unit_test(forty_bits_are_packed_too),
		cmocka_unit_test(pages_that_make_no_directory_are_refused),
		cmocka_unit_test(an_index_laid_out_is_as_if_it_had_grown),
		cmocka_unit_test(a_page_is_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
