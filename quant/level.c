/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/level.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef VECFS_LEVELS_X86
#include <cpuid.h>
#endif

static const char *const names[LEVEL_COUNT] = {"scalar", "avx2", "avx512"};
static atomic_int chosen = -1;

const char *level_name(enum level level)
{
	return (unsigned)level < LEVEL_COUNT ? names[level] : "?";
}

#ifdef VECFS_LEVELS_X86
/* What x86-64-v3 allows the compiler to use and __builtin_cpu_supports() of some compilers cannot name. */
static bool has_rest_of_v3(void)
{
	unsigned eax, ebx, ecx, edx;
	const unsigned movbe = 1u << 22, f16c = 1u << 29, lzcnt = 1u << 5;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & (movbe | f16c)) != (movbe | f16c))
		return false;
	return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && ecx & lzcnt;
}

static bool has_avx2(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("popcnt") && has_rest_of_v3();
}

static bool has_avx512(void)
{
	return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi") &&
	       __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vnni") &&
	       __builtin_cpu_supports("avx512bitalg") && __builtin_cpu_supports("avx512vpopcntdq");
}

bool level_is_supported(enum level level)
{
	if (level == LEVEL_AVX512)
		return has_avx512();
	return level == LEVEL_AVX2 ? has_avx2() : level == LEVEL_SCALAR;
}
#else
bool level_is_supported(enum level level)
{
	return level == LEVEL_SCALAR;
}
#endif

static enum level best(void)
{
	enum level level = LEVEL_AVX512;

	while (!level_is_supported(level))
		level--;
	return level;
}

int level_choose(const char *word)
{
	enum level level = LEVEL_SCALAR;

	if (!word || !*word) {
		atomic_store_explicit(&chosen, best(), memory_order_relaxed);
		return 0;
	}
	while (level < LEVEL_COUNT && strcmp(word, names[level]) != 0)
		level++;
	if (level == LEVEL_COUNT)
		return -EINVAL;
	if (!level_is_supported(level))
		return -ENOTSUP;
	atomic_store_explicit(&chosen, level, memory_order_relaxed);
	return 0;
}

enum level level_get(void)
{
	int level = atomic_load_explicit(&chosen, memory_order_relaxed);

	if (level < 0) {
		if (level_choose(getenv("VECFS_SIMD")) != 0)
			level_choose(NULL);
		level = atomic_load_explicit(&chosen, memory_order_relaxed);
	}
	assert(level >= 0);
	return (enum level)level;
}
