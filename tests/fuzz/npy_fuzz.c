/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a .npy file; what is accepted must make sense, and have a header of ours that says the same.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "store/array/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct npy_shape shape, again;
	unsigned char page[NPY_HEADER_BYTES];
	size_t header_bytes;
	char why[256] = "";
	int rc = npy_header_parse(data, size, &shape, &header_bytes, why, sizeof why);

	if (rc) {
		assert(rc == -EAGAIN || *why);
		return 0;
	}
	assert(header_bytes <= size && shape.dim && shape.dtype < VS_DTYPE_COUNT);
	npy_header_build(&shape, page, sizeof page);
	assert(!npy_header_parse(page, sizeof page, &again, &header_bytes, why, sizeof why));
	assert(again.dtype == shape.dtype && again.dim == shape.dim && again.rows == shape.rows);
	return 0;
}
