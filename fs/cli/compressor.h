/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compressor - bytes on their way to a file descriptor as one frame of zstd, with the checksum of the plain
 * bytes at its end.
 *
 * One thread at a time for one compressor.
 */
#ifndef VECFS_FS_CLI_COMPRESSOR_H
#define VECFS_FS_CLI_COMPRESSOR_H

#include <stddef.h>
#include <stdint.h>

struct compressor;

/* Starts a frame of size plain bytes, which its header will tell. fd remains the caller's. NULL: no memory.
 */
struct compressor *compressor_new(int fd, uint64_t size);
/* -errno. */
int compressor_write(struct compressor *c, const void *data, size_t size);
/* Ends the frame. -EIO: it did not get as many bytes as were told; else -errno. */
int compressor_finish(struct compressor *c);
/* NULL is none. */
void compressor_free(struct compressor *c);

#endif
