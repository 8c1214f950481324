/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_parts - what a search session is made of, shared by search_session.c (the table and the
 * directories), session_answer.c (the search and its results) and session_file.c (the files).
 */
#ifndef VECFS_FS_CONTROL_SESSION_PARTS_H
#define VECFS_FS_CONTROL_SESSION_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/control/search_session.h"
#include "store/store.h"

#define SESSION_WHY_BYTES 512

/* The files of a session by number; lists follow. */
enum session_part {
	FILE_PARAMS,
	FILE_QUERIES,
	FILE_ROWS,
	FILE_DISTANCES,
	FILE_NAMES,
	FILE_JSON,
	FILE_STATS,
	FILE_PROGRESS, /* no lock is taken for it: it is read while a search is under way */
	FILE_LISTS
};
#define LISTS_MAX 16u
#define FILES_MAX (FILE_LISTS + LISTS_MAX)
#define FILE_BITS 5u
_Static_assert(FILES_MAX <= 1u << FILE_BITS, "a file's number fits beside its session's");

/* Bytes that readers may go on reading when they have been replaced. */
struct session_bytes {
	atomic_uint refs;
	size_t size, capacity; /* the second is what is accounted for */
	char data[];
};

struct session {
	uint64_t n;     /* its number, never used again */
	unsigned users; /* with the table's lock */
	uint32_t collection;
	struct vs_perm perm;
	char name[VS_NAME_MAX + 1];
	int64_t used_ns;
	vs_time changed;
	_Atomic uint64_t rows_done, rows;       /* of the search that is under way, or was the last */
	pthread_mutex_t lock;                   /* of all that follows; held while it searches */
	struct session_bytes *files[FILES_MAX]; /* NULL: not there */
	char list_names[LISTS_MAX][VS_NAME_MAX + 1];
	char queries_name[32];
	bool is_answered; /* the results are those of what was written */
	int answer_rc;
};

struct session_table {
	pthread_mutex_t lock;
	struct session *sessions[SESSIONS_MAX];
	uint64_t last;
	_Atomic uint64_t bytes;
};

/* Of size bytes, with one reference; NULL if that is more than SESSION_BYTES_MAX allows, or memory. */
struct session_bytes *session_bytes_new(struct session_table *t, size_t size);
/* Gives a reference up, and takes one; either may be of NULL. */
void session_bytes_put(struct session_table *t, struct session_bytes *b);
struct session_bytes *session_bytes_get(struct session_bytes *b);

/* The session of a node, for use until session_put; NULL if it has ended. */
struct session *session_get(struct session_table *t, uint64_t n);
void session_put(struct session_table *t, struct session *s);

/* The file of this name that is there; -1 if none. With the session's lock. */
int session_find_file(const struct session *s, const char *name);

/* Sees to it that the results are those of what is written: -ENOENT without queries. With the session's lock.
 * req may be NULL: then nothing cancels the search. */
int session_bring_up(struct mount *serve, fuse_req_t req, struct session *s);

/* Something was written: what has been found is not the answer any more. With the session's lock. */
void session_change(struct session_table *t, struct session *s);

/* A file is made, or emptied: -EDQUOT. With the session's lock. */
int session_start_empty(struct session_table *t, struct session *s, enum session_part file);

/* node_ops.is_long of the directory and its files. */
bool session_is_long(struct mount *serve, const struct node *node, size_t data_size);

/* Opens a file of a session, and ends that: node_ops.release. Without the session's lock. */
int session_file_begin(struct mount *serve, struct session *s, enum session_part file,
		       struct fuse_file_info *fi);
void session_file_release(struct mount *serve, const struct node *node, const struct fuse_file_info *fi);

static inline bool session_part_is_result(enum session_part file)
{
	return file >= FILE_ROWS && file <= FILE_STATS;
}

#endif
