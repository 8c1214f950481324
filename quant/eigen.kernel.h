/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VECFS_QUANT_EIGEN_KERNEL_H
#define VECFS_QUANT_EIGEN_KERNEL_H

#include <stddef.h>

#include "quant/level.h"

/* Each works on n numbers one by one; n is a multiple of 8. */
struct eigen_kernels {
	/* y += a x */
	void (*add)(size_t n, double a, const double *x, double *y);
	/* z -= a x + b y */
	void (*subtract_two)(size_t n, double a, const double *x, double b, const double *y, double *z);
	/* (x, y) = (c x - s y, s x + c y) */
	void (*rotate)(size_t n, double c, double s, double *x, double *y);
};

LEVEL_TABLES(eigen_kernels)

#endif
