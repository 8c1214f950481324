/* SPDX-License-Identifier: Apache-2.0 */
/* store - opening, closing and the odds and ends of the public interface. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/batch/sync.h"
#include "store/replay/applier.h"
#include "store/replay/checkpoint.h"
#include "store/replay/in_memory.h"
#include "store/engine.h"
#include "store/collection/index_file.h"
#include "store/replay/nudge.h"
#include "store/replay/recover.h"
#include "store/row/vacuum.h"
#include "store/snapshot/snapshot.h"
#include "store/view/builder.h"
#include "store/view/views.h"

#define COMMIT_MS_DEFAULT 5u
#define SETTLE_MANY 32u /* collections: one sync of everything takes less time than one for each file */

/* ------------------------------------------------------------------ opening */

struct contents {
	bool catalog, foreign;
};

static int look_at_name(void *arg, const char *name)
{
	static const char *const ours[] = {"lock", "standby", "collections", "catalog.new", "lost+found"};
	struct contents *found = arg;
	bool known = false;

	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		known |= !strcmp(name, ours[i]);
	if (!strcmp(name, "catalog.0") || !strcmp(name, "catalog.1"))
		found->catalog = true;
	else if (!known)
		found->foreign = true;
	return 0;
}

/* A new store is made only of nothing, or of what an interrupted creation left: other people's things stay
 * alone. */
static int refuse_foreign(struct vs_store *s, char *why, size_t why_size)
{
	struct contents found = {0};
	int rc = s->io->ops->list(s->io, ".", look_at_name, &found);

	if (rc || found.catalog || !found.foreign)
		return rc;
	snprintf(why, why_size, "not empty, and not a vecfs store");
	return -ENOTEMPTY;
}

/* Each try opens the file anew: it may be another one by now, or a server may have been started again. */
static int lock_or_wait(struct vs_store *s, char *why, size_t why_size)
{
	int rc;

	do {
		*why = 0;
		rc = engine_lock(s, why, why_size);
	} while (rc == -EBUSY && s->options.wait && s->options.wait(s->options.wait_arg, why));
	return rc;
}

static int create_store(struct vs_store *s)
{
	int rc;

	engine_random(s->uuid, sizeof s->uuid);
	s->uuid[6] = (uint8_t)((s->uuid[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
	s->uuid[8] = (uint8_t)((s->uuid[8] & 0x3f) | 0x80);
	engine_random(&s->hash_seed, sizeof s->hash_seed);
	engine_random(&s->position.salt, sizeof s->position.salt);
	s->position.epoch = s->position.seq = 1;
	s->next_collection = 1;
	s->root.perm = PERM_NONE;
	s->root.mtime = s->root.ctime = vs_time_now();
	collection_table_init(&s->table, s->hash_seed);
	rc = s->io->ops->mkdir(s->io, "collections", 0700);
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = s->io->ops->syncdir(s->io, ".");
	s->finalized = true;
	return rc < 0 ? rc : catalog_create(s);
}

static void uuid_format(struct vs_store *s)
{
	char *p = s->uuid_text;

	for (int i = 0; i < 16; i++)
		p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", s->uuid[i]);
}

static void free_store(struct vs_store *s)
{
	views_free(s);
	while (s->dropped) {
		struct collection *c = s->dropped;

		s->dropped = c->dropped_next;
		snapshot_detach(c);
		collection_free(s->io, c);
	}
	for (uint32_t i = 0; i < s->table.slots; i++)
		if (s->table.all[i])
			snapshot_detach(s->table.all[i]);
	collection_table_free(&s->table, s->io);
	files_free(&s->files);
	in_memory_free(s);
	free(s->perms);
	free(s->perm_next);
	free(s->perm_used);
	commit_free(s);
	nudge_free(s->nudge);
	engine_unlock(s);
	pthread_mutex_destroy(&s->start_mutex);
	pthread_mutex_destroy(&s->catalog_mutex);
	pthread_mutex_destroy(&s->making_mutex);
	pthread_cond_destroy(&s->making_done);
	pthread_mutex_destroy(&s->snapshots_mutex);
	pthread_mutex_destroy(&s->builder_mutex);
	pthread_cond_destroy(&s->builder_work);
	pthread_mutex_destroy(&s->load_mutex);
	pthread_mutex_destroy(&s->vacuum.mutex);
	pthread_cond_destroy(&s->vacuum.work);
	pthread_rwlock_destroy(&s->lock);
	if (s->own_io)
		io_free_real(s->io);
	free(s);
}

/* Writers go first: a stream of readers must not starve them. */
static int init_locks(struct vs_store *s)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&s->start_mutex, NULL);
	pthread_mutex_init(&s->catalog_mutex, NULL);
	pthread_mutex_init(&s->making_mutex, NULL);
	pthread_cond_init(&s->making_done, NULL);
	pthread_mutex_init(&s->snapshots_mutex, NULL);
	pthread_mutex_init(&s->builder_mutex, NULL);
	pthread_cond_init(&s->builder_work, NULL);
	pthread_mutex_init(&s->load_mutex, NULL);
	pthread_mutex_init(&s->vacuum.mutex, NULL);
	pthread_cond_init(&s->vacuum.work, NULL);
	return commit_init(s);
}

static int start_threads(struct vs_store *s)
{
	int rc = pthread_create(&s->applier, NULL, applier_thread, s);

	if (rc)
		return -rc;
	rc = pthread_create(&s->committer, NULL, commit_thread, s);
	if (rc) {
		commit_stop(s);
		pthread_join(s->applier, NULL);
	}
	return -rc;
}

/* The threads must run before a builder does. */
static int open_views(struct vs_store *s)
{
	int rc = views_load(s);

	if (!rc || s->read_only)
		return rc;
	commit_stop(s);
	pthread_join(s->committer, NULL);
	pthread_join(s->applier, NULL);
	return rc;
}

static void set_options(struct vs_store *s, const struct vs_options *options)
{
	s->options = *options;
	s->read_only = options->read_only;
	s->lock_fd = -1;
	s->dropped_end = &s->dropped;
	s->log.fd[0] = s->log.fd[1] = -1;
	if (!s->options.commit_ms)
		s->options.commit_ms = COMMIT_MS_DEFAULT;
	if (!s->options.log_bytes)
		s->options.log_bytes = LOG_FILE_BYTES;
	s->io = options->io;
	files_init(&s->files, s->io, false, options->files_max, options->maps_max);
}

static int open_folder(struct vs_store *s, const char *dir)
{
	int rc = init_locks(s);

	if (!rc && !s->io) {
		s->own_io = true;
		rc = io_new_real(dir, !s->read_only, &s->io);
	}
	s->files.io = s->io;
	if (!rc)
		s->io->read_only = s->files.read_only = s->read_only;
	return rc;
}

/* What the folder holds becomes what is in memory; an empty one becomes a store. */
static int load(struct vs_store *s, char *why, size_t why_size)
{
	int rc = s->read_only ? 0 : refuse_foreign(s, why, why_size);

	if (!rc)
		rc = lock_or_wait(s, why, why_size);
	if (!rc) {
		s->nudge = nudge_begin(s);
		rc = recover(s, why, why_size);
		nudge_end(s->nudge);
	}
	if (rc == -ENOENT && !s->read_only)
		rc = create_store(s);
	if (!rc && s->io->lost) {
		snprintf(why, why_size, "cannot read a mapped file: %s", strerror(EIO));
		rc = -EIO;
	}
	return rc;
}

int vs_open(const char *dir, const struct vs_options *options, struct vs_store **out, char *why,
	    size_t why_size)
{
	struct vs_store *s = calloc(1, sizeof *s);
	int rc;

	*out = NULL;
	*why = 0;
	if (!s)
		return -ENOMEM;
	set_options(s, options);
	rc = open_folder(s, dir);
	if (!rc)
		rc = load(s, why, why_size);
	if (!rc && !s->read_only)
		rc = start_threads(s);
	if (!rc)
		rc = open_views(s);
	if (rc) {
		if (!*why)
			snprintf(why, why_size, "%s", strerror(-rc));
		free_store(s);
		return rc;
	}
	if (!s->read_only)
		vacuum_start(s);
	uuid_format(s);
	*out = s;
	return 0;
}

/* ------------------------------------------------------------------ closing */

static int vacuum_all(struct vs_store *s)
{
	int rc = 0;

	pthread_rwlock_wrlock(&s->lock);
	collection_table_pack(&s->table);
	pthread_rwlock_unlock(&s->lock);
	for (uint32_t i = 0; i < s->table.count && !rc; i++)
		if (s->table.all[i]->deleted && !s->table.all[i]->frozen)
			rc = rows_vacuum(s, s->table.all[i]->id);
	return rc == -EIO ? 0 : rc; /* a row that cannot be read stays where it is */
}

/* sync: or everything is synced by one call later. */
static int finalize_collection(struct vs_store *s, struct collection *c, bool sync)
{
	int rc = 0;

	if (c->damaged || c->frozen || (c->fresh && !c->has_directory))
		return 0;
	/* What is written stays open until it is synced, so that is looked after at each segment. */
	for (uint32_t i = 0; i < c->segment_count && !rc; i++) {
		if (!segment_has_files(c->segments[i]))
			continue;
		s->has_orphans |= segment_drop_copy(c->segments[i]) != 0;
		rc = segment_finalize(c->segments[i], &c->schema);
		if (!rc && sync)
			rc = files_relieve(&s->files);
		else if (!rc)
			files_relieve_unsynced(&s->files);
	}
	while (files_mapped_full(&s->files))
		engine_unmap(s);
	if (rc || c->index_stamp || c->lazy)
		return rc;
	rc = c->count ? index_file_write(s->io, c, s->catalog_seq + 1, sync) : index_file_remove(s->io, c);
	/* Without space for an image the next opening scans. */
	return rc == -ENOSPC ? 0 : rc;
}

/* Leaves the files as small and as quick to open as can be, and says so in the catalog. */
static int finalize(struct vs_store *s)
{
	bool many = s->table.count >= SETTLE_MANY && !s->io->syncs_singly;
	int rc = 0;

	/* Until the catalog says that all is clean, the order in which it becomes durable does not matter. */
	for (uint32_t i = 0; i < s->table.count && rc >= 0; i++)
		rc = finalize_collection(s, s->table.all[i], !many);
	if (rc >= 0 && many)
		rc = files_sync_all(&s->files);
	/* Removed files stay removed: nobody looks for orphans in a clean store. */
	if (rc >= 0)
		rc = checkpoint_sync(s);
	/* The log starts anew, in an epoch that no frame has had. */
	if (s->logging) {
		s->position = s->log.next;
		s->position.epoch += 2;
		log_close(&s->log);
	}
	if (rc >= 0)
		rc = catalog_update(s, s->has_orphans ? 0 : CATALOG_CLEAN);
	if (rc >= 0) {
		log_remove(s->io);
		rc = s->io->ops->syncdir(s->io, ".");
	}
	return rc < 0 ? rc : 0;
}

/* Something is to be written although nothing has changed: an image of an index, say. A catalog that says
 * that the store is closed is never followed by another without a log between them: of two that may be torn,
 * none would tell that. Without space the store stays as it is. */
static int finalize_unchanged(struct vs_store *s)
{
	int rc = log_exists(s->io) ? 0 : commit_start_logging(s);

	if (rc)
		return rc == -ENOSPC ? 0 : rc;
	return finalize(s);
}

int vs_close(struct vs_store *s)
{
	int rc = 0;

	if (!s->read_only) {
		int filled, synced;

		vacuum_stop(s); /* first: the builder's end looks at segments that nobody is to change */
		builder_stop(s);
		filled = vacuum_all(s);

		if (s->logging)
			rc = commit_checkpoint(s);
		synced = batches_sync(s);
		rc = rc ? rc : filled ? filled : synced;
		commit_stop(s);
		pthread_join(s->committer, NULL);
		pthread_join(s->applier, NULL);
		if (!rc && !s->commit.failed && s->logging)
			rc = finalize(s);
		else if (!rc && !s->commit.failed && !s->finalized)
			rc = finalize_unchanged(s);
		if (s->commit.failed)
			rc = s->commit.failed;
		log_close(&s->log);
	}
	free_store(s);
	return rc;
}

int vs_checkpoint(struct vs_store *s)
{
	return __atomic_load_n(&s->logging, __ATOMIC_ACQUIRE) ? commit_checkpoint(s) : 0;
}

/* ------------------------------------------------------------------ odds and ends */

void vs_counters(struct vs_store *s, struct vs_counters *out)
{
	const struct counters *c = &s->counters;

	*out = (struct vs_counters){
		.puts = c->puts,
		.overwrites = c->overwrites,
		.patches = c->patches,
		.removes = c->removes,
		.renames = c->renames,
		.reads = c->reads,
		.commits = c->commits,
		.commit_bytes = c->commit_bytes,
		.checkpoints = c->checkpoints,
		.batches = c->batches,
		.checksum_errors = c->checksum_errors,
		.replayed_records = c->replayed_records,
		.queries = c->queries,
		.rows_scanned = c->rows_scanned,
		.rows_verified = c->rows_verified,
		.search_ns = c->search_ns,
	};
	pthread_rwlock_rdlock(&s->lock);
	for (uint32_t i = 0; i < s->table.slots; i++) {
		if (!s->table.all[i] || s->table.all[i]->parent)
			continue;
		out->collections++;
		out->vectors += s->table.all[i]->count;
	}
	pthread_rwlock_unlock(&s->lock);
	pthread_mutex_lock(&s->commit.mutex);
	out->poisoned = s->commit.failed || s->io->lost;
	pthread_mutex_unlock(&s->commit.mutex);
}

int vs_statvfs(struct vs_store *s, struct statvfs *out)
{
	int rc = s->io->ops->statvfs(s->io, out);

	return rc < 0 ? rc : 0;
}

const char *vs_uuid(struct vs_store *s)
{
	return s->uuid_text;
}

uint32_t vs_segment_rows(size_t row_bytes)
{
	return 1u << segment_shift(row_bytes);
}

int vs_segment_path(struct vs_store *s, uint32_t collection, uint32_t n, char *path, size_t path_size,
		    uint64_t *rows)
{
	char own[SEGMENT_PATH_MAX];
	struct collection *c;
	int rc = s->read_only ? 0 : commit_wait_applied(s);

	if (rc)
		return rc;
	if (!s->read_only)
		rc = applier_header(s, collection, n);
	if (rc)
		return rc;
	pthread_rwlock_rdlock(&s->lock);
	c = collection_get(&s->table, collection);
	rc = !c || n >= c->segment_count || !c->segments[n]->count ? -ENOENT : c->damaged ? -EIO : 0;
	if (!rc && s->read_only && c->overlay.count)
		rc = -EROFS; /* the file lacks what only the log has */
	if (!rc) {
		segment_path(own, collection, n, SEGMENT_VECTORS);
		snprintf(path, path_size, "%s", own);
		if (rows)
			*rows = s->read_only ? c->segments[n]->count : c->segments[n]->header_rows;
	}
	pthread_rwlock_unlock(&s->lock);
	return rc;
}
