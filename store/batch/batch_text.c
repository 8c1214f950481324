/* SPDX-License-Identifier: Apache-2.0 */
/* batch_text - the files of a batch beside its upload: lists of ids, attributes, and what is only kept. */
#include "store/batch/upload.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static void text_path(char path[SEGMENT_PATH_MAX], uint32_t batch, enum vs_batch_text which)
{
	static const char *const names[] = {
		[VS_BATCH_IDS] = "upload.ids",           [VS_BATCH_DELETE] = "upload.delete",
		[VS_BATCH_IDS0] = "upload.ids0",         [VS_BATCH_DELETE0] = "upload.delete0",
		[VS_BATCH_REFUSED] = "upload.refused",   [VS_BATCH_ATTRIBUTES] = "upload.attributes",
		[VS_BATCH_RECEIVED] = "upload.received",
	};
	char name[32];

	assert(which < VS_BATCH_TEXT_COUNT);
	if (which >= VS_BATCH_TEMPORARY)
		snprintf(name, sizeof name, "upload.temporary.%d", which - VS_BATCH_TEMPORARY);
	else if (which >= VS_BATCH_ARRAY)
		snprintf(name, sizeof name, "upload.array.%d", which - VS_BATCH_ARRAY);
	collection_path(path, batch, which < VS_BATCH_ARRAY ? names[which] : name);
}

/* Opens one of the texts; for writing it is created. */
static int text_open(struct vs_store *s, uint32_t batch, enum vs_batch_text which, bool write)
{
	char path[SEGMENT_PATH_MAX];
	struct collection *c;
	int rc;

	if (write && s->read_only)
		return -EROFS;
	pthread_rwlock_rdlock(&s->lock);
	rc = batch_get_open(s, batch, &c);
	pthread_rwlock_unlock(&s->lock);
	if (!rc && write)
		rc = ahead_directory(s, batch);
	if (rc && (write || rc != -EBUSY))
		return rc;
	text_path(path, batch, which);
	return s->io->ops->open(s->io, path, write ? O_RDWR | O_CREAT : O_RDONLY, 0600);
}

int vs_batch_text_write(struct vs_store *s, uint32_t batch, enum vs_batch_text which, const void *data,
			size_t size, uint64_t off)
{
	int fd = text_open(s, batch, which, true), rc;

	if (fd < 0)
		return fd;
	rc = io_write_full(s->io, fd, data, size, off);
	if (!rc && s->io->syncs_singly) /* what is dropped is told to who has the file open, and no later */
		rc = s->io->ops->datasync(s->io, fd);
	s->io->ops->close(s->io, fd);
	return rc < 0 ? rc : 0;
}

int vs_batch_text_truncate(struct vs_store *s, uint32_t batch, enum vs_batch_text which, uint64_t size)
{
	int fd = text_open(s, batch, which, true), rc;

	if (fd < 0)
		return fd;
	rc = s->io->ops->truncate(s->io, fd, size);
	s->io->ops->close(s->io, fd);
	return rc < 0 ? rc : 0;
}

static int text_size(struct vs_store *s, uint32_t batch, enum vs_batch_text which, int *fd, uint64_t *size)
{
	int rc;

	*size = 0;
	*fd = text_open(s, batch, which, false);
	if (*fd < 0)
		return *fd;
	rc = s->io->ops->size(s->io, *fd, size);
	if (rc < 0)
		s->io->ops->close(s->io, *fd);
	return rc;
}

ssize_t vs_batch_text_read(struct vs_store *s, uint32_t batch, enum vs_batch_text which, void *buf,
			   size_t size, uint64_t off)
{
	uint64_t end;
	int fd, rc = text_size(s, batch, which, &fd, &end);

	if (rc < 0)
		return rc;
	if (off >= end)
		size = 0;
	else if (size > end - off)
		size = end - off;
	if (size)
		rc = io_read_full(s->io, fd, buf, size, off);
	s->io->ops->close(s->io, fd);
	return rc < 0 ? rc : (ssize_t)size;
}

int upload_text(struct vs_store *s, uint32_t batch, enum vs_batch_text which, char **text, size_t *size)
{
	uint64_t end;
	int fd, rc = text_size(s, batch, which, &fd, &end);

	*text = NULL;
	*size = 0;
	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	*text = malloc(end + 1);
	rc = *text ? 0 : -ENOMEM;
	if (!rc && end)
		rc = io_read_full(s->io, fd, *text, end, 0);
	s->io->ops->close(s->io, fd);
	if (rc) {
		free(*text);
		*text = NULL;
		return rc;
	}
	(*text)[end] = 0;
	*size = end;
	return 0;
}

int vs_batch_text_size(struct vs_store *s, uint32_t batch, enum vs_batch_text which, uint64_t *size)
{
	int fd, rc = text_size(s, batch, which, &fd, size);

	if (rc >= 0)
		s->io->ops->close(s->io, fd);
	return rc < 0 ? rc : 0;
}

/* Whether a batch's texts may be changed. */
static int text_may_change(struct vs_store *s, uint32_t batch)
{
	struct collection *c;
	int rc;

	if (s->read_only)
		return -EROFS;
	pthread_rwlock_rdlock(&s->lock);
	rc = batch_get_open(s, batch, &c);
	pthread_rwlock_unlock(&s->lock);
	return rc;
}

int vs_batch_text_remove(struct vs_store *s, uint32_t batch, enum vs_batch_text which)
{
	char path[SEGMENT_PATH_MAX];
	int rc = text_may_change(s, batch);

	text_path(path, batch, which);
	if (!rc)
		rc = s->io->ops->unlink(s->io, path);
	return rc < 0 ? rc : 0;
}

int vs_batch_text_rename(struct vs_store *s, uint32_t batch, enum vs_batch_text from, enum vs_batch_text to)
{
	char from_path[SEGMENT_PATH_MAX], to_path[SEGMENT_PATH_MAX];
	int rc = text_may_change(s, batch);

	text_path(from_path, batch, from);
	text_path(to_path, batch, to);
	if (!rc)
		rc = s->io->ops->rename(s->io, from_path, to_path);
	return rc < 0 ? rc : 0;
}
