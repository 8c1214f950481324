/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log that may be anything. First byte of the input: 1: the frames' sums and chain are put right; 2: it is
 * in the file of the second epoch. The rest: one file, in the place of the one that the catalog begins with.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"log.1", "log.0"}; /* the first epoch of a new store is 1 */
	uint8_t *log;

	if (!size--)
		return 0;
	victim_reset(false);
	log = malloc(size + 1);
	memcpy(log, data + 1, size);
	if (data[0] & 1)
		victim_seal_log(log, size);
	victim_write(paths[data[0] >> 1 & 1], log, size);
	free(log);
	victim_run();
	return 0;
}
