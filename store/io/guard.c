/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io/guard.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
	sigjmp_buf back;
	const struct io_range *ranges;
	size_t count;
};

struct mapping {
	uintptr_t start, end;
	int protection;
	bool has_lost;
	_Atomic unsigned *lost;
};

static _Thread_local struct guard *volatile current;
static struct sigaction former;
/*
 * The handler takes the mutex, too. It may: it is called where a mapping was read, in the middle of what the
 * mutex guards nothing is mapped from a file, and so its own thread does not have it.
 */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *mappings; /* a tree, in the order of their addresses */
static _Atomic bool any_lost;

/* Mappings that overlap are equal: so that one byte finds the mapping it is in. */
static int compare(const void *a, const void *b)
{
	const struct mapping *m = a, *n = b;

	return m->end <= n->start ? -1 : m->start >= n->end;
}

/* Under the mutex. NULL: it is none of ours. */
static struct mapping *find(uintptr_t at)
{
	struct mapping key = {.start = at, .end = at + 1};
	struct mapping **found = tfind(&key, &mappings, compare);

	return found ? *found : NULL;
}

/*
 * The whole mapping is given up if the page cannot be: there may be no more mappings than the kernel allows
 * (vm.max_map_count), and a hole in one makes three of it.
 */
static bool replace(const struct mapping *m, uintptr_t at)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = at & ~(page - 1);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;

	return mmap((void *)start, page, m->protection, flags, -1, 0) != MAP_FAILED ||
	       mmap((void *)m->start, m->end - m->start, m->protection, flags, -1, 0) != MAP_FAILED;
}

static bool lose_page(uintptr_t at)
{
	struct mapping *m;
	bool replaced = false;

	pthread_mutex_lock(&mutex);
	m = find(at);
	if (m) {
		m->has_lost = true;
		any_lost = true;
		++*m->lost;
		replaced = replace(m, at);
	}
	pthread_mutex_unlock(&mutex);
	return replaced;
}

static bool is_guarded(const struct guard *g, uintptr_t at)
{
	for (size_t i = 0; g && i < g->count; i++)
		if (at - (uintptr_t)g->ranges[i].start < g->ranges[i].size)
			return true;
	return false;
}

static void bus_error(int number, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;
	struct guard *g = current;
	int error = errno;

	if (is_guarded(g, at))
		siglongjmp(g->back, 1);
	if (lose_page(at)) {
		errno = error;
		return;
	}
	if (former.sa_flags & SA_SIGINFO)
		former.sa_sigaction(number, info, context);
	else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN)
		former.sa_handler(number);
	else
		sigaction(SIGBUS, &former, NULL); /* the access is made again, and ends the process */
}

/* Somebody else may have taken it since: a library, or a test. Under the mutex. */
static void take_signal(void)
{
	/* Not blocked while it is handled, for the handler may not return. */
	struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER}, now;

	if (!sigaction(SIGBUS, NULL, &now) && now.sa_sigaction == bus_error && now.sa_flags & SA_SIGINFO)
		return;
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, &now);
	if (now.sa_sigaction != bus_error)
		former = now;
}

int io_guard_add(void *start, size_t size, bool writable, _Atomic unsigned *lost)
{
	struct mapping *m = malloc(sizeof *m), **added;

	if (!m)
		return -ENOMEM;
	*m = (struct mapping){.start = (uintptr_t)start,
			      .end = (uintptr_t)start + size,
			      .protection = writable ? PROT_READ | PROT_WRITE : PROT_READ,
			      .lost = lost};
	pthread_mutex_lock(&mutex);
	take_signal();
	added = tsearch(m, &mappings, compare);
	assert(!added || *added == m);
	pthread_mutex_unlock(&mutex);
	if (!added)
		free(m);
	return added ? 0 : -ENOMEM;
}

void io_guard_remove(void *start, size_t size)
{
	struct mapping *m;

	pthread_mutex_lock(&mutex);
	m = find((uintptr_t)start);
	assert(!m || (m->start == (uintptr_t)start && m->end == m->start + size));
	(void)size;
	if (m)
		tdelete(m, &mappings, compare);
	pthread_mutex_unlock(&mutex);
	free(m);
}

bool io_guard_has_lost(const void *start)
{
	struct mapping *m;
	bool lost;

	if (!any_lost)
		return false;
	pthread_mutex_lock(&mutex);
	m = find((uintptr_t)start);
	lost = m && m->has_lost;
	pthread_mutex_unlock(&mutex);
	return lost;
}

bool io_guard(const void *start, size_t size, void (*fn)(void *arg), void *arg)
{
	return io_guard_ranges(&(struct io_range){start, size}, 1, fn, arg);
}

bool io_guard_ranges(const struct io_range *ranges, size_t count, void (*fn)(void *arg), void *arg)
{
	struct guard g = {.ranges = ranges, .count = count};

	assert(!current);
	if (sigsetjmp(g.back, 0)) {
		current = NULL;
		return false;
	}
	current = &g;
	fn(arg);
	current = NULL;
	return true;
}
