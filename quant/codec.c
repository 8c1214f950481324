/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/codec.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "quant/bit.h"
#include "quant/convert.h"
#include "quant/distance.h"
#include "quant/gemm.h"
#include "quant/opq.h"
#include "quant/scratch.h"

#define SUBS_MAX 65536
#define CHUNK_ROWS ROTATION_ROWS /* that pass through the scratch at once */

/* ------------------------------------------------------------------ names */

static const struct {
	const char *prefix;
	bool has_bits; /* a digit follows */
	bool has_subs; /* a number follows, and x4 may */
} kinds[CODEC_KINDS] = {
	[CODEC_F16] = {"f16", false, false},      [CODEC_BF16] = {"bf16", false, false},
	[CODEC_SQ8] = {"sq8", false, false},      [CODEC_BIT] = {"bit", false, false},
	[CODEC_RABITQ] = {"rabitq", true, false}, [CODEC_PQ] = {"pq", false, true},
	[CODEC_OPQ] = {"opq", false, true},
};

/* What follows the prefix; the whole of it must be understood. */
static int parse_parameter(const char *word, struct codec_name *out)
{
	uint32_t number = 0;

	if (!kinds[out->kind].has_bits && !kinds[out->kind].has_subs)
		return *word ? -EINVAL : 0;
	if (*word < '1' || *word > '9')
		return -EINVAL;
	for (; *word >= '0' && *word <= '9'; word++)
		if ((number = number * 10 + (uint32_t)(*word - '0')) > SUBS_MAX)
			return -EINVAL;
	if (kinds[out->kind].has_bits) {
		out->bits = number;
		return *word || number > RABITQ_BITS_MAX ? -EINVAL : 0;
	}
	out->subs = number;
	out->bits = strcmp(word, "x4") == 0 ? 4 : 8;
	return out->bits == 8 && *word ? -EINVAL : 0;
}

int codec_parse(const char *name, struct codec_name *out)
{
	for (enum codec_kind kind = 0; kind < CODEC_KINDS; kind++) {
		size_t len = strlen(kinds[kind].prefix);

		*out = (struct codec_name){.kind = kind};
		if (strncmp(name, kinds[kind].prefix, len) == 0 && parse_parameter(name + len, out) == 0)
			return 0;
	}
	return -EINVAL;
}

void codec_format(const struct codec_name *name, char buf[CODEC_NAME_BYTES])
{
	const char *prefix = kinds[name->kind].prefix;

	if (kinds[name->kind].has_bits)
		snprintf(buf, CODEC_NAME_BYTES, "%s%u", prefix, name->bits);
	else if (kinds[name->kind].has_subs)
		snprintf(buf, CODEC_NAME_BYTES, "%s%u%s", prefix, name->subs, name->bits == 4 ? "x4" : "");
	else
		snprintf(buf, CODEC_NAME_BYTES, "%s", prefix);
}

/* ------------------------------------------------------------------ plans */

static bool is_pq(const struct codec_plan *plan)
{
	return plan->name.kind == CODEC_PQ || plan->name.kind == CODEC_OPQ;
}

static struct pq_shape shape_of(const struct codec_plan *plan)
{
	return (struct pq_shape){.dim = plan->dim, .subs = plan->name.subs, .bits = plan->name.bits};
}

static int plan_pq(struct codec_plan *plan, char *why, size_t why_size)
{
	struct pq_shape shape = shape_of(plan);

	if (plan->name.subs > plan->dim) {
		snprintf(why, why_size, "%u sub-vectors are more than the %u dims: 1 to %u fit, %u is usual",
			 plan->name.subs, plan->dim, plan->dim, (plan->dim + 7) / 8);
		return -EINVAL;
	}
	if (plan->name.kind == CODEC_OPQ && plan->dim > OPQ_DIM_MAX) {
		snprintf(why, why_size, "its rotation is for at most %u dims: pq%u has none", OPQ_DIM_MAX,
			 plan->name.subs);
		return -EINVAL;
	}
	plan->block_bytes = pq_code_bytes(&shape);
	plan->is_uneven = plan->dim % plan->name.subs != 0;
	plan->model_floats = pq_codebook_floats(&shape);
	if (plan->name.kind == CODEC_OPQ)
		plan->model_floats += (size_t)plan->dim * plan->dim;
	plan->rows_min = CODEC_TRAIN_ROWS_MIN;
	plan->rows_wanted = CODEC_TRAIN_ROWS_PER_CENTROID * pq_centroids(&shape);
	plan->rows_max = PQ_TRAIN_ROWS;
	return 0;
}

static void plan_rabitq(struct codec_plan *plan)
{
	struct rabitq rq;

	/* Only sizes are asked for. */
	rq = (struct rabitq){.dim = plan->dim,
			     .padded = (plan->dim + 63) / 64 * 64,
			     .bits = plan->name.bits,
			     .metric = plan->metric};
	plan->block_bytes = rabitq_sign_bytes(&rq);
	plan->row_bytes = rabitq_extra_bytes(&rq);
	plan->factors = rabitq_factors(&rq);
	plan->model_floats = plan->dim;
	plan->rows_min = plan->rows_wanted = 1;
	plan->rows_max = PQ_TRAIN_ROWS;
}

int codec_plan(const struct codec_name *name, uint32_t dim, enum vs_metric metric, struct codec_plan *out,
	       char *why, size_t why_size)
{
	*out = (struct codec_plan){.name = *name, .dim = dim, .metric = metric};
	if (!dim || dim > DISTANCE_DIM_MAX) {
		snprintf(why, why_size, "it is for 1 to %u dims, not %u", DISTANCE_DIM_MAX, dim);
		return -EINVAL;
	}
	switch (name->kind) {
	case CODEC_F16:
	case CODEC_BF16:
		out->row_bytes = 2 * (size_t)dim;
		return 0;
	case CODEC_SQ8:
		out->row_bytes = dim;
		out->factors = SQ8_FACTORS;
		return 0;
	case CODEC_BIT:
		out->row_bytes = vs_dtype_row_bytes(VS_BIT, dim);
		return 0;
	case CODEC_RABITQ:
		plan_rabitq(out);
		return 0;
	default:
		return plan_pq(out, why, why_size);
	}
}

/* ------------------------------------------------------------------ training */

/* Can this vector be found? If so, and out is not NULL, it is written there, normalised under cosine; else
 * zeros are. */
static bool take_vector(const struct codec_plan *plan, const float *x, float *out)
{
	double norm = sqrt(distance_norm2(x, plan->dim));
	bool is_valid = norm <= (double)FLT_MAX;

	if (plan->metric == VS_COSINE)
		return distance_normalise(out, x, plan->dim) == 0;
	if (is_valid)
		memmove(out, x, plan->dim * sizeof *out);
	else
		memset(out, 0, plan->dim * sizeof *out);
	return is_valid;
}

static size_t mean_scratch_bytes(const struct codec_plan *plan)
{
	return plan->dim * (sizeof(double) + sizeof(float));
}

size_t codec_train_scratch_bytes(const struct codec_plan *plan, size_t rows, unsigned workers)
{
	struct pq_shape shape = shape_of(plan);

	if (plan->name.kind == CODEC_PQ)
		return pq_train_scratch_bytes(&shape, rows, workers);
	if (plan->name.kind == CODEC_OPQ)
		return opq_train_scratch_bytes(&shape, rows, workers);
	return mean_scratch_bytes(plan);
}

int codec_train(const struct codec_plan *plan, size_t rows, float *x, uint64_t seed,
		const struct parallel *parallel, float *model, size_t *used, void *scratch)
{
	struct pq_shape shape = shape_of(plan);
	size_t dim = plan->dim;
	double error;

	*used = 0;
	for (size_t i = 0; i < rows; i++)
		*used += take_vector(plan, x + i * dim, x + *used * dim);
	if (*used < plan->rows_min)
		return -EINVAL;
	switch (plan->name.kind) {
	case CODEC_PQ:
		pq_train(&shape, *used, x, seed, parallel, model, scratch);
		return 0;
	case CODEC_OPQ:
		return opq_train(&shape, *used, x, seed, parallel, model, model + dim * dim, &error, scratch);
	case CODEC_RABITQ:
		rabitq_mean(model, plan->metric, x, *used, plan->dim, scratch);
		return 0;
	default:
		return 0;
	}
}

/* ------------------------------------------------------------------ a bound codec */

void codec_model(const struct codec_plan *plan, const float *model, struct codec_model *out)
{
	*out = (struct codec_model){0};
	if (plan->name.kind == CODEC_RABITQ)
		out->mean = model;
	if (plan->name.kind == CODEC_PQ)
		out->codebook = model;
	if (plan->name.kind == CODEC_OPQ) {
		out->rotation = model;
		out->codebook = model + (size_t)plan->dim * plan->dim;
	}
}

size_t codec_bound_bytes(const struct codec_plan *plan)
{
	struct pq_shape shape = shape_of(plan);

	struct scratch s = {0};

	if (is_pq(plan))
		scratch_take(&s, pq_bound_floats(&shape) * sizeof(float));
	if (plan->name.kind == CODEC_OPQ)
		scratch_take(&s, rotation_bytes(plan->dim));
	return is_pq(plan) ? s.bytes : plan->name.kind == CODEC_RABITQ ? hadamard_bytes(plan->dim) : 0;
}

/* Vectors are told from where codes are: of data far from the origin nothing is lost in integers. */
static void bind_rotation(struct codec *codec, void *memory)
{
	const struct pq *pq = &codec->pq;
	float centre[OPQ_DIM_MAX];

	for (size_t m = 0; m < pq->shape.subs; m++)
		for (size_t d = pq_sub_first(&pq->shape, m); d < pq_sub_first(&pq->shape, m + 1); d++)
			centre[d] = pq->origin[m * pq_sub_dim(&pq->shape) + d - pq_sub_first(&pq->shape, m)];
	rotation_bind(&codec->rotation, codec->plan.dim, codec->model.rotation, centre, memory);
}

void codec_bind(struct codec *codec, const struct codec_plan *plan, uint64_t seed, const float *model,
		void *memory)
{
	struct pq_shape shape = shape_of(plan);

	struct scratch s = {.base = memory};

	*codec = (struct codec){.plan = *plan};
	codec_model(plan, model, &codec->model);
	if (is_pq(plan))
		pq_bind(&codec->pq, &shape, codec->model.codebook,
			scratch_take(&s, pq_bound_floats(&shape) * sizeof(float)));
	if (plan->name.kind == CODEC_OPQ)
		bind_rotation(codec, scratch_take(&s, rotation_bytes(plan->dim)));
	if (plan->name.kind == CODEC_RABITQ)
		rabitq_init(&codec->rabitq, plan->dim, plan->name.bits, plan->metric, seed, codec->model.mean,
			    memory);
}

/* ------------------------------------------------------------------ rows */

/* What a thread needs for a chunk of rows. */
struct work {
	float *vectors[2]; /* [CHUNK_ROWS][dim]: as they come, and rotated */
	uint8_t *codes;    /* [CHUNK_ROWS][block_bytes] */
	void *encoding;
	void *product; /* for a rotation, there or back */
};

static size_t lay_out(struct work *w, const struct codec *codec, void *base)
{
	const struct codec_plan *plan = &codec->plan;
	struct scratch s = {.base = base};
	size_t encoding = plan->dim * sizeof(float);

	if (is_pq(plan))
		encoding = pq_encode_scratch_bytes(&codec->pq.shape);
	if (plan->name.kind == CODEC_RABITQ)
		encoding = rabitq_scratch(&codec->rabitq) * sizeof(float);
	for (int i = 0; i < 2; i++)
		w->vectors[i] = scratch_take(&s, CHUNK_ROWS * plan->dim * sizeof(float));
	w->codes = scratch_take(&s, CHUNK_ROWS * plan->block_bytes);
	w->encoding = scratch_take(&s, encoding);
	w->product = NULL;
	if (plan->name.kind == CODEC_OPQ) {
		size_t back = GEMM_SCRATCH_BYTES + (size_t)plan->dim * plan->dim * sizeof(float);
		size_t there = rotation_scratch_bytes(plan->dim);

		w->product = scratch_take(&s, there > back ? there : back);
	}
	return s.bytes;
}

size_t codec_scratch_bytes(const struct codec *codec)
{
	struct work w;

	return lay_out(&w, codec, NULL);
}

/* Codes of at most CHUNK_ROWS vectors: valid is set for each row, and codes of those that are not are zeros.
 */
static size_t encode_chunk(const struct codec *codec, const struct codec_columns *columns, size_t first,
			   size_t n, const float *x, const struct work *w)
{
	size_t dim = codec->plan.dim, bytes = codec->plan.block_bytes, lost = 0;
	const float *vectors = w->vectors[0];

	for (size_t i = 0; i < n; i++) {
		bool is_valid = take_vector(&codec->plan, x + i * dim, w->vectors[0] + i * dim);

		block_set_valid(columns->valid, first + i, is_valid);
		lost += !is_valid;
	}
	if (codec->plan.name.kind == CODEC_OPQ) {
		rotation_apply(&codec->rotation, n, vectors, w->vectors[1], w->product);
		vectors = w->vectors[1];
	}
	pq_encode(&codec->pq, n, vectors, w->codes, w->encoding);
	for (size_t i = 0; i < n; i++)
		if (!(columns->valid[(first + i) / BLOCK_ROWS] >> (first + i) % BLOCK_ROWS & 1))
			memset(w->codes + i * bytes, 0, bytes);
	block_pack(columns->blocks, first, w->codes, n, bytes);
	return lost;
}

/* Says in valid which vectors can be found. Returns how many cannot. */
static size_t mark_valid(const struct codec_plan *plan, uint64_t *valid, size_t first, size_t n,
			 const float *x)
{
	size_t lost = 0;

	for (size_t i = 0; i < n; i++) {
		double norm = sqrt(distance_norm2(x + i * plan->dim, plan->dim));
		bool is_valid = norm <= (double)FLT_MAX && (norm > 0 || plan->metric != VS_COSINE);

		block_set_valid(valid, first + i, is_valid);
		lost += !is_valid;
	}
	return lost;
}

/* The same of sq8 and rabitq, which tell it by a factor. */
static void mark_by_factor(const struct codec_columns *columns, size_t first, size_t n, unsigned factors,
			   unsigned which)
{
	for (size_t i = first; i < first + n; i++)
		block_set_valid(
			columns->valid, i,
			!isinf(columns->factors[block_factor_offset(i, factors) + which * BLOCK_ROWS]));
}

size_t codec_encode(const struct codec *codec, const struct codec_columns *columns, size_t first, size_t n,
		    const float *x, void *scratch)
{
	const struct codec_plan *plan = &codec->plan;
	uint16_t *halves = (uint16_t *)columns->rows + first * plan->dim;
	size_t lost = 0;
	struct work w;

	lay_out(&w, codec, scratch);
	switch (plan->name.kind) {
	case CODEC_F16:
		convert_f32_to_f16(halves, x, n * plan->dim);
		return mark_valid(plan, columns->valid, first, n, x);
	case CODEC_BF16:
		convert_f32_to_bf16(halves, x, n * plan->dim);
		return mark_valid(plan, columns->valid, first, n, x);
	case CODEC_SQ8:
		lost = sq8_encode(columns->rows, columns->factors, first, plan->metric, x, n, plan->dim,
				  w.encoding);
		mark_by_factor(columns, first, n, plan->factors, 1);
		return lost;
	case CODEC_BIT:
		return bit_encode(columns->rows, columns->valid, first, plan->metric, x, n, plan->dim);
	case CODEC_RABITQ:
		lost = rabitq_encode(&codec->rabitq, columns->blocks, columns->rows, columns->factors, first,
				     x, n, w.encoding);
		mark_by_factor(columns, first, n, plan->factors, 0);
		return lost;
	default:
		for (size_t done = 0, count; done < n; done += count) {
			count = n - done < CHUNK_ROWS ? n - done : CHUNK_ROWS;
			lost += encode_chunk(codec, columns, first + done, count, x + done * plan->dim, &w);
		}
		return lost;
	}
}

static void decode_chunk(const struct codec *codec, const struct codec_columns *columns, size_t first,
			 size_t n, float *x, const struct work *w)
{
	size_t dim = codec->plan.dim;
	bool is_rotated = codec->plan.name.kind == CODEC_OPQ;

	block_unpack(w->codes, columns->blocks, first, n, codec->plan.block_bytes);
	pq_decode(&codec->pq, n, w->codes, is_rotated ? w->vectors[0] : x);
	if (is_rotated)
		opq_rotate_back(dim, codec->model.rotation, n, w->vectors[0], x, w->product);
}

static void decode_pq(const struct codec *codec, const struct codec_columns *columns, size_t first, size_t n,
		      float *x, const struct work *w)
{
	for (size_t done = 0, count; done < n; done += count) {
		count = n - done < CHUNK_ROWS ? n - done : CHUNK_ROWS;
		decode_chunk(codec, columns, first + done, count, x + done * codec->plan.dim, w);
	}
}

void codec_decode(const struct codec *codec, const struct codec_columns *columns, size_t first, size_t n,
		  float *x, void *scratch)
{
	const struct codec_plan *plan = &codec->plan;
	const uint16_t *halves = (const uint16_t *)columns->rows + first * plan->dim;
	struct work w;

	lay_out(&w, codec, scratch);
	switch (plan->name.kind) {
	case CODEC_F16:
		convert_f16_to_f32(x, halves, n * plan->dim);
		return;
	case CODEC_BF16:
		convert_bf16_to_f32(x, halves, n * plan->dim);
		return;
	case CODEC_SQ8:
		sq8_decode(x, columns->rows, columns->factors, first, n, plan->dim);
		break;
	case CODEC_BIT:
		bit_decode(x, columns->rows, first, n, plan->dim);
		break;
	case CODEC_RABITQ:
		rabitq_decode(&codec->rabitq, x, columns->blocks, columns->rows, columns->factors, first, n,
			      w.encoding);
		break;
	default:
		decode_pq(codec, columns, first, n, x, &w);
	}
	for (size_t i = 0; i < n; i++)
		if (!(columns->valid[(first + i) / BLOCK_ROWS] >> (first + i) % BLOCK_ROWS & 1))
			for (size_t d = 0; d < plan->dim; d++)
				x[i * plan->dim + d] = NAN;
}

/* ------------------------------------------------------------------ queries */

static size_t table_floats(const struct codec *codec)
{
	/* Of an odd number of 4-bit sub-vectors the last byte has half a code without one. */
	return codec->plan.block_bytes * (codec->plan.name.bits == 4 ? 2 : 1) *
	       pq_centroids(&codec->pq.shape);
}

size_t codec_query_bytes(const struct codec *codec)
{
	const struct codec_plan *plan = &codec->plan;
	struct scratch s = {0};

	switch (plan->name.kind) {
	case CODEC_SQ8:
		return sq8_query_bytes(plan->dim);
	case CODEC_RABITQ:
		return rabitq_query_bytes(&codec->rabitq);
	case CODEC_PQ:
	case CODEC_OPQ:
		scratch_take(&s, table_floats(codec) * sizeof(float));
		scratch_take(&s,
			     scan_tables_bytes(plan->block_bytes, (unsigned)pq_centroids(&codec->pq.shape)));
		return s.bytes;
	default:
		return plan->dim * sizeof(float);
	}
}

static void init_tables(struct codec_query *query, const float *vector, void *memory, const struct work *w)
{
	const struct codec *codec = query->codec;
	struct scratch s = {.base = memory};
	unsigned centroids = (unsigned)pq_centroids(&codec->pq.shape);
	float *tables = scratch_take(&s, table_floats(codec) * sizeof *tables);

	if (codec->plan.name.kind == CODEC_OPQ) {
		opq_rotate_query(codec->plan.dim, codec->model.rotation, vector, w->vectors[1]);
		vector = w->vectors[1];
	}
	memset(tables, 0, table_floats(codec) * sizeof *tables);
	pq_tables(&codec->pq, codec->plan.metric, vector, tables);
	scan_tables_init(&query->tables, tables, codec->plan.block_bytes, centroids,
			 scratch_take(&s, scan_tables_bytes(codec->plan.block_bytes, centroids)));
}

int codec_query_init(struct codec_query *query, const struct codec *codec, const float *vector, void *memory,
		     void *scratch)
{
	const struct codec_plan *plan = &codec->plan;
	uint64_t valid;
	struct work w;

	lay_out(&w, codec, scratch);
	*query = (struct codec_query){.codec = codec, .query = memory};
	if (!take_vector(plan, vector, w.vectors[0]))
		return -EINVAL;
	switch (plan->name.kind) {
	case CODEC_SQ8:
		return sq8_query_init(&query->sq8, plan->metric, vector, plan->dim, memory);
	case CODEC_RABITQ:
		return rabitq_query_init(&query->rabitq, &codec->rabitq, vector, RABITQ_ERROR, memory);
	case CODEC_BIT:
		bit_encode(memory, &valid, 0, plan->metric, vector, 1, plan->dim);
		return 0;
	case CODEC_PQ:
	case CODEC_OPQ:
		init_tables(query, w.vectors[0], memory, &w);
		return 0;
	default:
		memcpy(memory, vector, plan->dim * sizeof *vector);
		return 0;
	}
}

void codec_scan(struct topk *top, const struct scan_rows *rows, const struct codec_query *query,
		const struct codec_columns *columns)
{
	const struct codec_plan *plan = &query->codec->plan;
	struct scan_rows counted = *rows;

	if (!counted.valid)
		counted.valid = columns->valid;
	switch (plan->name.kind) {
	case CODEC_F16:
	case CODEC_BF16:
		scan_exact(top, &counted, plan->name.kind == CODEC_F16 ? VS_F16 : VS_BF16, plan->metric,
			   query->query, columns->rows, plan->row_bytes, plan->dim);
		return;
	case CODEC_BIT:
		scan_exact(top, &counted, VS_BIT, VS_L2, query->query, columns->rows, plan->row_bytes,
			   plan->dim);
		return;
	case CODEC_SQ8:
		sq8_scan(top, &counted, &query->sq8, columns->rows, columns->factors);
		return;
	case CODEC_RABITQ:
		rabitq_scan(top, &counted, &query->rabitq, columns->blocks, columns->rows, columns->factors,
			    NULL);
		return;
	default:
		scan_codes(top, &counted, &query->tables, columns->blocks);
	}
}

void codec_scan_coarsely(struct topk *top, const struct scan_rows *rows, const struct codec_query *query,
			 const struct codec_columns *columns)
{
	enum codec_kind kind = query->codec->plan.name.kind;
	struct scan_rows counted = *rows;

	if (!counted.valid)
		counted.valid = columns->valid;
	if (kind == CODEC_PQ || kind == CODEC_OPQ)
		scan_codes_coarsely(top, &counted, &query->tables, columns->blocks);
	else
		codec_scan(top, &counted, query, columns);
}

float codec_distance(const struct codec *codec, float scanned)
{
	if (codec->plan.name.kind != CODEC_BIT)
		return scanned;
	return bit_distance(codec->plan.metric, scanned, codec->plan.dim);
}
