/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress - how far a long command has come, on standard error: on a terminal a bar that is redrawn in
 * place, with rate and time left, and never wider than the terminal; otherwise, also on one that cannot move
 * its cursor (TERM=dumb), a plain line now and then.
 *
 * One thread at a time for one struct progress.
 */
#ifndef VECFS_FS_CLI_PROGRESS_H
#define VECFS_FS_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;     /* "import docs"; kept, not copied */
	uint64_t total_bytes; /* 0: not known */
	uint64_t row_bytes;   /* of one vector */
	uint64_t done_bytes;
	int64_t start_ns, drawn_ns;
	bool terminal, quiet;
};

/* Starts the clock. quiet: nothing is ever printed. */
void progress_start(struct progress *p, const char *what, uint64_t total_bytes, uint64_t row_bytes,
		    bool quiet);
/* This many more bytes are done. Draws when it is time to. */
void progress_add(struct progress *p, uint64_t size_bytes);
/* A last step that cannot be measured begins ("making it durable"). */
void progress_note(struct progress *p, const char *note);
/* Removes the bar; if all went well, says what was done in which time. */
void progress_end(struct progress *p, bool done);

#endif
