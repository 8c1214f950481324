/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search_params - what a search is asked for: key=value, in the name of a directory near@KEY=VALUE,... or
 * line by line in a session's params.
 *
 *   k=10            the most hits, 1 .. 1,000,000
 *   radius=1.5      only hits that are not farther (ip: not smaller)
 *   filter=a*       only ids that match the pattern
 *   ids=NAME        only the ids in the session's file NAME; with !NAME only those that are not in it
 *   format=text     or json
 *   timeout_ms=0    0: as long as it takes
 *   view=V          candidates from the codes of the view V. Without it every vector is compared, through
 *                   the view sq8 if there is one, which finds the same
 *   rerank=auto     or how many candidates are verified with their vectors; 0: none, and distances are those
 *                   of the codes
 *   recall=0.95     as many as are needed to find so many of the nearest, measured on stored vectors
 */
#ifndef VECFS_FS_CONTROL_SEARCH_PARAMS_H
#define VECFS_FS_CONTROL_SEARCH_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEARCH_K_MAX 1000000u
#define SEARCH_K_DEFAULT 10u

struct search_params {
	uint32_t k;
	bool has_radius, deny, json;
	float radius;
	unsigned timeout_ms;
	unsigned threads; /* that search; no key sets it */
	char filter[256]; /* "": none; so for the others */
	char ids[256];
	char view[32];
	uint32_t rerank; /* as vs_query's */
	double recall;   /* 0: rerank counts */
};

void search_params_init(struct search_params *p);
/* Takes one key=value; on -EINVAL nothing has changed, and why says what is wrong. */
int search_params_set(struct search_params *p, const char *word, size_t len, char *why, size_t why_size);
/* Takes words that are separated by one of separators. */
int search_params_parse(struct search_params *p, const char *text, size_t len, char separator, char *why,
			size_t why_size);

#endif
