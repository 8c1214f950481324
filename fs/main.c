/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs - vector collections as directories, vectors as files. This file finds the command to run. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/request/message.h"
#include "quant/level.h"

static const struct command *const commands[] = {
	&command_mount, &command_umount,  &command_import, &command_export, &command_train, &command_search,
	&command_send,  &command_receive, &command_clone,  &command_stat,   &command_check,
};
#define COMMANDS (sizeof commands / sizeof *commands)

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return NULL;
}

static void print_overview(FILE *out)
{
	fputs("usage: vecfs COMMAND [ARGUMENT...]\n\n"
	      "Collections of vectors as directories, each vector a file of fixed size.\n\n",
	      out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nvecfs COMMAND --help explains a command, man vecfs everything.\n", out);
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* mount(8) runs mount.vecfs; mount.fuse3(8) runs `vecfs STORE MOUNTPOINT -o OPTIONS`. */
static bool is_mount_helper(int argc, char **argv)
{
	char *slash = strrchr(argv[0], '/');

	if (is_one_of(slash ? slash + 1 : argv[0], "mount.vecfs", "mount.fuse.vecfs"))
		return true;
	return argc >= 5 && argv[1][0] != '-' && strcmp(argv[3], "-o") == 0 && !find_command(argv[1]);
}

/*
 * Whatever is opened later must not become standard input, output or error: messages would go into the
 * store's log. In the place of a missing one comes one that refuses, so that a command whose output goes
 * nowhere still fails.
 */
static int open_missing_streams(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return -1;
	return 0;
}

/* What could not be printed was not said. */
static int check_output(int status)
{
	bool failed = ferror(stdout) != 0;

	errno = 0;
	if ((fflush(stdout) == 0 && !failed) || status != COMMAND_OK)
		return status;
	message(VS_ERROR, "standard output: %s", strerror(errno ? errno : EIO));
	return COMMAND_FAILED;
}

static int run(int argc, char **argv)
{
	const struct command *command;

	if (level_choose(getenv("VECFS_SIMD")) != 0) {
		message(VS_ERROR, "VECFS_SIMD=%s: not one of this machine's levels (scalar, avx2, avx512)",
			getenv("VECFS_SIMD"));
		return COMMAND_MISUSED;
	}
	if (argc > 0 && is_mount_helper(argc, argv))
		return command_mount_helper(argc, argv);
	if (argc < 2) {
		print_overview(stderr);
		return COMMAND_MISUSED;
	}
	if (is_one_of(argv[1], "--version", "-V")) {
		printf("vecfs %s (simd %s)\n", VECFS_VERSION, level_name(level_get()));
		return COMMAND_OK;
	}
	if (is_one_of(argv[1], "--help", "-h") || (strcmp(argv[1], "help") == 0 && argc == 2)) {
		print_overview(stdout);
		return COMMAND_OK;
	}
	command = find_command(strcmp(argv[1], "help") == 0 ? argv[2] : argv[1]);
	if (!command) {
		message(VS_ERROR, "%s: no such command (see vecfs --help)", argv[1]);
		return COMMAND_MISUSED;
	}
	if (strcmp(argv[1], "help") == 0)
		return command_help(command);
	return command->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
	if (open_missing_streams() != 0)
		return COMMAND_FAILED;
	/* A limit on the size of files is an error of the call that meets it, EFBIG, and no reason to die
	 * half-way. */
	signal(SIGXFSZ, SIG_IGN);
	message_init(true);
	return check_output(run(argc, argv));
}
