/* SPDX-License-Identifier: Apache-2.0 */
/* upload - what the commit of a batch needs of its upload and texts (store.h has the writing side). */
#ifndef VECFS_STORE_BATCH_UPLOAD_H
#define VECFS_STORE_BATCH_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "store/engine.h"

/* A finished upload as it lies on the disk. */
struct upload_info {
	bool exists;
	bool torn; /* there is one without its end, which is none */
	struct vs_schema schema;
	uint64_t rows;
	uint32_t pieces; /* files: its parts, all full but the last */
	uint32_t piece_rows;
};

/* The batch if it is one that can be changed; under the lock. -ENOENT; -EBUSY: it is being committed. */
int batch_get_open(struct vs_store *s, uint32_t id, struct collection **out);
int upload_find(struct vs_store *s, uint32_t batch, struct upload_info *out);
/* Reads the data_sum of rows [first, first + count). */
int upload_sums(struct vs_store *s, uint32_t batch, uint64_t first, uint64_t count, uint32_t *sums);
/* One of the texts, whole, with a NUL behind it: malloc'ed; NULL and 0 bytes if there is none. */
int upload_text(struct vs_store *s, uint32_t batch, enum vs_batch_text which, char **text, size_t *size);

#endif
