/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eigen - eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to tridiagonal form,
 * then implicit QL iterations (Wilkinson and Reinsch, "Handbook for Automatic Computation", 1971: tred2 and
 * tql2).
 *
 * All in f64, without a sum whose order depends on the level: the same bits everywhere. About 9 dim^3
 * operations.
 */
#ifndef VECFS_QUANT_EIGEN_H
#define VECFS_QUANT_EIGEN_H

#include <stddef.h>

#include "quant/parallel.h"

/* Scratch, to be lent at 64 bytes. */
size_t eigen_scratch_bytes(size_t dim);

/*
 * matrix: f64 [dim][dim], symmetric and finite. values[dim] become the eigenvalues, largest first,
 * and row i of vectors[dim][dim] the eigenvector of values[i], of length 1. Returns 0, or -EDOM if an
 * eigenvalue does not converge, which no finite matrix is known to cause.
 */
int eigen_symmetric(size_t dim, const double *matrix, double *values, double *vectors,
		    const struct parallel *parallel, void *scratch);

#endif
