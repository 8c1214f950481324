/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short works whose crashes are all tried, in pairs: the process is killed at each change of the work, and
 * the power fails at each change of the recovery that follows, or as soon as that is over. The random
 * workloads of crash_test.c seldom come to what only such a pair shows: a recovery that takes what it finds
 * in the page cache for durable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/base/checksum.h"
#include "store/store.h"
#include "store/view/view.h"
#include "tests/crash/simdisk.h"
#include "tests/crash/wreck.h"

#define LOG_BYTES (256u << 10) /* small, so that it is quickly made */
#define STEPS_MAX 10
#define STATE_BYTES 1024
#define MTIME (1000 * VS_TIME_NS_PER_S) /* what is older has been set */
#define DELETED "a\nb\n"                /* ids */
#define BATCH_ROWS 1000 /* more than one frame of the log takes: their files are handed over */

static const struct vs_perm perm = {.mode = 0755};

/* ------------------------------------------------------------------ steps */

/* Each is one change, whole or not at all; false: an error. */
typedef bool (*step_fn)(struct vs_store *s);

static bool find(struct vs_store *s, const char *name, struct vs_collection_info *c)
{
	return !vs_collection_find(s, 0, name, c);
}

static bool find_snap(struct vs_store *s, const char *collection, struct vs_collection_info *c)
{
	return find(s, collection, c) && !vs_snap_find(s, c->id, "snap", c);
}

static bool put(struct vs_store *s, const char *collection, const char *id, float value, size_t values)
{
	struct vs_attr attr = {.perm = {.mode = 0644}};
	struct vs_collection_info c;
	float data[4] = {value, 1, 2, 3};

	return find(s, collection, &c) && !vs_entry_reserve(s, c.id, &attr.entry) &&
	       !vs_put(s, c.id, id, &attr, data, values * sizeof *data, NULL);
}

static bool remove_from(struct vs_store *s, const char *collection, const char *id)
{
	struct vs_collection_info c;

	return find(s, collection, &c) && !vs_remove(s, c.id, id, NULL);
}

static bool make_docs(struct vs_store *s)
{
	uint32_t id;

	return !vs_collection_create(s, 0, "docs", &perm, &id);
}

static bool put_a(struct vs_store *s)
{
	return put(s, "docs", "a", 1, 1);
}

static bool put_b(struct vs_store *s)
{
	return put(s, "docs", "b", 2, 1);
}

static bool overwrite_a(struct vs_store *s)
{
	return put(s, "docs", "a", 3, 1);
}

static bool put_longer(struct vs_store *s)
{
	return put(s, "docs", "a", 4, 4);
}

static bool make_files(struct vs_store *s)
{
	uint32_t id;

	return !vs_collection_create(s, 0, "files", &perm, &id);
}

static bool move_a(struct vs_store *s)
{
	struct vs_collection_info from, to;
	uint64_t entry, replaced;

	return find(s, "docs", &from) && find(s, "files", &to) &&
	       !vs_rename(s, from.id, "a", to.id, "a", false, &entry, &replaced);
}

static bool restrict_a(struct vs_store *s)
{
	struct vs_attr attr = {.mtime = MTIME, .perm = {.mode = 0400, .uid = 1}};
	struct vs_collection_info c;
	struct vs_attr now;

	return find(s, "docs", &c) && !vs_lookup(s, c.id, "a", &now) &&
	       !vs_attr_set(s, c.id, now.entry, VS_SET_MODE | VS_SET_UID | VS_SET_MTIME, &attr);
}

static bool restrict_docs(struct vs_store *s)
{
	const struct vs_perm only = {.mode = 0700};
	struct vs_collection_info c;

	return find(s, "docs", &c) && !vs_collection_set(s, c.id, VS_SET_MODE, &only, 0);
}

static bool choose_schema(struct vs_store *s)
{
	struct vs_schema schema = {.dim = 2, .dtype = VS_F16, .metric = VS_IP};
	struct vs_collection_info c;

	return find(s, "docs", &c) && !vs_schema_set(s, c.id, &schema);
}

static bool put_in_copy(struct vs_store *s)
{
	return put(s, "copy", "b", 5, 1);
}

static bool remove_a(struct vs_store *s)
{
	return remove_from(s, "docs", "a");
}

static bool remove_b(struct vs_store *s)
{
	return remove_from(s, "docs", "b");
}

static bool remove_from_copy(struct vs_store *s)
{
	return remove_from(s, "copy", "a");
}

static bool remove_docs(struct vs_store *s)
{
	struct vs_collection_info c;

	return find(s, "docs", &c) && !vs_collection_remove(s, c.id);
}

static bool rename_a(struct vs_store *s)
{
	struct vs_collection_info c;
	uint64_t entry, replaced;

	return find(s, "docs", &c) && !vs_rename(s, c.id, "a", c.id, "z", false, &entry, &replaced);
}

static bool rename_docs(struct vs_store *s)
{
	struct vs_collection_info c;

	return find(s, "docs", &c) && !vs_collection_rename(s, c.id, "files", true);
}

static bool snap(struct vs_store *s)
{
	struct vs_collection_info c;
	uint32_t id;

	return find(s, "docs", &c) && !vs_snap_create(s, c.id, "snap", &id);
}

static bool drop_snap(struct vs_store *s)
{
	struct vs_collection_info c;

	return find_snap(s, "docs", &c) && !vs_snap_drop(s, c.id);
}

static bool roll_back(struct vs_store *s)
{
	struct vs_collection_info c;

	return find_snap(s, "docs", &c) && !vs_snap_rollback(s, c.id);
}

static bool clone(struct vs_store *s)
{
	struct vs_collection_info c;
	uint32_t id;

	return find_snap(s, "docs", &c) && !vs_snap_clone(s, c.id, "copy", &perm, &id);
}

static bool make_view(struct vs_store *s)
{
	struct vs_collection_info c;
	char why[256];

	return find(s, "docs", &c) && !vs_view_create(s, c.id, "f16", NULL, why, sizeof why);
}

static bool drop_view(struct vs_store *s)
{
	struct vs_collection_info c;

	return find(s, "docs", &c) && !vs_view_drop(s, c.id, "f16");
}

static bool find_batch(struct vs_store *s, struct vs_collection_info *c)
{
	return find(s, "docs", c) && !vs_collection_find(s, c->id, "batch", c);
}

static bool make_batch(struct vs_store *s)
{
	struct vs_collection_info c;
	uint32_t batch;

	return find(s, "docs", &c) && !vs_collection_create(s, c.id, "batch", &perm, &batch);
}

static bool put_in_batch(struct vs_store *s)
{
	struct vs_attr attr = {.perm = {.mode = 0644}};
	struct vs_collection_info c;
	float value = 6;

	return find_batch(s, &c) && !vs_entry_reserve(s, c.id, &attr.entry) &&
	       !vs_put(s, c.id, "c", &attr, &value, sizeof value, NULL);
}

static bool write_in_batch(struct vs_store *s)
{
	struct vs_collection_info c;

	return find_batch(s, &c) &&
	       !vs_batch_text_write(s, c.id, VS_BATCH_DELETE, DELETED, sizeof DELETED - 1, 0) &&
	       !vs_batch_sync(s, c.id);
}

/* As a program does that calls fsync(2) before close(2). */
static bool upload(struct vs_store *s)
{
	struct vs_schema schema = {.dim = 1, .dtype = VS_F32};
	struct vs_collection_info c;
	struct vs_upload *u;
	float data[BATCH_ROWS];

	for (int i = 0; i < BATCH_ROWS; i++)
		data[i] = (float)i;
	if (!find_batch(s, &c) || vs_upload_begin(s, c.id, &schema, &u))
		return false;
	if (vs_upload_append(u, data, sizeof data) || vs_upload_complete(u) || vs_batch_sync(s, c.id)) {
		vs_upload_end(u, false);
		return false;
	}
	return !vs_upload_end(u, true);
}

static bool commit(struct vs_store *s)
{
	struct vs_collection_info c;
	char why[256];

	return find_batch(s, &c) && !vs_batch_commit(s, c.id, 0, NULL, why, sizeof why);
}

static bool drop_batch(struct vs_store *s)
{
	struct vs_collection_info c;

	return find_batch(s, &c) && !vs_collection_remove(s, c.id);
}

static bool checkpoint(struct vs_store *s)
{
	return !vs_checkpoint(s);
}

/* The crashes come in the steps; the store has been closed after those before them. */
static const struct work {
	const char *name;
	step_fn before[STEPS_MAX], steps[STEPS_MAX];
	bool always; /* every pair is tried each time: it has shown a fault that few of them do */
	bool files;  /* a batch's are written, which a recovery does not make durable */
} works[] = {
	{.name = "vectors come, change and go",
	 .steps = {make_docs, put_a, put_b, overwrite_a, rename_a, checkpoint, remove_b, rename_docs}},
	{.name = "the last one goes, and one of another size comes",
	 .steps = {make_docs, put_a, checkpoint, remove_a, put_longer, remove_a, remove_docs}},
	{.name = "a snapshot outlives what it is of",
	 .steps = {make_docs, put_a, checkpoint, snap, remove_a, checkpoint},
	 .always = true},
	{.name = "a snapshot is cloned, and the clone changed",
	 .steps = {make_docs, put_a, snap, clone, put_in_copy, drop_snap, remove_from_copy, remove_a}},
	{.name = "a snapshot is gone back to",
	 .steps = {make_docs, put_a, snap, remove_a, put_b, roll_back, overwrite_a, drop_snap}},
	{.name = "nothing is kept, cloned and gone back to",
	 .steps = {make_docs, snap, clone, roll_back, checkpoint, put_in_copy, drop_snap, remove_docs}},
	{.name = "a batch hands files over",
	 .steps = {make_docs, put_a, make_batch, write_in_batch, upload, commit, snap, put_b},
	 .files = true},
	{.name = "a batch waits, and is closed with the store",
	 .before = {make_docs, put_a, make_batch, put_in_batch, upload},
	 .steps = {write_in_batch, checkpoint, commit, make_batch, upload, drop_batch},
	 .files = true},
	{.name = "an empty batch was closed with the store, and is filled",
	 .before = {make_docs, put_a, make_batch},
	 .steps = {write_in_batch, upload, put_in_batch, commit, put_b, snap},
	 .files = true},
	{.name = "a vector is set, and goes, in a store that was closed",
	 .before = {make_docs, put_a, put_b},
	 .steps = {restrict_a, snap, overwrite_a, remove_b, clone, make_batch, drop_batch}},
	{.name = "what was closed changes",
	 .before = {make_docs, put_a, snap, put_b, remove_a},
	 .steps = {overwrite_a, roll_back, put_b, clone, rename_docs, put_in_copy}},
	{.name = "what was closed goes",
	 .before = {make_docs, put_a, put_b, snap, clone},
	 .steps = {remove_a, remove_b, drop_snap, put_longer, remove_from_copy}},
	{.name = "one moves to where nothing was",
	 .before = {make_docs, put_a, make_files},
	 .steps = {move_a, choose_schema, checkpoint, put_b, remove_b, remove_docs}},
	{.name = "what is set stays so",
	 .steps = {make_docs, choose_schema, put_a, restrict_a, checkpoint, restrict_docs, snap, make_files}},
	{.name = "views come and go",
	 .steps = {make_docs, put_a, make_view, put_b, snap, clone, drop_view, roll_back}},
};

/* ------------------------------------------------------------------ states */

struct entries {
	char names[BATCH_ROWS + 8][8];
	uint64_t numbers[BATCH_ROWS + 8];
	size_t count;
};

static bool note_entry(void *arg, const struct vs_attr *attr, const char *name, size_t name_len)
{
	struct entries *all = arg;

	assert_true(all->count < sizeof all->names / sizeof *all->names && name_len < sizeof *all->names);
	snprintf(all->names[all->count], sizeof *all->names, "%.*s", (int)name_len, name);
	all->numbers[all->count++] = attr->entry;
	return true;
}

/* A text, and the room behind it. */
struct text {
	char *at;
	size_t room;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(t->at, t->room, format, args);
	va_end(args);
	assert_true(n >= 0 && (size_t)n < t->room);
	t->at += n;
	t->room -= (size_t)n;
}

/* A vector's id, bytes and attributes as a number; false: it cannot be read. */
static bool sum_up_vector(struct vs_store *s, uint32_t collection, const char *name, uint64_t entry,
			  uint64_t *total)
{
	struct {
		unsigned char data[16];
		vs_time mtime;
		uint32_t mode, uid;
	} seen = {0};
	struct vs_attr attr;
	ssize_t n = vs_read(s, collection, entry, seen.data, sizeof seen.data, 0);

	if (n < 0 || (size_t)n > sizeof seen.data || vs_attr_get(s, collection, entry, &attr) ||
	    attr.size != (size_t)n)
		return false;
	seen.mtime = attr.mtime <= MTIME ? attr.mtime : 0;
	seen.mode = attr.perm.mode;
	seen.uid = attr.perm.uid;
	*total += XXH3_64bits_withSeed(&seen, sizeof seen, XXH3_64bits(name, strlen(name)));
	return true;
}

static bool add_vectors(struct text *t, struct vs_store *s, uint32_t collection)
{
	static struct entries all;
	uint64_t total = 0;

	all.count = 0;
	if (vs_list(s, collection, 0, note_entry, &all))
		return false;
	for (size_t i = 0; i < all.count; i++)
		if (!sum_up_vector(s, collection, all.names[i], all.numbers[i], &total))
			return false;
	add(t, " %zu:%llx\n", all.count, (unsigned long long)total);
	return true;
}

/* Of its text and upload only what is whole: a crash may leave parts of them. */
static bool add_batches(struct text *t, struct vs_store *s, const struct vs_collection_info *of)
{
	struct vs_collection_info c;

	for (uint32_t id = 0; !vs_collection_next(s, of->id, id, &c); id = c.id) {
		struct vs_batch_info info;
		char ids[16];
		ssize_t n = vs_batch_text_read(s, c.id, VS_BATCH_DELETE, ids, sizeof ids, 0);

		if (vs_batch_get(s, c.id, &info))
			return false;
		add(t, "%s/%s", of->name, c.name);
		if (n == sizeof DELETED - 1 && !memcmp(ids, DELETED, sizeof DELETED - 1))
			add(t, " deletes");
		if (info.has_upload)
			add(t, " uploads %llu", (unsigned long long)info.upload_rows);
		if (!add_vectors(t, s, c.id))
			return false;
	}
	return true;
}

/* All that users see: collections, their views, snapshots and batches, and what is in them. */
static bool describe(struct vs_store *s, char state[STATE_BYTES])
{
	struct text t = {.at = state, .room = STATE_BYTES};
	struct vs_collection_info c, snapshot;

	*state = 0;
	for (uint32_t id = 0; !vs_collection_next(s, 0, id, &c); id = c.id) {
		struct vs_view_info view = {.name = ""};

		add(&t, "%s %o %u*%d,%d", c.name, c.perm.mode, c.schema.dim, c.schema.dtype, c.schema.metric);
		while (!vs_view_next(s, c.id, view.name, &view))
			add(&t, " %s", view.name);
		if (!add_vectors(&t, s, c.id) || !add_batches(&t, s, &c))
			return false;
		for (uint32_t k = 0; !vs_snap_next(s, c.id, k, &snapshot); k = snapshot.id) {
			add(&t, "%s@%s", c.name, snapshot.name);
			if (!add_vectors(&t, s, snapshot.id))
				return false;
		}
	}
	return true;
}

/* ------------------------------------------------------------------ crashes */

/* A work, the states before, between and after its steps, and where it is. */
struct course {
	const struct work *work;
	char states[STEPS_MAX + 1][STATE_BYTES];
	size_t steps;
	size_t durable;    /* of them */
	char finding[200]; /* the first of the last check */
	uint64_t killed_at, cut_at, seed;
};

static void fail_course(const struct course *c, const char *what, const char *state)
{
	fail_msg("%s, killed at change %u, cut at %u, seed %u: %s\n%safter %zu steps it was\n%s",
		 c->work->name, (unsigned)c->killed_at, (unsigned)c->cut_at, (unsigned)c->seed, what, state,
		 c->durable, c->states[c->durable]);
}

static struct vs_store *open_store(struct simdisk *d)
{
	struct vs_options options = {.io = simdisk_io(d), .log_bytes = LOG_BYTES};
	struct vs_store *s;
	char why[256];
	int rc = vs_open("sim", &options, &s, why, sizeof why);

	if (rc && !simdisk_crashed(d))
		fail_msg("the store does not open: %s", why);
	return s;
}

/* Ends where the disk does. */
static void work(struct course *c, struct vs_store *s)
{
	c->durable = 0;
	while (c->durable < c->steps && c->work->steps[c->durable](s) && !vs_sync(s))
		c->durable++;
}

/* Leaves the store as the steps find it. */
static void prepare(const struct course *c, struct simdisk *d)
{
	struct vs_store *s;

	simdisk_reset(d);
	if (!c->work->before[0])
		return;
	s = open_store(d);
	for (const step_fn *step = c->work->before; *step; step++)
		assert_true((*step)(s));
	assert_int_equal(vs_close(s), 0);
}

static void learn(struct course *c, struct simdisk *d)
{
	struct vs_store *s;

	prepare(c, d);
	s = open_store(d);
	assert_true(describe(s, c->states[0]));
	for (c->steps = 0; c->steps < STEPS_MAX && c->work->steps[c->steps]; c->steps++) {
		assert_true(c->work->steps[c->steps](s));
		assert_true(describe(s, c->states[c->steps + 1]));
	}
	assert_int_equal(vs_close(s), 0);
}

/* What is durable is there, and the step that was under way when the process was killed, or not. */
static void assert_kept(const struct course *c, bool readable, const char *state)
{
	if (!readable)
		fail_course(c, "something cannot be read", state);
	if (strcmp(state, c->states[c->durable]) &&
	    (c->durable == c->steps || strcmp(state, c->states[c->durable + 1])))
		fail_course(c, "it is", state);
}

static void keep_finding(void *arg, const char *line)
{
	char *finding = arg;

	if (!*finding)
		snprintf(finding, sizeof((struct course *)NULL)->finding, "%s\n", line);
}

/* Returns whether the work was killed before it had ended, and in *cut whether the recovery was cut short. */
static bool crash_twice(struct course *c, struct simdisk *d, bool *cut)
{
	char seen[STATE_BYTES] = "", state[STATE_BYTES];
	struct vs_store *s;
	bool killed;

	prepare(c, d);
	simdisk_crash_at(d, c->killed_at, c->seed);
	c->durable = 0;
	s = open_store(d);
	if (s) {
		work(c, s);
		vs_close(s);
	}
	killed = simdisk_crashed(d);
	simdisk_reboot(d, SIMDISK_KILL, c->seed);

	simdisk_crash_at(d, c->cut_at, c->seed);
	s = open_store(d);
	*cut = simdisk_crashed(d);
	if (!*cut) {
		bool readable = describe(s, seen);

		*cut = simdisk_crashed(d); /* of views codes may be made meanwhile */
		if (!*cut)
			assert_kept(c, readable, seen);
	}
	simdisk_crash_at(d, 1, c->seed);
	if (s)
		vs_close(s);
	simdisk_reboot(d, SIMDISK_POWER, c->seed);

	simdisk_crash_at(d, 0, 0);
	s = open_store(d);
	assert_kept(c, describe(s, state), state);
	if (!*cut && !c->work->files && strcmp(state, seen))
		fail_course(c, "the recovery had shown another:", seen);
	assert_int_equal(vs_close(s), 0);
	*c->finding = 0;
	if (vs_check("sim", simdisk_io(d), false, keep_finding, c->finding) != VS_CHECK_CLEAN)
		fail_course(c, "check is not clean:", c->finding);
	return killed;
}

/* With VECFS_LONG=1 each pair is tried, with several choices of what survives the power loss. Else the
 * recovery is cut at one change of so many, from another one on after each kill, and after its end;
 * instrumented, few kills are tried. */
struct effort {
	uint64_t kill_step, cut_step, seeds;
};

static struct effort effort(const struct work *w)
{
	const char *is_long = getenv("VECFS_LONG");

	if (getenv("VECFS_SANITIZED"))
		return (struct effort){.kill_step = 8, .cut_step = 16, .seeds = 1};
	if (is_long && *is_long == '1')
		return (struct effort){.kill_step = 1, .cut_step = 1, .seeds = 4};
	if (w->always)
		return (struct effort){.kill_step = 1, .cut_step = 1, .seeds = 2};
	return (struct effort){.kill_step = 1, .cut_step = 4, .seeds = 1};
}

static void nothing_is_lost_to_a_kill_and_a_power_loss(void **state)
{
	struct course *c = calloc(1, sizeof *c);
	struct simdisk *d = simdisk_new();

	(void)state;
	for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
		const struct effort e = effort(&works[i]);
		bool killed = true, cut;
		unsigned pairs = 0;

		c->work = &works[i];
		learn(c, d);
		for (c->killed_at = 1; killed; c->killed_at += e.kill_step) {
			cut = true;
			for (c->cut_at = 1 + c->killed_at % e.cut_step; cut; c->cut_at += e.cut_step)
				for (uint64_t k = 0; k < e.seeds; k++, pairs++) {
					c->seed = c->killed_at * 1000 + c->cut_at + k * 1000000;
					killed = crash_twice(c, d, &cut);
				}
		}
		print_message("%s: %u pairs of crashes\n", c->work->name, pairs);
	}
	simdisk_free(d);
	free(c);
}

/* ------------------------------------------------------------------ a crash and damage */

/* The catalog that was written last. */
static const char *newest_catalog(struct io *io)
{
	static const char *const paths[2] = {"catalog.0", "catalog.1"};
	struct catalog head[2];

	for (int i = 0; i < 2; i++) {
		int fd = io->ops->open(io, paths[i], O_RDONLY, 0);

		assert_int_equal(io_read_full(io, fd, &head[i], sizeof head[i], 0), 0);
		io->ops->close(io, fd);
	}
	return paths[head[1].seq > head[0].seq];
}

/* The one before says that the store is closed; but there is a log. */
static void a_damaged_catalog_of_an_open_store_costs_nothing(void **state)
{
	struct simdisk *d = simdisk_new();
	struct wreck w = {.disk = d};
	char before[STATE_BYTES], after[STATE_BYTES], finding[200] = "";
	struct vs_store *s;

	(void)state;
	s = open_store(d);
	assert_true(make_docs(s) && put_a(s) && snap(s));
	assert_int_equal(vs_close(s), 0);
	s = open_store(d);
	assert_true(put_b(s) && remove_a(s));
	assert_int_equal(vs_sync(s), 0);
	assert_true(describe(s, before));
	simdisk_crash_at(d, 1, 1);
	vs_close(s);
	simdisk_reboot(d, SIMDISK_KILL, 1);
	simdisk_crash_at(d, 0, 0);
	w.io = simdisk_io(d);
	wreck_flip(&w, newest_catalog(w.io), sizeof(struct catalog));
	s = open_store(d);
	assert_true(describe(s, after));
	assert_string_equal(after, before);
	assert_int_equal(vs_close(s), 0);
	assert_int_equal(vs_check("sim", simdisk_io(d), false, keep_finding, finding), VS_CHECK_CLEAN);
	simdisk_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_to_a_kill_and_a_power_loss),
		cmocka_unit_test(a_damaged_catalog_of_an_open_store_costs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
