/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalog - the store's root of trust: what collections and segments there are, and where the log begins
 * (format.h).
 *
 * Two slots, written in turns and in place, with space allocated when a collection or segment is created:
 * writing one never needs space, so a full disk cannot stop a checkpoint.
 */
#ifndef VECFS_STORE_CATALOG_CATALOG_H
#define VECFS_STORE_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/base/format.h"
#include "store/io/io.h"

struct collection;
struct vs_store;

/* A catalog in memory, ready to be written but for seq, log position and sum. */
struct catalog_image {
	uint32_t version;     /* on the disk; head is always as FORMAT_VERSION has it */
	struct catalog *head; /* head->bytes long; malloc'ed */
};

/* What a collection is, but for its rows and index: as a catalog and RECORD_COLLECTION say it. */
struct catalog_collection catalog_describe(const struct collection *c);
/* The reverse, of the schema. */
void catalog_schema(const struct catalog_collection *in, struct collection *c);
/* Makes a new image of the store's present state. Under the store's lock. -ENOMEM. */
int catalog_snapshot(const struct vs_store *s, uint32_t flags, struct catalog_image *out);
void catalog_free(struct catalog_image *image);
/*
 * Writes an image to the slot that does not hold the latest one and makes it durable. Sets its seq and sum;
 * the caller has set the log position. One thread at a time.
 */
int catalog_write(struct vs_store *s, struct catalog_image *image);
/* Whether there are zeros only, as behind the image of a slot. */
bool catalog_is_zero(const char *p, uint64_t size);
/* Writes and frees an image, as that of a log that begins at s->position. */
int catalog_write_at(struct vs_store *s, struct catalog_image *image);
/* Writes the present state so. */
int catalog_update(struct vs_store *s, uint32_t flags);
/* At opening: how much room the slots have, and more if the present state needs it. */
int catalog_open_room(struct vs_store *s);
/* Makes the first catalog of a new store, in one step that a crash cannot tear. */
int catalog_create(struct vs_store *s);
/* Allocates room in both slots for one more collection and for more segments than there are. -ENOSPC. */
int catalog_reserve(struct vs_store *s, uint32_t segments);
/* The same for more bytes than the present state takes. */
int catalog_reserve_bytes(struct vs_store *s, uint64_t more);
/* Without the lock: allocates more than is needed now, so that who holds the lock finds it. Failure does not
 * matter yet. */
void catalog_grow(struct vs_store *s);

/*
 * Reads both slots, from the disk unless the store is only read; *out is the valid one with the higher seq.
 * valid tells which are (a missing file is not).
 * -ENOENT: neither file exists; -EUCLEAN: none is valid; -EPROTO: of a version unknown
 * here, which out->version tells.
 */
int catalog_read(struct io *io, struct catalog_image *out, bool valid[2]);
/*
 * Whether s, as it is, could have this collection, whose name begins at name. Checksums do not stop a forged
 * file: every field is validated.
 */
bool catalog_plausible(const struct vs_store *s, const struct catalog_collection *in, const char *name);
/* The sentence for -EPROTO because of an attribute's tag. */
void catalog_refuse_attribute(const char *collection, uint32_t tag, char *why, size_t why_size);
/*
 * Builds the store's tables from an image, without opening any segment file. -EUCLEAN: it contradicts itself;
 * -EPROTO: there is something in it that this program does not know. Both with a sentence in why.
 */
int catalog_load(struct vs_store *s, const struct catalog_image *image, char *why, size_t why_size);

#endif
