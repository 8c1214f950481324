/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/tree/rename.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/control/batch.h"
#include "fs/control/view_dir.h"
#include "fs/tree/dir.h"
#include "fs/tree/vector.h"

/* A collection, or an open batch, gets another name under the same parent. */
static int rename_collection(struct mount *s, uint32_t parent, const char *name, const char *new_name,
			     bool exclusive)
{
	struct vs_collection_info info;
	int rc = vs_name_check(new_name, strlen(new_name));

	if (!rc)
		rc = vs_collection_find(s->store, parent, name, &info);
	return rc ? rc : vs_collection_rename(s->store, info.id, new_name, exclusive);
}

static int commit(struct mount *s, uint32_t collection, const char *name)
{
	struct vs_collection_info batch;
	int rc = vs_collection_find(s->store, collection, name, &batch);

	return rc ? rc : batch_commit(s, &batch);
}

int rename_node(struct mount *s, const struct node *from, const char *name, const struct node *to,
		const char *new_name, unsigned flags)
{
	bool exclusive = flags & RENAME_NOREPLACE;

	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return -EINVAL; /* there is no exchanging */
	if (!strcmp(name, ".vecfs") || !strcmp(new_name, ".vecfs"))
		return -EPERM;
	if (from->kind == NODE_COLLECTION && to->kind == NODE_COLLECTION)
		return vector_rename(s, from->collection, name, to->collection, new_name, exclusive);
	if (from->kind == NODE_ROOT && to->kind == NODE_ROOT)
		return rename_collection(s, 0, name, new_name, exclusive);
	if (from->kind == NODE_CONTROL && to->kind == NODE_CONTROL && from->collection == to->collection)
		return batch_rename(s, from->collection, name, new_name, exclusive);
	if (from->kind == NODE_VIEWS)
		return view_refuse_rename(s, from, name);
	if (from->kind == NODE_SNAP && to->kind == NODE_SNAP && from->collection == to->collection)
		return snap_rename(s, from->collection, name, new_name);
	if (from->kind == NODE_TX && from->collection == to->collection) {
		if (to->kind == NODE_TX)
			return rename_collection(s, from->collection, name, new_name, exclusive);
		if (to->kind == NODE_COMMIT)
			return commit(s, from->collection, name);
	}
	return -EPERM;
}
