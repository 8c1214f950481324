/* SPDX-License-Identifier: Apache-2.0 */
#include "store/check/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

static const char *const slots[2] = {"catalog.0", "catalog.1"};

struct slot {
	char *bytes; /* of the whole file; NULL: there is none */
	uint64_t size;
};

static int slot_load(struct check *k, int i, struct slot *slot)
{
	int fd = k->io->ops->open(k->io, slots[i], O_RDONLY, 0), rc;

	*slot = (struct slot){0};
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	rc = k->io->ops->size(k->io, fd, &slot->size);
	if (rc >= 0) {
		slot->bytes = malloc(slot->size + 1);
		rc = slot->bytes ? io_read_full(k->io, fd, slot->bytes, slot->size, 0) : -ENOMEM;
	}
	k->io->ops->close(k->io, fd);
	return rc < 0 ? rc : 0;
}

/* What is wrong with a slot, or NULL. first: it is the unused one of a store that was only just created. */
static const char *slot_problem(const struct slot *slot, int i, bool valid, bool first)
{
	const struct catalog *head = (const struct catalog *)(const void *)slot->bytes;

	if (first && (!slot->bytes || (!valid && catalog_is_zero(slot->bytes, slot->size))))
		return NULL;
	if (!slot->bytes)
		return "missing";
	if (!valid)
		return "damaged (checksum)";
	if (head->seq % 2 != (uint64_t)i)
		return "not where it belongs: it is the other slot";
	if (slot->size % CATALOG_ALIGN)
		return "cut off or extended";
	if (!catalog_is_zero(slot->bytes + head->bytes, slot->size - head->bytes))
		return "damaged (behind its end)";
	return NULL;
}

/* Both slots in detail, given the newest. */
static int check_slots(struct check *k, const struct catalog *newest, const bool valid[2])
{
	struct slot slot[2] = {0};
	int rc = 0;

	for (int i = 0; i < 2 && !rc; i++)
		rc = slot_load(k, i, &slot[i]);
	for (int i = 0; i < 2 && !rc; i++) {
		const char *problem = slot_problem(&slot[i], i, valid[i], newest->seq == 1);

		/* What was being written when the machine stopped may be torn, but there is a log then. */
		if (problem && !log_exists(k->io))
			check_found(k, "%s: %s", slots[i], problem);
	}
	if (!rc && valid[0] && valid[1] && slot[0].size != slot[1].size)
		check_found(k, "catalog.0 and catalog.1 differ in size: one is cut off or extended");
	if (!rc && valid[0] && valid[1]) {
		uint64_t a = ((struct catalog *)(void *)slot[0].bytes)->seq;
		uint64_t b = ((struct catalog *)(void *)slot[1].bytes)->seq;

		if (a - b != 1 && b - a != 1)
			check_found(k, "catalog.0 and catalog.1 are not of the same store, or one is old");
	}
	free(slot[0].bytes);
	free(slot[1].bytes);
	return rc;
}

int check_catalog(struct check *k, enum catalog_state *state)
{
	struct catalog_image image;
	char why[256] = "";
	bool valid[2];
	int rc = catalog_read(k->io, &image, valid);

	*state = CATALOG_UNUSABLE;
	if (rc == -EPROTO) {
		catalog_free(&image);
		return check_stop(k, rc,
				  "of format version %u, which is newer than this program, whose is %u",
				  image.version, FORMAT_VERSION);
	}
	if ((rc == -EUCLEAN && !image.head) || rc == -ENOENT) {
		check_found(k, "both catalogs are %s", rc == -ENOENT ? "missing" : "damaged");
		return 0;
	}
	if (!rc)
		rc = check_slots(k, image.head, valid);
	if (!rc)
		rc = catalog_load(k->s, &image, why, sizeof why);
	if (!rc)
		*state = image.head->flags & CATALOG_CLEAN && !log_exists(k->io) ? CATALOG_CLOSED
										 : CATALOG_UNCLOSED;
	if (!rc && (image.version != FORMAT_VERSION || image.head->flags & CATALOG_CONVERTED))
		*state = CATALOG_OLD;
	catalog_free(&image);
	if (rc == -EPROTO)
		return check_stop(k, rc, "%s", why);
	if (rc == -EUCLEAN) {
		check_found(k, "the catalog contradicts itself");
		return 0;
	}
	return rc;
}
