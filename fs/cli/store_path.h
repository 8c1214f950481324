/* SPDX-License-Identifier: Apache-2.0 */
/* store_path - STORE/NAME and STORE/NAME/.vecfs/snap/S: a collection or snapshot of a store that is not
 * mounted.
 */
#ifndef VECFS_FS_CLI_STORE_PATH_H
#define VECFS_FS_CLI_STORE_PATH_H

#include "store/store.h"

#define STORE_PATH_SNAP "/.vecfs/snap/"

struct store_path {
	const char *store, *collection;
	const char *snapshot; /* NULL: none */
};

/* Takes a path apart, which is cut into these pieces. -ENOENT: there is no name in it. */
int store_path_split(char *path, struct store_path *out);
/* What it names in the store, which is open. -ENOENT. */
int store_path_find(struct vs_store *store, const struct store_path *path, struct vs_collection_info *out);

#endif
