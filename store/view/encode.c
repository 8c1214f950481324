/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/encode.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quant/convert.h"
#include "quant/scratch.h"
#include "store/base/checksum.h"
#include "store/view/workers.h"

#define JOBS_MAX 256u            /* blocks of a step: each ends with a wait for the last worker */
#define TAKEN_MAX 64u            /* of those under one hold of the lock */
#define PART_BYTES (1152u << 10) /* of vectors as f32 that a worker has at a time, but at least a block */
#define PART_BLOCKS_MAX 8u
#define ERROR_ROWS 16u /* of the first part of a step, whose error is measured */

/* A block of which some rows are busy. */
struct job {
	uint32_t block;
	uint64_t rows; /* in use */
	uint64_t todo; /* busy */
	uint64_t done; /* of these */
	bool whole;    /* all other rows in use have their codes */
	uint32_t sums[CODES_BLOCK_ROWS];
};

struct worker {
	float *x;  /* vectors of a part, one after the other */
	char *raw; /* vectors of a block as they are stored; NULL: as x */
	void *scratch;
	struct code_blocks fresh; /* their codes, one after the other */
	uint64_t valid[PART_BLOCKS_MAX];
	struct code_blocks block; /* one of the file */
	float *decoded;
	double error, variance;
	uint64_t blocks_failed;
	int rc;
};

struct encoder {
	struct vs_store *s;
	uint32_t collection;
	struct view_model *m;
	const _Atomic bool *stop;
	struct vs_schema schema;
	uint32_t part_blocks;
	struct worker workers[WORKERS_MAX];
	struct job jobs[JOBS_MAX];
	uint32_t job_count;
	/* Of the segment under way. */
	struct segment *seg; /* NULL: the vectors are in a file that is no segment's */
	int vectors;         /* that file */
	struct code_files files;
	bool measured;
};

int encoder_new(struct vs_store *s, uint32_t collection, const struct vs_schema *schema, struct view_model *m,
		const _Atomic bool *stop, struct encoder **out)
{
	struct encoder *e = calloc(1, sizeof *e);
	size_t block = CODES_BLOCK_ROWS * (size_t)m->codec.plan.dim * sizeof(float);

	*out = e;
	if (!e)
		return -ENOMEM;
	assert(view_model_fits(m, schema));
	e->s = s;
	e->collection = collection;
	e->schema = *schema;
	e->m = m;
	e->stop = stop;
	e->part_blocks = (uint32_t)(PART_BYTES / block);
	if (!e->part_blocks)
		e->part_blocks = 1;
	if (e->part_blocks > PART_BLOCKS_MAX)
		e->part_blocks = PART_BLOCKS_MAX;
	return 0;
}

static int worker_init(struct encoder *e, struct worker *w)
{
	size_t dim = e->m->codec.plan.dim;

	if (w->x)
		return 0;
	w->x = scratch_alloc(e->part_blocks * CODES_BLOCK_ROWS * dim * sizeof *w->x);
	w->scratch = scratch_alloc(codec_scratch_bytes(&e->m->codec));
	w->decoded = scratch_alloc((ERROR_ROWS + 1) * dim * sizeof *w->decoded);
	if (e->schema.dtype != VS_F32)
		w->raw = scratch_alloc(CODES_BLOCK_ROWS * vs_row_bytes(&e->schema));
	if (w->x && w->scratch && w->decoded && (w->raw || e->schema.dtype == VS_F32) &&
	    code_blocks_alloc(&w->fresh, e->m, e->part_blocks) && code_blocks_alloc(&w->block, e->m, 1))
		return 0;
	return -ENOMEM;
}

void encoder_free(struct encoder *e)
{
	for (unsigned i = 0; e && i < WORKERS_MAX; i++) {
		struct worker *w = &e->workers[i];

		scratch_free(w->x);
		scratch_free(w->raw);
		scratch_free(w->scratch);
		scratch_free(w->decoded);
		code_blocks_free(&w->fresh);
		code_blocks_free(&w->block);
	}
	free(e);
}

/* ------------------------------------------------------------------ taking blocks */

static uint64_t bit(uint32_t slot)
{
	return UINT64_C(1) << slot % CODES_BLOCK_ROWS;
}

/* The rows of a block that are in use: neither past the end nor waiting for the vacuum. Under the lock. */
static uint64_t rows_in_use(const struct segment *seg, uint32_t block)
{
	uint32_t first = block * CODES_BLOCK_ROWS, left = seg->count > first ? seg->count - first : 0;
	uint64_t in_use = left >= CODES_BLOCK_ROWS ? UINT64_MAX : bit(left) - 1;

	return seg->deleted ? in_use & ~seg->deleted_map[block] : in_use;
}

/* Makes the stale rows of a block busy, but for those that wait for the applier. false: there are none. Under
 * the lock. */
static bool job_take(struct job *job, const struct collection *c, const struct segment *seg, struct codes *k,
		     uint32_t block, bool *waiting)
{
	const struct row *rows = segment_rows(seg) + (size_t)block * CODES_BLOCK_ROWS;
	uint64_t stale = atomic_load(&k->stale[block]);

	*job = (struct job){.block = block, .rows = rows_in_use(seg, block)};
	job->todo = stale & job->rows;
	if (!job->todo)
		return false;
	for (uint64_t left = job->rows; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		const struct overlay_item *item =
			c->overlay.count ? overlay_find(&c->overlay,
							(seg->n << c->shift) | (block * CODES_BLOCK_ROWS + i))
					 : NULL;

		job->sums[i] = item ? item->meta->row.data_sum : rows[i].data_sum;
		if (item && item->data)
			job->todo &= ~bit(i);
	}
	job->whole = !(stale & job->rows & ~job->todo);
	*waiting |= !job->whole;
	if (!job->todo)
		return false;
	atomic_fetch_or(&k->busy[block], job->todo);
	atomic_fetch_and(&k->stale[block], ~job->todo);
	return true;
}

/* Takes up to max more blocks from *block on; none if the segment is not its collection's any more. */
static void take_some(struct encoder *e, struct codes *k, uint32_t *block, uint32_t end, uint32_t max,
		      bool *waiting)
{
	struct segment *seg = e->seg;
	const struct collection *c;

	max += e->job_count;
	engine_read_lock(e->s);
	c = collection_get(&e->s->table, e->collection);
	if (c && seg->n < c->segment_count && c->segments[seg->n] == seg && !seg->going &&
	    segment_rows(seg)) {
		uint32_t blocks = (seg->count + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS;

		for (; *block < blocks && *block < end && e->job_count < max; ++*block)
			e->job_count += job_take(&e->jobs[e->job_count], c, seg, k, *block, waiting);
	}
	pthread_rwlock_unlock(&e->s->lock);
}

/* Takes the next ones. */
static void take(struct encoder *e, struct codes *k, uint32_t *block, uint32_t end, bool *waiting)
{
	uint32_t before;

	e->job_count = 0;
	do {
		before = e->job_count;
		take_some(e, k, block, end, TAKEN_MAX, waiting);
	} while (e->job_count == before + TAKEN_MAX && e->job_count < JOBS_MAX);
}

/* Ends the taking: what is not done is stale again. */
static void give_back(struct encoder *e, struct codes *k)
{
	for (uint32_t i = 0; i < e->job_count; i++) {
		const struct job *job = &e->jobs[i];

		atomic_fetch_or(&k->stale[job->block], job->todo & ~job->done);
		atomic_fetch_and(&k->busy[job->block], ~job->todo);
	}
}

static void set_valid(struct codes *k, const struct job *job, uint64_t valid)
{
	uint64_t old = atomic_load(&k->valid[job->block]);

	atomic_store(&k->valid[job->block], (old & ~job->done) | (valid & job->done));
}

/* ------------------------------------------------------------------ verifying */

/*
 * Looks at blocks [from, to) of the files, of which the jobs have those that have rows to look at. What does
 * not fit, or cannot be looked at now, gets the tag that fits nothing: from then on no block is torn.
 */
static int verify_blocks(struct encoder *e, struct codes *k, uint32_t from, uint32_t to,
			 struct code_blocks *blocks, struct encode_result *out)
{
	static const struct block_tag none;
	struct job *job = e->jobs, *end = e->jobs + e->job_count;
	int rc = 0;

	for (uint32_t block = from; block < to && !rc; block++) {
		struct block_tag tag;
		bool fits = false;

		rc = code_files_read_tags(&e->files, block, 1, &tag);
		if (!rc && tag.tag && job < end && job->block == block) {
			uint64_t want;

			rc = code_files_read(&e->files, block, 1, blocks);
			want = rc ? 0 : code_block_tag(e->m, blocks, tag.valid, job->sums);
			out->blocks_failed += !code_tag_is_intact(tag.tag, want);
			fits = tag.tag == want && job->whole;
		}
		if (fits) {
			job->done = job->todo;
			set_valid(k, job, tag.valid);
		} else if (!rc && tag.tag && !k->files->read_only) {
			k->dirty = true;
			rc = txn_begin_log(e->s);
			rc = rc ? rc : code_files_write_tag(&e->files, block, &none);
		}
		job += job < end && job->block == block;
	}
	return rc;
}

int encode_verify(struct encoder *e, struct segment *seg, struct codes *k, struct encode_result *out)
{
	struct code_blocks blocks;
	uint32_t from = 0, block = 0, end = 0;
	bool waiting = false;
	int rc = code_files_open(&e->files, k, e->m, false);

	*out = (struct encode_result){0};
	if (rc) {
		k->verified = rc == -ENOENT; /* there is nothing to verify */
		return rc == -ENOENT ? 0 : rc;
	}
	e->seg = seg;
	rc = code_files_blocks(&e->files, &end);
	k->blocks = end;
	if (!code_blocks_alloc(&blocks, e->m, 1))
		rc = -ENOMEM;
	for (; !rc && from < end && !*e->stop; from = block) {
		take(e, k, &block, end, &waiting);
		if (!e->job_count)
			block = end; /* no row is left there */
		rc = verify_blocks(e, k, from, block, &blocks, out);
		give_back(e, k);
	}
	code_blocks_free(&blocks);
	code_files_close(&e->files);
	k->verified = !rc && !*e->stop;
	return rc;
}

/* ------------------------------------------------------------------ encoding */

/* The same of a block of a file that is no segment's, all of whose rows are taken as they are. */
static int read_early(struct encoder *e, struct worker *w, struct job *job, float *x)
{
	size_t bytes = vs_row_bytes(&e->schema), dim = e->m->codec.plan.dim;
	char *raw = w->raw ? w->raw : (char *)x;
	int rc = io_read_full(e->s->io, e->vectors, raw, CODES_BLOCK_ROWS * bytes,
			      SEGMENT_HEADER_BYTES + (uint64_t)job->block * CODES_BLOCK_ROWS * bytes);

	for (uint32_t i = 0; i < CODES_BLOCK_ROWS && !rc; i++) {
		job->sums[i] = sum_data(raw + i * bytes, bytes);
		if (w->raw)
			convert_vector_to_f32(x + i * dim, e->schema.dtype, raw + i * bytes, (uint32_t)dim);
	}
	return rc ? rc : (int)CODES_BLOCK_ROWS;
}

/* Reads the vectors of a job as f32 to x; those that do not fit their checksums are left out. Returns how
 * many there are, and which. */
static int read_job(struct encoder *e, struct worker *w, const struct job *job, float *x, uint64_t *read)
{
	size_t bytes = e->seg->row_bytes, dim = e->m->codec.plan.dim, n = 0;
	uint64_t left = job->todo;

	*read = 0;
	while (left) {
		uint32_t first = (uint32_t)__builtin_ctzll(left);
		uint64_t rest = ~(left >> first);
		uint32_t count = rest ? (uint32_t)__builtin_ctzll(rest) : 64;
		char *raw = w->raw ? w->raw : (char *)(x + n * dim);
		int rc;

		if (count > CODES_BLOCK_ROWS - first)
			count = CODES_BLOCK_ROWS - first;
		rc = segment_read(e->seg, SEGMENT_VECTORS, raw, count * bytes,
				  segment_offset(e->seg, job->block * CODES_BLOCK_ROWS + first));
		if (rc && rc != -EIO && rc != -ENODATA)
			return rc;
		for (uint32_t i = 0; !rc && i < count; i++) {
			if (sum_data(raw + i * bytes, bytes) != job->sums[first + i])
				continue;
			if (w->raw)
				convert_vector_to_f32(x + n * dim, e->schema.dtype, raw + i * bytes,
						      (uint32_t)dim);
			else if (raw + i * bytes != (char *)(x + n * dim))
				memmove(x + n * dim, raw + i * bytes, bytes);
			*read |= bit(first + i);
			n++;
		}
		left &= count + first >= 64 ? 0 : ~(bit(first + count) - 1);
	}
	return (int)n;
}

/* Copies the code of row `from` of fresh codes to a row of a block. */
static void copy_row(const struct view_model *m, struct code_blocks *to, uint32_t slot,
		     const struct code_blocks *fresh, size_t from)
{
	const struct codec_plan *plan = &m->codec.plan;
	size_t block = from / CODES_BLOCK_ROWS, row = from % CODES_BLOCK_ROWS;

	for (size_t p = 0; p < plan->block_bytes; p++)
		to->column[0][p * CODES_BLOCK_ROWS + slot] =
			fresh->column[0][block * m->block_bytes[0] + p * CODES_BLOCK_ROWS + row];
	if (plan->row_bytes)
		memcpy(to->column[1] + slot * plan->row_bytes, fresh->column[1] + from * plan->row_bytes,
		       plan->row_bytes);
	for (unsigned p = 0; p < plan->factors; p++)
		memcpy(to->column[2] + (p * CODES_BLOCK_ROWS + slot) * sizeof(float),
		       fresh->column[2] + block * m->block_bytes[2] +
			       (p * CODES_BLOCK_ROWS + row) * sizeof(float),
		       sizeof(float));
}

/*
 * What a block has of the rows that are not written now. If it is not what its tag says these are worth
 * nothing: a new tag would call them good. They are stale then, which is seen before they are overwritten.
 */
static int read_rest(struct encoder *e, struct worker *w, struct job *job, uint64_t read)
{
	static const uint32_t no_sums[CODES_BLOCK_ROWS]; /* the other half of the tag is not looked at */
	struct codes *k = e->files.k;
	struct block_tag tag;
	int rc = code_files_read_tags(&e->files, job->block, 1, &tag);

	if (!rc)
		rc = code_files_read(&e->files, job->block, 1, &w->block);
	if (rc && (rc != -EIO || e->s->io->lost))
		return rc;
	if (!rc && tag.tag &&
	    code_tag_is_intact(tag.tag, code_block_tag(e->m, &w->block, tag.valid, no_sums)))
		return 0;
	w->blocks_failed += rc || tag.tag;
	code_blocks_clear(&w->block, e->m);
	atomic_fetch_or(&k->stale[job->block], job->rows & ~read);
	atomic_store(&k->wanted, true);
	job->whole = false;
	return 0;
}

/* Writes the codes of the rows `read` of a job, which are the fresh ones from `from` on. */
static int write_job(struct encoder *e, struct worker *w, struct job *job, uint64_t read, size_t from)
{
	bool all = read == UINT64_MAX && from % CODES_BLOCK_ROWS == 0;
	struct block_tag tag = {0};
	struct code_blocks at = w->block;
	struct codes *k = e->files.k;
	uint64_t valid = 0;
	int rc = 0;

	for (int i = 0; i < CODES_COLUMNS && all; i++)
		if (at.column[i])
			at.column[i] = w->fresh.column[i] + from / CODES_BLOCK_ROWS * e->m->block_bytes[i];
	if (!all && read == job->rows)
		code_blocks_clear(&at, e->m);
	else if (!all)
		rc = read_rest(e, w, job, read);
	for (uint64_t left = read; left && !rc; left &= left - 1, from++) {
		uint32_t slot = (uint32_t)__builtin_ctzll(left);

		if (!all)
			copy_row(e->m, &at, slot, &w->fresh, from);
		valid |= (w->valid[from / CODES_BLOCK_ROWS] >> from % CODES_BLOCK_ROWS & 1) << slot;
	}
	if (rc)
		return rc;
	tag.valid = (atomic_load(&k->valid[job->block]) & ~read & job->rows) | valid;
	tag.tag = code_block_tag(e->m, &at, tag.valid, job->sums);
	if (!job->whole || read != job->todo)
		tag.tag = code_tag_of_part(tag.tag);
	rc = code_files_write(&e->files, job->block, 1, &at);
	if (!rc)
		rc = code_files_write_tag(&e->files, job->block, &tag);
	if (rc)
		return rc;
	job->done = read;
	set_valid(k, job, valid);
	return 0;
}

/* Measures the error of some of a part's rows. At once: who decodes for opq packs its rotation first. */
static void measure(struct encoder *e, struct worker *w, size_t n)
{
	struct codec_columns columns = code_blocks_columns(&w->fresh, w->valid);
	size_t dim = e->m->codec.plan.dim;

	n = n < ERROR_ROWS ? n : ERROR_ROWS;
	codec_decode(&e->m->codec, &columns, 0, n, w->decoded, w->scratch);
	for (size_t i = 0; i < n; i++)
		if (w->valid[0] >> i & 1)
			view_model_add_error(e->m, w->x + i * dim, w->decoded + i * dim,
					     w->decoded + ERROR_ROWS * dim, &w->error, &w->variance);
}

/* A part: some jobs, by one worker. */
static void encode_part(void *arg, size_t part, unsigned worker)
{
	struct encoder *e = arg;
	struct worker *w = &e->workers[worker];
	struct job *jobs = e->jobs + part * e->part_blocks;
	uint32_t count = e->job_count - (uint32_t)part * e->part_blocks;
	struct codec_columns columns = code_blocks_columns(&w->fresh, w->valid);
	uint64_t read[PART_BLOCKS_MAX];
	size_t n = 0, first[PART_BLOCKS_MAX];

	count = count < e->part_blocks ? count : e->part_blocks;
	for (uint32_t i = 0; i < count && !w->rc && !*e->stop; i++) {
		float *x = w->x + n * e->m->codec.plan.dim;
		int got = e->seg ? read_job(e, w, &jobs[i], x, &read[i]) : read_early(e, w, &jobs[i], x);

		if (!e->seg)
			read[i] = UINT64_MAX;
		w->rc = got < 0 ? got : 0;
		first[i] = n;
		n += got < 0 ? 0 : (size_t)got;
	}
	if (w->rc || *e->stop)
		return;
	memset(w->valid, 0, sizeof w->valid);
	codec_encode(&e->m->codec, &columns, 0, n, w->x, w->scratch);
	if (e->measured && !part)
		measure(e, w, n);
	for (uint32_t i = 0; i < count && !w->rc; i++)
		if (read[i])
			w->rc = write_job(e, w, &jobs[i], read[i], first[i]);
}

/* Encodes the jobs that were taken. */
static int encode_jobs(struct encoder *e, struct codes *k, struct encode_result *out)
{
	size_t parts = (e->job_count + e->part_blocks - 1) / e->part_blocks;
	unsigned workers = parts > 1 ? workers_count() : 1;
	uint32_t end = e->jobs[e->job_count - 1].block + 1;
	struct parallel parallel = {.workers = workers, .run = workers_run};
	int rc = 0;

	for (unsigned i = 0; i < workers && !rc; i++)
		rc = worker_init(e, &e->workers[i]);
	for (unsigned i = 0; i < workers; i++)
		e->workers[i].rc = 0;
	k->dirty = true;
	if (!rc)
		rc = code_files_extend(&e->files, end);
	if (!rc)
		parallel_for(&parallel, parts, encode_part, e);
	for (unsigned i = 0; i < workers; i++) {
		rc = rc ? rc : e->workers[i].rc;
		out->error += e->workers[i].error;
		out->variance += e->workers[i].variance;
		out->blocks_failed += e->workers[i].blocks_failed;
		e->workers[i].error = e->workers[i].variance = 0;
		e->workers[i].blocks_failed = 0;
	}
	for (uint32_t i = 0; i < e->job_count; i++)
		out->rows += (unsigned)__builtin_popcountll(e->jobs[i].done);
	return rc;
}

/* How many rows that were not done are as they were, and so damaged. */
static uint32_t count_damaged(struct encoder *e, struct codes *k)
{
	const struct segment *seg = e->seg;
	const struct row *rows;
	uint32_t damaged = 0;

	engine_read_lock(e->s);
	rows = seg->going ? NULL : segment_rows(seg);
	for (uint32_t i = 0; i < e->job_count && rows; i++) {
		const struct job *job = &e->jobs[i];
		uint64_t same = job->todo & ~job->done & ~atomic_load(&k->stale[job->block]) &
				rows_in_use(seg, job->block);

		for (; same; same &= same - 1) {
			uint32_t slot = (uint32_t)__builtin_ctzll(same);

			damaged += rows[job->block * CODES_BLOCK_ROWS + slot].data_sum == job->sums[slot];
		}
	}
	pthread_rwlock_unlock(&e->s->lock);
	return damaged;
}

static bool is_undone(const struct encoder *e)
{
	for (uint32_t i = 0; i < e->job_count; i++)
		if (e->jobs[i].todo & ~e->jobs[i].done)
			return true;
	return false;
}

/* The whole of a segment may be encoded at once, so its end is known: no more space than that. */
static int prepare(struct encoder *e, struct segment *seg, struct codes *k)
{
	uint32_t count;
	int rc;

	engine_read_lock(e->s);
	count = seg->count;
	pthread_rwlock_unlock(&e->s->lock);
	rc = txn_begin_log(e->s);
	if (rc)
		return rc;
	rc = code_files_open(&e->files, k, e->m, true);
	if (!rc && !k->blocks && count)
		rc = code_files_extend(&e->files, (count + CODES_BLOCK_ROWS - 1) / CODES_BLOCK_ROWS);
	e->seg = seg;
	e->measured = e->m->floats;
	if (rc)
		code_files_close(&e->files);
	return rc;
}

int encode_stale(struct encoder *e, struct segment *seg, struct codes *k, struct encode_result *out)
{
	uint32_t block = 0;
	bool waiting = false;
	int rc;

	assert(seg->row_bytes == vs_row_bytes(&e->schema));
	*out = (struct encode_result){0};
	atomic_store(&k->wanted, false);
	e->seg = NULL;
	rc = prepare(e, seg, k);
	while (!rc && !*e->stop) {
		take(e, k, &block, UINT32_MAX, &waiting);
		if (!e->job_count)
			break;
		rc = encode_jobs(e, k, out);
		if (!rc && !*e->stop && is_undone(e))
			out->damaged += count_damaged(e, k);
		give_back(e, k);
	}
	if (waiting || rc || *e->stop)
		atomic_store(&k->wanted, true);
	if (rc)
		k->verified = false; /* a block may be written in part */
	out->more = atomic_load(&k->wanted);
	k->damaged = out->damaged;
	if (e->seg == seg)
		code_files_close(&e->files);
	return rc;
}

/* ------------------------------------------------------------------ looking again */

/* Whether the block at index i of what was read is what its tag says. */
static bool is_as_written(const struct view_model *m, const struct code_blocks *blocks, uint32_t i,
			  const struct block_tag *tag)
{
	static const uint32_t no_sums[CODES_BLOCK_ROWS];
	struct code_blocks one = *blocks;

	for (int column = 0; column < CODES_COLUMNS; column++)
		if (one.column[column])
			one.column[column] += i * m->block_bytes[column];
	return code_tag_is_intact(tag->tag, code_block_tag(m, &one, tag->valid, no_sums));
}

int encode_look(struct code_files *f, uint32_t block, uint32_t count, struct code_blocks *blocks,
		struct encode_result *out)
{
	struct block_tag tags[ENCODE_LOOK_BLOCKS];
	struct codes *k = f->k;
	int rc = code_files_read_tags(f, block, count, tags);

	if (!rc)
		rc = code_files_read(f, block, count, blocks);
	if (rc && (rc != -EIO || f->io->lost))
		return rc;
	for (uint32_t i = 0; i < count; i++) {
		if (codes_unread(k, block + i) == UINT64_MAX ||
		    (!rc && tags[i].tag && is_as_written(f->m, blocks, i, &tags[i])))
			continue;
		out->blocks_failed++;
		atomic_store(&k->stale[block + i], UINT64_MAX);
		atomic_store(&k->wanted, true);
	}
	return 0;
}

/* ------------------------------------------------------------------ ahead of a commit */

int encode_early(struct encoder *e, int vectors, struct codes *k, uint32_t from, uint32_t to)
{
	struct encode_result ignored = {0};
	uint32_t have = 0;
	int rc = txn_begin_log(e->s);

	if (rc)
		return rc;
	rc = code_files_open(&e->files, k, e->m, true);
	if (rc)
		return rc;
	rc = code_files_blocks(&e->files, &have);
	k->blocks = have;
	e->seg = NULL;
	e->vectors = vectors;
	e->measured = false;
	while (from < to && !rc && !*e->stop) {
		e->job_count = 0;
		for (; from < to && e->job_count < JOBS_MAX; from++)
			e->jobs[e->job_count++] = (struct job){
				.block = from, .rows = UINT64_MAX, .todo = UINT64_MAX, .whole = true};
		rc = encode_jobs(e, k, &ignored);
	}
	code_files_close(&e->files);
	return rc;
}
