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
/* Places of the directory for each page: far above what well-hashed entries need. */
#define SPARSE_MAX 4096u

void id_index_init(struct id_index *ix)
{
	memset(ix, 0, sizeof *ix);
}

void id_index_free(struct id_index *ix)
{
	for (uint32_t i = 0; i < ix->chunk_count; i++)
		free(ix->chunks[i]);
	free(ix->chunks);
	free(ix->directory);
	id_index_init(ix);
}

struct index_page *index_page(const struct id_index *ix, uint32_t n)
{
	assert(n < ix->pages);
	if (n < ix->image_pages)
		return &ix->image[n];
	n -= ix->image_pages;
	return &ix->chunks[n / CHUNK_PAGES][n % CHUNK_PAGES];
}

static uint64_t top_bits(uint64_t hash, unsigned bits)
{
	return bits ? hash >> (64 - bits) : 0;
}

static struct index_page *page_of(const struct id_index *ix, uint64_t hash)
{
	return index_page(ix, ix->directory[top_bits(hash, ix->depth)]);
}

static uint64_t page_entry(const struct index_page *p, unsigned slot)
{
	return (uint64_t)p->high[slot] << 32 | p->low[slot];
}

/* The slots whose tag is the given one, as a bit mask. */
static uint64_t page_tags(const struct index_page *p, uint8_t tag)
{
	uint64_t mask = 0;

#ifdef __SSE2__
	const __m128i want = _mm_set1_epi8((char)tag);

	for (unsigned i = 0; i < INDEX_PAGE_SLOTS; i += 16) {
		__m128i have = _mm_loadu_si128((const __m128i *)(const void *)(p->tag + i));
		unsigned bits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(have, want));

		mask |= (uint64_t)bits << i;
	}
#else
	for (unsigned i = 0; i < INDEX_PAGE_SLOTS; i++)
		mask |= (uint64_t)(p->tag[i] == tag) << i;
#endif
	return p->count == INDEX_PAGE_SLOTS ? mask : mask & ((1ull << p->count) - 1);
}

uint64_t id_index_find(const struct id_index *ix, uint64_t hash, id_index_match_fn match, void *arg)
{
	const struct index_page *p;

	if (!ix->directory)
		return 0;
	p = page_of(ix, hash);
	for (uint64_t mask = page_tags(p, (uint8_t)hash); mask; mask &= mask - 1) {
		uint64_t entry = page_entry(p, (unsigned)__builtin_ctzll(mask));

		if (match(arg, entry))
			return entry;
	}
	return 0;
}

static int page_new(struct id_index *ix, uint32_t *n)
{
	uint32_t own = ix->pages - ix->image_pages;

	if (own / CHUNK_PAGES == ix->chunk_count) {
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

	if (n / SPARSE_MAX >= ix->pages)
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

/* Splits the full page of this hash by the first bit that its entries do not share. */
static int page_split(struct id_index *ix, uint64_t hash, id_index_hash_fn hash_of, void *arg)
{
	struct index_page *low = page_of(ix, hash), *high, old = *low;
	uint64_t first, span, hashes[INDEX_PAGE_SLOTS];
	uint32_t n;
	int rc = 0;

	for (unsigned i = 0; i < old.count && !rc; i++)
		rc = hash_of(arg, page_entry(&old, i), &hashes[i]);
	if (rc)
		return rc;
	if (low->depth == ix->depth && (rc = directory_double(ix)))
		return rc;
	rc = page_new(ix, &n);
	if (rc)
		return rc;
	high = index_page(ix, n);
	low->count = high->count = 0;
	low->depth = high->depth = (uint8_t)(old.depth + 1);
	span = 1ull << (ix->depth - low->depth);
	first = top_bits(hash, old.depth) << (ix->depth - old.depth);
	for (uint64_t i = first + span; i < first + 2 * span; i++)
		ix->directory[i] = n;
	for (unsigned i = 0; i < old.count; i++) {
		bool is_high = hashes[i] >> (63 - old.depth) & 1;

		/* The tag is kept as it was: hash_of cannot tell the hash of a damaged row. */
		page_append(is_high ? high : low, old.tag[i], page_entry(&old, i));
	}
	return 0;
}

int id_index_reserve(struct id_index *ix, uint64_t hash, id_index_hash_fn hash_of, void *arg)
{
	int rc;

	if (!ix->directory) {
		ix->directory = malloc(sizeof *ix->directory);
		if (!ix->directory)
			return -ENOMEM;
		rc = page_new(ix, ix->directory);
		if (rc) {
			free(ix->directory);
			ix->directory = NULL;
			return rc;
		}
	}
	while (page_of(ix, hash)->count == INDEX_PAGE_SLOTS) {
		rc = page_split(ix, hash, hash_of, arg);
		if (rc)
			return rc;
	}
	return 0;
}

void id_index_insert(struct id_index *ix, uint64_t hash, uint64_t entry)
{
	assert(entry && entry >> 40 == 0);
	page_append(page_of(ix, hash), hash, entry);
}

void id_index_remove(struct id_index *ix, uint64_t hash, uint64_t entry)
{
	struct index_page *p = page_of(ix, hash);

	for (uint64_t mask = page_tags(p, (uint8_t)hash); mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctzll(mask), last = p->count - 1u;

		if (page_entry(p, i) != entry)
			continue;
		p->tag[i] = p->tag[last];
		p->high[i] = p->high[last];
		p->low[i] = p->low[last];
		p->count--;
		return;
	}
}
