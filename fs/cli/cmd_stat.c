/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs stat - a store, a mount or a collection in numbers. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fs/cli/command.h"
#include "fs/cli/store_owner.h"
#include "fs/cli/keyfile.h"
#include "fs/request/message.h"
#include "fs/mount/mountpoint.h"
#include "fs/cli/report.h"
#include "fs/cli/row_digest.h"
#include "fs/cli/standby.h"
#include "fs/control/view_text.h"
#include "store/store.h"

#define WHY_BYTES 512
#define METRIC_PREFIX "vecfs_"
#define METRIC_LINE_BYTES 512
#define ALL_STATS_BYTES 65536u
#define VIEW_LINE_BYTES 512

static const char help[] =
	"usage: vecfs stat [--json | --digest] PATH\n\n"
	"Prints what is known of PATH: a store that is not mounted, a mountpoint, or a collection of a\n"
	"mount. Snapshots are listed with the bytes that each alone holds.\n\n"
	"  --json             one JSON object; sizes in bytes\n"
	"  --digest           of a collection or snapshot only its digest: equal wherever all ids and "
	"vectors\n"
	"                     are equal, in whatever order; also of STORE/NAME of a store not mounted\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_stat = {"stat", "a store, mount or collection in numbers", help, run};

static int fail(const char *what, int rc)
{
	message(VS_ERROR, "%s: %s", what, strerror(-rc));
	return rc;
}

static void print_space(struct report *p, const struct statvfs *st)
{
	report_bytes(p, "disk_bytes", (uint64_t)st->f_blocks * st->f_frsize);
	report_bytes(p, "disk_free_bytes", (uint64_t)st->f_bavail * st->f_frsize);
}

static void print_collection(struct report *p, const struct vs_collection_info *info)
{
	report_row_start(p);
	report_text(p, "name", info->name);
	report_text(p, "dtype", vs_dtype_name(info->schema.dtype));
	report_count(p, "dim", info->schema.dim);
	report_text(p, "metric", vs_metric_name(info->schema.metric));
	report_count(p, "vectors", info->count);
	report_bytes(p, "vectors_bytes", info->count * info->row_bytes);
	if (info->damaged)
		report_text(p, "state", "damaged");
	report_row_end(p);
}

/* "opq96 state=ready code_bytes=96 ...", as a row of a list. */
static void print_view(struct report *p, const char *collection, const char *text)
{
	char copy[VIEW_LINE_BYTES], *line = copy, *word, *value;

	snprintf(copy, sizeof copy, "%s", text);
	report_row_start(p);
	if (collection)
		report_text(p, "collection", collection);
	report_text(p, "name", strsep(&line, " \n"));
	while ((word = strsep(&line, " \n"))) {
		value = strchr(word, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (strcmp(word, "disk_bytes") == 0)
			report_bytes(p, word, strtoull(value, NULL, 10));
		else
			report_decimal(p, word, value);
	}
	report_row_end(p);
}

/* A durable snapshot as a row of a list; alone_bytes: what dropping it gives back. */
static void print_snapshot(struct report *p, const char *collection, const char *name, uint64_t vectors,
			   uint64_t alone_bytes)
{
	report_row_start(p);
	if (collection)
		report_text(p, "collection", collection);
	report_text(p, "name", name);
	report_count(p, "vectors", vectors);
	report_bytes(p, "alone_bytes", alone_bytes);
	report_row_end(p);
}

/* ------------------------------------------------------------------ a store that is not mounted */

static void print_store_views(struct report *p, struct vs_store *store)
{
	static struct vs_collection_info info;
	struct vs_view_info view;
	char *line;
	size_t size;
	FILE *out;

	for (info.id = 0; vs_collection_next(store, 0, info.id, &info) == 0;)
		for (view.name[0] = '\0'; vs_view_next(store, info.id, view.name, &view) == 0;) {
			out = open_memstream(&line, &size);
			if (!out)
				return;
			view_text_print_line(&view, NULL, info.row_bytes, out);
			if (fclose(out) == 0)
				print_view(p, info.name, line);
			free(line);
		}
}

static void print_store_snapshots(struct report *p, struct vs_store *store)
{
	static struct vs_collection_info info, snap;
	uint64_t alone_bytes;

	for (info.id = 0; vs_collection_next(store, 0, info.id, &info) == 0;)
		for (snap.id = 0; vs_snap_next(store, info.id, snap.id, &snap) == 0;)
			if (vs_snap_bytes(store, snap.id, &alone_bytes) == 0)
				print_snapshot(p, info.name, snap.name, snap.count, alone_bytes);
}

static void print_store(struct report *p, const char *path, struct vs_store *store)
{
	static struct vs_collection_info info;
	struct vs_counters counters;
	struct statvfs st;

	vs_counters(store, &counters);
	report_text(p, "kind", "store");
	report_text(p, "path", path);
	report_text(p, "uuid", vs_uuid(store));
	report_count(p, "vectors", counters.vectors);
	if (vs_statvfs(store, &st) == 0)
		print_space(p, &st);
	report_list_start(p, "collections");
	for (info.id = 0; vs_collection_next(store, 0, info.id, &info) == 0;)
		print_collection(p, &info);
	report_list_end(p);
	report_list_start(p, "views");
	print_store_views(p, store);
	report_list_end(p);
	report_list_start(p, "snapshots");
	print_store_snapshots(p, store);
	report_list_end(p);
}

static int stat_free_store(const char *path, bool json)
{
	struct vs_options options = {.read_only = true, .report = message_report};
	struct vs_store *store;
	struct report p;
	char why[WHY_BYTES] = "";
	int rc = vs_open(path, &options, &store, why, sizeof why);

	if (rc != 0) {
		message(VS_ERROR, "%s: %s", path, *why ? why : strerror(-rc));
		return rc;
	}
	report_start(&p, json);
	print_store(&p, path, store);
	report_end(&p);
	return vs_close(store);
}

/* ------------------------------------------------------------------ a mount */

/*
 * A line of Prometheus text: "vecfs_puts_total 12". With labels, or a comment, it is not to print; nor is the
 * number of collections, since these follow as a list of that name.
 */
static void print_metrics(struct report *p, const char *path)
{
	char line[METRIC_LINE_BYTES];
	FILE *file = fopen(path, "re");

	while (file && fgets(line, sizeof line, file)) {
		char *value = strchr(line, ' ');

		if (line[0] == '#' || !value || strchr(line, '{'))
			continue;
		*value++ = 0;
		value[strcspn(value, " \n")] = 0;
		if (strcmp(line, METRIC_PREFIX "collections") != 0)
			report_value(p,
				     strncmp(line, METRIC_PREFIX, strlen(METRIC_PREFIX)) == 0
					     ? line + strlen(METRIC_PREFIX)
					     : line,
				     value);
	}
	if (file)
		fclose(file);
}

static bool is_view(const struct keyfile_line *line)
{
	return strcmp(line->key, "view") == 0;
}

/* A collection's stats; its views and snapshots follow as lists. */
static void print_stats(struct report *p, const struct keyfile *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (!is_view(&k->lines[i]) && strcmp(k->lines[i].key, "snapshots") != 0)
			report_value(p, k->lines[i].key, k->lines[i].value);
}

static uint64_t number_of(const struct keyfile *k, const char *key)
{
	const char *value = keyfile_get(k, key);

	return value ? strtoull(value, NULL, 10) : 0;
}

/* What a collection's stats say, in the engine's terms. */
static void read_info(const struct keyfile *k, struct vs_collection_info *info)
{
	const char *dtype = keyfile_get(k, "dtype"), *metric = keyfile_get(k, "metric");

	if (dtype && vs_dtype_parse(dtype) >= 0)
		info->schema.dtype = (enum vs_dtype)vs_dtype_parse(dtype);
	if (metric && vs_metric_parse(metric) >= 0)
		info->schema.metric = (enum vs_metric)vs_metric_parse(metric);
	info->schema.dim = (uint32_t)number_of(k, "dim");
	info->count = number_of(k, "vectors");
	info->row_bytes = number_of(k, "row_bytes");
	info->damaged = number_of(k, "damaged") != 0;
}

/* The stats of all collections that everybody may read, one after the other: a name, its stats, each ended by
 * a NUL, in the order of the directory. */
struct all_stats {
	char *text;
	size_t size, used;
};

static void all_stats_load(const char *mount, struct all_stats *all)
{
	char path[PATH_MAX + 32], *grown;
	size_t room = 0, n = 1;
	FILE *file;

	*all = (struct all_stats){0};
	snprintf(path, sizeof path, "%s/.vecfs/stats", mount);
	file = fopen(path, "re");
	/* Without it, or with a part, there are still the collections' own. */
	for (; file && n && (grown = realloc(all->text, room = 2 * room + ALL_STATS_BYTES)); all->size += n) {
		all->text = grown;
		n = fread(all->text + all->size, 1, room - all->size - 2, file);
		memset(all->text + all->size + n, 0, 2); /* also a part ends in two strings */
	}
	if (file)
		fclose(file);
}

/* The stats of the next one, if it has this name; else NULL. */
static char *all_stats_next(struct all_stats *all, const char *name)
{
	char *its = all->text + all->used, *stats;

	if (all->used >= all->size || strcmp(its, name) != 0)
		return NULL;
	stats = its + strlen(its) + 1;
	all->used = (size_t)(stats + strlen(stats) + 1 - all->text);
	return stats;
}

/* What a mount tells of a collection; of one that cannot be read only the name. k: its stats. */
static void load_info(const char *mount, const char *name, struct all_stats *all,
		      struct vs_collection_info *info, struct keyfile *k)
{
	char control[PATH_MAX + NAME_MAX + 16], *stats = all_stats_next(all, name);
	int rc = 0;

	*info = (struct vs_collection_info){.damaged = true};
	k->count = 0;
	snprintf(info->name, sizeof info->name, "%s", name);
	snprintf(control, sizeof control, "%s/%s/.vecfs", mount, name);
	if (stats)
		keyfile_parse(stats, k);
	else
		rc = keyfile_load(control, "stats", k);
	if (rc == 0)
		read_info(k, info);
}

/* Keeps the views that a collection's stats tell of, as pairs of its name and a line, each ended by a NUL. */
static void keep_views(FILE *views, const char *name, const struct keyfile *k)
{
	for (size_t i = 0; i < k->count; i++)
		if (is_view(&k->lines[i]))
			fprintf(views, "%s%c%s%c", name, '\0', k->lines[i].value, '\0');
}

static void print_kept_views(struct report *p, const char *text, size_t size)
{
	report_list_start(p, "views");
	for (const char *name = text, *line, *next; name < text + size; name = next) {
		line = name + strlen(name) + 1;
		next = line + strlen(line) + 1;
		print_view(p, name, line);
	}
	report_list_end(p);
}

static void print_mounted_collections(struct report *p, const char *mount)
{
	static struct vs_collection_info info;
	static struct keyfile k;
	char *text = NULL;
	size_t size = 0;
	FILE *views = open_memstream(&text, &size);
	DIR *dir = opendir(mount);
	struct dirent *entry;
	struct all_stats all;

	all_stats_load(mount, &all);
	report_list_start(p, "collections");
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.' && (!entry->d_name[1] || strcmp(entry->d_name, "..") == 0))
			continue;
		load_info(mount, entry->d_name, &all, &info, &k);
		print_collection(p, &info);
		if (views)
			keep_views(views, entry->d_name, &k);
	}
	report_list_end(p);
	if (views && fclose(views) == 0)
		print_kept_views(p, text, size);
	free(text);
	free(all.text);
	if (dir)
		closedir(dir);
}

static int stat_mount(const struct mountpoint *m, bool json)
{
	char path[PATH_MAX + 32];
	struct statvfs st;
	struct report p;
	char host[STORE_OWNER_HOST_MAX];
	pid_t pid = store_owner_find(m->store, host);

	if (statvfs(m->path, &st) != 0)
		return fail(m->path, -errno);
	report_start(&p, json);
	report_text(&p, "kind", "mount");
	report_text(&p, "mountpoint", m->path);
	report_text(&p, "store", m->store);
	if (pid > 0)
		report_number(&p, "pid", (uint64_t)pid);
	report_text(&p, "state", "serving");
	report_text(&p, "standby", standby_is_there(m->store) ? "waits" : "none");
	print_space(&p, &st);
	snprintf(path, sizeof path, "%s/.vecfs/metrics", m->path);
	print_metrics(&p, path);
	print_mounted_collections(&p, m->path);
	report_end(&p);
	return 0;
}

/* Of a collection, or of a snapshot, which has none: oldest first. One that has just been dropped is left
 * out. */
static void print_snapshots(struct report *p, const char *control)
{
	static struct keyfile k;
	char path[PATH_MAX + NAME_MAX + 16];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "%s/snap", control);
	dir = opendir(path);
	report_list_start(p, "snapshots");
	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof path, "%s/snap/%s/.vecfs", control, entry->d_name);
		if (keyfile_load(path, "stats", &k) == 0)
			print_snapshot(p, NULL, entry->d_name, number_of(&k, "vectors"),
				       number_of(&k, "alone_bytes"));
	}
	report_list_end(p);
	if (dir)
		closedir(dir);
}

static int stat_collection(const char *path, bool json)
{
	static struct keyfile k;
	char control[PATH_MAX];
	struct statvfs st;
	struct report p;

	if (snprintf(control, sizeof control, "%s/.vecfs", path) >= (int)sizeof control)
		return fail(path, -ENAMETOOLONG);
	if (statvfs(path, &st) != 0)
		return fail(path, -errno);
	report_start(&p, json);
	report_text(&p, "kind", "collection");
	report_text(&p, "path", path);
	if (keyfile_load(control, "stats", &k) == 0)
		print_stats(&p, &k);
	print_space(&p, &st);
	report_list_start(&p, "views");
	for (size_t i = 0; i < k.count; i++)
		if (is_view(&k.lines[i]))
			print_view(&p, NULL, k.lines[i].value);
	report_list_end(&p);
	print_snapshots(&p, control);
	report_end(&p);
	return 0;
}

/* ------------------------------------------------------------------ which of them */

/* A store that a daemon has open can only be seen through its mount. */
static int stat_store(const char *path, bool json)
{
	static struct mountpoint m;
	struct report p;
	char host[STORE_OWNER_HOST_MAX];
	pid_t pid = store_owner_find(path, host);

	if (pid == -ENOENT || pid == -ENOTDIR) {
		message(VS_ERROR, "%s: neither a store nor in a mount of vecfs", path);
		return -ENOENT;
	}
	if (pid < 0)
		return fail(path, (int)pid);
	if (pid == 0)
		return stat_free_store(path, json);
	if (mountpoint_of_store(path, &m) == 0)
		return stat_mount(&m, json);
	report_start(&p, json);
	report_text(&p, "kind", "store");
	report_text(&p, "path", path);
	report_text(&p, "state", "served from elsewhere");
	report_number(&p, "pid", (uint64_t)pid);
	report_text(&p, "machine", *host ? host : "unknown");
	report_text(&p, "standby", standby_is_there(path) ? "waits" : "none");
	report_end(&p);
	return 0;
}

static int stat_path(const char *argument, bool json)
{
	static struct mountpoint m;
	char path[PATH_MAX];
	struct stat st;
	int rc = mountpoint_resolve(argument, path);

	if (rc == 0 && stat(path, &st) != 0)
		rc = -errno;
	if (rc == 0 && mountpoint_is_stale(path))
		rc = -ENOTCONN;
	if (rc != 0) {
		if (rc != -ENOTCONN)
			return fail(argument, rc);
		message(VS_ERROR, "%s: a mount whose daemon has died: run `vecfs umount %s`", argument,
			argument);
		return rc;
	}
	if (mountpoint_around(path, &m) != 0)
		return stat_store(path, json);
	if (mountpoint_is_root(&m, path))
		return stat_mount(&m, json);
	if (S_ISDIR(st.st_mode))
		return stat_collection(path, json);
	message(VS_ERROR, "%s: want a store, a mountpoint or a collection; stat(1) is for files", argument);
	return -EINVAL;
}

/* Reads every vector. */
static int print_digest(const char *path)
{
	char why[WHY_BYTES] = "", text[ROW_DIGEST_TEXT];
	struct row_source *source;
	struct digest sum;
	int rc = row_source_open(path, true, &source, why, sizeof why);

	if (rc != 0) {
		message(VS_ERROR, "%s: %s", path, why);
		return rc;
	}
	rc = row_digest(source, &sum);
	row_source_close(source);
	if (rc != 0)
		return fail(path, rc);
	row_digest_text(&sum, text);
	printf("%s\n", text);
	return 0;
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"json", no_argument, NULL, 'j'},
		{"digest", no_argument, NULL, 'd'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool json = false, digest = false;
	int answer, rc;

	while ((answer = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_stat);
		if (answer == '?' || answer == ':')
			return command_bad_option(&command_stat, answer, argv);
		json |= answer == 'j';
		digest |= answer == 'd';
	}
	if (argc - optind != 1)
		return command_misused(&command_stat, "want one PATH");
	if (json && digest)
		return command_misused(&command_stat, "either --json or --digest");
	rc = digest ? print_digest(argv[optind]) : stat_path(argv[optind], json);
	return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}
