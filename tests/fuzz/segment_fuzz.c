/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment that may be anything. First byte of the input: the low two bits choose the file (vectors, rows,
 * names or the index image's collection without one); 4: the rows' sums are put right; 8: the store is as a
 * kill leaves it.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/victim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const paths[] = {"collections/1/0.npy", "collections/1/0.rows",
					    "collections/1/0.names", "collections/1/index"};
	size_t rows_size, names_size;
	uint8_t *rows, *names;

	if (!size--)
		return 0;
	victim_reset(!(data[0] & 8));
	victim_write(paths[data[0] & 3], data + 1, size);
	if (data[0] & 4) {
		rows = victim_read(paths[1], &rows_size);
		names = victim_read(paths[2], &names_size);
		victim_seal_rows(rows, rows_size, names, names_size);
		victim_write(paths[1], rows, rows_size);
		free(rows);
		free(names);
	}
	victim_run();
	return 0;
}
