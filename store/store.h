/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store - the engine of vecfs as a plain C library: collections of fixed-size vectors with ids, a
 * write-ahead log with group commit, dense segments that are valid .npy files.
 *
 * Conventions. Functions return 0 (or a count) on success and -errno on failure. A collection is named by
 * its number, a vector inside it by its entry number: both are stable for life, across renames and
 * restarts, and never used twice while a store is open. Ids are byte strings of 1..255 bytes without '/'
 * and NUL, and not ".", ".." or ".vecfs". Every function may be called from any thread unless it says
 * otherwise; none keeps a pointer to the caller's memory after it has returned.
 *
 * Acknowledged is what a returned 0 means: visible to everybody. Durable is what vs_sync() has passed.
 * After a crash every durable change is there, and the rest of what survives is a prefix of the
 * acknowledged order, each change whole or not at all.
 *
 * Errors that any changing function may return: -EROFS (store opened read-only, or poisoned by a failed
 * write-back: it must be reopened), -ENOSPC (nothing changed), -EIO, -ENOMEM.
 */
#ifndef VECFS_STORE_H
#define VECFS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "quant/dtype.h"
#include "quant/metric.h"

#pragma GCC visibility push(default) /* these alone can be linked from outside */

#define VS_NAME_MAX 255
#define VS_ROW_BYTES_MAX (1u << 20) /* the largest vector */
#define VS_ENTRY_FIRST 4096         /* entry numbers below are never used: room for control inodes */
#define VS_ENTRY_BITS 40
#define VS_COLLECTION_MAX ((1u << 23) - 1)

/*
 * A time: nanoseconds since 1901-12-13 20:45:52 UTC, 2^31 seconds before 1970. That is the range of ext4
 * (2^34 seconds, to 2446-05-10 22:38:55), and what lies outside becomes its first or last second, as there.
 */
typedef uint64_t vs_time;
#define VS_TIME_FIRST_S (-((int64_t)1 << 31))
#define VS_TIME_SECONDS ((int64_t)1 << 34)
#define VS_TIME_NS_PER_S UINT64_C(1000000000)
#define VS_TIME_END ((uint64_t)VS_TIME_SECONDS * VS_TIME_NS_PER_S) /* no vs_time is that late */

struct io;
struct vs_store;
struct timespec;

/* Of seconds since 1970 and nanoseconds below 10^9. */
vs_time vs_time_of(const struct timespec *t);
void vs_time_split(vs_time t, struct timespec *out);
vs_time vs_time_now(void);
/* The ctime of something that changes at now and had ctime before: later, so that everybody who compares
 * notices. */
vs_time vs_time_after(vs_time before, vs_time now);

enum vs_severity { VS_INFO, VS_WARNING, VS_ERROR };

struct vs_schema {
	uint32_t dim; /* 0: not fixed yet, the first vector fixes it */
	enum vs_dtype dtype;
	enum vs_metric metric;
};

struct vs_options {
	bool read_only;
	unsigned commit_ms; /* longest time an acknowledged change stays volatile; 0: 5 ms */
	size_t log_bytes;   /* what a log file may grow to; 0: 64 MiB. Small ones mean many checkpoints: for
			       tests */
	/* Told of everything a user should know ("docs/apple: checksum mismatch"), without newline. May be
	 * NULL. Called with no lock held; from any thread. */
	void (*report)(void *arg, enum vs_severity severity, const char *line);
	void *report_arg;
	/*
	 * Of vs_open while another process has the store (why says which): takes the time until it is tried
	 * again, and says whether. NULL: it is not waited for.
	 */
	bool (*wait)(void *arg, const char *why);
	void *wait_arg;
	/* How many descriptors and mappings of segments may be kept open for the next use; 0: 512 and 16,384.
	 */
	unsigned files_max, maps_max;
	unsigned scrub_ms; /* rest between two rounds of looking at codes of views; 0: a minute, or longer */
	struct io *io;     /* NULL: the real file system at dir. Otherwise used as it is, and not freed */
};

/* Bytes of a vector of this schema; 0 while dim is 0. */
size_t vs_row_bytes(const struct vs_schema *schema);
/* The dim of a vector of size bytes, or 0 if there is none (size not a multiple of the width, 0 or too big).
 */
uint32_t vs_dim_of_size(enum vs_dtype dtype, size_t size);
/* 0 if name (len bytes) is a legal id; -EINVAL ('/', NUL, ".", "..", empty), -EPERM (".vecfs"),
 * -ENAMETOOLONG. */
int vs_name_check(const char *name, size_t len);

/* ------------------------------------------------------------------ the store */

/*
 * Opens the store in directory dir, creating it when the directory is missing or empty (not if read_only:
 * -ENOENT). Recovers it first if it was not closed. On failure *out is NULL and why holds one sentence
 * without the path ("in use by process 1234"): -EBUSY locked by another process, -EUCLEAN damaged beyond
 * serving (log or both catalogs), -ENOTEMPTY dir has other things in it, -EPROTO of a format version, or with
 * something in it, that this program does not know.
 *
 * A store of an older format is converted, unless read_only: then it is refused (-EPROTO).
 *
 * read_only opens nothing for writing, and so works on a read-only disk and for who may only read: a log that
 * was not applied is replayed in memory. Any number of processes may have the store open so, but none beside
 * one that writes.
 */
int vs_open(const char *dir, const struct vs_options *options, struct vs_store **out, char *why,
	    size_t why_size);
/* Makes everything durable, writes the index files, marks the store clean. s is freed in any case. */
int vs_close(struct vs_store *s);

/* Returns when all that was acknowledged before the call is durable (group commit), but for the files of
 * batches (vs_batch_sync). */
int vs_sync(struct vs_store *s);
/* The same without waiting for others: fn(arg, result) is called once, either before this returns (from this
 * thread, also when this thread did the commit for all) or later from the thread that commits. */
void vs_sync_async(struct vs_store *s, void (*fn)(void *arg, int result), void *arg);
/*
 * Makes all that is acknowledged durable where it belongs, and not in the log alone: before a program is run
 * from this process, say, whose exec closes descriptors of the store's files and is told in our place what a
 * client in user space has dropped. -EIO; the store takes no change then.
 */
int vs_checkpoint(struct vs_store *s);

struct vs_counters {
	uint64_t puts, overwrites, patches, removes, renames, reads, commits, commit_bytes, checkpoints;
	uint64_t batches, checksum_errors, replayed_records;
	/* Vectors searched for; of stored ones compared, and verified against their checksums; time of
	 * searching. */
	uint64_t queries, rows_scanned, rows_verified, search_ns;
	uint64_t collections, vectors;
	bool poisoned;
};
void vs_counters(struct vs_store *s, struct vs_counters *out);
/* The backing file system's numbers. */
int vs_statvfs(struct vs_store *s, struct statvfs *out);
const char *vs_uuid(struct vs_store *s); /* 36 characters, for the life of the store */

/* ------------------------------------------------------------------ collections */

struct vs_perm {
	uint32_t mode; /* permission bits 07777 */
	uint32_t uid, gid;
};

struct vs_collection_info {
	uint32_t id;
	uint32_t parent; /* 0: a collection; else this is an open batch of collection parent */
	char name[VS_NAME_MAX + 1];
	struct vs_schema schema;
	size_t row_bytes;    /* 0 while dim is not fixed */
	bool schema_fixed;   /* it has a vector, or a batch has: the schema stays */
	bool schema_given;   /* somebody has set it: uploads must have its dtype, which else the first of them
				brings */
	uint64_t count;      /* vectors */
	uint64_t name_bytes; /* the sum of the ids' lengths */
	uint64_t version;    /* changes with every change of the collection, while the store is open */
	uint32_t segments;
	struct vs_perm perm;
	vs_time mtime, ctime;
	bool damaged; /* everything in it answers -EIO */
	bool frozen;  /* a durable snapshot of parent: every change of it is -EROFS */
};

/* What is left of a mode once somebody unprivileged has written to the file: no set-user-ID, nor set-group-ID
 * where the group may execute it. */
static inline uint32_t vs_mode_written(uint32_t mode)
{
	return mode & ~(mode & 010 ? 06000u : 04000u);
}

/* Creates an empty collection (parent 0), or a batch of collection parent (with the parent's schema).
 * -EEXIST. */
int vs_collection_create(struct vs_store *s, uint32_t parent, const char *name, const struct vs_perm *perm,
			 uint32_t *id);
/* -ENOENT if there is none. */
int vs_collection_find(struct vs_store *s, uint32_t parent, const char *name, struct vs_collection_info *out);
int vs_collection_get(struct vs_store *s, uint32_t id, struct vs_collection_info *out);
/* The collection of this parent with the lowest number above after; -ENOENT at the end. */
int vs_collection_next(struct vs_store *s, uint32_t parent, uint32_t after, struct vs_collection_info *out);
/* -ENOTEMPTY if vectors or batches are left; a batch goes with everything in it. */
int vs_collection_remove(struct vs_store *s, uint32_t id);
/* -ENOTEMPTY if the new name is taken by a collection that is not empty; an empty one is replaced. With
 * exclusive it is -EEXIST for any. */
int vs_collection_rename(struct vs_store *s, uint32_t id, const char *name, bool exclusive);
/* Sets the parts of which (VS_SET_*). */
int vs_collection_set(struct vs_store *s, uint32_t id, unsigned which, const struct vs_perm *perm,
		      vs_time mtime);
/* Sets the parts of which, and leaves the others. -EBUSY once the collection has, or ever had, a vector,
 * unless it is that already; -EINVAL for impossible values. */
#define VS_SCHEMA_DIM 1u
#define VS_SCHEMA_DTYPE 2u
#define VS_SCHEMA_METRIC 4u
#define VS_SCHEMA_FREE 8u /* the dtype is that of a new collection, and nobody's wish */
int vs_schema_change(struct vs_store *s, uint32_t id, unsigned which, const struct vs_schema *schema);
/* All of them. */
int vs_schema_set(struct vs_store *s, uint32_t id, const struct vs_schema *schema);

/* The directory of the collections. Its mtime follows their coming, going and renaming. */
struct vs_root {
	bool owned; /* perm was set; else whoever serves the store decides */
	struct vs_perm perm;
	vs_time mtime, ctime;
};
void vs_root_get(struct vs_store *s, struct vs_root *out);
/* Sets the parts of which (VS_SET_*); the first time mode, uid and gid all together, else -EINVAL. */
int vs_root_set(struct vs_store *s, unsigned which, const struct vs_perm *perm, vs_time mtime);

/* What else a collection is: values that the engine keeps, durably, and does not interpret. */
enum vs_attribute {
	VS_ATTRIBUTE_VIEWS = 1, /* its views, as their builder writes them */
	VS_ATTRIBUTE_KEEP = 2,  /* of a batch, "no": it goes with the process that fills it */
	VS_ATTRIBUTE_COUNT,
};
#define VS_ATTRIBUTE_BYTES_MAX 4096u
/* Copies at most size bytes of the value and returns how many it has; -ENOENT if it has none. */
ssize_t vs_attribute_get(struct vs_store *s, uint32_t collection, enum vs_attribute tag, void *value,
			 size_t size);
/* Sets it; size 0 removes it. -EINVAL: no such tag, or too long. */
int vs_attribute_set(struct vs_store *s, uint32_t collection, enum vs_attribute tag, const void *value,
		     size_t size);

/* ------------------------------------------------------------------ vectors */

#define VS_SET_MODE 1u
#define VS_SET_UID 2u
#define VS_SET_GID 4u
#define VS_SET_MTIME 8u
#define VS_DROP_SETID 16u /* of vs_write: as a write by someone unprivileged does, see vs_mode_written */

/* Every change of a vector, its attributes or its id moves its ctime, which nobody can set. */
struct vs_attr {
	uint64_t entry;
	vs_time mtime;
	vs_time ctime; /* set by the engine: a vector that is put gets a later one */
	struct vs_perm perm;
	size_t size; /* bytes: the collection's row_bytes */
};

/* -ENOENT: no such collection or id. */
int vs_lookup(struct vs_store *s, uint32_t collection, const char *name, struct vs_attr *out);
/* -ENOENT: no such entry (removed, or never put). */
int vs_attr_get(struct vs_store *s, uint32_t collection, uint64_t entry, struct vs_attr *out);
int vs_attr_set(struct vs_store *s, uint32_t collection, uint64_t entry, unsigned which,
		const struct vs_attr *attr);
/* The id of an entry, NUL-terminated. */
int vs_name_get(struct vs_store *s, uint32_t collection, uint64_t entry, char name[VS_NAME_MAX + 1]);
/* Copies size bytes from offset off of the vector; fewer at its end. The whole vector is verified against its
 * checksum first: -EIO on a mismatch (counted and reported). One call sees one version. */
ssize_t vs_read(struct vs_store *s, uint32_t collection, uint64_t entry, void *buf, size_t size, size_t off);

/* Reserves an entry number for a later vs_put. It costs nothing if it is never used. */
int vs_entry_reserve(struct vs_store *s, uint32_t collection, uint64_t *entry);
/*
 * Puts a whole vector under name. attr gives entry (reserved, not in use), mtime and permissions. If name
 * exists its entry ends: *replaced tells which (else 0; may be NULL). The first vector of a collection fixes
 * dim. -EINVAL: size is not the row size (or not a multiple of the width).
 */
int vs_put(struct vs_store *s, uint32_t collection, const char *name, const struct vs_attr *attr,
	   const void *data, size_t size, uint64_t *replaced);
/* Replaces bytes [off, off + size) of an entry's vector in one step (off 0 and the row size: all of it), and
 * sets the parts of which from attr (NULL if which has none). -EFBIG: beyond the row. */
int vs_write(struct vs_store *s, uint32_t collection, uint64_t entry, const void *data, size_t size,
	     size_t off, unsigned which, const struct vs_attr *attr);
/* Removes an id; *entry (may be NULL) tells which entry ended. */
int vs_remove(struct vs_store *s, uint32_t collection, const char *name, uint64_t *entry);
/*
 * Renames, also between collections of equal row size and dtype (else -EXDEV; into a collection without dim:
 * fixes it). Replaces an existing target in one step unless exclusive (-EEXIST). *entry: the number under
 * which it now is (unchanged within one collection); *replaced: the entry that ended, or 0.
 */
int vs_rename(struct vs_store *s, uint32_t from, const char *old_name, uint32_t to, const char *new_name,
	      bool exclusive, uint64_t *entry, uint64_t *replaced);
/*
 * Calls fn for the entries of a collection above after, in increasing order, until it returns false. Entries
 * that exist during the whole listing appear exactly once. fn runs under the store's lock: it must not block
 * nor call the store; list in pieces.
 */
typedef bool (*vs_list_fn)(void *arg, const struct vs_attr *attr, const char *name, size_t name_len);
int vs_list(struct vs_store *s, uint32_t collection, uint64_t after, vs_list_fn fn, void *arg);

/* ------------------------------------------------------------------ bulk reading */

/*
 * A snapshot is a collection as it was when the snapshot was opened: rows 0..rows-1 with ids and vectors.
 * While it is open, each row that changes is first copied aside (once per snapshot): that is what a long-open
 * snapshot costs. The snapshots of an unchanged collection are one and the same.
 */
struct vs_snapshot;
struct vs_snapshot_info {
	uint32_t collection;
	uint64_t version; /* the collection's version then */
	struct vs_schema schema;
	size_t row_bytes;
	uint64_t rows;
	uint64_t ids_bytes;  /* of all ids, a line each (idlist.h), */
	uint64_t ids0_bytes; /* and each ended by a NUL */
};
int vs_snapshot_open(struct vs_store *s, uint32_t collection, struct vs_snapshot **out);
void vs_snapshot_close(struct vs_snapshot *m);
void vs_snapshot_info(const struct vs_snapshot *m, struct vs_snapshot_info *out);
/* Copies [off, off + size) of the rows laid end to end; fewer bytes at the end. Rows are verified: -EIO. */
ssize_t vs_snapshot_vectors(struct vs_snapshot *m, void *buf, size_t size, uint64_t off);
/* The same of the ids: line n, or the nth of those that end in NUL, names row n. A damaged id is an empty
 * one. */
ssize_t vs_snapshot_ids(struct vs_snapshot *m, void *buf, size_t size, uint64_t off);
ssize_t vs_snapshot_ids0(struct vs_snapshot *m, void *buf, size_t size, uint64_t off);
/*
 * Calls fn for the rows [first, first + count) of a snapshot, or those among them whose bit is set in wanted
 * (bit i is row first + i; NULL: all), in their order. A row whose metadata are damaged has entry 0 and no
 * name. fn runs under the store's lock: it must not block nor call the store; ask in pieces.
 */
typedef void (*vs_snapshot_row_fn)(void *arg, uint64_t row, uint64_t entry, const char *name, size_t len);
int vs_snapshot_rows(struct vs_snapshot *m, uint64_t first, uint64_t count, const uint64_t *wanted,
		     vs_snapshot_row_fn fn, void *arg);
/* The row of the vector that has this id now; its vector, and its id, may have been others then. -ENOENT: it
 * is none of the snapshot's. */
int vs_snapshot_find(struct vs_snapshot *m, const char *name, uint64_t *row);

/* What a vector is as a file, in the terms of stat(2): also an element of a batch's VS_BATCH_ATTRIBUTES. */
struct vs_file_attr {
	int64_t mtime_s; /* since 1970 */
	uint32_t mtime_ns;
	uint32_t mode; /* permission bits 07777 */
	uint32_t uid, gid;
};
/*
 * A row without its id and vector. Two snapshots of one collection have the same vector under the same id
 * with the same attributes wherever entry and ctime are the same.
 */
struct vs_row_meta {
	uint64_t entry; /* 0: its metadata are damaged, and all the rest is 0 */
	int64_t ctime_s;
	uint32_t ctime_ns;
	uint32_t data_sum; /* of its vector: the lower half of XXH3 */
	uint32_t place;    /* rises from row to row, and stays the row's own until it is moved */
	uint32_t reserved;
	struct vs_file_attr attr;
};
/* So many rows are in a full segment: place / this is the number of a row's segment, place % this which of
 * its rows. */
uint32_t vs_segment_rows(size_t row_bytes);
/* Of the rows from first on, at most count, and fewer at the end; returns how many. */
ssize_t vs_snapshot_meta(struct vs_snapshot *m, uint64_t first, uint64_t count, struct vs_row_meta *out);

/*
 * The segment file n (0..segments-1) of a collection: path relative to the store's directory. Before it
 * returns, everything acknowledged is in the file and its .npy header tells the true number of rows (rows,
 * may be NULL).
 */
int vs_segment_path(struct vs_store *s, uint32_t collection, uint32_t n, char *path, size_t path_size,
		    uint64_t *rows);

/* ------------------------------------------------------------------ durable snapshots */

/*
 * A durable snapshot is a collection of its own, which never changes, with a parent and a name among that
 * one's snapshots. It shares its files with its parent by hard links, so that it takes time and space by
 * segments and not by vectors. By its number everything that only looks at a collection works: vs_lookup,
 * vs_list, vs_read, vs_snapshot_open, vs_segment_path, searches. The first such call waits until the applier
 * has made the links, and builds the index of ids. Entry numbers and attributes are those of then; its own
 * mtime is when it was taken.
 */
/* Takes one. Acknowledged: durable after vs_sync. -EEXIST; -EOPNOTSUPP: the store's file system has no hard
 * links; -ENOENT: no such collection, or none that can have snapshots. */
int vs_snap_create(struct vs_store *s, uint32_t collection, const char *name, uint32_t *id);
/* Gives it up. Its space comes back as soon as the applier has passed. Whoever has it open by
 * vs_snapshot_open keeps what that has. */
int vs_snap_drop(struct vs_store *s, uint32_t id);
/* -EEXIST if the new name is taken. */
int vs_snap_rename(struct vs_store *s, uint32_t id, const char *name);
int vs_snap_find(struct vs_store *s, uint32_t collection, const char *name, struct vs_collection_info *out);
/* The collection's snapshot with the lowest number above after, which is the next older than it; -ENOENT at
 * the end. */
int vs_snap_next(struct vs_store *s, uint32_t collection, uint32_t after, struct vs_collection_info *out);
/* The bytes on the disk that a snapshot alone holds: what dropping it gives back. */
int vs_snap_bytes(struct vs_store *s, uint32_t id, uint64_t *alone);
/* Makes a new collection of a snapshot, with its ids, entry numbers and attributes, which shares the
 * snapshot's files until it changes. Durable when it returns. -EEXIST. */
int vs_snap_clone(struct vs_store *s, uint32_t snap, const char *name, const struct vs_perm *perm,
		  uint32_t *id);
/*
 * Makes a collection what its snapshot snap is, as one batch: ids, vectors, their order and attributes, in
 * rows with new entry numbers. Mode, owner, views and snapshots of the collection stay, and so does a schema
 * that vectors have fixed. Vectors and ids share the snapshot's files. Durable when it returns 0; else
 * nothing has changed. -EIO: the snapshot is damaged. -EBUSY: the collection has been emptied since, and has
 * vectors of another dim, dtype or metric now.
 */
int vs_snap_rollback(struct vs_store *s, uint32_t snap);

/* ------------------------------------------------------------------ batches */

/*
 * A batch is a collection with a parent (vs_collection_create): vectors put into it, plus at most one upload
 * of many rows, a text of their ids, and a text of ids to delete. vs_batch_commit applies all of it to the
 * parent in one step and removes the batch; until then nobody sees any of it through the parent.
 */
struct vs_upload;
/* Starts the batch's upload of rows (a former one is dropped). dim must be the parent's, unless that has
 * none; so must the dtype, unless nobody has given that. -EBUSY if one is being written. */
int vs_upload_begin(struct vs_store *s, uint32_t batch, const struct vs_schema *schema,
		    struct vs_upload **out);
/* Appends packed rows; the bytes need not end at a row's end. One thread at a time for one upload. */
int vs_upload_append(struct vs_upload *u, const void *data, size_t size);
/* Reads back packed rows of an upload that is being written; fewer bytes at its end. The same one thread. */
ssize_t vs_upload_read(struct vs_upload *u, void *buf, size_t size, uint64_t off);
/* The same of the batch's finished upload. -ENOENT: it has none. */
ssize_t vs_batch_upload_read(struct vs_store *s, uint32_t batch, void *buf, size_t size, uint64_t off);
/* Drops the batch's upload, finished or torn. -EBUSY if one is being written. */
int vs_upload_drop(struct vs_store *s, uint32_t batch);
/*
 * Goes on with the batch's upload, which has ended or was torn by a crash, after its first rows: what is
 * behind them goes. -ENODATA: it has not so many, or not as they were written; -EINVAL: they are not of this
 * schema.
 */
int vs_upload_resume(struct vs_store *s, uint32_t batch, const struct vs_schema *schema, uint64_t rows,
		     struct vs_upload **out);
/* Makes an upload a finished one, as long as nothing more is appended: for vs_batch_sync, before its end.
 * -EINVAL within a row. The same one thread. */
int vs_upload_complete(struct vs_upload *u);
/* Drops the last row of an upload if it is not complete. */
int vs_upload_trim(struct vs_upload *u);
/* Ends it: keep (then -EINVAL if the last row is incomplete, and it is dropped) or drop. u is gone in any
 * case. */
int vs_upload_end(struct vs_upload *u, bool keep);

/*
 * The files of a batch beside its upload: two lists of ids, each as lines or NUL-separated (idlist.h; not
 * both); the attributes of the uploaded rows (struct vs_file_attr; without it they are as old as the commit,
 * and keep the mode and owner of what they replace); and some that the engine only keeps for who writes them,
 * until the batch goes: an array that does not come in order, what was refused, and files that are to be
 * renamed to one of the others.
 */
enum vs_batch_text {
	VS_BATCH_IDS,
	VS_BATCH_DELETE,
	VS_BATCH_IDS0,
	VS_BATCH_DELETE0,
	VS_BATCH_REFUSED,
	VS_BATCH_ATTRIBUTES,
	VS_BATCH_RECEIVED, /* how far its writer has come (cmd_receive.c) */
	VS_BATCH_ARRAY,
	VS_BATCH_ARRAY_LAST = VS_BATCH_ARRAY + 15,
	VS_BATCH_TEMPORARY,
	VS_BATCH_TEMPORARY_LAST = VS_BATCH_TEMPORARY + 15,
	VS_BATCH_TEXT_COUNT
};
/* Writes at offset off; truncate sets the size. */
int vs_batch_text_write(struct vs_store *s, uint32_t batch, enum vs_batch_text which, const void *data,
			size_t size, uint64_t off);
int vs_batch_text_truncate(struct vs_store *s, uint32_t batch, enum vs_batch_text which, uint64_t size);
ssize_t vs_batch_text_read(struct vs_store *s, uint32_t batch, enum vs_batch_text which, void *buf,
			   size_t size, uint64_t off);
/* -ENOENT: there is none. An empty one is one. */
int vs_batch_text_size(struct vs_store *s, uint32_t batch, enum vs_batch_text which, uint64_t *size);
int vs_batch_text_remove(struct vs_store *s, uint32_t batch, enum vs_batch_text which);
/* to, if there is one, is replaced. */
int vs_batch_text_rename(struct vs_store *s, uint32_t batch, enum vs_batch_text from, enum vs_batch_text to);
/* Returns when the files of a batch are durable as they are: its texts and its upload, of which vs_sync knows
 * nothing, unlike of vectors put into it. An upload that is being written is torn after a crash, but see
 * vs_upload_complete. 0 of what is no batch. */
int vs_batch_sync(struct vs_store *s, uint32_t batch);
/* The commit is to be refused (-EINVAL) unless the collection is of this version then. It is not durable. */
int vs_batch_expect(struct vs_store *s, uint32_t batch, uint64_t version);
struct vs_batch_info {
	bool has_upload;  /* a finished one */
	bool upload_torn; /* one that has not got to its end: it is being written, or its writer is gone */
	uint64_t upload_rows;
	struct vs_schema upload_schema;
};
int vs_batch_get(struct vs_store *s, uint32_t batch, struct vs_batch_info *out);
/*
 * Applies a batch: durable when it returns 0. Refused (-EINVAL, nothing changed, the batch stays) with a
 * sentence in why: an id twice or illegal (with its line number), more or fewer ids than rows, a wrong row
 * size, an upload that has not got to its end, or is still being written (-EBUSY). Ids to delete that do not
 * exist are ignored. Without ids the rows are named 0, 1, 2, ...
 *
 * change (may be NULL) tells what it did: ids that it added, that it gave another vector, and that it deleted
 * (one that it deleted and put again is deleted and added). With VS_BATCH_ADD it is refused with -EEXIST if
 * an id of its vectors is there already.
 */
struct vs_batch_change {
	uint64_t added, replaced, deleted;
};
#define VS_BATCH_ADD 1u
int vs_batch_commit(struct vs_store *s, uint32_t batch, unsigned flags, struct vs_batch_change *change,
		    char *why, size_t why_size);

/* ------------------------------------------------------------------ fsck */

enum vs_check_result { VS_CHECK_CLEAN = 0, VS_CHECK_REPAIRED = 1, VS_CHECK_DAMAGED = 4, VS_CHECK_FAILED = 8 };
/*
 * Verifies every byte of the store at dir, which no process may have open; repair also mends what can be
 * mended, keeping every intact vector. report gets a line for each finding. Returns a vs_check_result
 * (fsck(8)'s codes).
 */
int vs_check(const char *dir, struct io *io, bool repair, void (*report)(void *arg, const char *line),
	     void *arg);

#pragma GCC visibility pop

#endif
