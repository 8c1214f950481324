/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/distance.kernel.h"

#include <float.h>
#include <math.h>

#include "quant/wide.h"

/* What is summed over the components of a query q and a row x. */
enum op { DOT /* q x */, L2 /* (q-x)^2 */, NORM /* x^2 */, COS /* DOT and NORM */ };

#define TILE_MAX 4
/* Pairs whose sums fill the registers: a level's tile of queries and rows. */
#define TILE (SIMD_F32 == 16 ? 4 : 2)

/* Components i .. i + 15 of a row. */
SIMD_INLINE wide load(enum vs_dtype t, const void *row, size_t i)
{
	if (t == VS_F32)
		return wide_load((const float *)row + i);
	return t == VS_F16 ? wide_load_f16((const uint16_t *)row + i)
			   : wide_load_bf16((const uint16_t *)row + i);
}

/* Its last ones, fewer than 16. */
SIMD_INLINE wide load_part(enum vs_dtype t, const void *row, size_t i, size_t count)
{
	uint16_t part[WIDE] = {0};

	if (t == VS_F32)
		return wide_load_part((const float *)row + i, count);
	memcpy(part, (const uint16_t *)row + i, count * sizeof *part);
	return load(t, part, 0);
}

SIMD_INLINE wide step(enum op op, wide q, wide x, wide sum)
{
	if (op == L2) {
		wide d = wide_sub(q, x);

		return wide_fma(d, d, sum);
	}
	return op == NORM ? wide_fma(x, x, sum) : wide_fma(q, x, sum);
}

struct tile {
	wide sum[TILE_MAX][TILE_MAX], norm[TILE_MAX];
};

/* Sixteen components of queries and rows; xs are those of the rows. */
SIMD_INLINE void tile_step(struct tile *t, enum op op, int queries, int rows, const wide *xs, const wide *qs)
{
	SIMD_UNROLL
	for (int r = 0; r < rows; r++) {
		SIMD_UNROLL
		for (int q = 0; q < queries; q++)
			t->sum[q][r] = step(op, qs[q], xs[r], t->sum[q][r]);
		if (op == COS)
			t->norm[r] = wide_fma(xs[r], xs[r], t->norm[r]);
	}
}

SIMD_INLINE void tile_start(struct tile *t, int queries, int rows)
{
	SIMD_UNROLL
	for (int r = 0; r < rows; r++) {
		t->norm[r] = wide_set1(0);
		SIMD_UNROLL
		for (int q = 0; q < queries; q++)
			t->sum[q][r] = wide_set1(0);
	}
}

SIMD_INLINE void tile_end(const struct tile *t, enum op op, int queries, int rows, float *out, size_t ldo,
			  float *norms)
{
	SIMD_UNROLL
	for (int q = 0; q < queries; q++) {
		if (rows == 4)
			wide_sum4(out + (size_t)q * ldo, t->sum[q]);
		else
			for (int r = 0; r < rows; r++)
				out[(size_t)q * ldo + (size_t)r] = wide_sum(t->sum[q][r]);
	}
	if (op == COS)
		for (int r = 0; r < rows; r++)
			norms[r] = wide_sum(t->norm[r]);
}

/* The sums of a few queries and a few rows; of COS, norms are the second ones. */
SIMD_INLINE void tile(enum op op, enum vs_dtype dtype, int queries, int rows, float *out, size_t ldo,
		      float *norms, const float *query, size_t ldq, const char *row, size_t stride,
		      uint32_t dim)
{
	struct tile t;
	wide xs[TILE_MAX], qs[TILE_MAX];
	size_t i = 0;

	tile_start(&t, queries, rows);
	for (; i + WIDE <= dim; i += WIDE) {
		SIMD_UNROLL
		for (int r = 0; r < rows; r++)
			xs[r] = load(dtype, row + (size_t)r * stride, i);
		SIMD_UNROLL
		for (int q = 0; q < queries; q++)
			qs[q] = op == NORM ? xs[0] : wide_load(query + (size_t)q * ldq + i);
		tile_step(&t, op, queries, rows, xs, qs);
	}
	if (i < dim) {
		wide last_xs[TILE_MAX], last_qs[TILE_MAX];

		for (int r = 0; r < rows; r++)
			last_xs[r] = load_part(dtype, row + (size_t)r * stride, i, dim - i);
		for (int q = 0; q < queries; q++)
			last_qs[q] = op == NORM ? last_xs[0]
						: wide_load_part(query + (size_t)q * ldq + i, dim - i);
		tile_step(&t, op, queries, rows, last_xs, last_qs);
	}
	tile_end(&t, op, queries, rows, out, ldo, norms);
}

/*
 * One query (none for NORM), all rows. Long rows one by one: a processor foresees one stream, and of four at
 * once memory delivers little more than half as much. Short rows by four, whose sums cost more than their
 * reading.
 */
#define LONG_ROW_BYTES 1024

SIMD_INLINE void sums(enum op op, enum vs_dtype dtype, float *out, float *norms, const float *query,
		      const char *rows, size_t stride, size_t n, uint32_t dim)
{
	const size_t step_rows = op == COS ? TILE : 4; /* two sums a row */
	size_t i = 0;

	for (; stride < LONG_ROW_BYTES && i + step_rows <= n; i += step_rows, rows += step_rows * stride)
		tile(op, dtype, 1, (int)step_rows, out + i, 0, norms + i, query, 0, rows, stride, dim);
	for (; i < n; i++, rows += stride)
		tile(op, dtype, 1, 1, out + i, 0, norms + i, query, 0, rows, stride, dim);
}

static void negate(float *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = -x[i];
}

/* Squares that f32 holds with all its precision: of lengths from 2^-30 to 2^60. */
SIMD_INLINE int is_usual(float norm2)
{
	return norm2 >= 0x1p-60f && norm2 <= 0x1p120f;
}

/* The cosine distance of one row in f64, which holds the square of any f32. A length that no f32 holds is
 * none. */
SIMD_INLINE float unusual_cosine(enum vs_dtype dtype, const float *query, const char *row, uint32_t dim)
{
	wide64 dot = wide64_zero(), qq = dot, xx = dot;

	for (size_t i = 0; i < dim; i += WIDE) {
		wide q = i + WIDE <= dim ? wide_load(query + i) : wide_load_part(query + i, dim - i);
		wide x = i + WIDE <= dim ? load(dtype, row, i) : load_part(dtype, row, i, dim - i);

		dot = wide64_add_product(dot, q, x);
		qq = wide64_add_product(qq, q, q);
		xx = wide64_add_product(xx, x, x);
	}
	double query_length = __builtin_sqrt(wide64_sum(qq)), length = __builtin_sqrt(wide64_sum(xx));

	if (!(query_length <= (double)FLT_MAX && length <= (double)FLT_MAX))
		return NAN;
	return (float)(1 - wide64_sum(dot) / (query_length * length));
}

/* 1 - dot/sqrt(qq xx) */
SIMD_INLINE void cosines(enum vs_dtype dtype, float *dots, const float *norms, float query_norm,
			 const float *query, const char *rows, size_t stride, size_t n, uint32_t dim)
{
	for (size_t i = 0; i < n; i++)
		if (is_usual(query_norm) && is_usual(norms[i]))
			dots[i] = (float)(1 - (double)dots[i] /
						      __builtin_sqrt((double)query_norm * (double)norms[i]));
		else
			dots[i] = unusual_cosine(dtype, query, rows + i * stride, dim);
}

#define CHUNK_ROWS 64

SIMD_INLINE void rows_cosine(enum vs_dtype dtype, float *out, const float *query, const char *rows,
			     size_t stride, size_t n, uint32_t dim)
{
	float norms[CHUNK_ROWS], query_norm;

	sums(NORM, VS_F32, &query_norm, norms, NULL, (const void *)query, 0, 1, dim);
	for (size_t count; n; n -= count, out += count, rows += count * stride) {
		count = n < CHUNK_ROWS ? n : CHUNK_ROWS;
		sums(COS, dtype, out, norms, query, rows, stride, count, dim);
		cosines(dtype, out, norms, query_norm, query, rows, stride, count, dim);
	}
}

SIMD_INLINE void batch_sums(enum op op, enum vs_dtype dtype, float *out, size_t ldo, const float *queries,
			    size_t ldq, size_t query_count, const char *rows, size_t stride, size_t n,
			    uint32_t dim)
{
	float none[TILE_MAX];
	size_t i = 0;

	for (; i + TILE <= n; i += TILE, rows += TILE * stride) {
		size_t q = 0;

		for (; q + TILE <= query_count; q += TILE)
			tile(op, dtype, TILE, TILE, out + q * ldo + i, ldo, none, queries + q * ldq, ldq,
			     rows, stride, dim);
		for (; q < query_count; q++)
			tile(op, dtype, 1, TILE, out + q * ldo + i, ldo, none, queries + q * ldq, ldq, rows,
			     stride, dim);
	}
	for (; i < n; i++, rows += stride)
		for (size_t q = 0; q < query_count; q++)
			tile(op, dtype, 1, 1, out + q * ldo + i, ldo, none, queries + q * ldq, ldq, rows,
			     stride, dim);
}

SIMD_INLINE void batch_cosine(enum vs_dtype dtype, float *out, size_t ldo, const float *queries, size_t ldq,
			      size_t query_count, const char *rows, size_t stride, size_t n, uint32_t dim)
{
	float norms[CHUNK_ROWS], unused[CHUNK_ROWS], query_norm;

	for (size_t count; n; n -= count, out += count, rows += count * stride) {
		count = n < CHUNK_ROWS ? n : CHUNK_ROWS;
		sums(NORM, dtype, norms, unused, NULL, rows, stride, count, dim);
		batch_sums(DOT, dtype, out, ldo, queries, ldq, query_count, rows, stride, count, dim);
		for (size_t q = 0; q < query_count; q++) {
			sums(NORM, VS_F32, &query_norm, unused, NULL, (const void *)(queries + q * ldq), 0, 1,
			     dim);
			cosines(dtype, out + q * ldo, norms, query_norm, queries + q * ldq, rows, stride,
				count, dim);
		}
	}
}

#define FLOAT_KERNELS(name, dtype)                                                                           \
	static void name##_l2(float *out, const void *q, const void *rows, size_t stride, size_t n,          \
			      uint32_t dim)                                                                  \
	{                                                                                                    \
		sums(L2, dtype, out, out, q, rows, stride, n, dim);                                          \
	}                                                                                                    \
	static void name##_ip(float *out, const void *q, const void *rows, size_t stride, size_t n,          \
			      uint32_t dim)                                                                  \
	{                                                                                                    \
		sums(DOT, dtype, out, out, q, rows, stride, n, dim);                                         \
		negate(out, n);                                                                              \
	}                                                                                                    \
	static void name##_cosine(float *out, const void *q, const void *rows, size_t stride, size_t n,      \
				  uint32_t dim)                                                              \
	{                                                                                                    \
		rows_cosine(dtype, out, q, rows, stride, n, dim);                                            \
	}                                                                                                    \
	static void name##_l2_batch(float *out, size_t ldo, const float *q, size_t ldq, size_t nq,           \
				    const void *rows, size_t stride, size_t n, uint32_t dim)                 \
	{                                                                                                    \
		batch_sums(L2, dtype, out, ldo, q, ldq, nq, rows, stride, n, dim);                           \
	}                                                                                                    \
	static void name##_ip_batch(float *out, size_t ldo, const float *q, size_t ldq, size_t nq,           \
				    const void *rows, size_t stride, size_t n, uint32_t dim)                 \
	{                                                                                                    \
		batch_sums(DOT, dtype, out, ldo, q, ldq, nq, rows, stride, n, dim);                          \
		for (size_t i = 0; i < nq; i++)                                                              \
			negate(out + i * ldo, n);                                                            \
	}                                                                                                    \
	static void name##_cosine_batch(float *out, size_t ldo, const float *q, size_t ldq, size_t nq,       \
					const void *rows, size_t stride, size_t n, uint32_t dim)             \
	{                                                                                                    \
		batch_cosine(dtype, out, ldo, q, ldq, nq, rows, stride, n, dim);                             \
	}

FLOAT_KERNELS(f32, VS_F32)
FLOAT_KERNELS(f16, VS_F16)
FLOAT_KERNELS(bf16, VS_BF16)

/* Of a row of integers: the sum that op asks for, and of COS the sum of squares of the row as well. */
struct int_sums {
	uint32_t sum, norm; /* the sum of i8 products is an int32_t in disguise */
};

#if SIMD_F32 == 16
#define INT_STEP 32
typedef __m512i int_lanes; /* 32 numbers of 16 bits, 16 of 32 */

SIMD_INLINE int_lanes int_zero(void)
{
	return _mm512_setzero_si512();
}

SIMD_INLINE int_lanes int_load(enum vs_dtype t, const uint8_t *p, size_t count)
{
	__m256i x = _mm256_maskz_loadu_epi8(count < INT_STEP ? (1u << count) - 1 : UINT32_MAX, p);

	return t == VS_I8 ? _mm512_cvtepi8_epi16(x) : _mm512_cvtepu8_epi16(x);
}

SIMD_INLINE int_lanes int_add_products(int_lanes sum, int_lanes a, int_lanes b)
{
	return _mm512_dpwssd_epi32(sum, a, b);
}

SIMD_INLINE int_lanes int_sub(int_lanes a, int_lanes b)
{
	return _mm512_sub_epi16(a, b);
}

SIMD_INLINE uint32_t int_total(int_lanes x)
{
	/* Lanes are unsigned: in pairs of 64 bits nothing overflows. */
	__m512i low = _mm512_and_si512(x, _mm512_set1_epi64(UINT32_MAX));

	return (uint32_t)_mm512_reduce_add_epi64(_mm512_add_epi64(low, _mm512_srli_epi64(x, 32)));
}

#elif SIMD_F32 == 8
#define INT_STEP 16
typedef __m256i int_lanes;

SIMD_INLINE int_lanes int_zero(void)
{
	return _mm256_setzero_si256();
}

SIMD_INLINE int_lanes int_load(enum vs_dtype t, const uint8_t *p, size_t count)
{
	uint8_t part[INT_STEP] = {0};
	__m128i x;

	if (count < INT_STEP)
		p = memcpy(part, p, count);
	x = _mm_loadu_si128((const void *)p);
	return t == VS_I8 ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x);
}

SIMD_INLINE int_lanes int_add_products(int_lanes sum, int_lanes a, int_lanes b)
{
	return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

SIMD_INLINE int_lanes int_sub(int_lanes a, int_lanes b)
{
	return _mm256_sub_epi16(a, b);
}

SIMD_INLINE uint32_t int_total(int_lanes x)
{
	__m128i s = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));

	s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
	return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 1)));
}

#else
#define INT_STEP 1
typedef int32_t int_lanes;

SIMD_INLINE int_lanes int_zero(void)
{
	return 0;
}

SIMD_INLINE int_lanes int_load(enum vs_dtype t, const uint8_t *p, size_t count)
{
	(void)count;
	return t == VS_I8 ? (int8_t)*p : *p;
}

SIMD_INLINE int_lanes int_add_products(int_lanes sum, int_lanes a, int_lanes b)
{
	return (int32_t)((uint32_t)sum + (uint32_t)(a * b));
}

SIMD_INLINE int_lanes int_sub(int_lanes a, int_lanes b)
{
	return a - b;
}

SIMD_INLINE uint32_t int_total(int_lanes x)
{
	return (uint32_t)x;
}
#endif

SIMD_INLINE struct int_sums int_row(enum op op, enum vs_dtype t, const uint8_t *query, const uint8_t *row,
				    uint32_t dim)
{
	int_lanes sum = int_zero(), norm = int_zero();

	for (size_t i = 0; i < dim; i += INT_STEP) {
		int_lanes x = int_load(t, row + i, dim - i), q = int_load(t, query + i, dim - i);

		if (op == L2) {
			q = int_sub(q, x);
			x = q;
		}
		sum = int_add_products(sum, q, x);
		if (op == COS)
			norm = int_add_products(norm, x, x);
	}
	return (struct int_sums){int_total(sum), op == COS ? int_total(norm) : 0};
}

SIMD_INLINE double int_value(enum vs_dtype t, uint32_t sum)
{
	return t == VS_I8 ? (double)(int32_t)sum : (double)sum;
}

SIMD_INLINE void int_rows(enum op op, enum vs_dtype t, float *out, const uint8_t *query, const uint8_t *rows,
			  size_t stride, size_t n, uint32_t dim)
{
	double query_norm = op == COS ? (double)int_row(DOT, t, query, query, dim).sum : 0;

	for (size_t i = 0; i < n; i++, rows += stride) {
		struct int_sums s = int_row(op, t, query, rows, dim);

		if (op == L2)
			out[i] = (float)s.sum;
		else if (op == DOT)
			out[i] = (float)-int_value(t, s.sum);
		else
			out[i] = (float)(1.0 - int_value(t, s.sum) / sqrt(query_norm * (double)s.norm));
	}
}

#define INT_KERNELS(name, dtype)                                                                             \
	static void name##_l2(float *out, const void *q, const void *rows, size_t stride, size_t n,          \
			      uint32_t dim)                                                                  \
	{                                                                                                    \
		int_rows(L2, dtype, out, q, rows, stride, n, dim);                                           \
	}                                                                                                    \
	static void name##_ip(float *out, const void *q, const void *rows, size_t stride, size_t n,          \
			      uint32_t dim)                                                                  \
	{                                                                                                    \
		int_rows(DOT, dtype, out, q, rows, stride, n, dim);                                          \
	}                                                                                                    \
	static void name##_cosine(float *out, const void *q, const void *rows, size_t stride, size_t n,      \
				  uint32_t dim)                                                              \
	{                                                                                                    \
		int_rows(COS, dtype, out, q, rows, stride, n, dim);                                          \
	}

INT_KERNELS(i8, VS_I8)
INT_KERNELS(u8, VS_U8)

/* Counts of a pair of bit rows: bits that differ (L2), that both have (DOT), and of COS those of the row. */
SIMD_INLINE uint64_t bit_op(enum op op, uint64_t q, uint64_t x)
{
	return op == L2 ? q ^ x : q & x;
}

SIMD_INLINE uint64_t bit_word(const uint8_t *p, size_t count)
{
	uint64_t word = 0;

	memcpy(&word, p, count < 8 ? count : 8);
	return word;
}

SIMD_INLINE struct int_sums bit_row(enum op op, const uint8_t *query, const uint8_t *row, size_t bytes)
{
	uint64_t sum = 0, norm = 0;
	size_t i = 0;

#if SIMD_F32 == 16
	__m512i sums = _mm512_setzero_si512(), norms = sums;

	for (; i < bytes; i += 64) {
		__mmask64 some = bytes - i < 64 ? ((uint64_t)1 << (bytes - i)) - 1 : UINT64_MAX;
		__m512i x = _mm512_maskz_loadu_epi8(some, row + i),
			q = _mm512_maskz_loadu_epi8(some, query + i);

		q = op == L2 ? _mm512_xor_si512(q, x) : _mm512_and_si512(q, x);
		sums = _mm512_add_epi64(sums, _mm512_popcnt_epi64(q));
		if (op == COS)
			norms = _mm512_add_epi64(norms, _mm512_popcnt_epi64(x));
	}
	sum = (uint64_t)_mm512_reduce_add_epi64(sums);
	norm = op == COS ? (uint64_t)_mm512_reduce_add_epi64(norms) : 0;
#else
	for (; i + 8 <= bytes; i += 8) {
		uint64_t x = bit_word(row + i, 8);

		sum += (uint64_t)__builtin_popcountll(bit_op(op, bit_word(query + i, 8), x));
		norm += op == COS ? (uint64_t)__builtin_popcountll(x) : 0;
	}
	if (i < bytes) {
		uint64_t x = bit_word(row + i, bytes - i);

		sum += (uint64_t)__builtin_popcountll(bit_op(op, bit_word(query + i, bytes - i), x));
		norm += op == COS ? (uint64_t)__builtin_popcountll(x) : 0;
	}
#endif
	return (struct int_sums){(uint32_t)sum, (uint32_t)norm};
}

SIMD_INLINE void bit_rows(enum op op, float *out, const uint8_t *query, const uint8_t *rows, size_t stride,
			  size_t n, uint32_t dim)
{
	size_t bytes = (dim + 7) / 8;
	double query_norm = op == COS ? (double)bit_row(DOT, query, query, bytes).sum : 0;

	for (size_t i = 0; i < n; i++, rows += stride) {
		struct int_sums s = bit_row(op, query, rows, bytes);

		if (op == COS)
			out[i] = (float)(1.0 - (double)s.sum / sqrt(query_norm * (double)s.norm));
		else
			out[i] = op == L2 ? (float)s.sum : -(float)s.sum;
	}
}

static void bit_l2(float *out, const void *q, const void *rows, size_t stride, size_t n, uint32_t dim)
{
	bit_rows(L2, out, q, rows, stride, n, dim);
}

static void bit_ip(float *out, const void *q, const void *rows, size_t stride, size_t n, uint32_t dim)
{
	bit_rows(DOT, out, q, rows, stride, n, dim);
}

static void bit_cosine(float *out, const void *q, const void *rows, size_t stride, size_t n, uint32_t dim)
{
	bit_rows(COS, out, q, rows, stride, n, dim);
}

static double norm2(const float *x, uint32_t dim)
{
	wide64 sum = wide64_zero();
	size_t i = 0;

	for (; i + WIDE <= dim; i += WIDE)
		sum = wide64_add_product(sum, wide_load(x + i), wide_load(x + i));
	if (i < dim) {
		wide last = wide_load_part(x + i, dim - i);

		sum = wide64_add_product(sum, last, last);
	}
	return wide64_sum(sum);
}

const struct distance_kernels KERNEL(distance_kernels) = {
	.rows =
		{
			[VS_F32] = {f32_l2, f32_ip, f32_cosine},
			[VS_F16] = {f16_l2, f16_ip, f16_cosine},
			[VS_BF16] = {bf16_l2, bf16_ip, bf16_cosine},
			[VS_I8] = {i8_l2, i8_ip, i8_cosine},
			[VS_U8] = {u8_l2, u8_ip, u8_cosine},
			[VS_BIT] = {bit_l2, bit_ip, bit_cosine},
		},
	.batch =
		{
			[VS_F32] = {f32_l2_batch, f32_ip_batch, f32_cosine_batch},
			[VS_F16] = {f16_l2_batch, f16_ip_batch, f16_cosine_batch},
			[VS_BF16] = {bf16_l2_batch, bf16_ip_batch, bf16_cosine_batch},
		},
	.norm2 = norm2,
};
