/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/recall_table.h"

#include <pthread.h>
#include <stdlib.h>

#include "store/search/recall.h"
#include "store/view/view.h"

#define SLOTS 64u

struct slot {
	uint32_t collection, k, rerank;
	uint64_t model, rows; /* model 0: free */
	double recall;
};

struct recall_table {
	pthread_mutex_t lock;
	unsigned next; /* that is given up for another one */
	struct slot slots[SLOTS];
};

struct recall_table *recall_table_new(void)
{
	struct recall_table *t = calloc(1, sizeof *t);

	if (t)
		pthread_mutex_init(&t->lock, NULL);
	return t;
}

void recall_table_free(struct recall_table *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static bool is_of(const struct slot *slot, const struct slot *wanted)
{
	return slot->model && slot->model == wanted->model && slot->collection == wanted->collection &&
	       slot->k == wanted->k && slot->recall == wanted->recall &&
	       wanted->rows <= slot->rows + slot->rows / 4 && wanted->rows >= slot->rows - slot->rows / 4;
}

static bool find(struct recall_table *t, struct slot *wanted)
{
	bool found = false;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < SLOTS && !found; i++)
		if (is_of(&t->slots[i], wanted)) {
			wanted->rerank = t->slots[i].rerank;
			found = true;
		}
	pthread_mutex_unlock(&t->lock);
	return found;
}

static void keep(struct recall_table *t, const struct slot *slot)
{
	pthread_mutex_lock(&t->lock);
	t->slots[t->next++ % SLOTS] = *slot;
	pthread_mutex_unlock(&t->lock);
}

int recall_table_depth(struct recall_table *t, struct vs_snapshot *m, const struct vs_view *view, uint32_t k,
		       double recall, bool (*is_cancelled)(void *arg, uint64_t rows), void *arg,
		       uint32_t *rerank)
{
	struct slot slot = {.k = k, .recall = recall, .model = vs_view_model(view)};
	struct vs_snapshot_info info;
	int rc = 0;

	vs_snapshot_info(m, &info);
	slot.collection = info.collection;
	slot.rows = info.rows;
	if (!t || !find(t, &slot)) {
		rc = vs_recall_depth(m, view, k, recall, is_cancelled, arg, &slot.rerank);
		if (!rc && t)
			keep(t, &slot);
	}
	*rerank = slot.rerank;
	return rc;
}
