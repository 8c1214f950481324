/* SPDX-License-Identifier: Apache-2.0 */
#include "store/catalog/catalog_v1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/catalog/catalog.h"

vs_time convert_time(uint64_t time_ns)
{
	int64_t ns = (int64_t)time_ns, s = ns / 1000000000, rest = ns % 1000000000;
	struct timespec t = {.tv_sec = rest < 0 ? s - 1 : s, .tv_nsec = rest < 0 ? rest + 1000000000 : rest};

	return vs_time_of(&t);
}

struct catalog_collection convert_collection(const struct catalog_collection_v1 *old)
{
	vs_time mtime = convert_time((uint64_t)old->mtime_ns);

	return (struct catalog_collection){
		.id = old->id,
		.parent = old->parent,
		.dim = old->dim,
		.dtype = old->dtype,
		.metric = old->metric,
		.schema_flags = old->schema_fixed ? SCHEMA_FIXED : 0,
		.name_len = old->name_len,
		.perm = old->perm,
		.segments = old->segments,
		.mtime = mtime,
		.ctime = mtime,
		.next_entry = old->next_entry,
	};
}

static size_t padded(size_t n)
{
	return (n + 7) / 8 * 8;
}

/* Copies a collection, its name and its segments; NULL if they end too early. */
static const char *put_collection(const char *in, const char *end, char **out)
{
	struct catalog_collection_v1 old;
	struct catalog_collection new;
	uint64_t rest;

	if ((size_t)(end - in) < sizeof old)
		return NULL;
	memcpy(&old, in, sizeof old);
	in += sizeof old;
	rest = padded(old.name_len) + (uint64_t)old.segments * sizeof(struct catalog_segment);
	if ((uint64_t)(end - in) < rest)
		return NULL;
	new = convert_collection(&old);
	memcpy(*out, &new, sizeof new);
	memcpy(*out + sizeof new, in, rest);
	*out += sizeof new + rest;
	return in + rest;
}

int convert_catalog(struct catalog_image *image)
{
	const struct catalog *old = image->head;
	uint64_t perms = padded(old->perms * sizeof(struct perm_class));
	const char *in = (const char *)(old + 1), *end = (const char *)old + old->bytes;
	struct catalog_root root = {.perm = PERM_NONE, .mtime = vs_time_now()};
	struct catalog *new;
	char *out;

	if ((uint64_t)(end - in) < perms ||
	    (uint64_t)(end - in) - perms < (uint64_t)old->collections * sizeof(struct catalog_collection_v1))
		return -EUCLEAN;
	new = calloc(1, old->bytes + sizeof root +
				old->collections * (sizeof(struct catalog_collection) -
						    sizeof(struct catalog_collection_v1)));
	if (!new)
		return -ENOMEM;
	root.ctime = root.mtime;
	memcpy(new, old, sizeof *new);
	out = (char *)(new + 1);
	memcpy(out, &root, sizeof root);
	memcpy(out + sizeof root, in, perms);
	out += sizeof root + perms;
	in += perms;
	for (uint32_t i = 0; i < old->collections && in; i++)
		in = put_collection(in, end, &out);
	if (!in) {
		free(new);
		return -EUCLEAN;
	}
	new->version = FORMAT_VERSION;
	new->bytes = (uint64_t)(out - (char *)new);
	free(image->head);
	image->head = new;
	return 0;
}
