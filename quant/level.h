/* SPDX-License-Identifier: Apache-2.0 */
/*
 * level - which of the processor's instruction sets the kernels use.
 *
 * Every file *.kernel.c is compiled once a level; a level's functions stand in one table of pointers a file
 * (declared by LEVEL_TABLES), and the table is looked up once for each call of a public function. The level
 * is the best this processor has, or the one that the environment variable VECFS_SIMD names ("scalar",
 * "avx2", "avx512"), which is for tests: results that decide a code are the same bytes on each.
 *
 *   scalar  plain C, no vector instruction asked for: the specification of the others
 *   avx2    x86-64-v3: AVX2, FMA, F16C, BMI (Haswell, Zen and later)
 *   avx512  F BW VL DQ VBMI VBMI2 VNNI BITALG VPOPCNTDQ (Ice Lake, Zen 4 and later)
 *
 * Callable from any thread; level_choose() before the threads start that it is to count for.
 */
#ifndef VECFS_QUANT_LEVEL_H
#define VECFS_QUANT_LEVEL_H

#include <stdbool.h>

enum level { LEVEL_SCALAR, LEVEL_AVX2, LEVEL_AVX512, LEVEL_COUNT };

/* The level in use. The first call settles it if level_choose() has not: by VECFS_SIMD if that names a level
 * this machine has, else the best. */
enum level level_get(void);
/* Settles it: word is a level's name, or NULL or "" for the best. -EINVAL: no such level; -ENOTSUP: not on
 * this machine. Nothing is changed then. */
int level_choose(const char *word);
/* Can this processor, and this build, run it? */
bool level_is_supported(enum level level);
const char *level_name(enum level level);

/*
 * Declares a table of kernels that is defined once a level, as `const struct TABLE KERNEL(TABLE) = {...}` in
 * a
 * *.kernel.c, and TABLE_get(), which returns that of the level in use.
 */
#ifdef VECFS_LEVELS_X86
#define LEVEL_TABLES(table)                                                                                  \
	extern const struct table table##_scalar, table##_avx2, table##_avx512;                              \
	static inline const struct table *table##_get(void)                                                  \
	{                                                                                                    \
		static const struct table *const tables[LEVEL_COUNT] = {&table##_scalar, &table##_avx2,      \
									&table##_avx512};                    \
		return tables[level_get()];                                                                  \
	}
#else
#define LEVEL_TABLES(table)                                                                                  \
	extern const struct table table##_scalar;                                                            \
	static inline const struct table *table##_get(void)                                                  \
	{                                                                                                    \
		return &table##_scalar;                                                                      \
	}
#endif

#endif
