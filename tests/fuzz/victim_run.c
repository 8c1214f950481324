/* SPDX-License-Identifier: Apache-2.0 */
/* victim_run - all that the engine does, over a store that may be anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store.h"
#include "tests/fuzz/victim.h"

#define LISTED_MAX 64
#define READ_BYTES (64u << 10)

struct listed {
	struct {
		struct vs_attr attr;
		char id[VS_NAME_MAX + 1];
	} all[LISTED_MAX];
	unsigned count;
};

static char buf[READ_BYTES];

static bool add_listed(void *arg, const struct vs_attr *attr, const char *name, size_t len)
{
	struct listed *l = arg;

	l->all[l->count].attr = *attr;
	memcpy(l->all[l->count].id, name, len);
	l->all[l->count++].id[len] = 0;
	return l->count < LISTED_MAX;
}

/* ------------------------------------------------------------------ reading */

static void read_moment(struct vs_store *s, uint32_t c)
{
	struct vs_snapshot_info info;
	struct vs_snapshot *m;

	if (vs_snapshot_open(s, c, &m))
		return;
	vs_snapshot_info(m, &info);
	vs_snapshot_vectors(m, buf, sizeof buf, 0);
	vs_snapshot_vectors(m, buf, sizeof buf, info.rows * info.row_bytes / 2);
	vs_snapshot_ids(m, buf, sizeof buf, 0);
	vs_snapshot_ids(m, buf, sizeof buf, info.ids_bytes / 2);
	vs_snapshot_ids0(m, buf, sizeof buf, 0);
	vs_snapshot_close(m);
}

static void read_collection(struct vs_store *s, const struct vs_collection_info *c)
{
	struct listed l = {0};
	char name[VS_NAME_MAX + 1], path[64];

	vs_list(s, c->id, 0, add_listed, &l);
	for (unsigned i = 0; i < l.count; i++) {
		struct vs_attr attr;

		vs_lookup(s, c->id, l.all[i].id, &attr);
		vs_attr_get(s, c->id, l.all[i].attr.entry, &attr);
		vs_name_get(s, c->id, l.all[i].attr.entry, name);
		vs_read(s, c->id, l.all[i].attr.entry, buf, sizeof buf, 0);
		vs_read(s, c->id, l.all[i].attr.entry, buf, 3, 5);
	}
	read_moment(s, c->id);
	vs_segment_path(s, c->id, 0, path, sizeof path, NULL);
}

/* ------------------------------------------------------------------ changing */

static void put(struct vs_store *s, const struct vs_collection_info *c, const char *id)
{
	struct vs_attr attr = {.mtime = 5, .perm = {.mode = 0600, .uid = 7, .gid = 7}};

	if (c->row_bytes <= sizeof buf && !vs_entry_reserve(s, c->id, &attr.entry))
		vs_put(s, c->id, id, &attr, buf, c->row_bytes ? c->row_bytes : 8, NULL);
}

static void change_collection(struct vs_store *s, const struct vs_collection_info *c)
{
	struct listed l = {0};
	struct vs_attr attr = {.mtime = 9};
	struct vs_snapshot *m = NULL;

	vs_list(s, c->id, 0, add_listed, &l);
	vs_snapshot_open(s, c->id, &m);
	put(s, c, "new");
	for (unsigned i = 0; i < l.count; i++) {
		const char *id = l.all[i].id, *next = l.all[(i + 1) % l.count].id;
		uint64_t entry = l.all[i].attr.entry, replaced;

		switch (i % 6) {
		case 0:
			put(s, c, id);
			break;
		case 1:
			vs_write(s, c->id, entry, buf, 2, 0, VS_SET_MTIME, &attr);
			break;
		case 2:
			vs_rename(s, c->id, id, c->id, next, false, &entry, &replaced);
			break;
		case 3:
			vs_remove(s, c->id, id, NULL);
			break;
		case 4:
			vs_attr_set(s, c->id, entry, VS_SET_MTIME | VS_SET_MODE, &attr);
			break;
		default:
			vs_rename(s, c->id, id, c->id, "renamed", false, &entry, &replaced);
		}
	}
	vs_sync(s);
	if (m) {
		vs_snapshot_ids(m, buf, sizeof buf, 0);
		vs_snapshot_close(m);
	}
}

static void each_collection(struct vs_store *s, uint32_t parent,
			    void (*fn)(struct vs_store *s, const struct vs_collection_info *c))
{
	struct vs_collection_info c = {0};

	while (!vs_collection_next(s, parent, c.id, &c))
		fn(s, &c);
}

static void change_batch(struct vs_store *s, const struct vs_collection_info *c)
{
	struct vs_batch_info info;
	char why[256];

	read_collection(s, c);
	vs_batch_get(s, c->id, &info);
	for (int i = 0; i < VS_BATCH_TEXT_COUNT; i++)
		vs_batch_text_read(s, c->id, (enum vs_batch_text)i, buf, sizeof buf, 0);
	for (uint64_t off = 0; off < 64; off += 7)
		vs_batch_upload_read(s, c->id, buf, sizeof buf, off);
	vs_batch_commit(s, c->id, 0, NULL, why, sizeof why);
}

static void use_collection(struct vs_store *s, const struct vs_collection_info *c)
{
	read_collection(s, c);
	change_collection(s, c);
	each_collection(s, c->id, change_batch);
	read_collection(s, c);
	vs_collection_rename(s, c->id, "another", false);
}

/* ------------------------------------------------------------------ all of it */

static void use_store(void)
{
	struct vs_perm perm = {.mode = 0700};
	struct vs_store *s = victim_open();
	uint32_t id;

	if (!s)
		return;
	each_collection(s, 0, use_collection);
	vs_collection_create(s, 0, "fresh", &perm, &id);
	vs_collection_remove(s, id);
	victim_close(s);
	s = victim_open();
	if (s) {
		each_collection(s, 0, read_collection);
		victim_close(s);
	}
}

static void say(void *arg, const char *line)
{
	(void)arg;
	if (getenv("FUZZ_VERBOSE"))
		fprintf(stderr, "%s\n", line);
}

void victim_run(void)
{
	int rc = vs_check(victim_dir(), NULL, false, say, NULL);

	if (rc == VS_CHECK_CLEAN || rc == VS_CHECK_DAMAGED)
		use_store();
	rc = vs_check(victim_dir(), NULL, true, say, NULL);
	if ((rc == VS_CHECK_REPAIRED || rc == VS_CHECK_CLEAN) &&
	    vs_check(victim_dir(), NULL, false, say, NULL) != VS_CHECK_CLEAN)
		abort();
}
