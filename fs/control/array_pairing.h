/* SPDX-License-Identifier: Apache-2.0 */
/*
 * array_pairing - which version of a collection a process sees in its arrays.
 *
 * `ids`, `rows`, `vectors.*` and views' `codes.npy` and `decoded.npy` that one process opens one after the
 * other must belong together, though others write in between. So each process that looks at the arrays of a
 * collection has a current version, a snapshot of the engine, and a lookup by name stays with it
 *
 *   - if the process has opened a part of it (ids, rows, vectors in any format, codes, what they stand for)
 * in the last ten seconds, but not yet this one;
 *   - if the process has this part open since less than a second: numpy.load opens a file three times for
 *     mmap_mode, one within the other.
 *
 * Every other lookup takes the collection's newest version. Changes that the same thread makes end the
 * pairing, unless an array is open. A process that cannot be told from others (PROCESS_UNKNOWN: it lives in
 * another pid namespace) is never paired with anything: each of its lookups takes the newest version. The
 * inode number of an array is made of the version, so that the pages and the size that the kernel caches are
 * right for as long as they are kept, and are used again while nothing changes.
 *
 * The number that stat(2) shows is the same, so that a reader can see of two that he has open whether they
 * are of one version: they differ in the last four bits only.
 *
 * That is for who opens arrays of the collection itself, which goes on changing: two opens have nothing else
 * in common. Below a durable snapshot there is one version for all, and nobody is asked who they are.
 *
 * An open array, and a mapping of one, pins its snapshot, which costs a copy of each row that changes
 * meanwhile. What was looked up and not opened is let go after a second, what was closed after ten; opening
 * it then is ESTALE, upon which the kernel looks it up again. On a stateless (and so read-only) mount nothing
 * changes, and there is one version for all.
 */
#ifndef VECFS_FS_CONTROL_ARRAY_PAIRING_H
#define VECFS_FS_CONTROL_ARRAY_PAIRING_H

#include "fs/request/ops.h"
#include "fs/request/process.h"

struct pairing;

struct pairing_table *pairing_table_new(void);
void pairing_table_free(struct pairing_table *t);

/* The NODE_MOMENT that the requesting process shall see as this NODE_ARRAY. */
int pairing_lookup(fuse_req_t req, const struct node *array, struct fuse_entry_param *e);
/* The version that the requesting process shall see of this array. */
int pairing_choose(fuse_req_t req, uint32_t collection, enum node_array array, struct vs_snapshot_info *out);
/* Opens a NODE_MOMENT for this process: -ESTALE if it is gone. */
int pairing_open(struct mount *s, const struct node *node, process_t process, struct pairing **out);
/* The process has closed it, but may still have it mapped. */
void pairing_leave(struct mount *s, const struct node *node, process_t process, const struct pairing *m);
/* Nobody uses what pairing_open() opened any more. */
void pairing_close(struct mount *s, struct pairing *m);
/* For a stateless mount: the snapshot stays open as long as the mount. */
int pairing_pin(struct mount *s, const struct node *node, struct pairing **out);
/* What it is about, if it is not gone. */
int pairing_find(struct mount *s, const struct node *node, struct vs_snapshot_info *info);
struct vs_snapshot *pairing_of(const struct pairing *m);
/* This thread has changed something in the collection. */
void pairing_changed(struct mount *s, uint32_t collection, pid_t thread);
/* Lets go of what nobody uses any more; true if there is more to come. */
bool pairing_sweep(struct mount *s);

#endif
