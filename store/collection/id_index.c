/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/id_index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define CHUNK_PAGES 64u
/* Entries of a prepared page, on average: then few of them are to be split before all are full. */
#define PREPARED_SLOTS 52u
#define PREPARED_BITS_MAX 26u
/* Places of the directory for each page: far above what well-hashed entries need. */
/* Hashes that the directory has a place for, on the average, when it is laid out for many. */
#define LAY_OUT_HASHES 16u
#define SPARSE_MAX 64u

void id_index_init(struct id_index *ix)
{
	memset(ix, 0, sizeof *ix);
}

void id_index_free(struct id_index *ix)
{
	for (uint32_t i = 0; i < ix->chunk_count; i++)
		free(ix->chunks[i]);
	free(ix->chunks);
	free(ix->packed);
	free(ix->directory);
	id_index_init(ix);
}

static uint64_t top_bits(uint64_t hash, unsigned bits)
{
	return bits ? hash >> (64 - bits) : 0;
}

static struct index_page *page_at(const struct id_index *ix, uint32_t n)
{
	assert(n < ix->pages);
	return &ix->chunks[n / CHUNK_PAGES][n % CHUNK_PAGES];
}

static struct index_slots slots_of_page(struct index_page *p)
{
	return (struct index_slots){p->tag, p->high, p->low, &p->count, p->depth};
}

static struct index_slots slots_of(const struct id_index *ix, uint64_t hash)
{
	uint32_t n = ix->directory[top_bits(hash, ix->depth)];
	struct packed_page *p;

	if (!(n & INDEX_PACKED))
		return slots_of_page(page_at(ix, n));
	assert((n & ~INDEX_PACKED) < ix->packed_pages);
	p = &ix->packed[n & ~INDEX_PACKED];
	return (struct index_slots){ix->pack.tag + p->first, ix->pack.high ? ix->pack.high + p->first : NULL,
				    ix->pack.low + p->first, &p->count, p->depth};
}

static uint64_t slots_entry(const struct index_slots *s, unsigned slot)
{
	return (uint64_t)(s->high ? s->high[slot] : 0) << 32 | s->low[slot];
}

/* The slots whose tag is the given one, as a bit mask. */
static uint64_t slots_tagged(const struct index_slots *s, uint8_t tag)
{
	unsigned count = *s->count;
	uint64_t mask = 0;

#ifdef __SSE2__
	const __m128i want = _mm_set1_epi8((char)tag);

	static_assert(INDEX_SCAN_BYTES == 16, "sixteen tags at once");
	for (unsigned i = 0; i < count; i += 16) {
		__m128i have = _mm_loadu_si128((const __m128i *)(const void *)(s->tag + i));
		unsigned bits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(have, want));

		mask |= (uint64_t)bits << i;
	}
#else
	for (unsigned i = 0; i < count; i++)
		mask |= (uint64_t)(s->tag[i] == tag) << i;
#endif
	return count == INDEX_PAGE_SLOTS ? mask : mask & ((1ull << count) - 1);
}

uint64_t id_index_find(const struct id_index *ix, uint64_t hash, id_index_match_fn match, void *arg)
{
	struct index_slots slots;

	if (!ix->directory)
		return 0;
	slots = slots_of(ix, hash);
	for (uint64_t mask = slots_tagged(&slots, (uint8_t)hash); mask; mask &= mask - 1) {
		uint64_t entry = slots_entry(&slots, (unsigned)__builtin_ctzll(mask));

		if (match(arg, entry))
			return entry;
	}
	return 0;
}

void id_index_fetch(const struct id_index *ix, uint64_t hash, unsigned step)
{
	uint64_t at = top_bits(hash, ix->depth);
	struct index_slots slots;

	if (!ix->directory)
		return;
	if (step == 0)
		__builtin_prefetch(&ix->directory[at]);
	else if (step == 1 && ix->directory[at] & INDEX_PACKED)
		__builtin_prefetch(&ix->packed[ix->directory[at] & ~INDEX_PACKED]);
	if (step < 2)
		return;
	slots = slots_of(ix, hash);
	__builtin_prefetch(slots.tag);
	__builtin_prefetch(slots.tag + *slots.count / 2);
	for (unsigned i = 0; i < *slots.count; i += 64 / sizeof *slots.low)
		__builtin_prefetch(slots.low + i);
}

void id_index_fetch_all(const struct id_index *ix, const uint64_t *hashes, uint32_t count)
{
	for (unsigned step = 0; step < INDEX_FETCH_STEPS; step++)
		for (uint32_t i = 0; i < count; i++)
			id_index_fetch(ix, hashes[i], step);
}

static int page_new(struct id_index *ix, uint32_t *n)
{
	if (ix->pages / CHUNK_PAGES == ix->chunk_count) {
		struct index_page **chunks = realloc(ix->chunks, (ix->chunk_count + 1) * sizeof *chunks);

		if (!chunks)
			return -ENOMEM;
		ix->chunks = chunks;
		chunks[ix->chunk_count] = calloc(CHUNK_PAGES, sizeof **chunks);
		if (!chunks[ix->chunk_count])
			return -ENOMEM;
		ix->chunk_count++;
	}
	*n = ix->pages++;
	return 0;
}

static int directory_double(struct id_index *ix)
{
	size_t n = (size_t)1 << ix->depth;
	uint32_t *directory;

	if (n / SPARSE_MAX >= (uint64_t)ix->pages + ix->packed_pages)
		return -EOVERFLOW;
	directory = malloc(2 * n * sizeof *directory);
	if (!directory)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		directory[2 * i] = directory[2 * i + 1] = ix->directory[i];
	free(ix->directory);
	ix->directory = directory;
	ix->depth++;
	return 0;
}

static void page_append(struct index_page *p, uint64_t hash, uint64_t entry)
{
	assert(p->count < INDEX_PAGE_SLOTS);
	p->tag[p->count] = (uint8_t)hash;
	p->high[p->count] = (uint8_t)(entry >> 32);
	p->low[p->count] = (uint32_t)entry;
	p->count++;
}

/* Gives the directory's places whose first bits are those of hash another page. */
static void directory_set(struct id_index *ix, uint64_t hash, unsigned bits, uint32_t page)
{
	uint64_t span = 1ull << (ix->depth - bits), first = top_bits(hash, bits) * span;

	for (uint64_t i = first; i < first + span; i++)
		ix->directory[i] = page;
}

/* Splits the full page of this hash by the first bit that its entries do not share. */
static int page_split(struct id_index *ix, uint64_t hash, id_index_hash_fn hash_of, void *arg)
{
	struct index_page *low = page_at(ix, ix->directory[top_bits(hash, ix->depth)]), *high, old = *low;
	struct index_slots slots = slots_of_page(&old);
	uint64_t hashes[INDEX_PAGE_SLOTS];
	uint32_t n;
	int rc = 0;

	for (unsigned i = 0; i < old.count && !rc; i++)
		rc = hash_of(arg, slots_entry(&slots, i), &hashes[i]);
	if (rc)
		return rc;
	if (low->depth == ix->depth && (rc = directory_double(ix)))
		return rc;
	rc = page_new(ix, &n);
	if (rc)
		return rc;
	high = page_at(ix, n);
	low->count = high->count = 0;
	low->depth = high->depth = (uint8_t)(old.depth + 1);
	directory_set(ix, hash | 1ull << (63 - old.depth), high->depth, n);
	for (unsigned i = 0; i < old.count; i++) {
		bool is_high = hashes[i] >> (63 - old.depth) & 1;

		/* The tag is kept as it was: hash_of cannot tell the hash of a damaged row. */
		page_append(is_high ? high : low, old.tag[i], slots_entry(&slots, i));
	}
	return 0;
}

/* Copies a packed page to one that has room. */
static int page_unpack(struct id_index *ix, uint64_t hash)
{
	struct index_slots slots = slots_of(ix, hash);
	struct index_page *p;
	uint32_t n;
	int rc = page_new(ix, &n);

	if (rc)
		return rc;
	p = page_at(ix, n);
	p->depth = slots.depth;
	for (unsigned i = 0; i < *slots.count; i++)
		page_append(p, slots.tag[i], slots_entry(&slots, i));
	directory_set(ix, hash, slots.depth, n);
	return 0;
}

static int directory_new(struct id_index *ix)
{
	int rc;

	ix->directory = malloc(sizeof *ix->directory);
	if (!ix->directory)
		return -ENOMEM;
	rc = page_new(ix, ix->directory);
	if (rc) {
		free(ix->directory);
		ix->directory = NULL;
	}
	return rc;
}

/* ------------------------------------------------------------------ all pages at once */

unsigned id_index_bits(uint64_t hashes)
{
	unsigned bits = 0;

	while (hashes >> bits > LAY_OUT_HASHES)
		bits++;
	return bits;
}

/* The page of the hashes that begin with the first bits of prefix. */
static int lay_page(struct id_index *ix, uint64_t prefix, unsigned depth)
{
	uint32_t n;
	int rc = page_new(ix, &n);

	if (rc)
		return rc;
	page_at(ix, n)->depth = (uint8_t)depth;
	directory_set(ix, depth ? prefix << (64 - depth) : 0, depth, n);
	return 0;
}

/* Counts the hashes that begin with these bits, and makes their pages if they do not fit in one. */
static int lay_pages(struct id_index *ix, const uint8_t *counts, uint64_t prefix, unsigned depth,
		     uint64_t *sum)
{
	uint64_t halves[2] = {0};
	int rc = 0;

	if (depth == ix->depth) {
		*sum = counts[prefix];
		return 0;
	}
	for (unsigned i = 0; i < 2 && !rc; i++)
		rc = lay_pages(ix, counts, prefix << 1 | i, depth + 1, &halves[i]);
	*sum = halves[0] + halves[1];
	for (unsigned i = 0; i < 2 && *sum > INDEX_PAGE_SLOTS && !rc; i++)
		if (halves[i] <= INDEX_PAGE_SLOTS || depth + 1 == ix->depth)
			rc = lay_page(ix, prefix << 1 | i, depth + 1);
	return rc;
}

int id_index_lay_out(struct id_index *ix, const uint8_t *counts, unsigned bits)
{
	uint64_t sum;
	int rc;

	assert(!ix->directory);
	ix->directory = malloc(sizeof *ix->directory << bits);
	if (!ix->directory)
		return -ENOMEM;
	ix->depth = bits;
	rc = lay_pages(ix, counts, 0, 0, &sum);
	if (!rc && (sum <= INDEX_PAGE_SLOTS || !bits))
		rc = lay_page(ix, 0, 0);
	if (rc)
		id_index_free(ix);
	return rc;
}

int id_index_prepare(struct id_index *ix, uint64_t count)
{
	unsigned bits = 0;
	int rc = 0;

	assert(!ix->directory);
	while (count >> bits > PREPARED_SLOTS && bits < PREPARED_BITS_MAX)
		bits++;
	ix->directory = malloc(sizeof *ix->directory << bits);
	if (!ix->directory)
		return -ENOMEM;
	ix->depth = bits;
	for (uint64_t prefix = 0; prefix >> bits == 0 && !rc; prefix++)
		rc = lay_page(ix, prefix, bits);
	if (rc)
		id_index_free(ix);
	return rc;
}

/* ------------------------------------------------------------------ one entry */

int id_index_reserve_replacement(struct id_index *ix, uint64_t hash)
{
	return ix->directory[top_bits(hash, ix->depth)] & INDEX_PACKED ? page_unpack(ix, hash) : 0;
}

int id_index_reserve(struct id_index *ix, uint64_t hash, id_index_hash_fn hash_of, void *arg)
{
	int rc = ix->directory ? 0 : directory_new(ix);

	if (!rc)
		rc = id_index_reserve_replacement(ix, hash);
	while (!rc && *slots_of(ix, hash).count == INDEX_PAGE_SLOTS)
		rc = page_split(ix, hash, hash_of, arg);
	return rc;
}

void id_index_insert(struct id_index *ix, uint64_t hash, uint64_t entry)
{
	assert(entry && entry >> 40 == 0);
	page_append(page_at(ix, ix->directory[top_bits(hash, ix->depth)]), (uint8_t)hash, entry);
}

static void slots_take(struct index_slots *s, unsigned slot)
{
	unsigned last = *s->count - 1u;

	s->tag[slot] = s->tag[last];
	s->low[slot] = s->low[last];
	if (s->high)
		s->high[slot] = s->high[last];
	--*s->count;
}

void id_index_remove(struct id_index *ix, uint64_t hash, uint64_t entry)
{
	struct index_slots s = slots_of(ix, hash);

	for (uint64_t mask = slots_tagged(&s, (uint8_t)hash); mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctzll(mask);

		if (slots_entry(&s, i) != entry)
			continue;
		slots_take(&s, i);
		return;
	}
}

void id_index_sweep(struct id_index *ix, uint64_t hash, bool alike, id_index_match_fn is_gone, void *arg)
{
	struct index_slots s;

	if (!ix->directory)
		return;
	s = slots_of(ix, hash);
	/* From the end, so that what takes the place of one has been looked at. */
	for (unsigned i = *s.count; i--;)
		if ((!alike || s.tag[i] == (uint8_t)hash) && is_gone(arg, slots_entry(&s, i)))
			slots_take(&s, i);
}

/* ------------------------------------------------------------------ packed pages */

bool id_index_next_page(const struct id_index *ix, uint64_t *at, struct index_slots *out)
{
	if (!ix->directory || *at >> ix->depth)
		return false;
	*out = slots_of(ix, ix->depth ? *at << (64 - ix->depth) : 0);
	*at += 1ull << (ix->depth - out->depth);
	return true;
}

/* Reads the pages' places in directory and pack from their depths and counts. */
static int pack_place(struct id_index *ix, const uint8_t *depths, const uint8_t *counts)
{
	uint64_t at = 0, end = 1ull << ix->depth;
	uint32_t first = 0;

	for (uint32_t i = 0; i < ix->packed_pages; i++) {
		uint64_t span;

		if (depths[i] > ix->depth || counts[i] > INDEX_PAGE_SLOTS)
			return -EUCLEAN;
		span = 1ull << (ix->depth - depths[i]);
		if (at % span || end - at < span)
			return -EUCLEAN;
		ix->packed[i] = (struct packed_page){first, depths[i], counts[i]};
		first += counts[i];
		for (uint64_t last = at + span; at < last; at++)
			ix->directory[at] = INDEX_PACKED | i;
	}
	return at == end ? 0 : -EUCLEAN;
}

int id_index_use_pack(struct id_index *ix, unsigned depth, const struct index_pack *pack,
		      const uint8_t *depths, const uint8_t *counts, uint32_t pages)
{
	int rc;

	assert(!ix->directory);
	if (!pages)
		return depth ? -EUCLEAN : 0;
	/* Up to half of the pages that allowed this depth may have been unpacked, and are gone. */
	if (pages >= INDEX_PACKED || depth > 40 || 1ull << depth >> 2 > (uint64_t)SPARSE_MAX * pages)
		return -EUCLEAN;
	ix->directory = malloc(sizeof *ix->directory << depth);
	ix->packed = malloc(pages * sizeof *ix->packed);
	ix->depth = depth;
	ix->pack = *pack;
	ix->packed_pages = pages;
	rc = ix->directory && ix->packed ? pack_place(ix, depths, counts) : -ENOMEM;
	if (rc)
		id_index_free(ix);
	return rc;
}

uint64_t id_index_count(const uint8_t *counts, uint32_t pages)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < pages; i++)
		sum += counts[i];
	return sum;
}
