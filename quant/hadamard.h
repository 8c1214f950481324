/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hadamard - a random rotation of vectors in d log d steps, made from a seed.
 *
 * A vector is padded with zeros to a multiple of 64, D. Four rounds each change signs at random, transform
 * the first (then the last, in turn) 2^floor(log2 D) components by Walsh and Hadamard's matrix, and mix the
 * halves if these are not all. All steps are orthonormal: lengths and inner products stay. For codes it is as
 * good as a dense random matrix (Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", 2009; Yu et
 * al., "Orthogonal random features", 2016), at a hundredth of the cost.
 *
 * The result is the same bits on every level. Pure functions: callable from any thread.
 */
#ifndef VECFS_QUANT_HADAMARD_H
#define VECFS_QUANT_HADAMARD_H

#include <stddef.h>
#include <stdint.h>

#define HADAMARD_ROUNDS 4

struct hadamard {
	uint32_t dim, padded; /* components before and after */
	uint32_t power;       /* the largest power of two <= padded */
	uint64_t *flips;      /* of the caller: padded bits a round */
};

/* dim rounded up. */
uint32_t hadamard_padded(uint32_t dim);
/* Bytes of memory, aligned for uint64_t, that hadamard_init() takes; dim > 0. */
size_t hadamard_bytes(uint32_t dim);
void hadamard_init(struct hadamard *h, uint32_t dim, uint64_t seed, void *memory);
/* Rotates the padded components of x in place; those from dim on must be 0. */
void hadamard_rotate(const struct hadamard *h, float *x);
/* The reverse. */
void hadamard_rotate_back(const struct hadamard *h, float *x);

#endif
