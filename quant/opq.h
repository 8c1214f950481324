/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opq - product quantisation of rotated vectors, with the rotation in closed form (Ge, He, Ke and Sun,
 * "Optimized Product Quantization", 2013, the parametric solution): the principal axes, dealt out so that
 * every sub-vector gets about the same product of variances.
 *
 * It takes a second where the alternating solution takes tens, and on text embeddings it recalls more, too.
 *
 * The state is a rotation f32 [dim][dim], rows of which are the new axes, and a codebook of pq for the
 * rotated vectors. Rotation, codebook and codes are the same bytes on every level and for any number of
 * workers. No function here allocates; scratch is lent at 64 bytes. Callable from any thread.
 */
#ifndef VECFS_QUANT_OPQ_H
#define VECFS_QUANT_OPQ_H

#include <stddef.h>
#include <stdint.h>

#include "quant/parallel.h"
#include "quant/pq.h"

#define OPQ_DIM_MAX 4096 /* the eigenvectors of wider data would take minutes */

size_t opq_train_scratch_bytes(const struct pq_shape *shape, size_t rows, unsigned workers);

/*
 * Learns rotation and codebook from rows vectors x[row][dim], finite ones, at least one. shape->dim <=
 * OPQ_DIM_MAX. *error becomes the mean squared error of a row. -EDOM: the eigenvectors did not converge.
 */
int opq_train(const struct pq_shape *shape, size_t rows, const float *x, uint64_t seed,
	      const struct parallel *parallel, float *rotation, float *codebook, double *error,
	      void *scratch);

/*
 * Which axis goes where: variances[dim], largest first, are dealt out to the sub-vectors, axes[place] becomes
 * the number of the one at each place. What opq_train() does; here for tests. scratch: 16 bytes a sub-vector.
 */
void opq_allocate(const struct pq_shape *shape, const double *variances, uint32_t *axes, void *scratch);

/* out[row][dim] = rotation x[row], the same bits whatever other rows are there. scratch: GEMM_SCRATCH_BYTES.
 */
void opq_rotate(size_t dim, const float *rotation, size_t rows, const float *x, float *out, void *scratch);
/* The same of one query, faster, but with sums in another order: not for what is to be encoded. */
void opq_rotate_query(size_t dim, const float *rotation, const float *query, float *out);
/* The way back: out[row][dim] = transposed rotation x[row]. scratch: GEMM_SCRATCH_BYTES and dim^2 floats. */
void opq_rotate_back(size_t dim, const float *rotation, size_t rows, const float *x, float *out,
		     void *scratch);

#endif
