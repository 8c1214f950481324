/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attribute - what a collection has beyond its fixed description, as tag, length and value (format.h): a run
 * of them as it stands in a catalog, with rising tags. No locks of its own.
 */
#ifndef VECFS_STORE_COLLECTION_ATTRIBUTE_H
#define VECFS_STORE_COLLECTION_ATTRIBUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tags of the engine itself, beside those of enum vs_attribute. */
enum attribute_tag {
	ATTRIBUTE_FROZEN = 16, /* struct attribute_frozen: it is a snapshot */
	ATTRIBUTE_SHARES = 17, /* it shares files with another collection, or has: it has to be looked */
};

struct attributes {
	char *run; /* malloc'ed; NULL while bytes is 0 */
	uint32_t bytes;
};

void attributes_free(struct attributes *as);
/* The value of a tag and its size, or NULL. It stays where it is until the attributes change. */
const void *attributes_find(const struct attributes *as, uint32_t tag, uint32_t *bytes);
/* Sets a tag's value, or removes it if bytes is 0. -ENOMEM; the value must be of attribute_is_known(). */
int attributes_set(struct attributes *as, uint32_t tag, const void *value, uint32_t bytes);
/*
 * Copies a run that comes from a file. -EUCLEAN: it cannot be one; -EPROTO: *tag is none that this program
 * knows.
 */
int attributes_parse(struct attributes *as, const void *run, uint32_t bytes, uint32_t *tag);
/* What the longest value adds to a run. */
size_t attribute_bytes(uint32_t value_bytes);
bool attribute_is_known(uint32_t tag);
/* Whether others than the engine may set it. */
bool attribute_is_public(uint32_t tag);

#endif
