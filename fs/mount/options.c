/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "fs/mount/humanize.h"

/*
 * For mount(8) and systemd; what we do anyway; or, of times of access, what is all the same to a file system
 * that keeps none. A trailing '*' stands for anything.
 */
static const char *const ignored[] = {
	"defaults",
	"auto",
	"noauto",
	"nofail",
	"_netdev",
	"nouser",
	"nousers",
	"noowner",
	"nogroup",
	"atime",
	"relatime",
	"norelatime",
	"nostrictatime",
	"diratime",
	"lazytime",
	"nolazytime",
	"silent",
	"loud",
	"default_permissions",
	"comment=*",
	"x-*",
	"X-*",
};

/* What the kernel obeys. As in mount(8), of several that contradict each other the last one counts. */
static const struct {
	const char *word;
	unsigned long set, clear; /* MS_* */
} flags[] = {
	{"nosuid", MS_NOSUID, 0},
	{"suid", 0, MS_NOSUID},
	{"nodev", MS_NODEV, 0},
	{"dev", 0, MS_NODEV},
	{"noexec", MS_NOEXEC, 0},
	{"exec", 0, MS_NOEXEC},
	{"noatime", MS_NOATIME, 0},
	{"nodiratime", MS_NODIRATIME, 0},
	{"nosymfollow", MS_NOSYMFOLLOW, 0},
	{"symfollow", 0, MS_NOSYMFOLLOW},
	/* fstab(5): whoever lets ordinary users mount does not let them bring programs in, unless he says so.
	 */
	{"user", MS_NOEXEC | MS_NOSUID | MS_NODEV, 0},
	{"users", MS_NOEXEC | MS_NOSUID | MS_NODEV, 0},
	{"owner", MS_NOSUID | MS_NODEV, 0},
	{"group", MS_NOSUID | MS_NODEV, 0},
};

static bool apply_flag(const char *option, struct mount_options *options)
{
	/* mount(8) adds who it was that mounted: "user=alice". */
	const char *word = strncmp(option, "user=", 5) == 0 ? "user" : option;

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (strcmp(word, flags[i].word) == 0) {
			options->flags_set = (options->flags_set | flags[i].set) & ~flags[i].clear;
			options->flags_cleared = (options->flags_cleared | flags[i].clear) & ~flags[i].set;
			return true;
		}
	return false;
}

static bool is_ignored(const char *option)
{
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
		size_t len = strlen(ignored[i]);

		if (ignored[i][len - 1] == '*' ? strncmp(option, ignored[i], len - 1) == 0
					       : strcmp(option, ignored[i]) == 0)
			return true;
	}
	return false;
}

static bool apply_word(const char *option, struct mount_options *options)
{
	static const struct {
		const char *word;
		size_t offset;
		bool value;
	} words[] = {
		{"ro", offsetof(struct mount_options, read_only), true},
		{"rw", offsetof(struct mount_options, read_only), false},
		{"sync", offsetof(struct mount_options, sync_on_close), true},
		{"async", offsetof(struct mount_options, sync_on_close), false},
		{"allow_other", offsetof(struct mount_options, allow_other), true},
		{"debug", offsetof(struct mount_options, debug), true},
		{"standby", offsetof(struct mount_options, standby), true},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(option, words[i].word) == 0) {
			*(bool *)((char *)options + words[i].offset) = words[i].value;
			return true;
		}
	return false;
}

static int parse_commit(const char *value, struct mount_options *options, char *why, size_t why_size)
{
	uint64_t ms;

	if (!humanize_parse(value, 1, MOUNTOPT_COMMIT_MS_MAX, &ms)) {
		snprintf(why, why_size, "commit=%s: want milliseconds, 1 to %d", value,
			 MOUNTOPT_COMMIT_MS_MAX);
		return -EINVAL;
	}
	options->commit_ms = (unsigned)ms;
	return 0;
}

static int parse_io_uring(const char *value, struct mount_options *options, char *why, size_t why_size)
{
	static const char *const words[] = {
		[SERVE_IO_URING_AUTO] = "auto",
		[SERVE_IO_URING_ON] = "on",
		[SERVE_IO_URING_OFF] = "off",
	};

	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(value, words[i]) == 0) {
			options->io_uring = (enum session_io_uring)i;
			return 0;
		}
	snprintf(why, why_size, "io_uring=%s: want auto, on or off", value);
	return -EINVAL;
}

static int parse_one(const char *option, struct mount_options *options, char *why, size_t why_size)
{
	if (!*option || apply_word(option, options) || apply_flag(option, options))
		return 0;
	if (strncmp(option, "commit=", 7) == 0)
		return parse_commit(option + 7, options, why, why_size);
	if (strncmp(option, "io_uring=", 9) == 0)
		return parse_io_uring(option + 9, options, why, why_size);
	if (is_ignored(option))
		return 0;
	snprintf(why, why_size, "%s: unknown mount option", option);
	return -EINVAL;
}

int mountopt_parse(const char *list, struct mount_options *options, char *why, size_t why_size)
{
	char *copy = strdup(list), *rest = copy, *option;
	int rc = copy ? 0 : -ENOMEM;

	if (!copy)
		snprintf(why, why_size, "out of memory");
	while (rc == 0 && (option = strsep(&rest, ",")))
		rc = parse_one(option, options, why, why_size);
	free(copy);
	return rc;
}
