/* SPDX-License-Identifier: Apache-2.0 */
/* What threads find is said in one order, whoever finds it first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/check/check.h"
#include "tests/unit/scratch.h"

#define SEGMENTS 150u
#define LINES_MANY 3000u /* of some segments: more than is kept until their turn */

struct heard {
	uint32_t segment, line; /* the next that is to be said */
	uint64_t lines;
};

static unsigned lines_of(uint32_t segment)
{
	return segment % 7 == 3 ? LINES_MANY : segment % 3;
}

static void hear(void *arg, const char *line)
{
	struct heard *h = arg;
	char want[32];

	while (h->line == lines_of(h->segment)) {
		h->segment++;
		h->line = 0;
	}
	snprintf(want, sizeof want, "segment %u, line %u", h->segment, h->line++);
	assert_string_equal(line, want);
	h->lines++;
}

struct trouble {
	atomic_uint looked[SEGMENTS];
	uint32_t fails, fails_too; /* segments */
};

static int look(struct check_collection *cc, uint32_t i, void *arg)
{
	struct trouble *t = arg;
	struct numbers numbers = {i + 1};

	atomic_fetch_add(&t->looked[i], 1);
	usleep((unsigned)numbers_below(&numbers, 3000));
	for (unsigned line = 0; line < lines_of(i); line++)
		check_found(cc->k, "segment %u, line %u", i, line);
	/* Whoever is earlier takes longer, so that the later one fails first. */
	if (i == t->fails)
		usleep(20000);
	return i == t->fails ? -EMFILE : i == t->fails_too ? -ENOMEM : 0;
}

static int run(struct trouble *t, struct heard *h, uint64_t *found)
{
	struct check k = {.report = hear, .arg = h};
	struct collection c = {.segment_count = SEGMENTS};
	struct check_collection cc = {.k = &k, .c = &c};
	int rc = check_each_segment(&cc, look, t);

	*found = k.found;
	return rc;
}

static void lines_come_in_the_order_of_segments(void **state)
{
	struct trouble t = {.fails = SEGMENTS, .fails_too = SEGMENTS};
	struct heard h = {0};
	uint64_t found, want = 0;

	(void)state;
	assert_int_equal(run(&t, &h, &found), 0);
	for (uint32_t i = 0; i < SEGMENTS; i++) {
		want += lines_of(i);
		assert_int_equal(t.looked[i], 1);
	}
	assert_int_equal(h.lines, want);
	assert_int_equal(found, want);
}

static void the_first_error_in_that_order_ends_it(void **state)
{
	struct trouble t = {.fails = 40, .fails_too = 41};
	struct heard h = {0};
	uint64_t found, want = 0;

	(void)state;
	assert_int_equal(run(&t, &h, &found), -EMFILE);
	for (uint32_t i = 0; i <= 40; i++)
		want += lines_of(i);
	assert_int_equal(h.lines, want);
	assert_int_equal(t.looked[SEGMENTS - 1], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_in_the_order_of_segments),
		cmocka_unit_test(the_first_error_in_that_order_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
