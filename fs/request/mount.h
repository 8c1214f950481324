/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount - a store that is served, as those see it who answer its requests: what they share, by its name only
 * where it belongs to a room above.
 */
#ifndef VECFS_FS_REQUEST_MOUNT_H
#define VECFS_FS_REQUEST_MOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "store/store.h"

enum session_transport { SERVE_TRANSPORT_UNKNOWN, SERVE_TRANSPORT_CLASSIC, SERVE_TRANSPORT_IO_URING };
enum session_io_uring { SERVE_IO_URING_AUTO, SERVE_IO_URING_ON, SERVE_IO_URING_OFF };

struct mount_options {
	const char *store_dir; /* the directory that the store was opened in */
	bool read_only, sync_on_close, allow_other, foreground, debug;
	bool standby; /* wait for the store while another process has it */
	unsigned commit_ms;
	enum session_io_uring io_uring;
	unsigned long flags_set,
		flags_cleared; /* MS_* of mount(2) that were asked for by name, and asked against */
};

struct fuse_session;
struct node_ops;
struct inode_table;
struct pairing_table;
struct result_table;
struct near_table;
struct session_table;
struct view_table;
struct notify;
struct schedule;
struct park;
struct recall_table;

/* What handlers need to know. Only session.c changes it, and but for transport only before requests arrive.
 */
struct mount {
	struct vs_store *store;
	struct mount_options options;
	struct fuse_session *session;
	const struct node_ops *const *node_ops; /* of each enum node_kind; NULL: nothing can be done */
	char *store_dir;                        /* absolute */
	char *mountpoint;                       /* absolute */
	vs_time started;
	struct vs_perm root_perm; /* of the mount's root directory, until it gets others */
	bool mounted;
	int connection;       /* connection_open()'s */
	bool direct_mmap;     /* the kernel maps direct_io files, too */
	bool stateless;       /* OPEN is answered with ENOSYS: no handler of this mount gets a file handle */
	atomic_int transport; /* enum session_transport, seen by the first request */
	atomic_uint names_changing; /* not 0: the kernel must not cache names of vectors */
	atomic_uint syncs;  /* requests that the engine will reply to when all is durable, and commits that
			       nobody waits for */
	atomic_bool failed; /* a transport that was insisted upon is not there */
	struct inode_table *inodes;
	struct pairing_table *pairings;
	struct result_table *results;
	struct near_table *near;
	struct session_table *sessions;
	struct view_table *views;
	struct notify *notify;
	struct schedule *schedule;
	struct recall_table *recalls;
	struct filter_table *filters;
	struct park *searches;         /* threads for requests that compute for long, */
	struct park *changes;          /* and for those that wait for the disk, where they hold up others */
	_Atomic uint64_t answer_bytes; /* memory of the answers of near/ and search/query (answer.h) */
	/* Sums of what searches in other processes have told (control/searched.h). */
	struct {
		_Atomic uint64_t queries, rows_scanned, rows_verified, us;
	} told;
	void (*ready)(void *arg);
	void *ready_arg;
};

#endif
