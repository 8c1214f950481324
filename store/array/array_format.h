/* SPDX-License-Identifier: Apache-2.0 */
/*
 * array_format - the files that hold many vectors: their names, headers and row layout.
 *
 *   .npy                      NumPy's (store/array/npy.h)
 *   .fvecs .bvecs             the TEXMEX corpora's: no header, but each row starts with its dim as an int32;
 *                             f32 and u8 (http://corpus-texmex.irisa.fr)
 *   .fbin .u8bin .i8bin       the Big ANN Benchmarks': uint32 rows, uint32 dim, then the rows; f32, u8, i8
 *   .f32 .f16 .bf16 .i8 .u8 .bit   raw: nothing but the rows, the suffix is the dtype
 *
 * All numbers are little-endian. Pure functions: no I/O, no state, callable from any thread.
 */
#ifndef VECFS_STORE_ARRAY_ARRAY_FORMAT_H
#define VECFS_STORE_ARRAY_ARRAY_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/array/npy.h"
#include "store/store.h"

#define ARRAY_HEADER_BYTES_MAX NPY_NUMPY_HEADER_BYTES /* of a header built here */
#define ARRAY_PREFIX_BYTES 4                          /* before each row of fvecs and bvecs */
#define ARRAY_ROWS_UNTOLD UINT64_MAX                  /* the format does not tell: the file's size does */

enum array_format { ARRAY_NPY, ARRAY_FVECS, ARRAY_BVECS, ARRAY_FBIN, ARRAY_U8BIN, ARRAY_I8BIN, ARRAY_RAW };

struct array_shape {
	enum vs_dtype dtype;
	uint32_t dim;
	uint64_t rows;
	bool is_uint16; /* of a parsed .npy header: see struct npy_shape */
};

/*
 * The format of a file by its name's suffix ("vectors.npy", ".f32"). *dtype is set where the format has just
 * one, and to VS_F32 for .npy, whose header decides. -EINVAL: no suffix known here.
 */
int array_format_of_name(const char *file_name, enum array_format *format, enum vs_dtype *dtype);
/* "npy", "fvecs", ..., "raw". */
const char *array_format_name(enum array_format format);
/* Whether the format can hold vectors of this dtype. */
bool array_format_fits(enum array_format format, enum vs_dtype dtype);
/* The most rows that the format's header can tell. */
uint64_t array_rows_max(enum array_format format);
/* Bytes before each row: 4 (the dim) for fvecs and bvecs, else 0. */
size_t array_row_prefix(enum array_format format);
/* Bytes of a row without its prefix; 0 while dim is 0. */
size_t array_row_bytes(const struct array_shape *shape);

/*
 * Fills buf with the header of such a file and returns its length (0 for the formats that have none). The
 * shape must be one that the format can hold: see array_format_fits and array_rows_max.
 */
size_t array_header_build(enum array_format format, const struct array_shape *shape,
			  unsigned char buf[ARRAY_HEADER_BYTES_MAX]);

/*
 * Parses the start of a file, of which buf holds the first size bytes; untrusted. On 0 *out has the shape and
 * *header_bytes the offset of the first row (of its prefix, where there is one). fvecs and bvecs tell dim (of
 * their first row) but not rows (ARRAY_ROWS_UNTOLD), raw neither (dim 0; out->dtype is left as it was).
 * -EAGAIN: give more bytes. -EINVAL: why holds a sentence with what was found and what to do.
 */
int array_header_parse(enum array_format format, const void *buf, size_t size, struct array_shape *out,
		       size_t *header_bytes, char *why, size_t why_size);

#endif
