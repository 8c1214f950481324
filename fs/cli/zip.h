/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zip - where the files in a .zip archive lie, as NumPy's savez and savez_compressed write it (.npz), also
 * with the 64-bit fields of zip64. The archive is untrusted.
 */
#ifndef VECFS_FS_CLI_ZIP_H
#define VECFS_FS_CLI_ZIP_H

#include <stddef.h>
#include <stdint.h>

enum zip_method { ZIP_STORED = 0, ZIP_DEFLATED = 8 };

struct zip_member {
	enum zip_method method;
	uint64_t off;        /* of its bytes in the archive */
	uint64_t size;       /* of those */
	uint64_t plain_size; /* when they are inflated */
	uint32_t crc;        /* zlib's crc32 of the plain bytes */
};

/*
 * Finds the member "NAME.npy" or "NAME" of the archive fd, which must be a regular file; with name NULL its
 * only .npy member. -EINVAL: why says what is wrong, or which members there are; -errno.
 */
int zip_find(int fd, const char *name, struct zip_member *out, char *why, size_t why_size);

#endif
