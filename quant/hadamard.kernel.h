/* SPDX-License-Identifier: Apache-2.0 */
/* hadamard's kernels. Lengths are multiples of 16. */
#ifndef VECFS_QUANT_HADAMARD_KERNEL_H
#define VECFS_QUANT_HADAMARD_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/level.h"

struct hadamard_kernels {
	/* Changes the sign of the components whose bit is set. */
	void (*flip)(float *x, const uint64_t *bits, size_t n);
	/* x = H x, not normalised; n is a power of two from 64 on. */
	void (*transform)(float *x, size_t n);
	/* x *= factor */
	void (*scale)(float *x, float factor, size_t n);
	/* a, b = a + b, a - b, each times factor */
	void (*mix)(float *a, float *b, float factor, size_t n);
};

LEVEL_TABLES(hadamard_kernels)

#endif
