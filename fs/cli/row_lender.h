/* SPDX-License-Identifier: Apache-2.0 */
/*
 * row_lender - a collection or snapshot in a mount, as it is at this moment, for this process to search
 * (store/snapshot/borrowed.h): metadata and ids through the mount's array files, which stay of one version
 * for as long as they are open; vectors and codes from the store's own files, where the user may read them.
 *
 * The daemon keeps nothing of it but the open files, so it ends with the process, however that ends.
 */
#ifndef VECFS_FS_CLI_ROW_LENDER_H
#define VECFS_FS_CLI_ROW_LENDER_H

#include "store/store.h"

struct row_lender;

/*
 * view: the one that is to be searched through, or "": sq8 then, if it is ready. -EACCES and others: it
 * cannot be had so. The snapshot is closed before the lender, by whoever has it then.
 */
int row_lender_open(const char *path, const char *view, struct row_lender **out,
		    struct vs_snapshot **snapshot);
void row_lender_close(struct row_lender *l);

#endif
