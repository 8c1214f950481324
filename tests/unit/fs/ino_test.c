/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fs/request/ino.h"

/* Numbers of what nobody else's is: every kind with the largest it can have, there and back. */
static const struct node nodes[] = {
	{.kind = NODE_ROOT},
	{.kind = NODE_CONTROL},
	{.kind = NODE_METRICS},
	{.kind = NODE_COLLECTION, .collection = VS_COLLECTION_MAX},
	{.kind = NODE_CONTROL, .collection = VS_COLLECTION_MAX},
	{.kind = NODE_SCHEMA, .collection = 7},
	{.kind = NODE_VIEWS, .collection = 7},
	{.kind = NODE_ARRAY, .collection = 7, .which = NODE_ARRAY_IDS0},
	{.kind = NODE_UPLOAD, .collection = 7, .which = NODE_ARRAY_VECTORS},
	{.kind = NODE_TEXT, .collection = 7, .which = VS_BATCH_DELETE0},
	{.kind = NODE_TEMPORARY, .collection = 7, .which = 14},
	{.kind = NODE_VECTOR, .collection = VS_COLLECTION_MAX, .entry = (UINT64_C(1) << 39) - 1},
	{.kind = NODE_VECTOR, .collection = 7, .entry = VS_ENTRY_FIRST},
	{.kind = NODE_SEGMENT, .collection = 7, .entry = 3},
	{.kind = NODE_REFUSED, .collection = 7, .entry = 3},
	{.kind = NODE_MOMENT, .collection = 7, .entry = (UINT64_C(1) << 36) - 1, .which = NODE_ARRAY_IDS0},
	{.kind = NODE_NEAR_AT, .collection = 7, .entry = 9},
	{.kind = NODE_NEAR_FILE, .collection = 7, .entry = 9},
	{.kind = NODE_SESSION, .collection = 7, .entry = 9},
	{.kind = NODE_SESSION_FILE, .collection = 7, .entry = 9},
	{.kind = NODE_VIEW, .collection = 7, .entry = (UINT64_C(1) << 33) - 1},
	{.kind = NODE_VIEW, .collection = 7},
	{.kind = NODE_VIEW_CONTROL, .collection = 7},
	{.kind = NODE_VIEW_DECODED, .collection = 7},
	{.kind = NODE_VIEW_RECALL, .collection = 7},
	{.kind = NODE_VIEW_TEXT, .collection = 7, .which = NODE_VIEW_INFO},
	{.kind = NODE_VIEW_TEXT, .collection = 7, .which = NODE_VIEW_STATE},
	{.kind = NODE_VIEW_TEXT, .collection = 7, .which = NODE_VIEW_PARAMS},
	{.kind = NODE_VIEW_DATA, .collection = VS_COLLECTION_MAX, .entry = (UINT64_C(1) << 36) - 1},
};
#define NODES (sizeof nodes / sizeof *nodes)

static void test_there_and_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < NODES; i++) {
		struct node back = node_of(node_ino(&nodes[i]));

		assert_int_equal(back.kind, nodes[i].kind);
		assert_int_equal(back.collection, nodes[i].collection);
		assert_int_equal(back.entry, nodes[i].entry);
		assert_int_equal(back.which, nodes[i].which);
	}
}

static void test_no_two_have_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < NODES; i++)
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(node_ino(&nodes[i]), node_ino(&nodes[j]));
}

/* Whatever number a client comes with names something, or nothing. */
static void test_any_number(void **state)
{
	uint64_t ino = 1;

	(void)state;
	for (int i = 0; i < 1000000; i++) {
		struct node node;

		ino = ino * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		node = node_of(ino);
		assert_in_range(node.kind, NODE_NONE, NODE_KIND_COUNT - 1);
		if (node.kind == NODE_VIEW || node.kind == NODE_VIEW_TEXT || node.kind == NODE_VIEW_DATA)
			assert_int_equal(node_ino(&node), ino);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_no_two_have_the_same),
		cmocka_unit_test(test_any_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
