/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each kind of damage to a closed store: a mount serves what is not damaged, vs_check names the damage, and
 * the repair keeps every intact vector, says what it gives up, and leaves a store that is clean.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/base/format.h"
#include "tests/crash/wreck.h"

#define DOCS (WRECK_DOCS_FILES + 2 * WRECK_DOCS_BATCH)
#define ROW_BYTES sizeof(struct row)
#define DATA_AT 4096u

struct served {
	unsigned docs, tiny, twin;
};

struct kind {
	const char *name;
	void (*damage)(struct wreck *w);
	const char *said;      /* by the check */
	struct served mounted; /* without a repair */
	struct served repaired;
	const char *given_up; /* said by the repair, NULL: nothing is lost */
};

/* ------------------------------------------------------------------ damage */

static void flip_vector(struct wreck *w)
{
	wreck_flip(w, "collections/2/0.npy", DATA_AT + 8 + 1);
}

static void flip_header(struct wreck *w)
{
	wreck_flip(w, "collections/2/0.npy", 100);
}

static void zero_page(struct wreck *w)
{
	wreck_zero(w, "collections/1/1.npy", DATA_AT + 65536 + 4096, 4096);
}

static void cut_vectors(struct wreck *w)
{
	wreck_resize(w, "collections/1/1.npy", DATA_AT + 10 * 65536 + 17);
}

static void empty_vectors(struct wreck *w)
{
	wreck_resize(w, "collections/1/1.npy", 0);
}

static void extend_vectors(struct wreck *w)
{
	wreck_resize(w, "collections/1/1.npy", wreck_size(w, "collections/1/1.npy") + 5000);
}

static void remove_vectors(struct wreck *w)
{
	wreck_remove(w, "collections/1/1.npy");
}

static void flip_row(struct wreck *w)
{
	wreck_flip(w, "collections/2/0.rows", 2 * ROW_BYTES + 9);
}

static void zero_row(struct wreck *w)
{
	wreck_zero(w, "collections/2/0.rows", 0, ROW_BYTES);
}

static void cut_rows(struct wreck *w)
{
	wreck_resize(w, "collections/2/0.rows", 4 * ROW_BYTES + 3);
}

static void extend_rows(struct wreck *w)
{
	wreck_resize(w, "collections/2/0.rows", 9 * ROW_BYTES);
}

static void remove_rows(struct wreck *w)
{
	wreck_remove(w, "collections/1/2.rows");
}

static void flip_name(struct wreck *w)
{
	wreck_flip(w, "collections/2/0.names", 2);
}

static void flip_padding(struct wreck *w)
{
	wreck_flip(w, "collections/2/0.names", 3);
}

static void cut_names(struct wreck *w)
{
	wreck_resize(w, "collections/2/0.names", 3 * 8);
}

static void extend_names(struct wreck *w)
{
	wreck_resize(w, "collections/2/0.names", 70 * 8);
}

static void remove_names(struct wreck *w)
{
	wreck_remove(w, "collections/2/0.names");
}

static void flip_index(struct wreck *w)
{
	wreck_flip(w, "collections/1/index", 77);
}

static void remove_index(struct wreck *w)
{
	wreck_remove(w, "collections/1/index");
}

static void cut_index(struct wreck *w)
{
	wreck_resize(w, "collections/1/index", 50);
}

static void flip_catalog_0(struct wreck *w)
{
	wreck_flip(w, "catalog.0", 200);
}

static void flip_catalog_1(struct wreck *w)
{
	wreck_flip(w, "catalog.1", 200);
}

static void flip_catalog_end(struct wreck *w)
{
	wreck_flip(w, "catalog.1", wreck_size(w, "catalog.1") - 1);
}

static void remove_catalog_0(struct wreck *w)
{
	wreck_remove(w, "catalog.0");
}

static void remove_catalog_1(struct wreck *w)
{
	wreck_remove(w, "catalog.1");
}

static void extend_catalog(struct wreck *w)
{
	wreck_resize(w, "catalog.0", wreck_size(w, "catalog.0") + 4096);
}

static void cut_catalog(struct wreck *w)
{
	wreck_resize(w, "catalog.1", 100);
}

static void swap_catalogs(struct wreck *w)
{
	wreck_swap(w, "catalog.0", "catalog.1");
}

static void swap_vectors(struct wreck *w)
{
	wreck_swap(w, "collections/1/1.npy", "collections/1/2.npy");
}

static void swap_rows(struct wreck *w)
{
	wreck_swap(w, "collections/1/1.rows", "collections/1/2.rows");
}

static void swap_names(struct wreck *w)
{
	wreck_swap(w, "collections/1/1.names", "collections/1/2.names");
}

static void swap_twins(struct wreck *w)
{
	wreck_swap(w, "collections/2/0.npy", "collections/3/0.npy");
}

static void rename_vectors(struct wreck *w)
{
	assert_int_equal(w->io->ops->rename(w->io, "collections/1/1.npy", "collections/1/1.npy.bak"), 0);
}

static void strange_file(struct wreck *w)
{
	wreck_add(w, "collections/1/notes.txt");
}

static void strange_file_at_root(struct wreck *w)
{
	wreck_add(w, "core");
}

static void remove_lock(struct wreck *w)
{
	wreck_remove(w, "lock");
}

static void extend_lock(struct wreck *w)
{
	wreck_resize(w, "lock", 120);
}

#define ALL                                                                                                  \
	{                                                                                                    \
		DOCS, WRECK_TINY, WRECK_TINY                                                                 \
	}
#define BUT_DOCS(n)                                                                                          \
	{                                                                                                    \
		DOCS - (n), WRECK_TINY, WRECK_TINY                                                           \
	}
#define BUT_TINY(n)                                                                                          \
	{                                                                                                    \
		DOCS, WRECK_TINY - (n), WRECK_TINY                                                           \
	}
#define NO_DOCS                                                                                              \
	{                                                                                                    \
		0, WRECK_TINY, WRECK_TINY                                                                    \
	}
#define NO_TINY                                                                                              \
	{                                                                                                    \
		DOCS, 0, WRECK_TINY                                                                          \
	}
#define NO_TWINS                                                                                             \
	{                                                                                                    \
		DOCS, 0, 0                                                                                   \
	}

static const struct kind kinds[] = {
	{"a byte of a vector", flip_vector, "tiny/t-1: vector damaged", BUT_TINY(1), BUT_TINY(1),
	 "tiny/t-1: given up"},
	{"a byte of a header", flip_header, "2/0.npy: header damaged", ALL, ALL, NULL},
	{"a page of vectors", zero_page, "docs/b1-1: vector damaged", BUT_DOCS(1), BUT_DOCS(1),
	 "docs/b1-1: given up"},
	{"vectors cut off", cut_vectors, "docs/b1-17: vector missing", NO_DOCS, BUT_DOCS(8),
	 "docs/b1-10: given up"},
	{"vectors empty", empty_vectors, "1/1.npy: cut off", NO_DOCS, BUT_DOCS(18), "docs/b1-0: given up"},
	{"vectors extended", extend_vectors, "1/1.npy: extended", ALL, ALL, NULL},
	{"vectors gone", remove_vectors, "1/1.npy: missing", NO_DOCS, BUT_DOCS(18), "docs/b1-17: given up"},
	{"a byte of metadata", flip_row, "tiny/t-2: metadata damaged", BUT_TINY(1), BUT_TINY(1),
	 "may have been t-2"},
	{"metadata zeroed", zero_row, "tiny: segment 0, row 0: metadata", BUT_TINY(1), BUT_TINY(1), NULL},
	{"metadata cut off", cut_rows, "2/0.rows: cut off", NO_TINY, BUT_TINY(2), "tiny: 2 vectors given up"},
	{"metadata extended", extend_rows, "2/0.rows: extended", ALL, ALL, NULL},
	{"metadata gone", remove_rows, "1/2.rows: missing", NO_DOCS, BUT_DOCS(18),
	 "docs: 18 vectors given up"},
	{"a byte of an id", flip_name, "tiny: segment 0, row 0: metadata or id damaged", BUT_TINY(1),
	 BUT_TINY(1), "row 0: given up"},
	{"a byte behind an id", flip_padding, "2/0.names: damaged", ALL, ALL, NULL},
	{"ids cut off", cut_names, "2/0.names: cut off", NO_TINY, BUT_TINY(3), "row 5: given up"},
	{"ids extended", extend_names, "2/0.names: extended", ALL, ALL, NULL},
	{"ids gone", remove_names, "2/0.names: missing", NO_TINY, BUT_TINY(6), "tiny: 6 vectors given up"},
	{"a byte of the index", flip_index, "1/index: damaged", ALL, ALL, NULL},
	{"the index gone", remove_index, "1/index: missing", ALL, ALL, NULL},
	{"the index cut off", cut_index, "1/index: damaged", ALL, ALL, NULL},
	{"a byte of catalog 0", flip_catalog_0, "catalog.0: damaged", ALL, ALL, NULL},
	{"a byte of catalog 1", flip_catalog_1, "catalog.1: damaged", ALL, ALL, NULL},
	{"a byte behind catalog 1", flip_catalog_end, "catalog.1: damaged", ALL, ALL, NULL},
	{"catalog 0 gone", remove_catalog_0, "catalog.0: missing", ALL, ALL, NULL},
	{"catalog 1 gone", remove_catalog_1, "catalog.1: missing", ALL, ALL, NULL},
	{"a catalog extended", extend_catalog, "differ in size", ALL, ALL, NULL},
	{"a catalog cut off", cut_catalog, "catalog.1: damaged", ALL, ALL, NULL},
	{"catalogs swapped", swap_catalogs, "catalog.0: not where it belongs", ALL, ALL, NULL},
	{"vectors of two segments swapped", swap_vectors, "docs/b2-3: vector damaged", BUT_DOCS(36), ALL,
	 NULL},
	{"metadata of two segments swapped", swap_rows, "1/2.rows: damaged", BUT_DOCS(36), ALL, NULL},
	{"ids of two segments swapped", swap_names, "1/1.names: damaged", BUT_DOCS(36), ALL, NULL},
	{"vectors of two collections swapped", swap_twins, "twin/t-0: vector damaged", NO_TWINS, ALL, NULL},
	{"vectors renamed", rename_vectors, "1/1.npy.bak: does not belong", NO_DOCS, ALL, NULL},
	{"a strange file", strange_file, "1/notes.txt: does not belong", ALL, ALL, NULL},
	{"a strange file at the root", strange_file_at_root, "core: does not belong", ALL, ALL, NULL},
	{"the lock gone", remove_lock, "lock: missing", ALL, ALL, NULL},
	{"something in the lock", extend_lock, "lock: holds something", ALL, ALL, NULL},
};

/* ------------------------------------------------------------------ what becomes of it */

static void assert_served(struct wreck *w, const struct kind *kind, const char *when,
			  const struct served *want)
{
	struct vs_store *s = wreck_open(w);
	struct served got = {wreck_served(s, "docs"), wreck_served(s, "tiny"), wreck_served(s, "twin")};
	struct vs_collection_info c;

	if (memcmp(&got, want, sizeof got))
		fail_msg("%s: %s: serves %u, %u and %u vectors, want %u, %u and %u\n%s", kind->name, when,
			 got.docs, got.tiny, got.twin, want->docs, want->tiny, want->twin, w->lines);
	assert_int_equal(vs_collection_find(s, 0, "empty", &c), 0);
	assert_int_equal(vs_close(s), 0);
}

static void assert_check(struct wreck *w, const struct kind *kind, bool repair, int want, const char *said)
{
	int rc = wreck_check(w, repair);

	if (rc != want || (said && !wreck_said(w, said)))
		fail_msg("%s: %s answers %d, want %d with '%s', and says:\n%s", kind->name,
			 repair ? "repair" : "check", rc, want, said ? said : "", w->lines);
}

static void try_kind(struct wreck *w, const struct kind *kind, const struct wreck_copy *whole)
{
	struct wreck_copy *damaged;

	wreck_restore(w, whole);
	kind->damage(w);
	damaged = wreck_save(w);
	assert_check(w, kind, false, VS_CHECK_DAMAGED, kind->said);
	if (!strstr(kind->said, "index") && wreck_said(w, "index"))
		fail_msg("%s: blames the index:\n%s", kind->name, w->lines);
	wreck_restore(w, damaged);
	assert_served(w, kind, "a mount", &kind->mounted);
	wreck_restore(w, damaged);
	assert_check(w, kind, true, VS_CHECK_REPAIRED, kind->given_up);
	if (!kind->given_up && kind->repaired.docs == DOCS && wreck_said(w, "given up"))
		fail_msg("%s: gives up what is there:\n%s", kind->name, w->lines);
	assert_check(w, kind, false, VS_CHECK_CLEAN, NULL);
	assert_served(w, kind, "a mount after the repair", &kind->repaired);
	assert_check(w, kind, false, VS_CHECK_CLEAN, NULL);
	wreck_copy_free(damaged);
}

static void each_kind_of_damage_is_named_and_mended(void **state)
{
	struct wreck_copy *whole;
	struct wreck w;

	(void)state;
	wreck_new(&w);
	whole = wreck_save(&w);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		try_kind(&w, &kinds[i], whole);
	wreck_copy_free(whole);
	wreck_free(&w);
}

/* The k-th change of a repair is the process's last. False: there are not as many. */
static bool interrupt_repair(struct wreck *w, const struct kind *kind, const struct wreck_copy *damaged,
			     uint64_t k)
{
	int rc;

	wreck_restore(w, damaged);
	simdisk_crash_at(w->disk, k, k);
	wreck_check(w, true);
	if (!simdisk_crashed(w->disk))
		return false;
	simdisk_crash_at(w->disk, 0, 0);
	simdisk_reboot(w->disk, SIMDISK_KILL, k);
	rc = wreck_check(w, true);
	if (rc != VS_CHECK_REPAIRED && rc != VS_CHECK_CLEAN)
		fail_msg("%s: a repair after one that ended at change %llu answers %d:\n%s", kind->name,
			 (unsigned long long)k, rc, w->lines);
	assert_check(w, kind, false, VS_CHECK_CLEAN, NULL);
	assert_served(w, kind, "a mount after two repairs", &kind->repaired);
	return true;
}

static void an_interrupted_repair_is_taken_up(void **state)
{
	static const char *const names[] = {"a byte of a vector", "vectors cut off",
					    "metadata gone",      "ids gone",
					    "catalog 0 gone",     "vectors of two segments swapped"};
	/* Where the program is instrumented every seventh change will do: it is to find wrong accesses. */
	const uint64_t step = getenv("VECFS_SANITIZED") ? 7 : 1;
	struct wreck *w = *state;
	struct wreck_copy *whole = wreck_save(w);

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct wreck_copy *damaged;
		uint64_t k = 1;

		for (size_t n = 0; n < sizeof names / sizeof *names; n++)
			k = strcmp(kinds[i].name, names[n]) ? k : 0;
		if (k)
			continue;
		wreck_restore(w, whole);
		kinds[i].damage(w);
		damaged = wreck_save(w);
		for (k = 1; interrupt_repair(w, &kinds[i], damaged, k);)
			k += step;
		assert_true(k > 5);
		wreck_copy_free(damaged);
	}
	wreck_copy_free(whole);
}

static void ids_are_told_where_only_their_rows_are_gone(void **state)
{
	struct wreck *w = *state;
	char line[64];

	wreck_remove(w, "collections/1/2.rows");
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	for (unsigned i = 0; i < WRECK_DOCS_BATCH; i++) {
		snprintf(line, sizeof line, "docs/b2-%u: metadata missing", i);
		assert_true(wreck_said(w, line));
	}
	assert_false(wreck_said(w, "docs/b1-"));
}

/* ------------------------------------------------------------------ damage that needs more than a line */

static void assert_all(struct wreck *w)
{
	struct vs_store *s = wreck_open(w);

	assert_int_equal(wreck_served(s, "docs"), DOCS);
	assert_int_equal(wreck_served(s, "tiny"), WRECK_TINY);
	assert_int_equal(wreck_served(s, "twin"), WRECK_TINY);
	assert_int_equal(vs_close(s), 0);
}

/* Each file fits the others of its directory: only the catalog's digests tell. */
static void whole_collections_swapped_are_put_back(void **state)
{
	struct wreck *w = *state;

	wreck_swap(w, "collections/2/0.npy", "collections/3/0.npy");
	wreck_swap(w, "collections/2/0.rows", "collections/3/0.rows");
	wreck_swap(w, "collections/2/0.names", "collections/3/0.names");
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	assert_true(wreck_said(w, "collections/2/0.rows: damaged"));
	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_false(wreck_said(w, "given up"));
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_all(w);
}

static void assert_refused(struct wreck *w)
{
	struct vs_options options = {.io = w->io};
	struct vs_store *s;
	char why[256];

	assert_int_equal(vs_open(NULL, &options, &s, why, sizeof why), -EUCLEAN);
	assert_true(*why);
}

static void assert_found_again(struct wreck *w)
{
	struct vs_store *s;

	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	s = wreck_open(w);
	assert_int_equal(wreck_served_as(s, "lost+found-1", "docs"), DOCS);
	assert_int_equal(wreck_served_as(s, "lost+found-2", "tiny"), WRECK_TINY);
	assert_int_equal(wreck_served_as(s, "lost+found-3", "twin"), WRECK_TINY);
	assert_int_equal(vs_close(s), 0);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
}

static void collections_are_found_again_without_a_catalog(void **state)
{
	struct wreck *w = *state;

	wreck_flip(w, "catalog.0", 300);
	wreck_flip(w, "catalog.1", 300);
	assert_refused(w);
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	assert_true(wreck_said(w, "both catalogs are damaged"));
	assert_found_again(w);
}

static void collections_are_found_again_without_catalog_files(void **state)
{
	struct wreck *w = *state;

	wreck_remove(w, "catalog.0");
	wreck_remove(w, "catalog.1");
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	assert_true(wreck_said(w, "both catalogs are missing"));
	assert_found_again(w);
}

static void a_lost_directory_is_given_up(void **state)
{
	static const char *const names[] = {"0.npy", "0.rows", "0.names", "index"};
	struct wreck *w = *state;
	struct vs_store *s;
	char path[64];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "collections/2/%s", names[i]);
		wreck_remove(w, path);
	}
	assert_int_equal(w->io->ops->rmdir(w->io, "collections/2"), 0);
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	assert_true(wreck_said(w, "collections/2: missing"));
	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_true(wreck_said(w, "tiny: 6 vectors given up"));
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	s = wreck_open(w);
	assert_int_equal(wreck_served(s, "tiny"), 0);
	assert_int_equal(wreck_served(s, "twin"), WRECK_TINY);
	wreck_put(s, "tiny", "t-0");
	assert_int_equal(wreck_served(s, "tiny"), 1);
	assert_int_equal(vs_close(s), 0);
}

static void strange_files_are_kept(void **state)
{
	struct wreck *w = *state;

	wreck_add(w, "collections/1/notes.txt");
	wreck_add(w, "collections/77");
	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_int_equal(wreck_size(w, "lost+found/collections-1-notes.txt"), 7);
	assert_int_equal(wreck_size(w, "lost+found/collections-77"), 7);
	wreck_add(w, "collections/77");
	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_int_equal(wreck_size(w, "lost+found/collections-77.1"), 7);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
}

/* ------------------------------------------------------------------ stores that were not closed */

#define MORE 8u

/* Leaves the store as a kill would, with MORE vectors in tiny, each in a frame of its own. */
static void work_and_die(struct wreck *w)
{
	struct vs_store *s = wreck_open(w);
	struct wreck_copy *copy;
	char id[16];

	for (unsigned i = 0; i < MORE; i++) {
		snprintf(id, sizeof id, "more-%u", i);
		wreck_put(s, "tiny", id);
	}
	copy = wreck_save(w);
	assert_int_equal(vs_close(s), 0);
	wreck_restore(w, copy);
	wreck_copy_free(copy);
}

static void an_unclosed_store_is_recovered_and_clean(void **state)
{
	struct wreck *w = *state;
	struct vs_store *s;

	work_and_die(w);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_true(wreck_said(w, "was not closed"));
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	assert_string_equal(w->lines, "");
	s = wreck_open(w);
	assert_int_equal(wreck_served(s, "tiny"), WRECK_TINY + MORE);
	assert_int_equal(vs_close(s), 0);
}

static void damage_is_found_behind_a_log(void **state)
{
	struct wreck *w = *state;
	struct vs_store *s;

	work_and_die(w);
	wreck_flip(w, "collections/2/0.npy", DATA_AT + 3);
	wreck_flip(w, "collections/1/2.npy", DATA_AT + 3);
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	assert_true(wreck_said(w, "tiny/t-0: vector damaged"));
	assert_true(wreck_said(w, "docs/b2-0: vector damaged"));
	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	s = wreck_open(w);
	assert_int_equal(wreck_served(s, "tiny"), WRECK_TINY + MORE - 1);
	assert_int_equal(wreck_served(s, "docs"), DOCS - 1);
	assert_int_equal(vs_close(s), 0);
}

/* The log file with frames in it; its third one begins at frame bytes 2 * 4096. */
static const char *log_in_use(struct wreck *w)
{
	static const char *const paths[] = {"log.0", "log.1"};
	uint64_t magic = 0;
	int i = -1;

	while (magic != 0x314d415246434556ull) {
		int fd;

		assert_true(++i < 2);
		fd = w->io->ops->open(w->io, paths[i], O_RDONLY, 0);
		assert_true(fd >= 0);
		assert_int_equal(io_read_full(w->io, fd, &magic, sizeof magic, 0), 0);
		w->io->ops->close(w->io, fd);
	}
	return paths[i];
}

static void damage_in_the_log_costs_what_comes_after(void **state)
{
	struct wreck *w = *state;
	struct vs_store *s;
	unsigned served;

	work_and_die(w);
	wreck_flip(w, log_in_use(w), 2 * 4096 + 70);
	assert_refused(w);
	assert_int_equal(wreck_check(w, false), VS_CHECK_DAMAGED);
	assert_true(wreck_said(w, "is damaged at byte 8192"));
	assert_int_equal(wreck_check(w, true), VS_CHECK_REPAIRED);
	assert_true(wreck_said(w, "tiny/more-3: a change of it is lost"));
	assert_true(wreck_said(w, "tiny/more-7: a change of it is lost"));
	assert_false(wreck_said(w, "tiny/more-1: "));
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
	s = wreck_open(w);
	served = wreck_served(s, "tiny");
	assert_true(served >= WRECK_TINY + 2 && served <= WRECK_TINY + MORE);
	assert_true(wreck_reads(s, "tiny", "more-0"));
	assert_true(wreck_reads(s, "tiny", "more-1"));
	assert_int_equal(vs_close(s), 0);
}

/* ------------------------------------------------------------------ the lock */

static void a_store_in_use_is_not_checked(void **state)
{
	struct wreck *w = *state;
	struct vs_store *s = wreck_open(w);
	char in_use[64];

	snprintf(in_use, sizeof in_use, "in use by process %d", (int)getpid());
	assert_int_equal(vs_check(NULL, w->io, false, NULL, NULL), VS_CHECK_FAILED);
	assert_int_equal(vs_check(NULL, w->io, true, NULL, NULL), VS_CHECK_FAILED);
	w->lines[0] = 0;
	assert_int_equal(vs_check(NULL, w->io, false, wreck_keep_line, w), VS_CHECK_FAILED);
	assert_true(wreck_said(w, in_use));
	assert_int_equal(vs_close(s), 0);
	assert_int_equal(wreck_check(w, false), VS_CHECK_CLEAN);
}

static void what_is_no_store_is_left_alone(void **state)
{
	struct wreck w = {.disk = simdisk_new()};

	(void)state;
	w.io = simdisk_io(w.disk);
	wreck_add(&w, "letter");
	assert_int_equal(wreck_check(&w, true), VS_CHECK_FAILED);
	assert_true(wreck_said(&w, "not a vecfs store"));
	assert_int_equal(simdisk_handles(w.disk), 0);
	assert_int_equal(w.io->ops->unlink(w.io, "lock"), -ENOENT);
	wreck_free(&w);
}

static int new_store(void **state)
{
	struct wreck *w = malloc(sizeof *w);

	wreck_new(w);
	*state = w;
	return 0;
}

static int free_store(void **state)
{
	wreck_free(*state);
	free(*state);
	return 0;
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, new_store, free_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_damage_is_named_and_mended),
		WITH_STORE(an_interrupted_repair_is_taken_up),
		WITH_STORE(ids_are_told_where_only_their_rows_are_gone),
		WITH_STORE(whole_collections_swapped_are_put_back),
		WITH_STORE(collections_are_found_again_without_a_catalog),
		WITH_STORE(collections_are_found_again_without_catalog_files),
		WITH_STORE(a_lost_directory_is_given_up),
		WITH_STORE(strange_files_are_kept),
		WITH_STORE(an_unclosed_store_is_recovered_and_clean),
		WITH_STORE(damage_is_found_behind_a_log),
		WITH_STORE(damage_in_the_log_costs_what_comes_after),
		WITH_STORE(a_store_in_use_is_not_checked),
		cmocka_unit_test(what_is_no_store_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
