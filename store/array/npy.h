/* SPDX-License-Identifier: Apache-2.0 */
/*
 * npy - the header of a .npy file: built for our own arrays, parsed from other people's bytes.
 *
 * The format is NumPy's, specified in numpy.lib.format and NEP 1: "\x93NUMPY", two bytes of version, the
 * length of the text that follows (16 bits in version 1, 32 bits since version 2), and that text, a Python
 * dict literal with the keys 'descr', 'fortran_order' and 'shape', padded with spaces, ending in a newline.
 * Version 3 differs from 2 only in that the text is UTF-8.
 *
 * Two of our dtypes have no NumPy name. bf16 is written as '<u2', the bits of each number; bit is written as
 * '|u1' with a column for each 8 bits (np.unpackbits of a row gives them).
 *
 * Pure functions: no I/O, no state, callable from any thread.
 */
#ifndef VECFS_STORE_ARRAY_NPY_H
#define VECFS_STORE_ARRAY_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define NPY_HEADER_BYTES 4096 /* of a segment's header: rows start at a page */
#define NPY_NUMPY_HEADER_BYTES                                                                               \
	128 /* what NumPy takes itself for two dimensions: an array comes back byte by byte */
#define NPY_HEADER_BYTES_MAX 65536 /* of a header we are ready to parse */

struct npy_shape {
	enum vs_dtype dtype;
	uint32_t dim;
	uint64_t rows;
	uint32_t inner; /* built: a third dimension, of u8 or f32; 0: there is none */
	bool is_uint16; /* parsed: bf16 is a guess, the header says '<u2', which is also what real integers
			   have */
};

/* Fills buf with the version 1 header of an array of this shape, bytes long (one of the two above); dim is
 * not 0. */
void npy_header_build(const struct npy_shape *shape, unsigned char *buf, size_t bytes);

/*
 * Parses the header at the start of a .npy file of which buf holds the first size bytes. On 0 *out has the
 * shape and *header_bytes the offset of the first row. 2-byte void (how ml_dtypes saves bfloat16) is bf16; so
 * is
 * '<u2', with is_uint16 set: only who knows from elsewhere that it is bf16, from a schema or an option, may
 * take it. '|u1' is u8, also where the rows are those of a bit collection: the caller knows that, too.
 * -EAGAIN: the header is longer than size, give more bytes. -EINVAL: why holds a sentence that says what was
 * found and what to do about it.
 */
int npy_header_parse(const void *buf, size_t size, struct npy_shape *out, size_t *header_bytes, char *why,
		     size_t why_size);

#endif
