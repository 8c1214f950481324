/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/occupant.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether a process does what is asked about; arg has room for what it does it with. */
typedef bool (*question)(const char *process, void *arg);

static void read_name(const char *process, char name[64])
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof path, "/proc/%.20s/comm", process);
	file = fopen(path, "re");
	if (!file || !fgets(name, 64, file))
		strcpy(name, "?");
	name[strcspn(name, "\n")] = 0;
	if (file)
		fclose(file);
}

/* The first process that says yes, as "process 12 (bash)". False: none does, or it is not to be seen. */
static bool find_process(question asks, void *arg, char *text, size_t text_size)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	bool found = false;
	char name[64];

	while (dir && !found && (entry = readdir(dir))) {
		size_t digits = strspn(entry->d_name, "0123456789");

		if (digits == 0 || entry->d_name[digits] || !asks(entry->d_name, arg))
			continue;
		read_name(entry->d_name, name);
		snprintf(text, text_size, "process %.20s (%s)", entry->d_name, name);
		found = true;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* ------------------------------------------------------------------ who has something open */

struct use {
	const struct mountpoint *mount;
	char file[PATH_MAX];
};

static bool links_into(const char *link, struct use *use)
{
	ssize_t n = readlink(link, use->file, sizeof use->file - 1);

	use->file[n > 0 ? n : 0] = 0;
	return n > 0 && mountpoint_contains(use->mount->path, use->file);
}

static bool has_descriptor(const char *process, struct use *use)
{
	char path[512];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%.20s/fd", process);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		snprintf(path, sizeof path, "/proc/%.20s/fd/%.255s", process, entry->d_name);
		found = links_into(path, use);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* A line of maps: "55d0-55d1 r--p 00000000 00:2f 1234    /path". */
static bool has_mapping(const char *process, struct use *use)
{
	char path[64], *line = NULL;
	size_t capacity = 0;
	bool found = false;
	unsigned major, minor;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%.20s/maps", process);
	file = fopen(path, "re");
	while (file && !found && getline(&line, &capacity, file) > 0) {
		const char *name = strchr(line, '/');

		found = sscanf(line, "%*s %*s %*s %x:%x", &major, &minor) == 2 && major == 0 &&
			minor == use->mount->minor;
		if (found)
			snprintf(use->file, sizeof use->file, "%.*s", name ? (int)strcspn(name, "\n") : 0,
				 name ? name : "");
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

static bool uses_mount(const char *process, void *arg)
{
	static const char *const links[] = {"cwd", "root"};
	char path[64];

	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(path, sizeof path, "/proc/%.20s/%s", process, links[i]);
		if (links_into(path, arg))
			return true;
	}
	return has_descriptor(process, arg) || has_mapping(process, arg);
}

void occupant_of_mount(const struct mountpoint *m, char *text, size_t text_size)
{
	static struct use use;
	static struct mountpoint below;
	char process[128];

	use = (struct use){.mount = m};
	if (mountpoint_below(m->path, &below) == 0)
		snprintf(text, text_size, "something else is mounted at %s", below.path);
	else if (find_process(uses_mount, &use, process, sizeof process))
		snprintf(text, text_size, "%s uses %s", process, use.file);
	else
		snprintf(text, text_size, "a process that is not to be seen from here uses it");
}

/* ------------------------------------------------------------------ who has it mounted */

struct copy {
	const struct mountpoint *mount;
	struct mountpoint found;
};

static bool sees_copy(const char *process, void *arg)
{
	struct copy *copy = arg;
	char path[64];

	snprintf(path, sizeof path, "/proc/%.20s/mountinfo", process);
	return mountpoint_in_list(path, copy->mount, &copy->found) == 0;
}

void occupant_of_file_system(const struct mountpoint *m, char *text, size_t text_size)
{
	static struct copy copy;
	char process[128];

	copy.mount = m;
	if (mountpoint_in_list("/proc/self/mountinfo", m, &copy.found) == 0)
		snprintf(text, text_size, "it is also mounted at %s", copy.found.path);
	else if (find_process(sees_copy, &copy, process, sizeof process))
		snprintf(text, text_size, "in another mount namespace %s has it at %s", process,
			 copy.found.path);
	else
		snprintf(text, text_size, "something that is not to be seen from here holds it");
}
