/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_upload - the uploaded rows of an open batch against their sums. They need not have been made durable,
 * so a power loss may well have harmed them: that is said and is no damage. The commit verifies the sums
 * again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/check/check.h"
#include "store/array/npy.h"
#include "store/base/checksum.h"
#include "store/batch/upload.h"

#define ROWS_AT_ONCE 256u

struct pass {
	struct check_collection *cc;
	struct upload_info upload;
	size_t row_bytes;
	char *rows;     /* ROWS_AT_ONCE of them */
	uint32_t *sums; /* and what they should sum up to */
};

static void say(struct pass *p, uint32_t n, const char *problem)
{
	check_say(p->cc->k, "%s: collections/%u/upload.%u.npy: %s", p->cc->title, p->cc->c->id, n, problem);
}

static int check_rows_of(struct pass *p, uint32_t n, int fd, uint64_t first, uint32_t count)
{
	struct check *k = p->cc->k;
	char problem[64];

	for (uint32_t i = 0; i < count; i += ROWS_AT_ONCE) {
		uint32_t some = count - i < ROWS_AT_ONCE ? count - i : ROWS_AT_ONCE;
		int rc = io_read_full(k->io, fd, p->rows, some * p->row_bytes,
				      SEGMENT_HEADER_BYTES + i * p->row_bytes);

		if (!rc)
			rc = upload_sums(k->s, p->cc->c->id, first + i, some, p->sums);
		if (rc == -EIO)
			say(p, n, "cannot be read");
		if (rc)
			return rc == -EIO ? 0 : rc;
		for (uint32_t r = 0; r < some; r++) {
			if (sum_data(p->rows + r * p->row_bytes, p->row_bytes) == p->sums[r])
				continue;
			snprintf(problem, sizeof problem, "vector %llu of the upload is damaged (checksum)",
				 (unsigned long long)(first + i + r));
			say(p, n, problem);
		}
	}
	return 0;
}

static int check_piece(struct pass *p, uint32_t n)
{
	struct check *k = p->cc->k;
	uint64_t first = (uint64_t)n * p->upload.piece_rows, size;
	uint64_t left = first < p->upload.rows ? p->upload.rows - first : 0;
	uint32_t count = left < p->upload.piece_rows ? (uint32_t)left : p->upload.piece_rows;
	struct npy_shape shape = {
		.dtype = p->upload.schema.dtype, .dim = p->upload.schema.dim, .rows = count};
	unsigned char want[NPY_HEADER_BYTES], got[NPY_HEADER_BYTES];
	char path[SEGMENT_COLUMNS][SEGMENT_PATH_MAX];
	int fd, rc;

	segment_attach_paths(path, p->cc->c->id, n, true);
	fd = k->io->ops->open(k->io, path[SEGMENT_VECTORS], O_RDONLY, 0);
	if (fd < 0)
		return fd;
	rc = k->io->ops->size(k->io, fd, &size);
	npy_header_build(&shape, want, sizeof want);
	if (rc >= 0)
		rc = io_read_full(k->io, fd, got, sizeof got, 0);
	if (!rc && memcmp(got, want, sizeof got))
		say(p, n, "header damaged");
	if (!rc && size != SEGMENT_HEADER_BYTES + count * p->row_bytes)
		say(p, n, "cut off, extended or with a wrong header");
	else if (!rc)
		rc = check_rows_of(p, n, fd, first, count);
	k->io->ops->close(k->io, fd);
	return rc;
}

int check_upload(struct check_collection *cc)
{
	struct pass p = {.cc = cc};
	char sums[SEGMENT_PATH_MAX];
	int rc = upload_find(cc->k->s, cc->c->id, &p.upload);

	if (rc)
		return rc;
	collection_path(sums, cc->c->id, "upload.sums");
	if (!p.upload.exists) {
		if (check_file_exists(cc->k->io, sums))
			check_say(cc->k, "%s: its upload did not get to its end", cc->title);
		return 0;
	}
	p.row_bytes = vs_row_bytes(&p.upload.schema);
	p.rows = malloc(ROWS_AT_ONCE * p.row_bytes);
	p.sums = malloc(ROWS_AT_ONCE * sizeof *p.sums);
	rc = p.rows && p.sums ? 0 : -ENOMEM;
	for (uint32_t n = 0; n < p.upload.pieces && !rc; n++)
		rc = check_piece(&p, n);
	free(p.rows);
	free(p.sums);
	return rc;
}
