/* SPDX-License-Identifier: Apache-2.0 */
/* row_schema - the first vector of a collection fixes its schema, and the last one frees it. */
#include <assert.h>
#include <errno.h>

#include "store/row/row.h"

#define FREE_SCHEMA_TRIES 8
#define LEAVE_MAX 4u /* segments left by one change: what it has room for */

int rows_fix_schema(struct txn *txn, struct collection *c, size_t size)
{
	struct vs_schema schema = c->schema;
	bool fixed;

	if (c->schema_fixed && collection_schema(c, &fixed).dtype != schema.dtype)
		return -EINVAL; /* it must be freed first */
	if (!schema.dim)
		schema.dim = vs_dim_of_size(schema.dtype, size);
	if (!schema.dim || vs_row_bytes(&schema) != size)
		return -EINVAL;
	if (c->schema_fixed)
		return 0;
	collection_set_schema(c, &schema);
	c->schema_fixed = true;
	rows_log_collection(txn, c);
	return 0;
}

void rows_unfix_schema(struct txn *txn, struct collection *c, const struct vs_schema *schema)
{
	while (c->segment_count) {
		struct segment *seg = c->segments[--c->segment_count];

		assert(!seg->count);
		c->directory_changed = true;
		if (segment_has_files(seg))
			ahead_return(txn->ahead, seg);
		else
			segment_put(txn->s->io, seg);
		txn->s->table.segments--;
	}
	c->room = 0;
	collection_set_schema(c, schema);
	c->schema_fixed = false;
}

/* Whether there is something to free; *next_entry tells later whether there have been vectors since. */
static bool may_free_schema(struct vs_store *s, uint32_t collection, uint64_t *next_entry)
{
	const struct collection *c;
	bool may;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	may = c && c->schema_fixed && collection_is_vacant(c);
	if (may)
		*next_entry = c->next_entry;
	pthread_rwlock_unlock(&s->lock);
	return may;
}

/* Takes segments that were made for rows which then did not come: nothing else would ever remove them. */
static void leave_unused(struct txn *txn, struct collection *c)
{
	for (uint32_t i = 0, left = 0; i < c->segment_count && left < LEAVE_MAX; i++) {
		struct segment *seg = c->segments[i];

		if (!segment_has_files(seg) || seg->count || seg->going || seg->trims || seg->unlinked)
			continue;
		rows_leave_segment(txn, c, seg);
		left++;
	}
}

/* false: there have been vectors since, or there still are files. */
static bool free_schema(struct txn *txn, uint32_t collection, uint64_t next_entry)
{
	struct collection *c = collection_get(&txn->s->table, collection);
	struct vs_schema schema;
	bool fixed;

	if (!c || !c->schema_fixed)
		return true;
	if (!collection_is_vacant(c) || c->attaching || c->next_entry != next_entry)
		return false;
	leave_unused(txn, c);
	if (c->segment_count)
		return false;
	schema = collection_schema(c, &fixed);
	collection_set_schema(c, &schema);
	c->schema_fixed = fixed;
	c->room = 0;
	c->changed = ++c->version;
	rows_log_collection(txn, c);
	return true;
}

/* Whether files of an emptied segment could not be removed: it keeps its number, for rows of their size. */
static bool has_files_that_stay(struct vs_store *s, uint32_t collection)
{
	const struct collection *c;
	uint32_t i = 0;
	bool stay;

	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	while (c && i < c->segment_count && !c->segments[i]->unlinked)
		i++;
	stay = c && i < c->segment_count;
	pthread_rwlock_unlock(&s->lock);
	return stay;
}

int rows_free_schema(struct vs_store *s, uint32_t collection)
{
	uint64_t next_entry;
	bool done = false;
	struct txn txn;

	for (int tries = 0; !done && may_free_schema(s, collection, &next_entry); tries++) {
		int rc = 0;

		if (tries == FREE_SCHEMA_TRIES)
			rc = has_files_that_stay(s, collection) ? -EIO : -EBUSY;
		/* The files go with the last row, and must be gone from the catalog, too. */
		if (!rc && __atomic_load_n(&s->logging, __ATOMIC_ACQUIRE) && !(rc = commit_wait_applied(s)))
			rc = commit_checkpoint(s);
		if (!rc)
			rc = txn_begin(s, &txn, TXN_SMALL_BYTES);
		if (rc)
			return rc;
		done = free_schema(&txn, collection, next_entry);
		txn_end(&txn);
	}
	return 0;
}
