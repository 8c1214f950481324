/* SPDX-License-Identifier: Apache-2.0 */
/* convert's kernels; quant/convert.h says what they do. */
#ifndef VECFS_QUANT_CONVERT_KERNEL_H
#define VECFS_QUANT_CONVERT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "quant/level.h"

struct convert_kernels {
	void (*f32_to_f16)(uint16_t *out, const float *in, size_t n);
	void (*f16_to_f32)(float *out, const uint16_t *in, size_t n);
	void (*f32_to_bf16)(uint16_t *out, const float *in, size_t n);
	void (*bf16_to_f32)(float *out, const uint16_t *in, size_t n);
};

LEVEL_TABLES(convert_kernels)

#endif
