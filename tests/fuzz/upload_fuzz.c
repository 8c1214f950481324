/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of an open batch that may be anything. First byte of the input: the low three bits choose which.
 * The rest: the file.
 */
#include <stdio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"collections/3/upload.0.npy",   "collections/3/upload.sums",
					    "collections/3/upload.ids",     "collections/3/upload.delete",
					    "collections/3/upload.ids0",    "collections/3/upload.delete0",
					    "collections/3/upload.refused", "collections/3/upload.array.0"};
	static const char *const twins[] = {
		[4] = "collections/3/upload.ids", [5] = "collections/3/upload.delete"};
	unsigned which;

	if (!size)
		return 0;
	victim_reset(true);
	which = data[0] & 7;
	victim_write(paths[which], data + 1, size - 1);
	if (which == 4 || which == 5) { /* of the two forms there may be one only */
		char path[512];

		snprintf(path, sizeof path, "%s/%s", victim_dir(), twins[which]);
		unlink(path);
	}
	victim_run();
	return 0;
}
