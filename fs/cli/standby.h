/* SPDX-License-Identifier: Apache-2.0 */
/*
 * standby - a daemon that waits, without serving, for a store that another process has: on this machine or on
 * another one that shares its file system. It asks for the store's lock now and then, for a lock that is
 * waited for is not to be relied upon over every network, and it leaves a lock of its own on STORE/standby,
 * so that who looks at the store can tell that somebody waits.
 */
#ifndef VECFS_FS_CLI_STANDBY_H
#define VECFS_FS_CLI_STANDBY_H

#include <stdbool.h>

struct standby {
	const char *store; /* its directory */
	/* Called once, when there turns out to be something to wait for: why says what. */
	void (*begun)(void *arg, const char *why);
	void *arg;
	int fd; /* of STORE/standby; 0 before it is needed */
	bool waiting, locked;
};

/* vs_options.wait for a struct standby. SIGTERM, SIGINT and SIGHUP end the wait, unless they are ignored. */
bool standby_wait(void *standby, const char *why);
/* The wait is over. Whether a signal ended it; otherwise signals do again what they did before. */
bool standby_end(struct standby *sb);
/* Whether somebody waits for the store. */
bool standby_is_there(const char *store);

#endif
