/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of all array formats. First byte of the input: the format. The rest: the start of the file. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "store/array/array_format.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct array_shape shape = {.dtype = VS_F32};
	enum array_format format;
	size_t header_bytes = 0;
	char why[256] = "";
	int rc;

	if (!size)
		return 0;
	format = data[0] % (ARRAY_RAW + 1);
	rc = array_header_parse(format, data + 1, size - 1, &shape, &header_bytes, why, sizeof why);
	if (rc) {
		assert(rc == -EAGAIN || (rc == -EINVAL && *why));
		return 0;
	}
	assert(header_bytes <= size - 1 && array_format_fits(format, shape.dtype));
	assert(array_row_bytes(&shape) <= VS_ROW_BYTES_MAX);
	return 0;
}
