/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io/guard.h"

#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>

struct guard {
	sigjmp_buf back;
	uintptr_t start;
	size_t size;
};

static _Thread_local struct guard *volatile current;
static struct sigaction former;

static void bus_error(int number, siginfo_t *info, void *context)
{
	struct guard *g = current;

	if (g && (uintptr_t)info->si_addr - g->start < g->size)
		siglongjmp(g->back, 1);
	if (former.sa_flags & SA_SIGINFO)
		former.sa_sigaction(number, info, context);
	else if (former.sa_handler != SIG_DFL && former.sa_handler != SIG_IGN)
		former.sa_handler(number);
	else
		sigaction(SIGBUS, &former, NULL); /* the access is made again, and ends the process */
}

static void take_signal(void)
{
	/* Not blocked while it is handled, for the handler may not return. */
	struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, &former);
}

bool io_guard(const void *start, size_t size, void (*fn)(void *arg), void *arg)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct guard g = {.start = (uintptr_t)start, .size = size};

	assert(!current);
	pthread_once(&once, take_signal);
	if (sigsetjmp(g.back, 0)) {
		current = NULL;
		return false;
	}
	current = &g;
	fn(arg);
	current = NULL;
	return true;
}
