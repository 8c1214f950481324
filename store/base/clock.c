/* SPDX-License-Identifier: Apache-2.0 */
/* clock - what time it is, and times as the store keeps them (vs_time). */
#include "store/base/clock.h"

#include <errno.h>
#include <time.h>

#include "store/store.h"

/* A ctime that is ahead by more than this shows that the clock was set back: it starts anew. */
#define AHEAD_MAX (3600 * VS_TIME_NS_PER_S)

vs_time vs_time_of(const struct timespec *t)
{
	if (t->tv_sec <= VS_TIME_FIRST_S)
		return 0;
	if (t->tv_sec >= VS_TIME_FIRST_S + VS_TIME_SECONDS - 1)
		return VS_TIME_END - VS_TIME_NS_PER_S;
	return (uint64_t)(t->tv_sec - VS_TIME_FIRST_S) * VS_TIME_NS_PER_S + (uint64_t)t->tv_nsec;
}

void vs_time_split(vs_time t, struct timespec *out)
{
	out->tv_sec = (time_t)(t / VS_TIME_NS_PER_S) + VS_TIME_FIRST_S;
	out->tv_nsec = (long)(t % VS_TIME_NS_PER_S);
}

vs_time vs_time_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return vs_time_of(&t);
}

vs_time vs_time_after(vs_time before, vs_time now)
{
	return before < now || before - now > AHEAD_MAX ? now : before + 1;
}

int64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_ms(void)
{
	return clock_ns() / 1000000;
}

bool clock_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until_ms)
{
	struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, &until) != ETIMEDOUT;
}
