/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void scratch_new(struct scratch *sc)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(sc->dir, sizeof sc->dir, "%.40s/vecfs-unit.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(sc->dir));
	assert_int_equal(io_new_real(sc->dir, false, &sc->io), 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void scratch_free(struct scratch *sc)
{
	io_free_real(sc->io);
	assert_int_equal(nftw(sc->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
