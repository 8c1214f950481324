/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_recall - views/V/.vecfs/recall: how many of the true ten nearest a search through the view finds, as
 * store/search/recall.h measures it.
 */
#ifndef VECFS_FS_CONTROL_VIEW_RECALL_H
#define VECFS_FS_CONTROL_VIEW_RECALL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "store/store.h"

#define VIEW_RECALL_K 10u
#define VIEW_RECALL_DEPTHS 4u

/* How many candidates are verified in f32, for each of the depths: 0, 20, 50, 100. */
extern const uint32_t view_recall_depths[VIEW_RECALL_DEPTHS];

struct view_recall {
	uint32_t queries; /* 0: there were no two vectors that can be found */
	uint64_t rows;    /* of the collection then */
	uint64_t model;   /* vs_view_model() */
	double recall[VIEW_RECALL_DEPTHS];
};

/* -EAGAIN: the view has no codes yet; -EINTR: is_cancelled said so. It compares every row with each query:
 * about a second for a million rows of 100 numbers. */
int view_recall_measure(struct vs_store *store, uint32_t collection, const char *name,
			bool (*is_cancelled)(void *arg, uint64_t rows), void *arg, struct view_recall *out);

/* As key=value lines. */
void view_recall_print(const struct view_recall *recall, FILE *out);

#endif
