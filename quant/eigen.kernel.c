/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/eigen.kernel.h"
#include "quant/simd.h"

/* The compiler makes of it what the level has: nothing is added across lanes, so the width is of no account.
 */
#define BYTES (SIMD_F32 == 1 ? 16 : 4 * SIMD_F32)
#define LANES (BYTES / sizeof(double))
typedef double vd __attribute__((vector_size(BYTES)));

SIMD_INLINE vd load(const double *p)
{
	vd x;

	memcpy(&x, p, sizeof x);
	return x;
}

SIMD_INLINE void store(double *p, vd x)
{
	memcpy(p, &x, sizeof x);
}

static void add(size_t n, double a, const double *x, double *y)
{
	for (size_t i = 0; i < n; i += LANES)
		store(y + i, load(y + i) + a * load(x + i));
}

static void subtract_two(size_t n, double a, const double *x, double b, const double *y, double *z)
{
	for (size_t i = 0; i < n; i += LANES)
		store(z + i, load(z + i) - (a * load(x + i) + b * load(y + i)));
}

static void rotate(size_t n, double c, double s, double *x, double *y)
{
	for (size_t i = 0; i < n; i += LANES) {
		vd xi = load(x + i), yi = load(y + i);

		store(x + i, c * xi - s * yi);
		store(y + i, s * xi + c * yi);
	}
}

const struct eigen_kernels KERNEL(eigen_kernels) = {
	.add = add,
	.subtract_two = subtract_two,
	.rotate = rotate,
};
