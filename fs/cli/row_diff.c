/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/row_diff.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOSE_MIN 1024u
#define REMOVED_MIN 65536u

/* A row that is not what stands at its place in the other snapshot. */
struct loose {
	uint64_t entry, row;
	int64_t ctime_s;
	uint32_t ctime_ns;
};

struct loose_list {
	struct loose *all;
	size_t count, room;
};

/* Rows of one segment. */
struct run {
	uint64_t first, end;
	uint32_t segment;
	struct row_file file;
	struct run *peer; /* those that they are compared with */
};

/* A snapshot that is gone through by places. */
struct side {
	const struct row_source *source;
	struct vs_row_meta *meta; /* of the rows [read, read_end) */
	uint64_t row, rows;
	uint64_t read, read_end;
	uint32_t segment_rows;
	struct run *runs;
	size_t run_count;
	struct loose_list loose;
};

struct id_hash {
	uint64_t low, high;
};

static int refuse(char *why, size_t why_size, int rc)
{
	if (!*why)
		snprintf(why, why_size, "%s", strerror(-rc));
	return rc;
}

static int refuse_row(char *why, size_t why_size, uint64_t row)
{
	snprintf(why, why_size, "row %" PRIu64 " is damaged: vecfs check --repair says what is lost", row);
	return -EIO;
}

/* ------------------------------------------------------------------ by places */

static int side_start(struct side *s, const struct row_source *source)
{
	const struct row_source_info *info = row_source_info(source);

	*s = (struct side){.source = source,
			   .rows = info->rows,
			   .segment_rows = info->row_bytes > 0 ? vs_segment_rows(info->row_bytes) : 1,
			   .meta = malloc(ROW_CURSOR_ROWS * sizeof *s->meta)};
	return s->meta ? 0 : -ENOMEM;
}

static void side_end(struct side *s)
{
	free(s->meta);
	free(s->runs);
	free(s->loose.all);
}

/* The row where it is, or NULL at the end. */
static int side_look(struct side *s, uint64_t end, const struct vs_row_meta **out)
{
	uint64_t count = end - s->row < ROW_CURSOR_ROWS ? end - s->row : ROW_CURSOR_ROWS;
	int rc = 0;

	*out = NULL;
	if (s->row >= end)
		return 0;
	if (s->row < s->read || s->row >= s->read_end) {
		rc = row_source_meta(s->source, s->row, count, s->meta);
		s->read = s->row;
		s->read_end = s->row + count;
	}
	*out = &s->meta[s->row - s->read];
	return rc;
}

/* Where the rows of the segment of a row end: places rise from row to row. */
static int find_end(const struct side *s, uint64_t first, uint32_t segment, uint64_t *end)
{
	uint64_t low = first + 1, high = s->rows;
	struct vs_row_meta m;
	int rc = 0;

	while (low < high && !rc) {
		uint64_t middle = low + (high - low) / 2;

		rc = row_source_meta(s->source, middle, 1, &m);
		if (m.place / s->segment_rows == segment)
			low = middle + 1;
		else
			high = middle;
	}
	*end = low;
	return rc;
}

static int side_find_runs(struct side *s)
{
	int rc = 0;

	for (uint64_t row = 0; row < s->rows && !rc;) {
		struct run *grown = realloc(s->runs, (s->run_count + 1) * sizeof *grown), *run;
		struct vs_row_meta m;

		if (!grown)
			return -ENOMEM;
		s->runs = grown;
		run = &grown[s->run_count];
		rc = row_source_meta(s->source, row, 1, &m);
		if (rc)
			break;
		*run = (struct run){.first = row, .segment = m.place / s->segment_rows};
		rc = find_end(s, row, run->segment, &run->end);
		row_source_file(s->source, run->segment, &run->file);
		row = run->end;
		s->run_count++;
	}
	return rc;
}

static int side_loosen(struct side *s, const struct vs_row_meta *m)
{
	struct loose_list *l = &s->loose;

	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : LOOSE_MIN;
		struct loose *all = realloc(l->all, room * sizeof *all);

		if (!all)
			return -ENOMEM;
		l->all = all;
		l->room = room;
	}
	l->all[l->count++] = (struct loose){m->entry, s->row, m->ctime_s, m->ctime_ns};
	s->row++;
	return 0;
}

static bool has_same_file(const struct run *a, const struct run *b)
{
	return a->file.is_shared && b->file.is_shared && a->file.device == b->file.device &&
	       a->file.inode == b->file.inode;
}

/* Each segment meets that with the same file; else the one of the same number, if it is the same collection
 * as it was. */
static void pair_runs(struct side *to, struct side *from)
{
	for (int by_file = 1; by_file >= 0; by_file--)
		for (size_t i = 0; i < to->run_count; i++) {
			struct run *t = &to->runs[i];

			for (size_t k = 0; k < from->run_count && !t->peer; k++) {
				struct run *f = &from->runs[k];

				if (!f->peer && (by_file ? has_same_file(t, f) : t->segment == f->segment)) {
					t->peer = f;
					f->peer = t;
				}
			}
		}
}

/*
 * Of rows at one place. A file that is shared never changes, so id and vector are the same there, whatever
 * the entry number: who has gone back to a snapshot has others.
 */
static bool is_same(const struct vs_row_meta *a, const struct vs_row_meta *b, bool same_file)
{
	if (a->data_sum != b->data_sum || a->entry == 0 || b->entry == 0)
		return false;
	if (same_file && memcmp(&a->attr, &b->attr, sizeof a->attr) == 0)
		return true;
	return a->entry == b->entry && a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;
}

/* Which of two rows comes first in its segment; of which one may be NULL, that is the other. */
static int compare_places(const struct side *to, const struct vs_row_meta *t, const struct side *from,
			  const struct vs_row_meta *f)
{
	uint32_t a = t ? t->place % to->segment_rows : UINT32_MAX;
	uint32_t b = f ? f->place % from->segment_rows : UINT32_MAX;

	return a < b ? -1 : a > b;
}

/* Rows of two segments, of which one may be NULL. */
static int meet_run(struct side *to, const struct run *t_run, struct side *from, const struct run *f_run)
{
	bool same_file = t_run && f_run && has_same_file(t_run, f_run);
	uint64_t t_end = t_run ? t_run->end : 0, f_end = f_run ? f_run->end : 0;
	const struct vs_row_meta *t, *f;
	int rc = 0, order;

	to->row = t_run ? t_run->first : 0;
	from->row = f_run ? f_run->first : 0;
	while (!rc) {
		rc = side_look(to, t_end, &t);
		if (!rc)
			rc = side_look(from, f_end, &f);
		if (rc || (!t && !f))
			break;
		order = compare_places(to, t, from, f);
		if (order == 0 && is_same(t, f, same_file)) {
			to->row++;
			from->row++;
			continue;
		}
		if (order <= 0)
			rc = side_loosen(to, t);
		if (!rc && order >= 0)
			rc = side_loosen(from, f);
	}
	return rc;
}

static int meet_by_places(struct side *to, struct side *from)
{
	int rc = side_find_runs(to);

	if (!rc)
		rc = side_find_runs(from);
	if (rc)
		return rc;
	pair_runs(to, from);
	for (size_t i = 0; i < to->run_count && !rc; i++)
		rc = meet_run(to, &to->runs[i], from, to->runs[i].peer);
	for (size_t i = 0; i < from->run_count && !rc; i++)
		if (!from->runs[i].peer)
			rc = meet_run(to, NULL, from, &from->runs[i]);
	return rc;
}

/* ------------------------------------------------------------------ by entry numbers */

static int compare_loose(const void *a, const void *b)
{
	const struct loose *x = a, *y = b;

	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

static void sort_loose(struct loose_list *l)
{
	if (l->count > 0)
		qsort(l->all, l->count, sizeof *l->all, compare_loose);
}

static void set_bit(uint64_t *bits, uint64_t row)
{
	bits[row / 64] |= UINT64_C(1) << row % 64;
}

/* Sets the bits of what has no equal in the other snapshot. */
static void meet_by_entries(struct side *to, struct side *from, uint64_t *changed, uint64_t *gone)
{
	struct loose_list *t = &to->loose, *f = &from->loose;
	size_t i = 0, k = 0;

	sort_loose(t);
	sort_loose(f);
	while (i < t->count || k < f->count) {
		const struct loose *a = &t->all[i], *b = &f->all[k];
		bool has_a = i < t->count && (k == f->count || a->entry <= b->entry);
		bool has_b = k < f->count && (i == t->count || b->entry <= a->entry);
		bool moved = has_a && has_b && a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;

		if (has_a && !moved)
			set_bit(changed, a->row);
		if (has_b && !moved)
			set_bit(gone, b->row);
		i += has_a;
		k += has_b;
	}
}

/* ------------------------------------------------------------------ ids */

/* What is done with each row that is wanted (a bit each; NULL: all). */
struct visit {
	const uint64_t *wanted;
	int (*fn)(void *arg, const char *id, size_t len, const struct vs_row_meta *meta);
	void *arg;
};

static bool is_wanted(const struct visit *v, uint64_t row)
{
	return v->fn && (!v->wanted || (v->wanted[row / 64] >> row % 64 & 1));
}

/* Goes through all rows: their fingerprint, and a visit of some. */
static int each_row(const struct row_source *s, const struct visit *v, struct digest *print, char *why,
		    size_t why_size)
{
	const struct vs_row_meta *meta;
	struct row_cursor c;
	const char *id;
	size_t len;
	int rc = row_cursor_start(&c, s, true), found = 1;

	*print = (struct digest){0};
	while (!rc && (found = row_cursor_next(&c, &id, &len, &meta)) > 0) {
		if (meta->entry == 0)
			rc = refuse_row(why, why_size, c.row - 1);
		digest_add_sum(print, id, len, meta->data_sum);
		if (!rc && is_wanted(v, c.row - 1))
			rc = v->fn(v->arg, id, len, meta);
	}
	if (found < 0)
		rc = found;
	row_cursor_end(&c);
	return rc;
}

static void sum_order(struct row_diff *d, const char *id, size_t len, const struct vs_row_meta *meta)
{
	d->order = XXH3_64bits_withSeed(id, len, d->order + meta->data_sum);
	d->order = XXH3_64bits_withSeed(&meta->attr, sizeof meta->attr, d->order);
}

/* The ids of rows that have changed. */
struct id_set {
	struct row_diff *diff;
	struct id_hash *all;
	size_t count, room;
};

static struct id_hash hash_id(const char *id, size_t len)
{
	XXH128_hash_t h = XXH3_128bits(id, len);

	return (struct id_hash){h.low64, h.high64};
}

static int compare_hashes(const void *a, const void *b)
{
	const struct id_hash *x = a, *y = b;

	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	return x->high < y->high ? -1 : x->high > y->high;
}

static int add_changed(void *arg, const char *id, size_t len, const struct vs_row_meta *meta)
{
	struct id_set *set = arg;

	if (set->count == set->room)
		return -EIO; /* more than there are bits */
	set->all[set->count++] = hash_id(id, len);
	sum_order(set->diff, id, len, meta);
	return 0;
}

struct removal {
	struct row_diff *diff;
	const struct id_set *changed;
	size_t room;
};

/* An id of a row that has no equal is gone, unless another row has it now. */
static int add_removed(void *arg, const char *id, size_t len, const struct vs_row_meta *meta)
{
	struct removal *r = arg;
	struct row_diff *d = r->diff;
	struct id_hash hash = hash_id(id, len);

	(void)meta;
	if (r->changed->count > 0 &&
	    bsearch(&hash, r->changed->all, r->changed->count, sizeof hash, compare_hashes))
		return 0;
	if (d->removed_bytes + len + 1 > r->room) {
		size_t room = 2 * r->room + REMOVED_MIN;
		char *grown = realloc(d->removed, room);

		if (!grown)
			return -ENOMEM;
		d->removed = grown;
		r->room = room;
	}
	memcpy(d->removed + d->removed_bytes, id, len + 1);
	d->removed_bytes += len + 1;
	d->removals++;
	return 0;
}

static int compare_ids(const struct row_source *to, const struct row_source *from, const uint64_t *gone,
		       struct row_diff *d, char *why, size_t why_size)
{
	struct id_set set = {.diff = d, .room = d->rows, .all = malloc(d->rows * sizeof *set.all + 1)};
	struct removal removal = {.diff = d, .changed = &set};
	const struct visit changed = {d->changed, add_changed, &set}, removed = {gone, add_removed, &removal};
	int rc = set.all ? each_row(to, &changed, &d->to, why, why_size) : -ENOMEM;

	if (!rc && set.count > 0)
		qsort(set.all, set.count, sizeof *set.all, compare_hashes);
	if (!rc)
		rc = each_row(from, &removed, &d->from, why, why_size);
	free(set.all);
	return rc;
}

/* ------------------------------------------------------------------ the interface */

static uint64_t count_bits(const uint64_t *bits, uint64_t rows)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < (rows + 63) / 64; i++)
		count += (unsigned)__builtin_popcountll(bits[i]);
	return count;
}

static int compare(const struct row_source *to, const struct row_source *from, struct row_diff *d, char *why,
		   size_t why_size)
{
	uint64_t *gone = calloc(row_source_info(from)->rows / 64 + 1, sizeof *gone);
	struct side t, f;
	int rc;

	d->changed = calloc(row_source_info(to)->rows / 64 + 1, sizeof *d->changed);
	rc = side_start(&t, to);
	if (side_start(&f, from) || !gone || !d->changed)
		rc = -ENOMEM;
	if (!rc)
		rc = meet_by_places(&t, &f);
	if (!rc) {
		meet_by_entries(&t, &f, d->changed, gone);
		d->rows = count_bits(d->changed, t.rows);
	}
	side_end(&t);
	side_end(&f);
	if (!rc)
		rc = compare_ids(to, from, gone, d, why, why_size);
	free(gone);
	return rc;
}

static int add_order(void *arg, const char *id, size_t len, const struct vs_row_meta *meta)
{
	sum_order(arg, id, len, meta);
	return 0;
}

int row_fingerprint(const struct row_source *s, struct digest *out, char *why, size_t why_size)
{
	int rc;

	*why = 0;
	rc = each_row(s, &(struct visit){0}, out, why, why_size);
	return rc ? refuse(why, why_size, rc) : 0;
}

int row_diff_make(const struct row_source *to, const struct row_source *from, struct row_diff *out, char *why,
		  size_t why_size)
{
	int rc;

	*out = (struct row_diff){0};
	*why = 0;
	if (from) {
		rc = compare(to, from, out, why, why_size);
	} else {
		rc = each_row(to, &(struct visit){NULL, add_order, out}, &out->to, why, why_size);
		out->rows = row_source_info(to)->rows;
	}
	if (rc)
		row_diff_free(out);
	return rc ? refuse(why, why_size, rc) : 0;
}

void row_diff_free(struct row_diff *d)
{
	free(d->changed);
	free(d->removed);
	d->changed = NULL;
	d->removed = NULL;
}
