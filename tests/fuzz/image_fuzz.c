/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An index image that may be anything. First byte of the input: 1: stamp and sum fit the catalog. The rest:
 * the image.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *image;

	if (!size--)
		return 0;
	victim_reset(true);
	image = malloc(size + 1);
	memcpy(image, data + 1, size);
	if (data[0] & 1)
		victim_seal_image(image, size, 1);
	victim_write("collections/1/index", image, size);
	free(image);
	victim_run();
	return 0;
}
