/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into the daemon: while the file that BACKCLOCK_WHILE names exists, the time of day is a day ago.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *t)
{
	int (*next)(clockid_t, struct timespec *) =
		(int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	const char *cause = getenv("BACKCLOCK_WHILE");
	int rc = next(clock, t);

	if (rc == 0 && clock == CLOCK_REALTIME && cause && access(cause, F_OK) == 0)
		t->tv_sec -= 24 * 3600;
	return rc;
}
