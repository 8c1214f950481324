/* SPDX-License-Identifier: Apache-2.0 */
/*
 * draft - what an ordinary file would hold beyond the published vector: the pieces of the runs (staging.h) of
 * all files of a vector, in the order in which they were written. Whoever must end the runs publishes these
 * bytes, so that an older piece of one file never overtakes a newer one of another.
 */
#ifndef VECFS_FS_INODE_DRAFT_H
#define VECFS_FS_INODE_DRAFT_H

#include <stdbool.h>
#include <stddef.h>

struct draft {
	unsigned char *image; /* of the whole vector; only [from, end) means something */
	size_t from, end;     /* equal: nothing is pending */
};

static inline bool draft_is_pending(const struct draft *d)
{
	return d->from < d->end;
}

/* Whether a piece leaves no gap to what is pending. */
bool draft_touches(const struct draft *d, size_t size, size_t off);
/* Puts a piece over what is pending, which it touches. -ENOMEM */
int draft_put(struct draft *d, size_t row_bytes, const void *data, size_t size, size_t off);
/* What is pending was published, or replaced as a whole. */
void draft_clear(struct draft *d);
/* Copies what is pending over buf, which holds size bytes of the published vector from off on. */
void draft_read(const struct draft *d, void *buf, size_t size, size_t off);
/*
 * A page of a mapping may have been filled before the pieces were written: bytes that it did not change,
 * which are those that equal the published ones, are taken from the draft instead.
 */
void draft_mend_page(const struct draft *d, unsigned char *page, const unsigned char *published, size_t size,
		     size_t off);
void draft_free(struct draft *d);

#endif
