/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver - runs a fuzzer without libFuzzer: each input that is named, then seeded mutations of them for some
 * seconds (VECFS_FUZZ_SECONDS, else 4; VECFS_LONG=1: ten minutes). The input at work lies in the file
 * fuzz-input of the current directory if the run ends badly.
 *
 *     fuzz-NAME-fuzz [FILE or DIRECTORY]...
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define SECONDS 4
#define SECONDS_LONG 600
#define INPUT_BYTES_MAX (1u << 20)

struct input {
	uint8_t *data;
	size_t size;
};

static struct input *inputs;
static size_t input_count;
static uint8_t work[INPUT_BYTES_MAX];
static size_t work_size;
static uint64_t state = 0x9e3779b97f4a7c15ull;
static unsigned long runs;

static uint64_t below(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? state % n : 0;
}

/* ------------------------------------------------------------------ inputs */

static void add_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	struct input in = {.data = malloc(INPUT_BYTES_MAX)};

	if (!f || !in.data) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(1);
	}
	in.size = fread(in.data, 1, INPUT_BYTES_MAX, f);
	fclose(f);
	inputs = realloc(inputs, (input_count + 1) * sizeof *inputs);
	inputs[input_count++] = in;
}

static int skip_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void add_path(const char *path)
{
	struct dirent **names;
	struct stat st;
	int n;

	if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
		add_file(path);
		return;
	}
	n = scandir(path, &names, skip_hidden, alphasort);
	for (int i = 0; i < n; i++) {
		char file[4096];

		snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
		add_file(file);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* ------------------------------------------------------------------ mutations */

static void put_number(size_t at, size_t width)
{
	static const uint64_t numbers[] = {0,          1,          7,         8,         64,       255,
					   256,        4095,       4096,      65536,     1u << 20, INT32_MAX,
					   UINT32_MAX, 1ull << 40, INT64_MAX, UINT64_MAX};
	uint64_t n = numbers[below(sizeof numbers / sizeof *numbers)];

	for (size_t i = 0; i < width && at + i < work_size; i++)
		work[at + i] = (uint8_t)(n >> (8 * i));
}

static void mix(void)
{
	const struct input *other = &inputs[below(input_count)];
	size_t from = below(other->size), to = below(work_size), n = below(256);

	if (n > other->size - from)
		n = other->size - from;
	if (n > sizeof work - to)
		n = sizeof work - to;
	memcpy(work + to, other->data + from, n);
	if (to + n > work_size)
		work_size = to + n;
}

static void mutate_once(void)
{
	static const uint8_t widths[] = {1, 2, 4, 8};
	size_t at = below(work_size);

	switch (work_size ? below(6) : 5) {
	case 0:
		work[at] ^= (uint8_t)(1u << below(8));
		break;
	case 1:
		work[at] = (uint8_t)below(256);
		break;
	case 2:
		put_number(at, widths[below(4)]);
		break;
	case 3:
		put_number(at & ~7ul, widths[below(4)]);
		break;
	case 4:
		if (!below(4))
			work_size = at;
		break;
	default:
		mix();
	}
}

static void mutate(void)
{
	const struct input *in = &inputs[below(input_count)];
	unsigned n = 1 + (unsigned)below(6);

	memcpy(work, in->data, in->size);
	work_size = in->size;
	while (n--)
		mutate_once();
}

/* ------------------------------------------------------------------ running */

/* Keeps what ended the run. Only calls that a signal handler may make. */
static void on_signal(int number)
{
	int fd = open("fuzz-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd >= 0 && write(fd, work, work_size) == (ssize_t)work_size)
		close(fd);
	signal(number, SIG_DFL);
	raise(number);
}

static void run(void)
{
	LLVMFuzzerTestOneInput(work, work_size);
	runs++;
}

static time_t seconds(void)
{
	const char *is_long = getenv("VECFS_LONG"), *wanted = getenv("VECFS_FUZZ_SECONDS");

	if (is_long && !strcmp(is_long, "1"))
		return SECONDS_LONG;
	return wanted ? atol(wanted) : SECONDS;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + seconds();

	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGFPE, on_signal);
	for (int i = 1; i < argc; i++)
		add_path(argv[i]);
	for (size_t i = 0; i < input_count; i++) {
		memcpy(work, inputs[i].data, inputs[i].size);
		work_size = inputs[i].size;
		run();
	}
	while (input_count && time(NULL) < end) {
		mutate();
		run();
	}
	for (size_t i = 0; i < input_count; i++)
		free(inputs[i].data);
	free(inputs);
	printf("%lu inputs\n%lu passed, 0 failed\n", runs, runs ? 1ul : 0ul);
	return runs ? 0 : 1;
}
