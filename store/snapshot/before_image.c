/* SPDX-License-Identifier: Apache-2.0 */
/* before_image - the copies of rows that have changed since a snapshot was opened: kept in memory, written to
 * its file when they are many, and read again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/snapshot/snapshot_state.h"

/* So much of copies is kept in memory; then they are written to the spill file. */
#define IMAGES_BYTES (1u << 20)
#define SPILL_BUFFERS 64

/* Makes place for one more copy in memory. */
static int images_reserve(struct vs_snapshot *m)
{
	size_t capacity = m->images_capacity ? 2 * m->images_capacity : 16;
	struct before_image **images;

	if (m->kept_count - m->spilled < m->images_capacity)
		return 0;
	images = realloc(m->images, capacity * sizeof *images);
	if (!images)
		return -ENOMEM;
	m->images = images;
	m->images_capacity = capacity;
	return 0;
}

static int images_add(struct vs_snapshot *m, struct before_image *copy)
{
	int rc;

	pthread_mutex_lock(&m->images_mutex);
	rc = images_reserve(m);
	if (!rc)
		m->images[m->kept_count - m->spilled] = copy;
	pthread_mutex_unlock(&m->images_mutex);
	return rc;
}

static int keep(struct vs_snapshot *m, struct txn *txn, uint32_t row)
{
	struct before_image *copy = calloc(1, snapshot_image_bytes(m));
	const struct row *r;
	const char *name;
	int rc;

	if (!copy)
		return -ENOMEM;
	r = collection_row(m->c, row, &name);
	if (r) {
		copy->row = *r;
		memcpy(copy->name, name, r->name_len);
	}
	rc = !r && collection_row_is_unread(m->c, row) ? -EIO : ahead_row(txn->ahead, m->c, row, copy + 1);
	if (!rc)
		rc = entry_map_reserve(&m->kept, row);
	if (!rc)
		rc = images_add(m, copy);
	if (rc)
		free(copy);
	else
		entry_map_set(&m->kept, row, (uint32_t)m->kept_count++);
	return rc;
}

static bool wants(const struct vs_snapshot *m, const struct collection *c, uint32_t row)
{
	uint32_t n = row >> c->shift, slot = collection_slot(c, row);

	return !m->broken && n < m->segment_count && slot < m->counts[n] &&
	       m->segments[n] == c->segments[n] && !snapshot_was_deleted(m, n, slot) &&
	       entry_map_get(&m->kept, row) == ROW_NONE;
}

bool snapshot_wants(const struct collection *c, uint32_t row)
{
	const struct vs_snapshot *m = c->snapshots;

	while (m && !wants(m, c, row))
		m = m->next;
	return m;
}

void snapshot_preserve(struct txn *txn, struct collection *c, uint32_t row)
{
	for (struct vs_snapshot *m = c->snapshots; m; m = m->next)
		if (wants(m, c, row))
			m->broken = keep(m, txn, row);
}

struct vs_snapshot *snapshot_full(const struct collection *c)
{
	for (struct vs_snapshot *m = c->snapshots; m; m = m->next)
		if (!m->broken && (m->kept_count - m->spilled) * snapshot_image_bytes(m) >= IMAGES_BYTES) {
			m->users++;
			return m;
		}
	return NULL;
}

/* Writes n copies, the first of which has the index `spilled`. */
static int spill(struct vs_snapshot *m, struct before_image *const *images, size_t n)
{
	struct iovec iov[SPILL_BUFFERS];
	int rc = 0;

	if (m->spill_fd < 0)
		m->spill_fd = snapshot_scratch(m->s);
	if (m->spill_fd < 0)
		return m->spill_fd;
	for (size_t done = 0, count; done < n && !rc; done += count) {
		for (count = 0; count < SPILL_BUFFERS && done + count < n; count++)
			iov[count] = (struct iovec){images[done + count], snapshot_image_bytes(m)};
		rc = io_writev_full(m->s->io, m->spill_fd, iov, (int)count,
				    (m->spilled + done) * snapshot_image_bytes(m));
	}
	return rc;
}

void snapshot_images_drop(struct vs_snapshot *m, size_t n, uint64_t held)
{
	if (!n)
		return;
	for (size_t i = 0; i < n; i++)
		free(m->images[i]);
	memmove(m->images, m->images + n, (held - n) * sizeof(struct before_image *));
	m->spilled += n;
}

void snapshot_spill(struct vs_snapshot *m)
{
	struct before_image **images;
	uint64_t held;
	int rc;

	pthread_mutex_lock(&m->spill_mutex);
	pthread_rwlock_rdlock(&m->s->lock); /* so that none are added */
	held = m->kept_count - m->spilled;
	images = held ? malloc(held * sizeof(struct before_image *)) : NULL;
	if (images)
		memcpy(images, m->images, held * sizeof(struct before_image *));
	pthread_rwlock_unlock(&m->s->lock);
	rc = images ? spill(m, images, held) : held ? -ENOMEM : 0;
	free(images);
	pthread_rwlock_wrlock(&m->s->lock);
	pthread_mutex_lock(&m->images_mutex);
	if (rc)
		m->broken = rc;
	else
		snapshot_images_drop(m, held, m->kept_count - m->spilled);
	pthread_mutex_unlock(&m->images_mutex);
	pthread_rwlock_unlock(&m->s->lock);
	pthread_mutex_unlock(&m->spill_mutex);
	vs_snapshot_close(m);
}

void snapshot_detach(struct collection *c)
{
	for (struct vs_snapshot *m = c->snapshots; m; m = m->next)
		m->c = NULL;
	c->snapshots = NULL;
}

/* ------------------------------------------------------------------ reading them */

bool snapshot_image_copy(const struct vs_snapshot *m, uint32_t index, struct before_image *head, void *data)
{
	pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&m->images_mutex;
	const struct before_image *image;

	pthread_mutex_lock(mutex);
	image = index >= m->spilled ? m->images[index - m->spilled] : NULL;
	if (image && head)
		*head = *image;
	if (image && data)
		memcpy(data, image + 1, m->info.row_bytes);
	pthread_mutex_unlock(mutex);
	return image;
}

int snapshot_image_read(const struct vs_snapshot *m, uint32_t index, struct before_image *head, void *data)
{
	uint64_t off = (uint64_t)index * snapshot_image_bytes(m);
	int rc;

	if (snapshot_image_copy(m, index, head, data))
		return 0;
	rc = head ? io_read_full(m->s->io, m->spill_fd, head, sizeof *head, off) : 0;
	if (!rc && data)
		rc = io_read_full(m->s->io, m->spill_fd, data, m->info.row_bytes, off + sizeof *head);
	return rc;
}
