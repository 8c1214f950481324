/* SPDX-License-Identifier: Apache-2.0 */
/* bit's kernel; quant/bit.h says what it does. */
#ifndef VECFS_QUANT_BIT_KERNEL_H
#define VECFS_QUANT_BIT_KERNEL_H

#include <stdint.h>

#include "quant/level.h"

struct bit_kernels {
	void (*encode)(uint8_t *code, const float *x, uint32_t dim);
};

LEVEL_TABLES(bit_kernels)

#endif
