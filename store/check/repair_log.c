/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_log - a log that is damaged in the middle ends before the damage; what came after is lost, and
 * named.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/check/check.h"

/* How far the chain goes. */
struct chain {
	struct log_position end;
	uint64_t off; /* in the file of its epoch */
};

static int follow(void *arg, const struct frame *f, const void *payload)
{
	struct chain *chain = arg;

	(void)payload;
	if (f->epoch != chain->end.epoch)
		chain->off = 0;
	chain->off += log_frame_bytes(f->payload_bytes);
	chain->end = (struct log_position){f->epoch, f->seq + 1, f->sum, chain->end.salt};
	return 0;
}

static void say_lost(struct check *k, const struct record_row *r)
{
	const struct collection *c = collection_get(&k->s->table, r->head.collection);
	char title[CHECK_TITLE_MAX], id[VS_NAME_MAX + 1];

	if (r->head.bytes < sizeof *r + r->row.name_len)
		return;
	if (c)
		check_title(k, c, title);
	else
		snprintf(title, sizeof title, "collection %u", r->head.collection);
	check_say(k, "%s/%s: a change of it is lost", title,
		  check_printable(id, (const char *)(r + 1), r->row.name_len));
}

/* A whole frame behind the damage. */
static int lose(void *arg, const struct frame *f, const void *payload)
{
	struct check *k = arg;
	const char *p = payload, *end = p + f->payload_bytes;

	check_say(k, "log: frame %llu is lost", (unsigned long long)f->seq);
	while ((size_t)(end - p) >= sizeof(struct record)) {
		const struct record *r = (const struct record *)(const void *)p;

		if (r->bytes < sizeof *r || r->bytes % 8 || r->bytes > (size_t)(end - p))
			break;
		if (r->type == RECORD_ROW && r->bytes >= sizeof(struct record_row))
			say_lost(k, (const struct record_row *)(const void *)r);
		p += r->bytes;
	}
	return 0;
}

int repair_log(struct check *k, bool all)
{
	enum catalog_state state;
	struct log_position at, start;
	struct chain chain;
	char why[256];
	int rc = check_catalog(k, &state);

	if (rc || state == CATALOG_UNUSABLE)
		return rc;
	at = start = k->s->position;
	chain = (struct chain){.end = start};
	if (!all)
		rc = log_scan(k->io, &at, false, follow, &chain, why, sizeof why);
	if (rc)
		return rc;
	check_say(k, "log.%u: ends at byte %llu from now on; what came after cannot be replayed",
		  (unsigned)(chain.end.epoch % 2), (unsigned long long)chain.off);
	rc = log_cut(k->io, &chain.end, chain.off, lose, k);
	if (rc || chain.end.epoch != start.epoch)
		return rc;
	chain.end.epoch++;
	return log_cut(k->io, &chain.end, 0, lose, k);
}
