/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mountopt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* For mount(8), systemd or the kernel; or what we do anyway. A trailing '*' stands for anything. */
static const char *const ignored[] = {
	"defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group",
	"user=*", "uid=*", "gid=*", "dev", "nodev", "suid", "nosuid", "exec", "noexec", "async", "atime",
	"noatime", "relatime", "norelatime", "strictatime", "nostrictatime", "diratime", "nodiratime",
	"lazytime", "nolazytime", "silent", "loud", "default_permissions", "comment=*", "x-*", "X-*",
};

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

static bool apply_word(const char *option, struct serve_options *options)
{
	static const struct {
		const char *word;
		size_t offset;
		bool value;
	} words[] = {
		{"ro", offsetof(struct serve_options, read_only), true},
		{"rw", offsetof(struct serve_options, read_only), false},
		{"sync", offsetof(struct serve_options, sync_on_close), true},
		{"allow_other", offsetof(struct serve_options, allow_other), true},
		{"debug", offsetof(struct serve_options, debug), true},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(option, words[i].word) == 0) {
			*(bool *)((char *)options + words[i].offset) = words[i].value;
			return true;
		}
	return false;
}

static int parse_commit(const char *value, struct serve_options *options, char *why, size_t why_size)
{
	char *end;
	unsigned long ms = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end || ms < 1 || ms > MOUNTOPT_COMMIT_MS_MAX) {
		snprintf(why, why_size, "commit=%s: want milliseconds, 1 to %d", value,
		         MOUNTOPT_COMMIT_MS_MAX);
		return -EINVAL;
	}
	options->commit_ms = (unsigned)ms;
	return 0;
}

static int parse_io_uring(const char *value, struct serve_options *options, char *why, size_t why_size)
{
	static const char *const words[] = {
		[SERVE_IO_URING_AUTO] = "auto", [SERVE_IO_URING_ON] = "on", [SERVE_IO_URING_OFF] = "off",
	};

	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(value, words[i]) == 0) {
			options->io_uring = (enum serve_io_uring)i;
			return 0;
		}
	snprintf(why, why_size, "io_uring=%s: want auto, on or off", value);
	return -EINVAL;
}

static int parse_one(const char *option, struct serve_options *options, char *why, size_t why_size)
{
	if (!*option || apply_word(option, options))
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

int mountopt_parse(const char *list, struct serve_options *options, char *why, size_t why_size)
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
