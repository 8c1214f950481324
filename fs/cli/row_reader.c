/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/row_reader.h"

#include <errno.h>
#include <unistd.h>

#include "store/array/npy.h"
#include "store/base/checksum.h"

void row_reader_start(struct row_reader *r, const struct row_source *source)
{
	const struct row_source_info *info = row_source_info(source);

	*r = (struct row_reader){.source = source, .fd = -1};
	if (info->row_bytes == 0)
		return;
	r->segment_rows = vs_segment_rows(info->row_bytes);
	r->is_direct = info->ino && *info->snapshot; /* a collection in a mount changes */
}

void row_reader_end(struct row_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

static bool open_segment(struct row_reader *r, uint32_t segment)
{
	if (r->fd >= 0 && r->segment == segment)
		return true;
	row_reader_end(r);
	r->fd = row_source_open_segment(r->source, segment);
	r->segment = segment;
	r->is_direct = r->fd >= 0;
	return r->is_direct;
}

static bool read_whole(int fd, char *buf, size_t size, off_t off)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, buf + done, size - done, off + (off_t)done);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* Rows of one segment, with nothing between them. false: they are not there as they should be. */
static bool read_direct(struct row_reader *r, const struct vs_row_want *wants, uint32_t count, char *buf)
{
	size_t row_bytes = row_source_info(r->source)->row_bytes;
	off_t off = NPY_HEADER_BYTES + (off_t)(wants->place % r->segment_rows) * (off_t)row_bytes;

	if (!open_segment(r, wants->place / r->segment_rows) ||
	    !read_whole(r->fd, buf, count * row_bytes, off))
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (sum_data(buf + i * row_bytes, row_bytes) != wants[i].sum)
			return false;
	return true;
}

/* How many rows from the first on lie side by side, in their segment's file too. */
static uint32_t run_of(const struct row_reader *r, const struct vs_row_want *wants, uint32_t count)
{
	uint32_t n = 1;

	while (n < count && wants[n].row == wants->row + n && wants[n].place == wants->place + n &&
	       wants[n].place % r->segment_rows != 0)
		n++;
	return n;
}

int row_reader_read(struct row_reader *r, const struct vs_row_want *wants, uint32_t count, void *buf)
{
	size_t row_bytes = row_source_info(r->source)->row_bytes;
	int rc = 0;

	for (uint32_t i = 0, n; i < count && !rc; i += n) {
		char *at = (char *)buf + i * row_bytes;

		n = run_of(r, &wants[i], count - i);
		/* The source verifies what it reads, and says what is damaged. */
		if (!r->is_direct || !read_direct(r, &wants[i], n, at))
			rc = row_source_vectors(r->source, at, n * row_bytes, wants[i].row * row_bytes);
	}
	return rc;
}
