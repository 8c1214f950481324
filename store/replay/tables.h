/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tables - the first pass over a log: collections, segments, counts and permission classes as it leaves them.
 *
 * Checksums do not stop a forged log: every field is validated before it is used.
 */
#ifndef VECFS_STORE_REPLAY_TABLES_H
#define VECFS_STORE_REPLAY_TABLES_H

#include <stddef.h>

#include "store/base/format.h"
#include "store/store.h"

struct log_position;
struct vs_store;

struct replay {
	struct vs_store *s;
	vs_time time; /* of the frame */
	char *why;    /* a sentence for -EPROTO */
	size_t why_size;
	struct record_attach *attached; /* carried out before any file is opened */
	size_t attached_count;
};

/*
 * What the log from *at on says is in the tables, and each file has the name it is to have; *at is then the
 * log's end. A store that is only read keeps its names: attached, unless NULL, then gets those that it should
 * have had, to be freed. Errors as of recover.
 */
int tables_replay(struct vs_store *s, struct log_position *at, struct replay *attached, char *why,
		  size_t why_size);

#endif
