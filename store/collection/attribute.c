/* SPDX-License-Identifier: Apache-2.0 */
#include "store/collection/attribute.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/format.h"
#include "store/store.h"

size_t attribute_bytes(uint32_t value_bytes)
{
	return sizeof(struct attribute) + ((size_t)value_bytes + 7) / 8 * 8;
}

bool attribute_is_known(uint32_t tag)
{
	return attribute_is_public(tag) || tag == ATTRIBUTE_FROZEN || tag == ATTRIBUTE_SHARES;
}

bool attribute_is_public(uint32_t tag)
{
	return tag > 0 && tag < VS_ATTRIBUTE_COUNT;
}

void attributes_free(struct attributes *as)
{
	free(as->run);
	*as = (struct attributes){0};
}

/* The place of the first attribute whose tag is not below tag. */
static uint32_t place_of(const struct attributes *as, uint32_t tag)
{
	uint32_t at = 0;

	while (at < as->bytes) {
		const struct attribute *a = (const void *)(as->run + at);

		if (a->tag >= tag)
			break;
		at += (uint32_t)attribute_bytes(a->bytes);
	}
	return at;
}

const void *attributes_find(const struct attributes *as, uint32_t tag, uint32_t *bytes)
{
	uint32_t at = place_of(as, tag);
	const struct attribute *a = (const void *)(as->run + at);

	*bytes = 0;
	if (at == as->bytes || a->tag != tag)
		return NULL;
	*bytes = a->bytes;
	return a + 1;
}

int attributes_set(struct attributes *as, uint32_t tag, const void *value, uint32_t bytes)
{
	uint32_t at = place_of(as, tag), old_bytes, old = 0,
		 new = bytes ? (uint32_t)attribute_bytes(bytes) : 0;
	struct attribute a = {.tag = tag, .bytes = bytes};
	char *run;

	if (attributes_find(as, tag, &old_bytes))
		old = (uint32_t)attribute_bytes(old_bytes);
	run = calloc(1, as->bytes - old + new + 1);
	if (!run)
		return -ENOMEM;
	if (at)
		memcpy(run, as->run, at);
	if (new) {
		memcpy(run + at, &a, sizeof a);
		memcpy(run + at + sizeof a, value, bytes);
	}
	if (as->bytes > at + old)
		memcpy(run + at + new, as->run + at + old, as->bytes - at - old);
	free(as->run);
	as->run = run;
	as->bytes += new - old;
	return 0;
}

int attributes_parse(struct attributes *as, const void *run, uint32_t bytes, uint32_t *tag)
{
	const char *p = run;
	uint32_t last = 0;

	for (uint32_t at = 0; at < bytes;) {
		struct attribute a;

		if (bytes - at < sizeof a)
			return -EUCLEAN;
		memcpy(&a, p + at, sizeof a);
		if (a.tag <= last || !a.bytes || a.bytes > bytes || attribute_bytes(a.bytes) > bytes - at)
			return -EUCLEAN;
		*tag = last = a.tag;
		if (!attribute_is_known(a.tag))
			return -EPROTO;
		if (a.bytes > VS_ATTRIBUTE_BYTES_MAX)
			return -EUCLEAN;
		at += (uint32_t)attribute_bytes(a.bytes);
	}
	attributes_free(as);
	if (!bytes)
		return 0;
	as->run = malloc(bytes);
	if (!as->run)
		return -ENOMEM;
	memcpy(as->run, run, bytes);
	as->bytes = bytes;
	return 0;
}
