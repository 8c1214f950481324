/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/store_path.h"

#include <errno.h>
#include <string.h>

static void cut_slashes(char *path)
{
	for (size_t len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
}

int store_path_split(char *path, struct store_path *out)
{
	char *infix = strstr(path, STORE_PATH_SNAP), *slash;

	cut_slashes(path);
	*out = (struct store_path){.store = ".", .collection = path};
	if (infix) {
		out->snapshot = infix + strlen(STORE_PATH_SNAP);
		*infix = '\0';
		cut_slashes(path);
	}
	slash = strrchr(path, '/');
	if (slash == path)
		return -ENOENT;
	if (slash) {
		*slash = '\0';
		out->store = path;
		out->collection = slash + 1;
	}
	return *out->collection ? 0 : -ENOENT;
}

int store_path_find(struct vs_store *store, const struct store_path *path, struct vs_collection_info *out)
{
	int rc = vs_collection_find(store, 0, path->collection, out);

	return !rc && path->snapshot ? vs_snap_find(store, out->id, path->snapshot, out) : rc;
}
