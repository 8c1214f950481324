/* SPDX-License-Identifier: Apache-2.0 */
#include "store/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "store/base/clock.h"

#define LOCK_WAIT_MS 1000
#define LOCK_RETRY_US 5000
#define LET_IN_NS 20000 /* a sleep takes some 50 us more */
#define LET_IN_TIMES 16

void engine_report(struct vs_store *s, enum vs_severity severity, const char *format, ...)
{
	char line[512];
	va_list args;

	if (!s->options.report)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	s->options.report(s->options.report_arg, severity, line);
}

void engine_give_back_memory(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

void engine_wake_builder(struct vs_store *s)
{
	if (!atomic_load(&s->builder_idle))
		return;
	pthread_mutex_lock(&s->builder_mutex);
	s->builder_idle = false;
	pthread_cond_signal(&s->builder_work);
	pthread_mutex_unlock(&s->builder_mutex);
}

void engine_wake_vacuum(struct vs_store *s)
{
	pthread_mutex_lock(&s->vacuum.mutex);
	s->vacuum.wanted = true;
	pthread_cond_signal(&s->vacuum.work);
	pthread_mutex_unlock(&s->vacuum.mutex);
}

void engine_unmap(struct vs_store *s)
{
	struct files_unmapped list;

	pthread_rwlock_wrlock(&s->lock);
	files_forget_oldest(&s->files, &list);
	pthread_rwlock_unlock(&s->lock);
	files_unmap(&s->files, &list);
}

/*
 * Whoever unlocks it wakes a waiter, but has it again before that one is awake, and as long as a writer waits
 * so do all readers. So it is not waited for here, which would be taking it, but tried: that fails while a
 * writer is on its way, or readers are.
 */
void engine_let_in(struct vs_store *s)
{
	const struct timespec moment = {.tv_nsec = LET_IN_NS};

	for (unsigned i = 0; i < LET_IN_TIMES; i++) {
		if (!pthread_rwlock_trywrlock(&s->lock)) {
			pthread_rwlock_unlock(&s->lock);
			return;
		}
		nanosleep(&moment, NULL);
	}
}

unsigned engine_read_lock(struct vs_store *s)
{
	if (files_mapped_full(&s->files))
		engine_unmap(s);
	pthread_rwlock_rdlock(&s->lock);
	return s->io->lost;
}

int engine_read_unlock(struct vs_store *s, unsigned lost, int rc)
{
	bool same = s->io->lost == lost;

	pthread_rwlock_unlock(&s->lock);
	return same ? rc : -EIO;
}

static uint32_t *perm_chain(struct vs_store *s, uint32_t mode, uint32_t uid, uint32_t gid)
{
	uint32_t hash = (mode * 0x9e3779b1u + uid) * 0x85ebca6bu + gid;

	return &s->perm_chains[hash * 0xc2b2ae35u / (UINT32_MAX / PERM_CHAINS + 1)];
}

int engine_perm_find(struct vs_store *s, const struct vs_perm *perm)
{
	uint32_t mode = perm->mode & 07777;

	for (uint32_t n = *perm_chain(s, mode, perm->uid, perm->gid); n; n = s->perm_next[n - 1]) {
		const struct perm_class *class = &s->perms[n - 1];

		if (class->mode == mode && class->uid == perm->uid && class->gid == perm->gid)
			return (int)(n - 1);
	}
	return -ENOENT;
}

/* A class that nobody uses is to become another. */
static void perm_unchain(struct vs_store *s, uint32_t index)
{
	const struct perm_class *old = &s->perms[index];
	uint32_t *link = perm_chain(s, old->mode, old->uid, old->gid);

	while (*link != index + 1) {
		assert(*link);
		link = &s->perm_next[*link - 1];
	}
	*link = s->perm_next[index];
}

int engine_perm_add(struct vs_store *s, uint32_t index, const struct perm_class *perm)
{
	uint32_t *next, *chain;
	struct perm_class *p;

	if (index > s->perm_count || index > PERM_MAX)
		return -EUCLEAN;
	p = realloc(s->perms, (s->perm_count + 1) * sizeof *p);
	if (p)
		s->perms = p;
	next = realloc(s->perm_next, (s->perm_count + 1) * sizeof *next);
	if (next)
		s->perm_next = next;
	if (!p || !next)
		return -ENOMEM;
	if (index < s->perm_count)
		perm_unchain(s, index);
	else
		s->perm_count++;
	p[index] = *perm;
	chain = perm_chain(s, perm->mode, perm->uid, perm->gid);
	next[index] = *chain;
	*chain = index + 1;
	return 0;
}

void engine_random(void *p, size_t size)
{
	ssize_t n = getrandom(p, size, 0);

	assert(n == (ssize_t)size);
	(void)n;
}

/* ------------------------------------------------------------------ the lock file */

#define LOCK_NAME_MAX 64 /* bytes of a machine's name */
#define LOCK_TEXT_MAX 96

static void machine_name(char out[LOCK_NAME_MAX + 1])
{
	if (gethostname(out, LOCK_NAME_MAX + 1))
		*out = 0;
	out[LOCK_NAME_MAX] = 0;
}

/*
 * Whoever writes to the store leaves its number and its machine's name there; who only reads it cannot. The
 * machine is told where it is another one. 0: nobody is named.
 */
static int lock_holder(struct vs_store *s, char on_machine[LOCK_TEXT_MAX])
{
	char text[LOCK_TEXT_MAX] = "", name[LOCK_TEXT_MAX] = "", here[LOCK_NAME_MAX + 1];
	int holder = 0;

	s->io->ops->pread(s->io, s->lock_fd, text, sizeof text - 1, 0);
	sscanf(text, "%d %64s", &holder, name);
	machine_name(here);
	*on_machine = 0;
	if (*name && strcmp(name, here))
		snprintf(on_machine, LOCK_TEXT_MAX, " on %s", name);
	return holder;
}

/*
 * Takes the lock, shared by those who only read. It is tried for a moment while nobody is named who holds it:
 * that may be somebody who just looks whether it is held, or a reader that is on its way out.
 */
static int take_lock(struct vs_store *s, char *why, size_t why_size)
{
	int64_t start_ms = clock_ms();
	char machine[LOCK_TEXT_MAX];
	int rc, holder = 0;

	while ((rc = s->io->ops->lock(s->io, s->lock_fd, s->read_only)) == -EWOULDBLOCK && !holder) {
		holder = lock_holder(s, machine);
		if (clock_ms() - start_ms > LOCK_WAIT_MS)
			break;
		if (!holder)
			usleep(LOCK_RETRY_US);
	}
	if (rc != -EWOULDBLOCK)
		return rc;
	if (holder)
		snprintf(why, why_size, "in use by process %d%s", holder, machine);
	else
		snprintf(why, why_size, "in use by a process that only reads it");
	return -EBUSY;
}

/* A disk that knows no locks, or a store without a lock file, can still be read. */
static int lock_shared(struct vs_store *s, char *why, size_t why_size)
{
	int rc;

	s->lock_fd = s->io->ops->open(s->io, "lock", O_RDONLY, 0);
	if (s->lock_fd < 0)
		return s->lock_fd == -ENOENT ? 0 : s->lock_fd;
	rc = take_lock(s, why, why_size);
	return rc == -EBUSY ? rc : 0;
}

/*
 * All texts are equally long, and each is written over the one before it: to cut a file off takes CephFS
 * seconds, for which the next owner would wait. On a full disk there may be no room even for this; the lock
 * itself is what matters.
 */
static void write_lock_text(struct vs_store *s, const char *who, const char *machine)
{
	char text[LOCK_TEXT_MAX];
	int n = snprintf(text, sizeof text, "%s\n", who);

	snprintf(text + n, sizeof text - (size_t)n, "%-*s\n", LOCK_TEXT_MAX - 2 - n, machine);
	io_write_full(s->io, s->lock_fd, text, strlen(text), 0);
}

static void sign_lock(struct vs_store *s)
{
	char pid[16], machine[LOCK_NAME_MAX + 1];

	machine_name(machine);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	write_lock_text(s, pid, machine);
}

/* Whoever looks is not to wait until this machine gets round to telling of it. */
static void publish_lock(struct vs_store *s)
{
	if (s->io->ops->publish)
		s->io->ops->publish(s->io, s->lock_fd);
}

void engine_publish_lock(struct vs_store *s)
{
	sign_lock(s);
	publish_lock(s);
}

static int lock_exclusive(struct vs_store *s, char *why, size_t why_size)
{
	int rc;

	s->lock_fd = s->io->ops->open(s->io, "lock", O_RDWR | O_CREAT, 0600);
	if (s->lock_fd < 0)
		return s->lock_fd;
	rc = take_lock(s, why, why_size);
	if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -ENOLCK || rc == -EINVAL)
		snprintf(why, why_size,
			 "its file system cannot lock (flock: %s): nothing would keep others away",
			 strerror(-rc));
	if (rc < 0)
		return rc;
	sign_lock(s);
	return 0;
}

int engine_lock(struct vs_store *s, char *why, size_t why_size)
{
	int rc = s->read_only ? lock_shared(s, why, why_size) : lock_exclusive(s, why, why_size);

	if (rc < 0 && s->lock_fd >= 0) { /* what is in the file is its holder's */
		s->io->ops->close(s->io, s->lock_fd);
		s->lock_fd = -1;
	}
	return rc;
}

void engine_unlock(struct vs_store *s)
{
	uint64_t size = 0;

	if (s->lock_fd < 0)
		return;
	if (!s->read_only) {
		write_lock_text(s, "", "");
		publish_lock(s);
		s->io->ops->size(s->io, s->lock_fd, &size);
	}
	if (size >= LOCK_TEXT_MAX) /* somebody else has written there */
		s->io->ops->truncate(s->io, s->lock_fd, LOCK_TEXT_MAX - 1);
	s->io->ops->close(s->io, s->lock_fd);
	s->lock_fd = -1;
}
