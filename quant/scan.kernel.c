/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/scan.kernel.h"

#include "quant/wide.h"

/*
 * Sums of bytes are gathered in 16 bits: `even` adds pairs of neighbouring rows' bytes as if they were one
 * number of 16 bits, `odd` adds its upper half, which is the row with the odd number. What the odd rows have
 * put into `even` is 256 times `odd`, and is taken away at the end (modulo 2^16 it is exact). Two bytes below
 * 128 or one below 256 fit SEGMENT times; longer codes are added up segment by segment.
 */
#define SEGMENT 256

SIMD_INLINE uint64_t near_of(const float *values, float limit)
{
	uint64_t mask = 0;

	for (int i = 0; i < BLOCK_ROWS; i += WIDE)
		mask |= (uint64_t)wide_mask_le(wide_load(values + i), wide_set1(limit)) << i;
	return mask;
}

static uint64_t not_above(const float *values, float limit)
{
	return near_of(values, limit);
}

#if SIMD_F32 == 1

static void nibbles(struct scan_sums *out, const uint8_t *codes, size_t blocks, size_t code_bytes,
		    const uint8_t *tables)
{
	for (size_t b = 0; b < blocks; b++, codes += BLOCK_ROWS * code_bytes) {
		float *sums = out->sums + b * BLOCK_ROWS;

		for (size_t r = 0; r < BLOCK_ROWS; r++) {
			uint32_t sum = 0;

			for (size_t p = 0; p < code_bytes; p++) {
				uint8_t code = codes[p * BLOCK_ROWS + r];

				sum += (uint32_t)tables[p * 32 + (code & 15)] +
				       tables[p * 32 + 16 + (code >> 4)];
			}
			sums[r] = (float)sum;
		}
		out->near[b] = near_of(sums, out->limit);
	}
}

static void bytes(struct scan_sums *out, const uint8_t *codes, size_t blocks, size_t code_bytes,
		  const uint8_t *tables)
{
	for (size_t b = 0; b < blocks; b++, codes += BLOCK_ROWS * code_bytes) {
		float *sums = out->sums + b * BLOCK_ROWS;

		for (size_t r = 0; r < BLOCK_ROWS; r++) {
			uint32_t sum = 0;

			for (size_t p = 0; p < code_bytes; p++)
				sum += tables[p * 256 + codes[p * BLOCK_ROWS + r]];
			sums[r] = (float)sum;
		}
		out->near[b] = near_of(sums, out->limit);
	}
}

#else

#if SIMD_F32 == 16

typedef __m512i vu; /* 64 bytes: a byte of each row of a block */
#define VECTORS 1 /* a block has so many */

SIMD_INLINE vu vu_zero(void)
{
	return _mm512_setzero_si512();
}
SIMD_INLINE vu vu_load(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}
SIMD_INLINE vu vu_table(const uint8_t *p)
{
	return _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)p));
}
/* A permutation looks at six bits of an index. Where the table is four copies of sixteen entries the two that
 * stand above a nibble mean nothing, and need not be cleared. */
SIMD_INLINE vu vu_look_low(vu table, vu code)
{
	return _mm512_permutexvar_epi8(code, table);
}
SIMD_INLINE vu vu_look_high(vu table, vu code)
{
	return _mm512_permutexvar_epi8(_mm512_srli_epi16(code, 4), table);
}
SIMD_INLINE vu vu_add8(vu a, vu b)
{
	return _mm512_add_epi8(a, b);
}
SIMD_INLINE vu vu_add16(vu a, vu b)
{
	return _mm512_add_epi16(a, b);
}
SIMD_INLINE vu vu_odd(vu x)
{
	return _mm512_srli_epi16(x, 8);
}
SIMD_INLINE vu vu_even(vu even, vu odd)
{
	return _mm512_sub_epi16(even, _mm512_slli_epi16(odd, 8));
}

SIMD_INLINE void store16(float *sums, __m128i low, __m128i high, bool is_first)
{
	__m512 sum = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm256_set_m128i(high, low)));

	if (!is_first)
		sum = _mm512_add_ps(sum, _mm512_loadu_ps(sums));
	_mm512_storeu_ps(sums, sum);
}

/* The 64 sums in the order of the rows. Unpacking works within 16 bytes, of which each holds 16 rows. */
SIMD_INLINE void store_sums(float *sums, vu even, vu odd, bool is_first)
{
	vu low = _mm512_unpacklo_epi16(even, odd), high = _mm512_unpackhi_epi16(even, odd);

	store16(sums, _mm512_castsi512_si128(low), _mm512_castsi512_si128(high), is_first);
	store16(sums + 16, _mm512_extracti32x4_epi32(low, 1), _mm512_extracti32x4_epi32(high, 1), is_first);
	store16(sums + 32, _mm512_extracti32x4_epi32(low, 2), _mm512_extracti32x4_epi32(high, 2), is_first);
	store16(sums + 48, _mm512_extracti32x4_epi32(low, 3), _mm512_extracti32x4_epi32(high, 3), is_first);
}

#else

typedef __m256i vu;
#define VECTORS 2

SIMD_INLINE vu vu_zero(void)
{
	return _mm256_setzero_si256();
}
SIMD_INLINE vu vu_load(const uint8_t *p)
{
	return _mm256_loadu_si256((const void *)p);
}
SIMD_INLINE vu vu_table(const uint8_t *p)
{
	return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)p));
}
SIMD_INLINE vu vu_look(vu table, vu index)
{
	return _mm256_shuffle_epi8(table, index);
}
SIMD_INLINE vu vu_look_low(vu table, vu code)
{
	return vu_look(table, _mm256_and_si256(code, _mm256_set1_epi8(15)));
}
SIMD_INLINE vu vu_look_high(vu table, vu code)
{
	return vu_look_low(table, _mm256_srli_epi16(code, 4));
}
SIMD_INLINE vu vu_add8(vu a, vu b)
{
	return _mm256_add_epi8(a, b);
}
SIMD_INLINE vu vu_add16(vu a, vu b)
{
	return _mm256_add_epi16(a, b);
}
SIMD_INLINE vu vu_odd(vu x)
{
	return _mm256_srli_epi16(x, 8);
}
SIMD_INLINE vu vu_even(vu even, vu odd)
{
	return _mm256_sub_epi16(even, _mm256_slli_epi16(odd, 8));
}

SIMD_INLINE void store8(float *sums, __m128i words, bool is_first)
{
	__m256 sum = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(words));

	if (!is_first)
		sum = _mm256_add_ps(sum, _mm256_loadu_ps(sums));
	_mm256_storeu_ps(sums, sum);
}

SIMD_INLINE void store_sums(float *sums, vu even, vu odd, bool is_first)
{
	vu low = _mm256_unpacklo_epi16(even, odd), high = _mm256_unpackhi_epi16(even, odd);

	store8(sums, _mm256_castsi256_si128(low), is_first);
	store8(sums + 8, _mm256_castsi256_si128(high), is_first);
	store8(sums + 16, _mm256_extracti128_si256(low, 1), is_first);
	store8(sums + 24, _mm256_extracti128_si256(high, 1), is_first);
}

#endif

/* The tables of one byte of code. */
struct byte_table {
#if SIMD_F32 == 16
	vu quarter[4];
#else
	const uint8_t *sixteenths;
#endif
};

SIMD_INLINE struct byte_table byte_table_load(const uint8_t *p)
{
#if SIMD_F32 == 16
	return (struct byte_table){{vu_load(p), vu_load(p + 64), vu_load(p + 128), vu_load(p + 192)}};
#else
	return (struct byte_table){p};
#endif
}

SIMD_INLINE vu byte_look(const struct byte_table *t, vu code)
{
#if SIMD_F32 == 16
	/* Seven bits of the code choose among two registers, the eighth between two such choices. */
	vu low = _mm512_permutex2var_epi8(t->quarter[0], code, t->quarter[1]);
	vu high = _mm512_permutex2var_epi8(t->quarter[2], code, t->quarter[3]);

	return _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, high);
#else
	/* A shuffle yields 0 for an index of 128 and more: exactly one of the sixteen tables answers, the one
	 * whose number is in the upper half of the code. */
	vu sum = vu_zero();

	SIMD_UNROLL
	for (int i = 0; i < 16; i++) {
		vu index = _mm256_adds_epu8(_mm256_xor_si256(code, _mm256_set1_epi8((char)(i << 4))),
					    _mm256_set1_epi8(0x70));

		sum = _mm256_or_si256(sum, vu_look(vu_table(t->sixteenths + 16 * i), index));
	}
	return sum;
#endif
}

/*
 * Tables of 256 entries are dear to load: some blocks at a time share them. Memory is then read in several
 * streams, which a processor does not foresee: the next blocks are asked for in software, into the second
 * cache. (Into the first it would be slower than not at all: its few buffers for lines under way are what the
 * tables' loads need. Where the codes are in a cache already it costs nothing that could be measured.)
 *
 * Tables of 16 entries are not: blocks are read one by one, in a single stream, and into the first cache.
 */
#define GROUP 4
#define PREFETCH_TO_L1 3
#define PREFETCH_TO_L2 2
#define AHEAD_BYTES 3072 /* of a single stream */

SIMD_INLINE void group_sums(bool is_nibbles, int group, float *sums, const uint8_t *codes, size_t code_bytes,
			    size_t first, size_t last, const uint8_t *tables)
{
	const size_t block = BLOCK_ROWS * code_bytes;
	vu even[GROUP * VECTORS], odd[GROUP * VECTORS];

	SIMD_UNROLL
	for (int i = 0; i < group * VECTORS; i++)
		even[i] = odd[i] = vu_zero();
	for (size_t p = first; p < last; p++) {
		const uint8_t *column = codes + p * BLOCK_ROWS;
		vu low = is_nibbles ? vu_table(tables + p * 32) : vu_zero();
		vu high = is_nibbles ? vu_table(tables + p * 32 + 16) : vu_zero();
		struct byte_table table;

		if (!is_nibbles)
			table = byte_table_load(tables + p * 256);
		SIMD_UNROLL
		for (int i = 0; i < group * VECTORS; i++) {
			const uint8_t *at = column + (size_t)(i / VECTORS) * block + i % VECTORS * 32;
			vu code = vu_load(at), x;

			if (i % VECTORS == 0 && is_nibbles)
				__builtin_prefetch(at + AHEAD_BYTES, 0, PREFETCH_TO_L1);
			if (i % VECTORS == 0 && !is_nibbles)
				__builtin_prefetch(at + (size_t)group * block, 0, PREFETCH_TO_L2);
			if (is_nibbles)
				x = vu_add8(vu_look_low(low, code), vu_look_high(high, code));
			else
				x = byte_look(&table, code);
			even[i] = vu_add16(even[i], x);
			odd[i] = vu_add16(odd[i], vu_odd(x));
		}
	}
	SIMD_UNROLL
	for (int i = 0; i < group * VECTORS; i++)
		store_sums(sums + i * (BLOCK_ROWS / VECTORS), vu_even(even[i], odd[i]), odd[i], first == 0);
}

SIMD_INLINE void all_sums(bool is_nibbles, struct scan_sums *out, const uint8_t *codes, size_t blocks,
			  size_t code_bytes, const uint8_t *tables)
{
	const int most = is_nibbles ? 1 : GROUP / VECTORS;

	for (size_t first = 0; first < code_bytes; first += SEGMENT) {
		size_t last = first + SEGMENT < code_bytes ? first + SEGMENT : code_bytes;

		for (size_t b = 0, n; b < blocks; b += n) {
			float *sums = out->sums + b * BLOCK_ROWS;
			const uint8_t *at = codes + b * BLOCK_ROWS * code_bytes;

			n = b + (size_t)most <= blocks ? (size_t)most : 1;
			if (n > 1)
				group_sums(is_nibbles, most, sums, at, code_bytes, first, last, tables);
			else
				group_sums(is_nibbles, 1, sums, at, code_bytes, first, last, tables);
			for (size_t i = b; i < b + n && last == code_bytes; i++)
				out->near[i] = near_of(out->sums + i * BLOCK_ROWS, out->limit);
		}
	}
}

static void nibbles(struct scan_sums *out, const uint8_t *codes, size_t blocks, size_t code_bytes,
		    const uint8_t *tables)
{
	all_sums(true, out, codes, blocks, code_bytes, tables);
}

static void bytes(struct scan_sums *out, const uint8_t *codes, size_t blocks, size_t code_bytes,
		  const uint8_t *tables)
{
	all_sums(false, out, codes, blocks, code_bytes, tables);
}

#endif

static void range(float *least, float *most, const float *values, size_t n)
{
	wide low = wide_load(values), high = low;

	for (size_t i = WIDE; i < n; i += WIDE) {
		wide x = wide_load(values + i);

		low = wide_min(x, low);
		high = wide_max(x, high);
	}
	*most = wide_largest(high);
	*least = -wide_largest(wide_flip(low, 0xffff));
}

static void quantise(uint8_t *bytes, const float *values, size_t n, float least, float per_step)
{
	for (size_t i = 0; i < n; i += WIDE) {
		wide steps = wide_mul(wide_sub(wide_load(values + i), wide_set1(least)), wide_set1(per_step));

		wide_store_u8(bytes + i, steps);
	}
}

const struct scan_kernels KERNEL(scan_kernels) = {nibbles, bytes, range, quantise, not_above};
