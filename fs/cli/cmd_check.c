/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs check - verifies every byte of a store that is not mounted. */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/request/message.h"
#include "store/store.h"

#define MISUSED 16 /* fsck(8) */

static const char help[] =
	"usage: vecfs check [--repair] STORE\n\n"
	"Verifies every checksum and every invariant of a store that is not mounted, and prints what it\n"
	"finds.\n\n"
	"  --repair           mend what can be mended, keeping every intact vector\n"
	"  -h, --help         show this text\n\n"
	"Exit code: 0 clean, 1 repaired, 4 damage left, 8 the check itself failed, 16 wrong arguments.\n";

static int run(int argc, char **argv);
const struct command command_check = {"check", "verify a store, and repair it", help, run};

static void print_line(void *arg, const char *line)
{
	(void)arg;
	printf("%s\n", line);
}

/* What was read from a mapping then is no damage, and nothing must be mended by it. */
__attribute__((noreturn)) static void on_bus_error(int number)
{
	static const char line[] = "vecfs: check: a file cannot be read: Input/output error\n";

	(void)number;
	(void)!write(STDERR_FILENO, line, sizeof line - 1);
	_exit(VS_CHECK_FAILED);
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"repair", no_argument, NULL, 'r'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool repair = false;
	int answer, result;

	while ((answer = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_check);
		if (answer != 'r') {
			command_bad_option(&command_check, answer, argv);
			return MISUSED;
		}
		repair = true;
	}
	if (argc - optind != 1) {
		command_misused(&command_check, "want one STORE");
		return MISUSED;
	}
	signal(SIGBUS, on_bus_error);
	result = vs_check(argv[optind], NULL, repair, print_line, NULL);
	if (result == VS_CHECK_CLEAN)
		printf("%s: clean\n", argv[optind]);
	if (fflush(stdout) != 0)
		message(VS_ERROR, "check: cannot write what was found");
	return result;
}
