/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/open_files.h"

#include <pthread.h>

#include "fs/request/ops.h"

#define LISTS 64 /* each with a lock of its own, by inode number */

static struct list {
	pthread_mutex_t lock;
	struct open_file *first;
} lists[LISTS] = {[0 ... LISTS - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static struct list *list_of(const struct open_file *h)
{
	return &lists[((h->ino * UINT64_C(0x9e3779b97f4a7c15)) >> 48) % LISTS];
}

void open_files_add(struct open_file *h, uint64_t ino)
{
	struct list *list;

	h->ino = ino;
	list = list_of(h);
	pthread_mutex_lock(&list->lock);
	h->prev = NULL;
	h->next = list->first;
	if (h->next)
		h->next->prev = h;
	list->first = h;
	pthread_mutex_unlock(&list->lock);
}

void open_files_remove(struct open_file *h)
{
	struct list *list = list_of(h);

	pthread_mutex_lock(&list->lock);
	if (h->prev)
		h->prev->next = h->next;
	else
		list->first = h->next;
	if (h->next)
		h->next->prev = h->prev;
	pthread_mutex_unlock(&list->lock);
}

void open_files_release_all(struct mount *s)
{
	for (struct list *list = lists; list < lists + LISTS; list++) {
		while (list->first) {
			struct open_file *h = list->first;
			struct node node = node_of(h->ino);
			struct fuse_file_info fi = {.fh = (uintptr_t)h};

			open_files_remove(h);
			ops_of(s, node.kind)->release(s, &node, &fi);
		}
	}
}
