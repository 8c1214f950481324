/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOUNTINFO "/proc/self/mountinfo"

extern char **environ;

/* Undoes the kernel's octal escapes ("\040" is a space) in place. */
static void unescape(char *text)
{
	char *to = text;

	for (char *from = text; *from; to++) {
		unsigned code;

		if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
			*to = (char)code;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* Copies an escaped field; false: it is missing, or too long. */
static bool take_field(char *field, char out[PATH_MAX])
{
	if (!field)
		return false;
	unescape(field);
	if (strlen(field) >= PATH_MAX)
		return false;
	strcpy(out, field);
	return true;
}

/* A line of mountinfo: "36 35 98:0 /root /path options optional... - type source super-options". */
static bool parse_line(char *line, struct mountpoint *out, bool *is_vecfs)
{
	enum { DEVICE = 2, ROOT, PATH, FIELDS };
	char *rest = line, *fields[FIELDS], *after = strstr(line, " - "), *type;

	if (!after)
		return false;
	*after = 0;
	for (int field = 0; field < FIELDS; field++)
		fields[field] = strsep(&rest, " ");
	after += strlen(" - ");
	type = strsep(&after, " ");
	if (!fields[PATH] || sscanf(fields[DEVICE], "%*u:%u", &out->minor) != 1)
		return false;
	*is_vecfs = strcmp(type, "fuse.vecfs") == 0;
	return take_field(fields[ROOT], out->root) && take_field(fields[PATH], out->path) &&
	       take_field(strsep(&after, " \n"), out->store);
}

bool mountpoint_contains(const char *outer, const char *inner)
{
	size_t len = strlen(outer);

	if (strcmp(outer, "/") == 0)
		return true;
	return strncmp(outer, inner, len) == 0 && (inner[len] == 0 || inner[len] == '/');
}

enum relation { AT, AROUND, BELOW, OF_STORE, OF_DEVICE, WHOLE_OF_DEVICE };

/* What is looked for. */
struct query {
	enum relation relation;
	const char *path; /* or the store */
	unsigned minor;
	const char *list; /* mountinfo of whom; NULL: our own */
};

static bool matches(const struct mountpoint *m, bool is_vecfs, const struct query *q)
{
	switch (q->relation) {
	case AT:
		return strcmp(m->path, q->path) == 0;
	case AROUND:
		return mountpoint_contains(m->path, q->path);
	case BELOW:
		return strcmp(m->path, q->path) != 0 && mountpoint_contains(q->path, m->path);
	case OF_STORE:
		return is_vecfs && strcmp(m->store, q->path) == 0;
	case OF_DEVICE:
		return is_vecfs && m->minor == q->minor;
	case WHOLE_OF_DEVICE:
		return is_vecfs && m->minor == q->minor && strcmp(m->root, "/") == 0;
	}
	return false;
}

/* The last match counts: later mounts cover earlier ones. Around a path, the innermost does. */
static int find(const struct query *q, struct mountpoint *out)
{
	FILE *file = fopen(q->list ? q->list : MOUNTINFO, "re");
	struct mountpoint *m = malloc(sizeof *m);
	char *line = NULL;
	size_t capacity = 0, deepest = 0;
	bool is_vecfs, found = false;

	if (!file || !m) {
		int rc = file ? -ENOMEM : -errno;

		if (file)
			fclose(file);
		free(m);
		return rc;
	}
	while (getline(&line, &capacity, file) > 0) {
		if (!parse_line(line, m, &is_vecfs) || !matches(m, is_vecfs, q) || strlen(m->path) < deepest)
			continue;
		if (q->relation == AROUND)
			deepest = strlen(m->path);
		found = is_vecfs || q->relation == BELOW;
		*out = *m;
	}
	free(line);
	free(m);
	fclose(file);
	return found ? 0 : -ENOENT;
}

int mountpoint_at(const char *path, struct mountpoint *out)
{
	return find(&(struct query){.relation = AT, .path = path}, out);
}

int mountpoint_around(const char *path, struct mountpoint *out)
{
	return find(&(struct query){.relation = AROUND, .path = path}, out);
}

int mountpoint_below(const char *path, struct mountpoint *out)
{
	return find(&(struct query){.relation = BELOW, .path = path}, out);
}

int mountpoint_of_store(const char *store, struct mountpoint *out)
{
	return find(&(struct query){.relation = OF_STORE, .path = store}, out);
}

int mountpoint_whole(const struct mountpoint *m, struct mountpoint *out)
{
	return find(&(struct query){.relation = WHOLE_OF_DEVICE, .minor = m->minor}, out);
}

int mountpoint_in_list(const char *list, const struct mountpoint *m, struct mountpoint *out)
{
	return find(&(struct query){.relation = OF_DEVICE, .minor = m->minor, .list = list}, out);
}

bool mountpoint_is_root(const struct mountpoint *m, const char *path)
{
	return strcmp(m->root, "/") == 0 && strcmp(m->path, path) == 0;
}

int mountpoint_resolve(const char *path, char out[PATH_MAX])
{
	char copy[PATH_MAX], parent[PATH_MAX], *base;
	int n;

	if (strlen(path) >= sizeof copy)
		return -ENAMETOOLONG;
	if (!*path) /* dirname(3) would take it for the current directory */
		return -ENOENT;
	if (realpath(path, out))
		return 0;
	if (errno != ENOTCONN && errno != ENOENT && errno != EACCES)
		return -errno;
	if (!realpath(dirname(strcpy(copy, path)), parent))
		return -errno;
	base = basename(strcpy(copy, path));
	n = snprintf(out, PATH_MAX, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, base);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/*
 * The kernel may still have the attributes of the root, but not these numbers. A connection that is only just
 * ending aborts the question (ECONNABORTED, on io_uring also ECANCELED): it is asked once more.
 */
bool mountpoint_is_stale(const char *path)
{
	struct statvfs st;
	int rc;

	do
		rc = statvfs(path, &st);
	while (rc != 0 && (errno == ECONNABORTED || errno == ECANCELED));
	return rc != 0 && errno == ENOTCONN;
}

/* fusermount3 tells why it failed only in words: -EBUSY if "busy" is among them, else -EPERM. */
static int fusermount_verdict(int words_fd)
{
	char words[512] = "";
	size_t len = 0;
	ssize_t n;

	while (len < sizeof words - 1 && (n = read(words_fd, words + len, sizeof words - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	return strstr(words, "busy") ? -EBUSY : -EPERM;
}

static int run_fusermount(const char *path, bool lazily)
{
	char *argv[] = {"fusermount3", lazily ? "-uz" : "-u", "--", (char *)path, NULL};
	posix_spawn_file_actions_t actions;
	int words[2], status = -1, rc;
	pid_t pid;

	if (pipe2(words, O_CLOEXEC) != 0)
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, words[1], STDERR_FILENO);
	rc = -posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(words[1]);
	if (rc == 0) {
		rc = fusermount_verdict(words[0]);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			continue;
	}
	close(words[0]);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : rc;
}

int mountpoint_unmount(const char *path, bool lazily)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM ? run_fusermount(path, lazily) : -errno;
}
