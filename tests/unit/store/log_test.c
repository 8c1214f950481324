/* SPDX-License-Identifier: Apache-2.0 */
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

#include "tests/unit/scratch.h"
#include "store/log/log.h"

#define FILE_BYTES (1u << 20)

static const struct log_position start = {.epoch = 5, .seq = 100, .prev = 42, .salt = 77};
static char why[256];

static int new_scratch(void **state)
{
	struct scratch *sc = malloc(sizeof *sc);

	scratch_new(sc);
	*state = sc;
	return 0;
}

static int free_scratch(void **state)
{
	scratch_free(*state);
	free(*state);
	return 0;
}

static void write_frame(struct log *log, const char *text)
{
	static char buf[3 * FRAME_ALIGN] __attribute__((aligned(8)));

	memset(buf, 0, sizeof buf);
	strcpy(buf + sizeof(struct frame), text);
	assert_int_equal(log_write(log, buf, strlen(text) + 1), 0);
}

struct seen {
	char text[512];
	unsigned frames;
};

static int see(void *arg, const struct frame *f, const void *payload)
{
	struct seen *seen = arg;

	assert_int_equal(f->payload_bytes, strlen(payload) + 1);
	strcat(seen->text, payload);
	seen->frames++;
	return 0;
}

static int scan(struct scratch *sc, struct seen *seen, struct log_position *end)
{
	struct log_position at = start;
	int rc;

	memset(seen, 0, sizeof *seen);
	why[0] = 0;
	rc = log_scan(sc->io, &at, true, see, seen, why, sizeof why);
	if (end)
		*end = at;
	return rc;
}

/* A log of five frames, the last two in the second file. */
static void make_log(struct scratch *sc, struct log_position *end)
{
	struct log log;

	assert_int_equal(log_create(&log, sc->io, &start, FILE_BYTES), 0);
	write_frame(&log, "a");
	write_frame(&log, "b");
	write_frame(&log, "c");
	log_switch(&log);
	write_frame(&log, "d");
	write_frame(&log, "e");
	*end = log.next;
	log_close(&log);
}

static void change_byte(struct scratch *sc, const char *path, uint64_t off)
{
	int fd = sc->io->ops->open(sc->io, path, O_RDWR, 0);
	char byte;

	assert_true(fd >= 0);
	assert_int_equal(io_read_full(sc->io, fd, &byte, 1, off), 0);
	byte = (char)(byte ^ 0x10);
	assert_int_equal(io_write_full(sc->io, fd, &byte, 1, off), 0);
	sc->io->ops->close(sc->io, fd);
}

static void frames_are_read_in_the_order_of_writing(void **state)
{
	struct log_position end, at;
	struct seen seen;

	make_log(*state, &end);
	assert_int_equal(scan(*state, &seen, &at), 0);
	assert_string_equal(seen.text, "abcde");
	assert_memory_equal(&at, &end, sizeof at);
}

static void no_log_is_an_empty_log(void **state)
{
	struct log_position at;
	struct seen seen;

	assert_int_equal(scan(*state, &seen, &at), 0);
	assert_int_equal(seen.frames, 0);
	assert_int_equal(at.seq, start.seq);
}

static void a_torn_last_frame_ends_it(void **state)
{
	struct log_position end;
	struct seen seen;

	make_log(*state, &end);
	change_byte(*state, "log.0", FRAME_ALIGN + sizeof(struct frame)); /* epoch 6: "e" */
	assert_int_equal(scan(*state, &seen, NULL), 0);
	assert_string_equal(seen.text, "abcd");
}

static void damage_before_the_end_is_told(void **state)
{
	struct log_position end;
	struct seen seen;

	make_log(*state, &end);
	change_byte(*state, "log.1", FRAME_ALIGN + sizeof(struct frame)); /* epoch 5: "b" */
	assert_int_equal(scan(*state, &seen, NULL), -EUCLEAN);
	assert_non_null(strstr(why, "log.1 is damaged at byte 4096"));
}

static void frames_of_another_salt_or_chain_do_not_count(void **state)
{
	struct scratch *sc = *state;
	struct log_position end, at = start;
	struct seen seen = {0};

	make_log(sc, &end);
	at.salt++;
	assert_int_equal(log_scan(sc->io, &at, false, see, &seen, why, sizeof why), 0);
	assert_int_equal(seen.frames, 0);
	at = start;
	at.prev++;
	assert_int_equal(log_scan(sc->io, &at, false, see, &seen, why, sizeof why), 0);
	assert_int_equal(seen.frames, 0);
	at = start;
	at.epoch += 2;
	assert_int_equal(log_scan(sc->io, &at, false, see, &seen, why, sizeof why), 0);
	assert_int_equal(seen.frames, 0);
}

static void a_recycled_file_shows_none_of_its_former_frames(void **state)
{
	struct scratch *sc = *state;
	struct log_position at;
	struct seen seen = {0};
	struct log log;

	assert_int_equal(log_create(&log, sc->io, &start, FILE_BYTES), 0);
	write_frame(&log, "a");
	write_frame(&log, "b");
	write_frame(&log, "c");
	log_switch(&log);
	write_frame(&log, "d");
	at = log.next;
	log_switch(&log); /* the first file again, in epoch 7 */
	write_frame(&log, "e");
	at.epoch = log.next.epoch;
	log_close(&log);
	assert_int_equal(log_scan(sc->io, &at, true, see, &seen, why, sizeof why), 0);
	assert_string_equal(seen.text, "e");
}

static int refuse_second(void *arg, const struct frame *f, const void *payload)
{
	(void)f;
	(void)payload;
	return ++*(unsigned *)arg == 2 ? -EIO : 0;
}

static void the_reader_of_frames_can_stop_it(void **state)
{
	struct scratch *sc = *state;
	struct log_position end, at = start;
	unsigned frames = 0;

	make_log(sc, &end);
	assert_int_equal(log_scan(sc->io, &at, true, refuse_second, &frames, why, sizeof why), -EIO);
	assert_int_equal(frames, 2);
}

static void a_cut_log_ends_there_and_shows_what_is_lost(void **state)
{
	struct scratch *sc = *state;
	struct log_position end, at = start;
	struct seen seen, lost = {0};

	make_log(sc, &end);
	change_byte(sc, "log.1", FRAME_ALIGN + sizeof(struct frame));
	at.seq++;
	assert_int_equal(log_cut(sc->io, &at, FRAME_ALIGN, see, &lost), 0);
	at.epoch++;
	assert_int_equal(log_cut(sc->io, &at, 0, see, &lost), 0);
	assert_string_equal(lost.text, "cde");
	assert_int_equal(scan(sc, &seen, NULL), 0);
	assert_string_equal(seen.text, "a");
}

static void a_file_nearly_full_ends_the_epoch(void **state)
{
	struct scratch *sc = *state;
	unsigned frames = 0;
	struct log log;

	assert_int_equal(log_create(&log, sc->io, &start, FILE_BYTES), 0);
	for (; !log_nearly_full(&log); frames++)
		write_frame(&log, "x");
	assert_true(frames > 10 && frames < FILE_BYTES / FRAME_ALIGN);
	write_frame(&log, "still fits");
	log_close(&log);
	log_remove(sc->io);
	assert_int_equal(sc->io->ops->open(sc->io, "log.0", O_RDONLY, 0), -ENOENT);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, new_scratch, free_scratch)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(frames_are_read_in_the_order_of_writing),
		WITH_SCRATCH(no_log_is_an_empty_log),
		WITH_SCRATCH(a_torn_last_frame_ends_it),
		WITH_SCRATCH(damage_before_the_end_is_told),
		WITH_SCRATCH(frames_of_another_salt_or_chain_do_not_count),
		WITH_SCRATCH(a_recycled_file_shows_none_of_its_former_frames),
		WITH_SCRATCH(the_reader_of_frames_can_stop_it),
		WITH_SCRATCH(a_cut_log_ends_there_and_shows_what_is_lost),
		WITH_SCRATCH(a_file_nearly_full_ends_the_epoch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
