/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/command.h"

#include <stdarg.h>
#include <stdio.h>

#include "fs/request/message.h"

#define WHAT_BYTES 1024

int command_help(const struct command *c)
{
	printf("%s", c->help);
	return COMMAND_OK;
}

int command_misused(const struct command *c, const char *format, ...)
{
	char what[WHAT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	message(VS_ERROR, "%s: %s (see vecfs %s --help)", c->name, what, c->name);
	return COMMAND_MISUSED;
}

int command_bad_option(const struct command *c, int answer, char **argv)
{
	/* A bad letter may stand in the middle of a word that getopt has not left yet. */
	char letter[] = {'-', (char)optopt, 0};
	const char *option = optopt > ' ' && optopt <= '~' ? letter : argv[optind - 1];

	return command_misused(c, answer == ':' ? "option %s needs a value" : "unknown option %s", option);
}
