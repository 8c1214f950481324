/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry_map - where each entry number's row is: 4 bytes an entry, in chunks that come and go.
 *
 * Entry numbers only grow, so the numbers of removed vectors leave holes; a chunk without a live entry is
 * freed, and the directory starts at the first chunk in use. Not thread-safe, like the index.
 */
#ifndef VECFS_STORE_COLLECTION_ENTRY_MAP_H
#define VECFS_STORE_COLLECTION_ENTRY_MAP_H

#include <stddef.h>
#include <stdint.h>

#define ENTRIES_CHUNK 4096u
#define ENTRIES_CHUNKS_MAX ((1ull << 40) / ENTRIES_CHUNK) /* entry numbers have 40 bits */
#define ROW_NONE UINT32_MAX

struct entries_chunk {
	uint32_t *rows; /* row + 1, 0: no such entry. NULL: no entry of this chunk is live */
	uint32_t live;
};

struct entry_map {
	struct entries_chunk *chunks; /* of entries [base * ENTRIES_CHUNK, ...) */
	uint64_t base;
	size_t count;
	const char
		*image; /* arrays of rows in [image, image + image_bytes) belong to the mapped index file */
	size_t image_bytes;
	uint64_t hidden, hidden_count; /* entries [hidden, ...) have no row yet, whatever is set */
};

void entry_map_init(struct entry_map *es);
void entry_map_free(struct entry_map *es);
/* The row of an entry, or ROW_NONE. */
uint32_t entry_map_get(const struct entry_map *es, uint64_t entry);
/* Makes sure that setting this entry cannot fail. -ENOMEM; -EOVERFLOW: too far from the others. */
int entry_map_reserve(struct entry_map *es, uint64_t entry);
/* Sets a row; for a new entry after entry_map_reserve. ROW_NONE removes the entry. */
void entry_map_set(struct entry_map *es, uint64_t entry, uint32_t row);
/*
 * Entries [first, first + count) have no row, though they are set, until they are shown all at once: by
 * hiding none of them. One range at a time.
 */
void entry_map_hide(struct entry_map *es, uint64_t first, uint64_t count);
/* The lowest live entry above after, or 0. */
uint64_t entry_map_next(const struct entry_map *es, uint64_t after);

#endif
