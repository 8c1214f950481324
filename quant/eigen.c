/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/eigen.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/eigen.kernel.h"
#include "quant/scratch.h"

#define STRIP                                                                                                \
	64 /* columns of the vectors that stay in the cache while a sweep's rotations pass over them         \
	    */
#define SWEEPS_MAX 60 /* an eigenvalue takes about two */

struct eigen {
	size_t dim, ld; /* ld: dim rounded up to whole vectors; what lies beyond dim is 0 */
	const struct eigen_kernels *kernels;
	const struct parallel *parallel;
	double *a;                 /* [dim][ld] the matrix; afterwards row i is the i-th reflector */
	double *z;                 /* [dim][ld] rows become eigenvectors */
	double *diagonal, *beside; /* [dim] of the tridiagonal form: beside[i] is between i and i + 1 */
	double *p, *scale;         /* [ld], [dim] of the reflectors: H = 1 - scale v v' */
	double *c, *s;             /* [dim] rotations of a sweep: of rows i and i + 1 */
	size_t *order;             /* [dim] */
	size_t first, last;        /* the rotations of the sweep: first <= i < last, from the last one down */
};

static size_t lay_out(struct eigen *e, size_t dim, void *base)
{
	struct scratch m = {.base = base};

	e->dim = dim;
	e->ld = (dim + 7) / 8 * 8;
	e->a = scratch_take(&m, dim * e->ld * sizeof *e->a);
	e->z = scratch_take(&m, dim * e->ld * sizeof *e->z);
	e->diagonal = scratch_take(&m, dim * sizeof *e->diagonal);
	e->beside = scratch_take(&m, dim * sizeof *e->beside);
	e->p = scratch_take(&m, e->ld * sizeof *e->p);
	e->scale = scratch_take(&m, dim * sizeof *e->scale);
	e->c = scratch_take(&m, dim * sizeof *e->c);
	e->s = scratch_take(&m, dim * sizeof *e->s);
	e->order = scratch_take(&m, dim * sizeof *e->order);
	return m.bytes;
}

size_t eigen_scratch_bytes(size_t dim)
{
	struct eigen e;

	return lay_out(&e, dim, NULL);
}

/* ------------------------------------------------------------------ the tridiagonal form */

/* Makes row k of a the reflector that leaves only one number beside the diagonal; returns that number. */
static double make_reflector(struct eigen *e, size_t k)
{
	double *v = e->a + k * e->ld, largest = 0, squares = 0, beside;

	for (size_t j = 0; j <= k; j++)
		v[j] = 0;
	for (size_t j = k + 1; j < e->dim; j++)
		largest = fmax(largest, fabs(v[j]));
	e->scale[k] = 0;
	if (!(largest > 0))
		return 0;
	for (size_t j = k + 1; j < e->dim; j++) {
		v[j] /= largest;
		squares += v[j] * v[j];
	}
	beside = v[k + 1] > 0 ? -sqrt(squares) : sqrt(squares);
	e->scale[k] = 1 / (squares - v[k + 1] * beside);
	v[k + 1] -= beside;
	return beside * largest;
}

/* a = H a H for the part of a below and right of k. */
static void reflect(struct eigen *e, size_t k)
{
	const double *v = e->a + k * e->ld, scale = e->scale[k];
	size_t from = (k + 1) / 8 * 8; /* whole vectors; v is 0 before k + 1 */
	double dot = 0;

	memset(e->p, 0, e->ld * sizeof *e->p);
	for (size_t i = k + 1; i < e->dim; i++)
		e->kernels->add(e->ld - from, scale * v[i], e->a + i * e->ld + from, e->p + from);
	for (size_t i = k + 1; i < e->dim; i++)
		dot += e->p[i] * v[i];
	for (size_t i = k + 1; i < e->dim; i++)
		e->p[i] -= scale / 2 * dot * v[i];
	for (size_t i = k + 1; i < e->dim; i++)
		e->kernels->subtract_two(e->ld - from, v[i], e->p + from, e->p[i], v + from,
					 e->a + i * e->ld + from);
}

static void reduce(struct eigen *e)
{
	for (size_t k = 0; k < e->dim; k++) {
		e->diagonal[k] = e->a[k * e->ld + k];
		e->beside[k] = make_reflector(e, k);
		if (e->scale[k] != 0)
			reflect(e, k);
	}
}

/* Rows of z become those of the transposed product of all reflectors, from the last one back. */
static void accumulate(struct eigen *e)
{
	memset(e->z, 0, e->dim * e->ld * sizeof *e->z);
	for (size_t k = e->dim; k-- > 0;) {
		const double *v = e->a + k * e->ld;
		size_t from = (k + 1) / 8 * 8;

		e->z[k * e->ld + k] = 1;
		if (e->scale[k] == 0)
			continue;
		/* z = (1 - scale v v') z, of which only the part below and right of k differs from 1. */
		memset(e->p, 0, e->ld * sizeof *e->p);
		for (size_t i = k + 1; i < e->dim; i++)
			e->kernels->add(e->ld - from, v[i], e->z + i * e->ld + from, e->p + from);
		for (size_t i = k + 1; i < e->dim; i++)
			e->kernels->add(e->ld - from, -e->scale[k] * v[i], e->p + from,
					e->z + i * e->ld + from);
	}
	/* The product has the vectors in its columns; rotations want them in rows. */
	for (size_t i = 0; i < e->dim; i++)
		for (size_t j = 0; j < i; j++) {
			double swap = e->z[i * e->ld + j];

			e->z[i * e->ld + j] = e->z[j * e->ld + i];
			e->z[j * e->ld + i] = swap;
		}
}

/* ------------------------------------------------------------------ QL sweeps */

static void rotate_strip(void *arg, size_t strip, unsigned worker)
{
	const struct eigen *e = arg;
	size_t at = strip * STRIP, n = e->ld - at < STRIP ? e->ld - at : STRIP;

	(void)worker;
	for (size_t i = e->last; i-- > e->first;)
		e->kernels->rotate(n, e->c[i], e->s[i], e->z + i * e->ld + at, e->z + (i + 1) * e->ld + at);
}

/* sqrt(a^2 + b^2) without overflow; hypot() of one C library rounds unlike that of another. */
static double length_of(double a, double b)
{
	double large = fmax(fabs(a), fabs(b)), ratio;

	if (!(large > 0))
		return 0;
	ratio = fmin(fabs(a), fabs(b)) / large;
	return large * sqrt(1 + ratio * ratio);
}

/* One implicit QL step on the block first .. last of the tridiagonal matrix, with Wilkinson's shift. */
static void sweep(struct eigen *e, size_t first, size_t last)
{
	double *d = e->diagonal, *b = e->beside;
	double half_gap = (d[first + 1] - d[first]) / (2 * b[first]), root = length_of(half_gap, 1);
	double g = d[last] - d[first] + b[first] / (half_gap + (half_gap < 0 ? -root : root));
	double s = 1, c = 1, shift = 0;

	e->first = first;
	e->last = last;
	for (size_t i = last; i-- > first;) {
		double f = s * b[i], h = c * b[i], r = length_of(f, g), t;

		if (i + 1 < last)
			b[i + 1] = r;
		if (!(r > 0)) { /* the block falls apart here */
			d[i + 1] -= shift;
			e->first = i + 1;
			b[last] = 0;
			parallel_for(e->parallel, (e->ld + STRIP - 1) / STRIP, rotate_strip, e);
			return;
		}
		s = f / r;
		c = g / r;
		g = d[i + 1] - shift;
		t = (d[i] - g) * s + 2 * c * h;
		shift = s * t;
		d[i + 1] = g + shift;
		g = c * t - h;
		e->c[i] = c;
		e->s[i] = s;
	}
	d[first] -= shift;
	b[first] = g;
	parallel_for(e->parallel, (e->ld + STRIP - 1) / STRIP, rotate_strip, e);
}

/* The end of the block that starts at first: nothing but rounding stands beside it. */
static size_t block_end(const struct eigen *e, size_t first, double tiny)
{
	size_t i = first;

	for (; i + 1 < e->dim; i++) {
		double around = fabs(e->diagonal[i]) + fabs(e->diagonal[i + 1]);

		if (fabs(e->beside[i]) <= DBL_EPSILON * around || fabs(e->beside[i]) <= tiny)
			break;
	}
	return i;
}

static int diagonalise(struct eigen *e)
{
	double largest = 0, tiny;

	for (size_t i = 0; i < e->dim; i++)
		largest = fmax(largest, fabs(e->diagonal[i]) + fabs(e->beside[i]));
	tiny = largest * DBL_EPSILON * 0x1p-4; /* far below what the reduction has rounded off */
	for (size_t first = 0; first < e->dim; first++) {
		unsigned sweeps = 0;
		size_t last;

		while ((last = block_end(e, first, tiny)) > first) {
			if (sweeps++ == SWEEPS_MAX)
				return -EDOM;
			sweep(e, first, last);
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ the whole */

/* Largest first; of equal ones, the earlier. Shell's sort needs no memory and dim is small. */
static void sort_values(struct eigen *e)
{
	for (size_t i = 0; i < e->dim; i++)
		e->order[i] = i;
	for (size_t gap = e->dim / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
		for (size_t i = gap; i < e->dim; i++) {
			size_t moved = e->order[i], j = i;
			double value = e->diagonal[moved];

			for (; j >= gap; j -= gap) {
				size_t other = e->order[j - gap];

				if (e->diagonal[other] > value ||
				    (e->diagonal[other] == value && other < moved))
					break;
				e->order[j] = other;
			}
			e->order[j] = moved;
		}
}

int eigen_symmetric(size_t dim, const double *matrix, double *values, double *vectors,
		    const struct parallel *parallel, void *scratch)
{
	struct eigen e = {.kernels = eigen_kernels_get(), .parallel = parallel};
	int rc;

	assert(dim > 0);
	lay_out(&e, dim, scratch);
	for (size_t i = 0; i < dim; i++) {
		memcpy(e.a + i * e.ld, matrix + i * dim, dim * sizeof *matrix);
		memset(e.a + i * e.ld + dim, 0, (e.ld - dim) * sizeof *matrix);
	}
	reduce(&e);
	accumulate(&e);
	rc = diagonalise(&e);
	sort_values(&e);
	for (size_t i = 0; i < dim; i++) {
		values[i] = e.diagonal[e.order[i]];
		memcpy(vectors + i * dim, e.z + e.order[i] * e.ld, dim * sizeof *vectors);
	}
	return rc;
}
