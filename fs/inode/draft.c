/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/inode/draft.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool draft_touches(const struct draft *d, size_t size, size_t off)
{
	return !draft_is_pending(d) || (off <= d->end && off + size >= d->from);
}

int draft_put(struct draft *d, size_t row_bytes, const void *data, size_t size, size_t off)
{
	assert(off + size <= row_bytes && draft_touches(d, size, off));
	if (!d->image)
		d->image = malloc(row_bytes);
	if (!d->image)
		return -ENOMEM;
	memcpy(d->image + off, data, size);
	if (!draft_is_pending(d)) {
		d->from = off;
		d->end = off + size;
		return 0;
	}
	if (off < d->from)
		d->from = off;
	if (off + size > d->end)
		d->end = off + size;
	return 0;
}

void draft_clear(struct draft *d)
{
	d->from = d->end = 0;
}

/* The part of [off, off + size) that is pending; false if there is none. */
static bool overlap(const struct draft *d, size_t size, size_t off, size_t *from, size_t *end)
{
	*from = off > d->from ? off : d->from;
	*end = off + size < d->end ? off + size : d->end;
	return *from < *end;
}

void draft_read(const struct draft *d, void *buf, size_t size, size_t off)
{
	size_t from, end;

	if (overlap(d, size, off, &from, &end))
		memcpy((unsigned char *)buf + (from - off), d->image + from, end - from);
}

void draft_mend_page(const struct draft *d, unsigned char *page, const unsigned char *published, size_t size,
		     size_t off)
{
	size_t from, end;

	if (!overlap(d, size, off, &from, &end))
		return;
	for (size_t i = from; i < end; i++)
		if (page[i - off] == published[i - off])
			page[i - off] = d->image[i];
}

void draft_free(struct draft *d)
{
	free(d->image);
	*d = (struct draft){0};
}
