/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command - the subcommands of vecfs, each in a cmd_NAME.c, and what they have in common.
 *
 * A command reports failures with message() and returns the exit code. It runs in the main thread.
 */
#ifndef VECFS_FS_CLI_COMMAND_H
#define VECFS_FS_CLI_COMMAND_H

#include <getopt.h>

#define COMMAND_OK 0
#define COMMAND_FAILED 1
#define COMMAND_MISUSED 2

struct command {
	const char *name;
	const char *summary;               /* one line for the overview */
	const char *help;                  /* the text of --help */
	int (*run)(int argc, char **argv); /* argv[0] is the command's name; getopt is reset */
};

extern const struct command command_mount;
extern const struct command command_umount;
extern const struct command command_import;
extern const struct command command_export;
extern const struct command command_stat;
extern const struct command command_check;
extern const struct command command_search;
extern const struct command command_send;
extern const struct command command_receive;
extern const struct command command_clone;
extern const struct command command_train;

/*
 * The way mount(8) and mount.fuse3(8) call a file system, argv[0] being whatever it was:
 * STORE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS].
 */
int command_mount_helper(int argc, char **argv);

/* Prints the command's help to standard output; returns COMMAND_OK. */
int command_help(const struct command *c);
/* Says what is wrong with the arguments and where the help is; returns COMMAND_MISUSED. */
__attribute__((format(printf, 2, 3))) int command_misused(const struct command *c, const char *format, ...);
/* What getopt_long's answers '?' and ':' mean (its optstring starts with ':'); returns COMMAND_MISUSED. */
int command_bad_option(const struct command *c, int answer, char **argv);

#endif
