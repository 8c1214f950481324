/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of an open batch that may be anything. First byte of the input: the low two bits choose which.
 * The rest: the file.
 */
#include "fuzz.h"
#include "victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"collections/3/upload.0.npy", "collections/3/upload.sums",
	                                    "collections/3/upload.ids", "collections/3/upload.delete"};

	if (!size)
		return 0;
	victim_reset(true);
	victim_write(paths[data[0] & 3], data + 1, size - 1);
	victim_run();
	return 0;
}
