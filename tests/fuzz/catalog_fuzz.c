/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalog that may be anything. First byte of the input: 1: the sum is put right; 2: the store is as a kill
 * leaves it. The rest: one slot; the other one is gone.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *slot;

	if (!size--)
		return 0;
	slot = malloc(size + 1);
	memcpy(slot, data + 1, size);
	if (data[0] & 1)
		victim_seal_catalog(slot, size);
	victim_reset(!(data[0] & 2));
	victim_write("catalog.0", "", 0);
	victim_write("catalog.1", slot, size);
	free(slot);
	victim_run();
	return 0;
}
