/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - a store served as a mount: the FUSE session, its transport and its loop.
 *
 * Between vs_open() and vs_close():
 *
 *   session_start()  makes the session and the mount; requests wait in the kernel
 *   session_loop()   answers them until somebody unmounts, or SIGTERM, SIGINT or SIGHUP arrives
 *   vs_sync()        by the caller: after a signal everything becomes durable before the mount goes away
 *   session_end()    unmounts, if that has not happened, and frees
 *
 * No thread exists before session_loop(), but the process must have forked into the background before
 * vs_open().
 */
#ifndef VECFS_FS_MOUNT_SESSION_H
#define VECFS_FS_MOUNT_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "store/store.h"

enum session_io_uring { SERVE_IO_URING_AUTO, SERVE_IO_URING_ON, SERVE_IO_URING_OFF };

struct mount_options {
	const char *store_dir; /* the directory that the store was opened in */
	bool read_only, sync_on_close, allow_other, foreground, debug;
	unsigned commit_ms;
	enum session_io_uring io_uring;
	unsigned long flags_set,
		flags_cleared; /* MS_* of mount(2) that were asked for by name, and asked against */
};

struct fuse_session;
struct inode_table;
struct pairing_table;
struct result_table;
struct near_table;
struct session_table;
struct notify;
struct schedule;

/* What handlers need to know. Only session.c changes it, and but for transport only before requests arrive.
 */
struct mount {
	struct vs_store *store;
	struct mount_options options;
	struct fuse_session *session;
	char *store_dir;  /* absolute */
	char *mountpoint; /* absolute */
	vs_time started;
	struct vs_perm root_perm; /* of the mount's root directory, until it gets others */
	bool mounted;
	int connection;       /* connection_open()'s */
	bool direct_mmap;     /* the kernel maps direct_io files, too */
	bool stateless;       /* OPEN is answered with ENOSYS: no handler of this mount gets a struct file */
	atomic_int transport; /* enum session_transport, seen by the first request */
	atomic_uint names_changing; /* not 0: the kernel must not cache names of vectors */
	atomic_uint syncs;          /* requests that the engine will reply to when all is durable */
	atomic_bool failed;         /* a transport that was insisted upon is not there */
	struct inode_table *inodes;
	struct pairing_table *pairings;
	struct result_table *results;
	struct near_table *near;
	struct session_table *sessions;
	struct notify *notify;
	struct schedule *schedule;
	void (*ready)(void *arg);
	void *ready_arg;
};

enum session_transport { SERVE_TRANSPORT_UNKNOWN, SERVE_TRANSPORT_CLASSIC, SERVE_TRANSPORT_IO_URING };

/* Makes the session and the mount. On failure why holds one sentence. */
int session_start(struct vs_store *store, const char *mountpoint, const struct mount_options *options,
		  struct mount **out, char *why, size_t why_size);
/* Serves until unmounted or signalled (0). ready(arg) is called, from some thread, when the mount answers. */
int session_loop(struct mount *s, void (*ready)(void *arg), void *arg);
void session_end(struct mount *s);
/* For the thread that has seen the first request answered: tells of the transport, and calls ready. */
void session_answering(struct mount *s);

#endif
