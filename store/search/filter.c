/* SPDX-License-Identifier: Apache-2.0 */
#include "store/search/filter.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"
#include "store/search/state.h"
#include "store/segment/segment.h"
#include "store/store.h"

/*
 * The list is a set of ids: their bytes end to end in a heap, each after its length (two bytes), and a table
 * of their places, open addressing with linear probing, at most half full.
 */
struct vs_filter {
	char *glob;
	size_t glob_len, prefix_len, suffix_len; /* whole; of its literal beginning and end, */
	bool is_star;                            /* which have nothing but one * between them */
	uint16_t first, last;                    /* two characters of these, if they have so many */
	bool is_plain;                           /* nothing in it is special but * and ? */
	bool has_list, deny;
	unsigned char *heap;
	size_t heap_used, heap_size;
	uint32_t *places; /* in the heap, plus one; 0: free */
	size_t capacity, count;
};

#define LENGTH_BYTES 2
#define CAPACITY_MIN 64

struct vs_filter *vs_filter_new(void)
{
	return calloc(1, sizeof(struct vs_filter));
}

void vs_filter_free(struct vs_filter *f)
{
	if (!f)
		return;
	free(f->glob);
	free(f->heap);
	free(f->places);
	free(f);
}

/* ------------------------------------------------------------------ the pattern */

static inline uint16_t two_characters(const char *text)
{
	uint16_t two;

	memcpy(&two, text, sizeof two);
	return two;
}

/* How many characters after the last * are literal: all, or none. A ] might end what the * is in. */
static size_t suffix_of(const char *pattern)
{
	const char *star = strrchr(pattern, '*');

	return star && !strpbrk(star + 1, "?[]\\") ? strlen(star + 1) : 0;
}

int vs_filter_glob(struct vs_filter *f, const char *pattern)
{
	char *copy = strdup(pattern);

	if (!copy)
		return -ENOMEM;
	free(f->glob);
	f->glob = copy;
	f->prefix_len = strcspn(pattern, "*?[\\");
	f->suffix_len = suffix_of(pattern);
	f->glob_len = strlen(pattern);
	f->is_star = pattern[f->prefix_len] == '*' && f->prefix_len + 1 + f->suffix_len == f->glob_len;
	f->is_plain = !strpbrk(pattern, "[\\");
	f->first = f->prefix_len >= 2 ? two_characters(pattern) : 0;
	f->last = f->suffix_len >= 2 ? two_characters(pattern + f->glob_len - 2) : 0;
	return 0;
}

/* Whether an id's first and last characters can be a match's: nearly all ids of a million end here. */
static inline bool may_match(const struct vs_filter *f, const char *id, size_t len)
{
	return len >= 2 && (!f->first || two_characters(id) == f->first) &&
	       (!f->last || two_characters(id + len - 2) == f->last);
}

/* A pattern of *, ? and what stands for itself, as fnmatch(3) has it, which takes ten times as long. A * that
 * turns out to be too short takes a character more. */
static bool plain_matches(const char *pattern, const char *id, size_t len)
{
	const char *end = id + len, *after_star = NULL, *from = NULL;

	while (id < end) {
		if (*pattern == '*') {
			after_star = ++pattern;
			from = id;
		} else if (*pattern && (*pattern == '?' || *pattern == *id)) {
			pattern++;
			id++;
		} else if (after_star) {
			pattern = after_star;
			id = ++from;
		} else {
			return false;
		}
	}
	return pattern[strspn(pattern, "*")] == '\0';
}

/* What stands before the first special character, and after the last, is compared here: most ids differ
 * there, and fnmatch(3) is slow. */
static bool glob_matches(const struct vs_filter *f, const char *id, size_t len)
{
	char text[VS_NAME_MAX + 1];
	size_t literal = f->is_star ? f->prefix_len + f->suffix_len : f->prefix_len;

	if (len < literal || len < f->suffix_len || len > VS_NAME_MAX ||
	    (f->prefix_len && memcmp(id, f->glob, f->prefix_len) != 0) ||
	    memcmp(id + len - f->suffix_len, f->glob + f->glob_len - f->suffix_len, f->suffix_len) != 0)
		return false;
	if (f->is_star)
		return true;
	if (f->is_plain)
		return plain_matches(f->glob + f->prefix_len, id + f->prefix_len, len - f->prefix_len);
	memcpy(text, id + f->prefix_len, len - f->prefix_len);
	text[len - f->prefix_len] = '\0';
	return !fnmatch(f->glob + f->prefix_len, text, 0);
}

/* ------------------------------------------------------------------ the list */

static bool is_at(const struct vs_filter *f, uint32_t place, const char *id, size_t len)
{
	const unsigned char *p = f->heap + place - 1;

	return (size_t)(p[0] | p[1] << 8) == len && !memcmp(p + LENGTH_BYTES, id, len);
}

/* Where the id is in the table, or where it would be. */
static size_t find(const struct vs_filter *f, const char *id, size_t len)
{
	size_t at = (size_t)XXH3_64bits(id, len) & (f->capacity - 1);

	while (f->places[at] && !is_at(f, f->places[at], id, len))
		at = (at + 1) & (f->capacity - 1);
	return at;
}

static int grow_table(struct vs_filter *f)
{
	struct vs_filter bigger = *f;

	if (f->count * 2 < f->capacity)
		return 0;
	bigger.capacity = f->capacity ? f->capacity * 2 : CAPACITY_MIN;
	bigger.places = calloc(bigger.capacity, sizeof *bigger.places);
	if (!bigger.places)
		return -ENOMEM;
	for (size_t i = 0; i < f->capacity; i++) {
		const unsigned char *p = f->places[i] ? f->heap + f->places[i] - 1 : NULL;

		if (p)
			bigger.places[find(&bigger, (const char *)p + LENGTH_BYTES,
					   (size_t)(p[0] | p[1] << 8))] = f->places[i];
	}
	free(f->places);
	*f = bigger;
	return 0;
}

static int grow_heap(struct vs_filter *f, size_t more)
{
	size_t size = f->heap_size ? f->heap_size : 4096;
	unsigned char *heap;

	while (size < f->heap_used + more)
		size *= 2;
	if (size > UINT32_MAX)
		return -ENOMEM;
	if (size == f->heap_size)
		return 0;
	heap = realloc(f->heap, size);
	if (!heap)
		return -ENOMEM;
	f->heap = heap;
	f->heap_size = size;
	return 0;
}

int vs_filter_add(struct vs_filter *f, const char *id, size_t len)
{
	size_t at;
	int rc = len > UINT16_MAX ? -EINVAL : grow_table(f);

	if (!rc)
		rc = grow_heap(f, LENGTH_BYTES + len);
	if (rc)
		return rc;
	f->has_list = true;
	at = find(f, id, len);
	if (f->places[at])
		return 0;
	f->places[at] = (uint32_t)f->heap_used + 1;
	f->heap[f->heap_used++] = (unsigned char)len;
	f->heap[f->heap_used++] = (unsigned char)(len >> 8);
	memcpy(f->heap + f->heap_used, id, len);
	f->heap_used += len;
	f->count++;
	return 0;
}

void vs_filter_deny(struct vs_filter *f, bool deny)
{
	f->deny = deny;
	f->has_list = true;
}

bool vs_filter_passes(const struct vs_filter *f, const char *id, size_t len)
{
	if (f->has_list && (f->count && f->places[find(f, id, len)]) == f->deny)
		return false;
	return !f->glob || glob_matches(f, id, len);
}

uint64_t filter_may_pass(const struct vs_filter *f, const struct row *rows, uint64_t wanted,
			 const char *names, uint32_t granules)
{
	bool is_quick = f->glob && (f->first || f->last);
	uint64_t may = 0;

	for (; wanted; wanted &= wanted - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(wanted);
		size_t len = rows[i].name_len;
		uint64_t at = rows[i].name_at;
		const char *id = names + at * NAME_GRANULE;

		if (len && at + names_granules(len) <= granules && (!is_quick || may_match(f, id, len)) &&
		    vs_filter_passes(f, id, len))
			may |= UINT64_C(1) << i;
	}
	return may;
}

size_t vs_filter_allowed(const struct vs_filter *f)
{
	return f->has_list && !f->deny ? f->count : SIZE_MAX;
}

const char *vs_filter_next(const struct vs_filter *f, size_t *at, size_t *len)
{
	const unsigned char *p = f->heap + *at;

	if (*at == f->heap_used)
		return NULL;
	*len = (size_t)(p[0] | p[1] << 8);
	*at += LENGTH_BYTES + *len;
	return (const char *)p + LENGTH_BYTES;
}

void vs_filter_digest(const struct vs_filter *f, uint64_t seed, uint64_t digest[2])
{
	uint64_t kind = (f->glob ? 1u : 0) | (f->has_list ? 2u : 0) | (f->deny ? 4u : 0);
	XXH128_hash_t glob =
		XXH3_128bits_withSeed(f->glob ? f->glob : "", f->glob ? f->glob_len : 0, seed + kind);
	XXH128_hash_t list = XXH3_128bits_withSeed(f->heap, f->heap_used, glob.low64);

	digest[0] = list.low64;
	digest[1] = list.high64 ^ glob.high64;
}

size_t vs_filter_bytes(const struct vs_filter *f)
{
	return sizeof *f + (f->glob ? f->glob_len + 1 : 0) + f->heap_size + f->capacity * sizeof *f->places;
}
