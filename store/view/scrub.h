/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub - looks again, in the background, whether codes are still what was written.
 *
 * A scan reads codes through mappings and believes them: to compare every block with its tag would take as
 * long as the scan. So the builder compares them, a little at a time and one round after the other; blocks
 * that are damaged are stale from then on, and encoded anew. Until then a search may miss what they hold, and
 * codes that are read may be wrong; vectors and distances never are, for these are verified when they are
 * read.
 *
 * A round takes a MiB every tenth of a second. Then there is a rest: a minute, or nine times what the round
 * took, so that a store that is larger than memory is not read all the time.
 */
#ifndef VECFS_STORE_VIEW_SCRUB_H
#define VECFS_STORE_VIEW_SCRUB_H

#include <stdbool.h>

struct vs_store;

/* Both are the builder's. Codes are verified when they are found: the first round is due after a rest. */
void scrub_begin(struct vs_store *s);
/* Looks at the next codes, if that is due. Returns whether some are to be encoded anew. */
bool scrub_look(struct vs_store *s);

#endif
