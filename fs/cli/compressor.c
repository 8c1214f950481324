/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/compressor.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "fs/cli/transfer.h"

#define LEVEL 3 /* zstd(1)'s */

struct compressor {
	int fd;
	ZSTD_CCtx *frame;
	ZSTD_outBuffer packed;
};

struct compressor *compressor_new(int fd, uint64_t size)
{
	struct compressor *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->fd = fd;
	c->packed.size = ZSTD_CStreamOutSize();
	c->packed.dst = malloc(c->packed.size);
	c->frame = ZSTD_createCCtx();
	if (c->packed.dst && c->frame &&
	    !ZSTD_isError(ZSTD_CCtx_setParameter(c->frame, ZSTD_c_compressionLevel, LEVEL)) &&
	    !ZSTD_isError(ZSTD_CCtx_setParameter(c->frame, ZSTD_c_checksumFlag, 1)) &&
	    !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(c->frame, size)))
		return c;
	compressor_free(c);
	return NULL;
}

/* Takes all of in; with ZSTD_e_end the frame is whole afterwards. */
static int feed(struct compressor *c, ZSTD_inBuffer in, ZSTD_EndDirective how)
{
	size_t left;
	int rc = 0;

	do {
		c->packed.pos = 0;
		left = ZSTD_compressStream2(c->frame, &c->packed, &in, how);
		if (ZSTD_isError(left))
			return ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation ? -ENOMEM : -EIO;
		rc = transfer_write(c->fd, c->packed.dst, c->packed.pos);
	} while (rc == 0 && (how == ZSTD_e_end ? left > 0 : in.pos < in.size));
	return rc;
}

int compressor_write(struct compressor *c, const void *data, size_t size)
{
	return feed(c, (ZSTD_inBuffer){data, size, 0}, ZSTD_e_continue);
}

int compressor_finish(struct compressor *c)
{
	return feed(c, (ZSTD_inBuffer){0}, ZSTD_e_end);
}

void compressor_free(struct compressor *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->frame);
	free(c->packed.dst);
	free(c);
}
