/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - opens the files of collections, and makes their indexes.
 */
#ifndef VECFS_STORE_REPLAY_LOAD_H
#define VECFS_STORE_REPLAY_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct collection;
struct vs_store;

/* Has a collection whose files are not as they should be answer EIO, and says so. */
void load_damaged(struct vs_store *s, struct collection *c, const char *what, int rc);
/* Whether some snapshot has yet to get links of the files that c has, or had. */
int load_is_wanted(struct vs_store *s, const struct collection *c);
/* Opens the segments in place of their placeholders. replaying: files may not exist, or be short, before the
 * second pass; what the log has for those that can be opened reaches them also if another one is damaged. */
int load_segments(struct vs_store *s, struct collection *c, bool replaying);
/* After the second pass: every file is as long as what is in use. */
int load_verify_sizes(struct collection *c);
/* Makes the index from the rows. */
int load_index(struct vs_store *s, struct collection *c);
/* A snapshot's segments, whose files are opened when somebody wants to see it. */
int load_later(struct vs_store *s, struct collection *c);
/* Opens a collection of a store that was closed cleanly. Files that are not as they should be make a damaged
 * collection; without means to look at them none is opened. */
int load_collection(struct vs_store *s, struct collection *c);
/* Lets go of segments that were opened for who was to share them, and have no rows. */
int load_close_sources(struct vs_store *s, struct collection *c);

#endif
