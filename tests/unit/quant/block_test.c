/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "quant/block.h"
#include "tests/unit/vectors.h"

static void test_rows_are_where_the_header_says(void **state)
{
	(void)state;
	for (size_t code_bytes = 1; code_bytes < 40; code_bytes += 13)
		for (size_t first = 0; first < 130; first += 21) {
			size_t n = 150;
			uint8_t *codes = malloc(n * code_bytes), *back = malloc(n * code_bytes);
			uint8_t *blocks = lines(block_bytes(first + n, code_bytes));

			for (size_t i = 0; i < n * code_bytes; i++)
				codes[i] = (uint8_t)(1 + i * 37 % 255);
			block_pack(blocks, first, codes, n, code_bytes);
			for (size_t row = 0; row < block_count(first + n) * BLOCK_ROWS; row++)
				for (size_t p = 0; p < code_bytes; p++) {
					uint8_t want = row >= first && row < first + n
							       ? codes[(row - first) * code_bytes + p]
							       : 0; /* others are untouched */

					assert_int_equal(blocks[(row / 64 * code_bytes + p) * 64 + row % 64],
							 want);
				}
			block_unpack(back, blocks, first, n, code_bytes);
			assert_memory_equal(back, codes, n * code_bytes);
			block_move(blocks, first + 3, first + n - 1, code_bytes);
			block_unpack(back, blocks, first + 3, 1, code_bytes);
			assert_memory_equal(back, codes + (n - 1) * code_bytes, code_bytes);
			free(codes);
			free(back);
			free(blocks);
		}
}

static void test_factors(void **state)
{
	float *factors = lines(block_bytes(200, 3 * sizeof *factors)), values[150 * 3];

	(void)state;
	for (int i = 0; i < 150 * 3; i++)
		values[i] = (float)i;
	block_pack_factors(factors, 40, values, 150, 3);
	assert_true(factors[1 * 64 + 40] == 1 && factors[2 * 192 + 2 * 64 + 20] == 326);
	block_move_factors(factors, 40, 189, 3);
	assert_true(factors[40] == 447 && factors[64 + 40] == 448 && factors[128 + 40] == 449);
	free(factors);
}

static void test_masks(void **state)
{
	uint64_t valid[3] = {0};

	(void)state;
	block_set_valid(valid, 0, true);
	block_set_valid(valid, 63, true);
	block_set_valid(valid, 64, true);
	block_set_valid(valid, 130, true);
	block_set_valid(valid, 63, false);
	assert_true(valid[0] == 1 && valid[1] == 1 && valid[2] == 4);
	assert_true(block_mask(valid, 130, 2) == 0 && block_mask(valid, 131, 2) == 4);
	assert_true(block_mask(NULL, 130, 2) == 3 && block_mask(NULL, 192, 2) == UINT64_MAX);
	assert_int_equal(block_count(0), 0);
	assert_int_equal(block_count(64), 1);
	assert_int_equal(block_count(65), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_are_where_the_header_says),
		cmocka_unit_test(test_factors),
		cmocka_unit_test(test_masks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
