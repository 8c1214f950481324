/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync - the files of open batches made durable. The log knows nothing of them: uploads and texts are written
 * past it, and whoever commits a batch makes durable what becomes the collection's. Until then they are as
 * durable as the files of any file system: when somebody syncs them, and when the store is closed.
 */
#include "store/batch/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "store/engine.h"
#include "store/log/commit.h"

/* How often the files are listed anew because one of them has gone since: it may have got another name. */
#define TRIES 16

/* -ENOENT: it has gone. */
static int sync_file(struct vs_store *s, const char *path)
{
	int fd = s->io->ops->open(s->io, path, O_RDONLY, 0), rc;

	if (fd < 0)
		return fd;
	rc = commit_synced(s, s->io->ops->datasync(s->io, fd));
	s->io->ops->close(s->io, fd);
	return rc < 0 ? rc : 0;
}

/* -ENOENT: it has gone, and a batch's does so only with the batch. */
static int sync_directory(struct vs_store *s, const char *path)
{
	int rc = s->io->ops->syncdir(s->io, path);

	if (rc != -ENOENT)
		rc = commit_synced(s, rc);
	return rc < 0 ? rc : 0;
}

/* What else is in the directory is the applier's. -EAGAIN: a file has gone since they were listed. */
static int sync_listed(struct vs_store *s, uint32_t batch, const struct io_names *names)
{
	char path[SEGMENT_PATH_MAX];
	int rc = 0;

	for (size_t i = 0; i < names->count && !rc; i++) {
		if (strncmp(names->names[i], "upload.", 7) != 0)
			continue;
		collection_path(path, batch, names->names[i]);
		rc = sync_file(s, path);
	}
	return rc == -ENOENT ? -EAGAIN : rc;
}

/* -ENOENT: there is no directory, so that nothing has been written. */
static int sync_files(struct vs_store *s, uint32_t batch)
{
	char path[SEGMENT_PATH_MAX];
	struct io_names names;
	int rc;

	collection_path(path, batch, NULL);
	rc = io_names_read(s->io, path, &names);
	if (rc >= 0)
		rc = sync_listed(s, batch, &names);
	io_names_free(&names);
	if (!rc)
		rc = sync_directory(s, path);
	return rc ? rc : sync_directory(s, "collections");
}

static int batch_sync(struct vs_store *s, uint32_t batch)
{
	int rc = -EAGAIN;

	for (int i = 0; i < TRIES && rc == -EAGAIN; i++)
		rc = sync_files(s, batch);
	return rc == -ENOENT ? 0 : rc;
}

int vs_batch_sync(struct vs_store *s, uint32_t batch)
{
	struct collection *c;
	bool is_batch;

	if (s->read_only)
		return 0;
	engine_read_lock(s);
	c = collection_get(&s->table, batch);
	is_batch = c && c->parent && !c->frozen && !c->damaged;
	pthread_rwlock_unlock(&s->lock);
	return is_batch ? batch_sync(s, batch) : 0;
}

/* The number of the first batch above another; 0: there is none. */
static uint32_t next_batch(struct vs_store *s, uint32_t after)
{
	struct collection *c = NULL;
	uint32_t id;

	engine_read_lock(s);
	do
		c = collection_next(&s->table, c ? c->id : after);
	while (c && (!c->parent || c->frozen));
	id = c ? c->id : 0;
	pthread_rwlock_unlock(&s->lock);
	return id;
}

int batches_sync(struct vs_store *s)
{
	int rc = 0;

	for (uint32_t id = next_batch(s, 0); id && !rc; id = next_batch(s, id))
		rc = vs_batch_sync(s, id);
	return rc;
}
