/* SPDX-License-Identifier: Apache-2.0 */
/* Codes on the disk, through the engine's public interface: they are always those of the vectors. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/store/view_fixture.h"

static const char *const all_codecs[] = {"f16",     "bf16",    "sq8", "bit",   "rabitq1", "rabitq2",
					 "rabitq4", "rabitq8", "pq8", "pq8x4", "opq8",    "opq7x4"};
#define CODECS (sizeof all_codecs / sizeof *all_codecs)

static void codes_of_every_codec_are_those_of_the_vectors(void **state)
{
	struct fixture *f = *state;

	put_many(f, 0, 700);
	for (size_t i = 0; i < CODECS; i++)
		create(f, all_codecs[i]);
	for (size_t i = 0; i < CODECS; i++) {
		struct vs_view_info info = wait_whole(f, all_codecs[i]);

		assert_int_equal(info.epoch, 1);
		assert_true(info.model);
		assert_true(info.rows_nonfinite > 0 && info.rows_nonfinite < 100);
		assert_true(compare(f, all_codecs[i]));
	}
	put_many(f, 650, 800);
	assert_int_equal(vs_remove(f->s, f->docs, "v5", NULL), 0);
	for (size_t i = 0; i < CODECS; i++) {
		assert_true(compare(f, all_codecs[i]));
		wait_whole(f, all_codecs[i]);
		assert_true(compare(f, all_codecs[i]));
	}
	assert_int_equal(f->warnings, 0);
}

static void codes_stay_over_a_close(void **state)
{
	struct fixture *f = *state;
	struct vs_view_info before, after;

	put_many(f, 0, 1000);
	create(f, "opq8");
	before = wait_whole(f, "opq8");
	reopen(f);
	after = wait_whole(f, "opq8");
	assert_true(before.model == after.model && before.epoch == after.epoch);
	assert_true(compare(f, "opq8"));
	assert_int_equal(f->warnings, 0);
	assert_int_equal(vs_close(f->s), 0);
	open_with(f, NULL, true);
	assert_true(compare(f, "opq8"));
	assert_int_equal(info_of(f, "opq8").rows_encoded, 1000);
	reopen(f);
}

/* Waits until a file's .npy header says so. */
static void wait_header(struct fixture *f, const char *file, const char *text)
{
	char path[160], header[256] = "";
	int fd;

	snprintf(path, sizeof path, "%s/collections/%u/%s", f->sc.dir, f->docs, file);
	for (int i = 0; i < WAIT_MS / 5 && !strstr(header + 10, text); i++) {
		pause_ms(5);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		assert_int_equal(pread(fd, header, sizeof header - 1, 0), sizeof header - 1);
		close(fd);
	}
	assert_memory_equal(header, "\x93NUMPY\x01\x00", 8);
	assert_non_null(strstr(header + 10, text));
}

static void code_files_are_arrays(void **state)
{
	struct fixture *f = *state;

	put_many(f, 0, 700);
	create(f, "rabitq2");
	create(f, "f16");
	wait_whole(f, "rabitq2");
	wait_whole(f, "f16");
	wait_header(f, "0.rabitq2.1.codes.npy",
		    "{'descr': '|u1', 'fortran_order': False, 'shape': (11, 8, 64), }");
	wait_header(f, "0.rabitq2.1.rows.npy",
		    "{'descr': '|u1', 'fortran_order': False, 'shape': (700, 8), }");
	wait_header(f, "0.rabitq2.1.factors.npy",
		    "{'descr': '<f4', 'fortran_order': False, 'shape': (11, 3, 64), }");
	wait_header(f, "0.f16.1.rows.npy", "{'descr': '<f2', 'fortran_order': False, 'shape': (700, 40), }");
}

static void a_flipped_byte_is_found_and_encoded_anew(void **state)
{
	struct fixture *f = *state;

	put_many(f, 0, 1000);
	create(f, "pq8");
	wait_whole(f, "pq8");
	assert_int_equal(vs_close(f->s), 0);
	flip(f, "0.pq8.1.codes.npy", 4096 + 64 * 8 * 5 + 77);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, NULL, NULL), VS_CHECK_DAMAGED);
	open_with(f, NULL, false);
	wait_whole(f, "pq8");
	assert_true(compare(f, "pq8"));
	assert_int_equal(f->warnings, 1);
	assert_non_null(
		strstr(f->warning, "docs/.vecfs/views/pq8: segment 0: 1 blocks of codes are not as they"));
	assert_int_equal(vs_close(f->s), 0);
	flip(f, "0.pq8.1.codes.npy", 4096 + 64 * 8 * 5 + 77);
	assert_int_equal(vs_check(f->sc.dir, NULL, true, NULL, NULL), VS_CHECK_REPAIRED);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, say, NULL), VS_CHECK_CLEAN);
	open_with(f, NULL, false);
	wait_whole(f, "pq8");
	assert_true(compare(f, "pq8"));
}

/* What has a code in a block that is damaged must not get a tag that calls the others good. */
static void a_damaged_block_is_not_sealed_by_an_update(void **state)
{
	static const char *const views[] = {"pq8", "rabitq2", "sq8"};
	struct fixture *f = *state;

	put_many(f, 0, 1000);
	for (size_t i = 0; i < 3; i++) {
		create(f, views[i]);
		wait_whole(f, views[i]);
	}
	flip(f, "0.pq8.1.codes.npy", 4096 + 64 * 8 * 5 + 77);
	flip(f, "0.rabitq2.1.factors.npy", 4096 + 64 * 12 * 5 + 33);
	flip(f, "0.sq8.1.rows.npy", 4096 + 64 * DIM * 5 + 99);
	put_many(f, 64 * 5 + 60, 64 * 5 + 62);
	for (size_t i = 0; i < 3; i++) {
		wait_whole(f, views[i]);
		assert_true(compare(f, views[i]));
	}
	assert_int_equal(f->warnings, 3);
	assert_non_null(strstr(f->warning, ": segment 0: 1 blocks of codes are not as they were written"));
}

/* Each file of each view, one after the other. */
static void a_flipped_byte_is_found_while_the_store_is_open(void **state)
{
	static const char *const files[][2] = {
		{"pq8", "0.pq8.1.codes.npy"},        {"rabitq2", "0.rabitq2.1.codes.npy"},
		{"rabitq2", "0.rabitq2.1.rows.npy"}, {"rabitq2", "0.rabitq2.1.factors.npy"},
		{"rabitq2", "0.rabitq2.1.tags"},     {"f16", "0.f16.1.rows.npy"},
	};
	struct fixture *f = *state;

	put_many(f, 0, 3000);
	f->scrub_ms = 20;
	reopen(f);
	create(f, "pq8");
	create(f, "rabitq2");
	create(f, "f16");
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		wait_whole(f, files[i][0]);
		flip(f, files[i][1], strstr(files[i][1], "tags") ? 16 * 31 : 4096 + 1031);
		for (int t = 0; t < WAIT_MS / 5 && f->warnings == i; t++)
			pause_ms(5);
		assert_int_equal(f->warnings, i + 1);
		assert_non_null(strstr(f->warning, files[i][0]));
		wait_whole(f, files[i][0]);
		assert_true(compare(f, files[i][0]));
	}
	pause_ms(200); /* and nothing else is */
	assert_int_equal(f->warnings, sizeof files / sizeof *files);
}

static void missing_and_short_files_are_made_anew(void **state)
{
	struct fixture *f = *state;
	char path[160];

	put_many(f, 0, 1000);
	create(f, "rabitq2");
	create(f, "f16");
	wait_whole(f, "rabitq2");
	wait_whole(f, "f16");
	assert_int_equal(vs_close(f->s), 0);
	snprintf(path, sizeof path, "%s/collections/%u/0.rabitq2.1.factors.npy", f->sc.dir, f->docs);
	assert_int_equal(truncate(path, 5000), 0);
	snprintf(path, sizeof path, "%s/collections/%u/0.f16.1.tags", f->sc.dir, f->docs);
	assert_int_equal(unlink(path), 0);
	open_with(f, NULL, false);
	assert_true(compare(f, "f16"));
	wait_whole(f, "rabitq2");
	wait_whole(f, "f16");
	assert_true(compare(f, "rabitq2") && compare(f, "f16"));
}

/* Files that nobody has looked at since the crash may hold torn blocks; the next segment of that number would
 * have them, in a view of which a check is told that it has none. */
static void files_of_segments_that_have_gone_go_before_a_view_is_settled(void **state)
{
	struct fixture *f = *state;
	unsigned codes;
	char copy[400];

	put_many(f, 0, 500);
	create(f, "f16");
	wait_whole(f, "f16");
	pause_ms(50); /* the builder has looked for such files by now */
	snprintf(copy, sizeof copy, "cd %s/collections/%u && for x in 0.f16.*; do cp $x 7${x#0}; done",
		 f->sc.dir, f->docs);
	assert_int_equal(system(copy), 0);
	codes = count_files(f, "0.f16.");
	assert_int_equal(count_files(f, "7.f16."), codes);
	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(count_files(f, "7.f16."), 0);
	assert_int_equal(count_files(f, "0.f16."), codes);
	open_with(f, NULL, false);
	assert_true(compare(f, "f16"));
}

/* ------------------------------------------------------------------ codes ahead of a commit */

#define UPLOADED 20000u /* enough for the batch to be attached */

/* A batch that is being uploaded to: so many vectors so far. */
static struct vs_upload *upload(struct fixture *f, const char *name, unsigned rows, uint32_t *id)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32};
	struct vs_upload *u;

	assert_int_equal(vs_collection_create(f->s, f->docs, name, &perm, id), 0);
	assert_int_equal(vs_upload_begin(f->s, *id, &schema, &u), 0);
	for (unsigned i = 0; i < rows; i++) {
		float v[DIM];

		fill(&f->numbers, v);
		assert_int_equal(vs_upload_append(u, v, sizeof v), 0);
	}
	return u;
}

static void commit_upload(struct fixture *f, uint32_t id, unsigned rows, unsigned number)
{
	size_t len = 0, size = rows * 16;
	char *text = malloc(size), why[200];

	for (unsigned i = 0; i < rows; i++)
		len += (size_t)snprintf(text + len, size - len, "u%u-%u\n", number, i);
	assert_int_equal(vs_batch_text_write(f->s, id, VS_BATCH_IDS, text, len, 0), 0);
	free(text);
	if (vs_batch_commit(f->s, id, 0, NULL, why, sizeof why))
		fail_msg("batch: %s", why);
}

/* Waits until the tag of a block in a code file is written, and returns the file's inode number. */
static ino_t wait_tag(struct fixture *f, const char *file, unsigned block)
{
	struct stat st = {0};
	uint64_t tag = 0;
	char path[160];

	snprintf(path, sizeof path, "%s/collections/%u/%s", f->sc.dir, f->docs, file);
	for (int i = 0; i < WAIT_MS / 5 && !tag; i++) {
		int fd = open(path, O_RDONLY);

		if (fd >= 0) {
			if (pread(fd, &tag, sizeof tag, block * 16) != sizeof tag)
				tag = 0;
			fstat(fd, &st);
			close(fd);
		}
		pause_ms(5);
	}
	assert_true(tag);
	return st.st_ino;
}

static void an_upload_is_encoded_before_its_commit(void **state)
{
	static const char *const names[] = {"f16", "rabitq2", "opq8"};
	struct fixture *f = *state;
	struct vs_upload *u;
	ino_t early[3];
	char file[64];
	uint32_t id;

	put_many(f, 0, 700);
	for (int i = 0; i < 3; i++)
		create(f, names[i]);
	for (int i = 0; i < 3; i++)
		wait_whole(f, names[i]);
	u = upload(f, "b", UPLOADED, &id);
	for (int i = 0; i < 3; i++) {
		snprintf(file, sizeof file, "early.%u.0.%s.1.tags", id, names[i]);
		early[i] = wait_tag(f, file, UPLOADED / 64 - 1);
		assert_true(compare(f, names[i]));
	}
	assert_int_equal(vs_upload_end(u, true), 0);
	commit_upload(f, id, UPLOADED, 1);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(wait_whole(f, names[i]).rows, 700 + UPLOADED);
		assert_true(compare(f, names[i]));
		snprintf(file, sizeof file, "1.%s.1.tags", names[i]);
		assert_int_equal(wait_tag(f, file, UPLOADED / 64), early[i]);
	}
	assert_int_equal(count_files(f, "early."), 0);
	assert_int_equal(f->warnings, 0);
	reopen(f);
	for (int i = 0; i < 3; i++)
		assert_true(compare(f, names[i]));
	assert_int_equal(f->warnings, 0);
}

/* A batch's upload of which f16 has the codes, though it is not committed. */
static struct vs_upload *upload_encoded(struct fixture *f, const char *batch, uint32_t *id)
{
	struct vs_upload *u;
	char file[64];

	u = upload(f, batch, UPLOADED, id);
	snprintf(file, sizeof file, "early.%u.0.f16.1.tags", *id);
	wait_tag(f, file, UPLOADED / 64 - 1);
	return u;
}

/* Vectors come instead of those that were encoded: their codes are their own. */
static void an_upload_that_begins_anew_has_its_own_codes(void **state)
{
	struct vs_schema schema = {.dim = DIM, .dtype = VS_F32};
	struct fixture *f = *state;
	struct vs_upload *u;
	uint32_t id;

	put_many(f, 0, 300);
	create(f, "f16");
	wait_whole(f, "f16");
	u = upload_encoded(f, "b", &id);
	assert_int_equal(vs_upload_end(u, false), 0);
	assert_int_equal(vs_upload_begin(f->s, id, &schema, &u), 0);
	for (unsigned i = 0; i < UPLOADED; i++) {
		float v[DIM];

		fill(&f->numbers, v);
		assert_int_equal(vs_upload_append(u, v, sizeof v), 0);
	}
	assert_int_equal(vs_upload_end(u, true), 0);
	commit_upload(f, id, UPLOADED, 1);
	wait_whole(f, "f16");
	assert_true(compare(f, "f16"));
	assert_int_equal(f->warnings, 0);
}

static void codes_of_a_batch_that_is_not_committed_leave_no_file(void **state)
{
	struct fixture *f = *state;
	struct vs_upload *u;
	uint32_t id;

	put_many(f, 0, 300);
	create(f, "f16");
	wait_whole(f, "f16");
	u = upload_encoded(f, "dropped", &id);
	assert_int_equal(vs_upload_end(u, true), 0);
	assert_int_equal(vs_collection_remove(f->s, id), 0);
	for (int i = 0; i < WAIT_MS / 5 && count_files(f, "early."); i++)
		pause_ms(5);
	assert_int_equal(count_files(f, "early."), 0);
	u = upload_encoded(f, "open", &id);
	assert_int_equal(vs_upload_end(u, true), 0);
	assert_int_equal(vs_close(f->s), 0);
	assert_int_equal(count_files(f, "early."), 0);
	assert_int_equal(vs_check(f->sc.dir, NULL, false, say, NULL), VS_CHECK_CLEAN);
	open_with(f, NULL, false);
	commit_upload(f, id, UPLOADED, 1);
	wait_whole(f, "f16");
	assert_true(compare(f, "f16"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, new_store, free_store)
		TEST(codes_of_every_codec_are_those_of_the_vectors),
		TEST(codes_stay_over_a_close),
		TEST(code_files_are_arrays),
		TEST(a_flipped_byte_is_found_and_encoded_anew),
		TEST(a_damaged_block_is_not_sealed_by_an_update),
		TEST(a_flipped_byte_is_found_while_the_store_is_open),
		TEST(missing_and_short_files_are_made_anew),
		TEST(files_of_segments_that_have_gone_go_before_a_view_is_settled),
		TEST(an_upload_is_encoded_before_its_commit),
		TEST(an_upload_that_begins_anew_has_its_own_codes),
		TEST(codes_of_a_batch_that_is_not_committed_leave_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
