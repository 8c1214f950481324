/* SPDX-License-Identifier: Apache-2.0 */
/* fixture - a store of one collection in a scratch directory, for tests of the public interface. */
#ifndef VECFS_TESTS_UNIT_STORE_FIXTURE_H
#define VECFS_TESTS_UNIT_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "store/store.h"
#include "tests/unit/scratch.h"

struct fixture {
	struct scratch sc;
	struct vs_store *s;
	uint32_t docs;
};

static const struct vs_perm perm = {.mode = 0644, .uid = 10, .gid = 20};

static inline struct vs_store *open_store(struct fixture *f, bool read_only)
{
	struct vs_options options = {.read_only = read_only, .log_bytes = 1u << 20};
	struct vs_store *s;
	char why[256];

	if (vs_open(f->sc.dir, &options, &s, why, sizeof why))
		fail_msg("the store does not open: %s", why);
	return s;
}

static inline int new_store(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	scratch_new(&f->sc);
	f->s = open_store(f, false);
	assert_int_equal(vs_collection_create(f->s, 0, "docs", &perm, &f->docs), 0);
	*state = f;
	return 0;
}

#endif
