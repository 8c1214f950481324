/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter - which ids a search looks at: those that match a pattern, and those that are, or are not, in a
 * list.
 *
 * A filter is made once, then asked for each row; asking takes no lock and changes nothing, from any thread.
 */
#ifndef VECFS_STORE_SEARCH_FILTER_H
#define VECFS_STORE_SEARCH_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

struct vs_filter;

/* Lets everything pass. NULL: no memory. */
struct vs_filter *vs_filter_new(void);
void vs_filter_free(struct vs_filter *f); /* f may be NULL */
/* Only ids that match the pattern pass, as fnmatch(3) tells in the C locale: `*`, `?`, `[a-z]`, `[!a]`, and a
 * backslash before one of these; a leading dot is no exception. -ENOMEM. */
int vs_filter_glob(struct vs_filter *f, const char *pattern);
/* Only the ids of the list pass, or with deny those that are not in it; a second call adds to the list.
 * -ENOMEM. */
int vs_filter_add(struct vs_filter *f, const char *id, size_t len);
void vs_filter_deny(struct vs_filter *f, bool deny);
bool vs_filter_passes(const struct vs_filter *f, const char *id, size_t len);
/* How many ids a list lets pass at the most; SIZE_MAX if that is not known, for want of a list that allows.
 */
size_t vs_filter_allowed(const struct vs_filter *f);
/* The next id of the list, *at being 0 for the first; NULL at the end. */
const char *vs_filter_next(const struct vs_filter *f, size_t *at, size_t *len);
/* Filters that have the same digest let the same ids pass. The seed is to be nobody's to know who makes them.
 */
void vs_filter_digest(const struct vs_filter *f, uint64_t seed, uint64_t digest[2]);
/* The bytes of memory it holds. */
size_t vs_filter_bytes(const struct vs_filter *f);

#pragma GCC visibility pop

#endif
