/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/row_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/keyfile.h"
#include "fs/cli/store_path.h"
#include "fs/mount/mountpoint.h"
#include "fs/request/message.h"
#include "store/view/view.h"

#define WHICH_BITS 4 /* of an array's inode number: the rest tells the version */
#define TRIES_MAX 10000
#define IDS_BYTES (ROW_CURSOR_ROWS * (VS_NAME_MAX + 1u))

enum array { ARRAY_OF_IDS, ARRAY_OF_META, ARRAY_OF_VECTORS, ARRAYS };

struct row_source {
	struct row_source_info info;
	int fd[ARRAYS];         /* -1: not wanted, or not mounted */
	char control[PATH_MAX]; /* of it in a mount */
	int control_fd;         /* of the same, whatever has its name now */
	char store_dir[PATH_MAX];
	struct vs_store *store;
	uint32_t collection;
	struct vs_snapshot *snapshot;
};

__attribute__((format(printf, 4, 5))) static int refuse(char *why, size_t why_size, int rc,
							const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, why_size, format, args);
	va_end(args);
	return rc;
}

/* ------------------------------------------------------------------ a mount */

static int load_schema(struct row_source *s, const char *control, char *why, size_t why_size)
{
	static struct keyfile k;
	int rc = keyfile_load(control, "schema", &k);
	const char *dim = rc ? NULL : keyfile_get(&k, "dim"), *dtype = rc ? NULL : keyfile_get(&k, "dtype");
	const char *metric = rc ? NULL : keyfile_get(&k, "metric");

	if (rc)
		return refuse(why, why_size, rc, "%s", strerror(-rc));
	if (!dim || !dtype || !metric || vs_dtype_parse(dtype) < 0 || vs_metric_parse(metric) < 0)
		return refuse(why, why_size, -EPROTO, "its schema is none that this program knows");
	s->info.schema =
		(struct vs_schema){(uint32_t)strtoul(dim, NULL, 10), (enum vs_dtype)vs_dtype_parse(dtype),
				   (enum vs_metric)vs_metric_parse(metric)};
	s->info.row_bytes = vs_row_bytes(&s->info.schema);
	return 0;
}

static int open_array(struct row_source *s, enum array which)
{
	char name[32] = "ids0";

	if (which == ARRAY_OF_META)
		strcpy(name, "rows");
	if (which == ARRAY_OF_VECTORS)
		snprintf(name, sizeof name, "vectors.%s", vs_dtype_name(s->info.schema.dtype));
	if (s->fd[which] >= 0)
		close(s->fd[which]);
	s->fd[which] = openat(s->control_fd, name, O_RDONLY | O_CLOEXEC);
	return s->fd[which] < 0 ? -errno : 0;
}

static bool is_wanted(const struct row_source *s, enum array which, bool has_vectors)
{
	return which != ARRAY_OF_VECTORS || (has_vectors && s->info.row_bytes > 0);
}

/* Whether all arrays that are open are of one version of the collection; their sizes are what info tells
 * then. */
static int look_at_arrays(struct row_source *s, bool *same)
{
	uint64_t version = 0;
	struct stat st;

	*same = true;
	for (int i = 0; i < ARRAYS; i++) {
		if (s->fd[i] < 0)
			continue;
		if (fstat(s->fd[i], &st) != 0)
			return -errno;
		if (i == ARRAY_OF_IDS) {
			version = st.st_ino >> WHICH_BITS;
			s->info.ino = st.st_ino;
			s->info.ids_bytes = (uint64_t)st.st_size;
		} else if (st.st_ino >> WHICH_BITS != version) {
			*same = false;
		}
		if (i == ARRAY_OF_META)
			s->info.rows = (uint64_t)st.st_size / sizeof(struct vs_row_meta);
	}
	return 0;
}

/* Files that are opened one after the other are of one moment, unless the mount cannot tell us from others
 * and somebody writes: then they are opened again. */
static int open_arrays(struct row_source *s, bool has_vectors, char *why, size_t why_size)
{
	bool same = false;
	int rc = 0;

	s->control_fd = open(s->control, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->control_fd < 0)
		return refuse(why, why_size, -errno, "%s", strerror(errno));

	for (int tries = 0; !rc && !same; tries++) {
		if (tries == TRIES_MAX)
			return refuse(why, why_size, -EBUSY, "others change it too fast");
		for (enum array i = 0; i < ARRAYS && !rc; i++)
			if (is_wanted(s, i, has_vectors))
				rc = open_array(s, i);
		if (!rc)
			rc = look_at_arrays(s, &same);
	}
	return rc ? refuse(why, why_size, rc, "%s", strerror(-rc)) : 0;
}

static int open_mounted(struct row_source *s, const char *path, bool has_vectors, char *why, size_t why_size)
{
	char control[PATH_MAX];
	struct stat st;
	int rc;

	if (snprintf(control, sizeof control, "%s/.vecfs", path) >= (int)sizeof control)
		return refuse(why, why_size, -ENAMETOOLONG, "%s", strerror(ENAMETOOLONG));
	strcpy(s->control, control);
	if (stat(path, &st) != 0)
		return refuse(why, why_size, -errno, "%s", strerror(errno));
	s->info.attr = (struct vs_file_attr){st.st_mtim.tv_sec, (uint32_t)st.st_mtim.tv_nsec,
					     st.st_mode & 07777, st.st_uid, st.st_gid};
	s->info.ctime = st.st_ctim;
	rc = load_schema(s, control, why, why_size);
	return rc ? rc : open_arrays(s, has_vectors, why, why_size);
}

static int read_file(int fd, void *buf, size_t size, uint64_t off)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)buf + done, size - done, (off_t)(off + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* ------------------------------------------------------------------ a store that is not mounted */

static int open_snapshot(struct row_source *s, const struct store_path *path)
{
	static struct vs_collection_info info;
	struct vs_snapshot_info of;
	struct timespec mtime;
	int rc = store_path_find(s->store, path, &info);

	if (!rc)
		rc = vs_snapshot_open(s->store, info.id, &s->snapshot);
	s->collection = info.id;
	if (rc)
		return rc;
	vs_snapshot_info(s->snapshot, &of);
	vs_time_split(info.mtime, &mtime);
	vs_time_split(info.ctime, &s->info.ctime);
	s->info.schema = of.schema;
	s->info.row_bytes = of.row_bytes;
	s->info.rows = of.rows;
	s->info.ids_bytes = of.ids0_bytes;
	s->info.attr = (struct vs_file_attr){mtime.tv_sec, (uint32_t)mtime.tv_nsec, info.perm.mode,
					     info.perm.uid, info.perm.gid};
	return 0;
}

static int open_unmounted(struct row_source *s, char *path, char *why, size_t why_size)
{
	struct vs_options options = {.read_only = true, .report = message_report};
	struct store_path parts;
	int rc = store_path_split(path, &parts);

	*why = 0;
	if (!rc && snprintf(s->store_dir, sizeof s->store_dir, "%s", parts.store) >= (int)sizeof s->store_dir)
		rc = -ENAMETOOLONG;
	if (!rc)
		rc = vs_open(parts.store, &options, &s->store, why, why_size);
	if (!rc)
		rc = open_snapshot(s, &parts);
	if (rc && !*why)
		refuse(why, why_size, rc, "%s",
		       rc == -ENOENT ? "no such collection or snapshot" : strerror(-rc));
	return rc;
}

/* ------------------------------------------------------------------ the interface */

/* The collection's path without symbolic links, and behind it that of the snapshot within, as it stands: in a
 * store that is not mounted nothing has that name. */
static int resolve(const char *path, char resolved[PATH_MAX])
{
	const char *infix = strstr(path, STORE_PATH_SNAP);
	char collection[PATH_MAX];
	size_t used;
	int rc;

	if (snprintf(collection, sizeof collection, "%.*s", infix ? (int)(infix - path) : (int)strlen(path),
		     path) >= (int)sizeof collection)
		return -ENAMETOOLONG;
	rc = mountpoint_resolve(collection, resolved);
	used = rc ? 0 : strlen(resolved);
	if (!rc && infix && snprintf(resolved + used, PATH_MAX - used, "%s", infix) >= (int)(PATH_MAX - used))
		rc = -ENAMETOOLONG;
	return rc;
}

int row_source_open(const char *path, bool has_vectors, struct row_source **out, char *why, size_t why_size)
{
	static struct mountpoint m;
	char resolved[PATH_MAX];
	struct row_source *s = calloc(1, sizeof *s);
	const char *infix;
	int rc = s ? resolve(path, resolved) : -ENOMEM;

	*out = NULL;
	if (rc) {
		free(s);
		return refuse(why, why_size, rc, "%s", strerror(-rc));
	}
	for (int i = 0; i < ARRAYS; i++)
		s->fd[i] = -1;
	s->control_fd = -1;
	infix = strstr(resolved, STORE_PATH_SNAP);
	if (infix)
		snprintf(s->info.snapshot, sizeof s->info.snapshot, "%s", infix + strlen(STORE_PATH_SNAP));
	if (mountpoint_around(resolved, &m) == 0)
		rc = open_mounted(s, resolved, has_vectors, why, why_size);
	else
		rc = open_unmounted(s, resolved, why, why_size);
	if (rc)
		row_source_close(s);
	else
		*out = s;
	return rc;
}

void row_source_close(struct row_source *s)
{
	if (!s)
		return;
	for (int i = 0; i < ARRAYS; i++)
		if (s->fd[i] >= 0)
			close(s->fd[i]);
	if (s->control_fd >= 0)
		close(s->control_fd);
	if (s->snapshot)
		vs_snapshot_close(s->snapshot);
	if (s->store)
		vs_close(s->store);
	free(s);
}

const struct row_source_info *row_source_info(const struct row_source *s)
{
	return &s->info;
}

static int whole(ssize_t got, size_t want)
{
	return got < 0 ? (int)got : (size_t)got == want ? 0 : -EIO;
}

int row_source_ids(const struct row_source *s, void *buf, size_t size, uint64_t off)
{
	if (s->snapshot)
		return whole(vs_snapshot_ids0(s->snapshot, buf, size, off), size);
	return read_file(s->fd[ARRAY_OF_IDS], buf, size, off);
}

int row_source_vectors(const struct row_source *s, void *buf, size_t size, uint64_t off)
{
	if (s->snapshot)
		return whole(vs_snapshot_vectors(s->snapshot, buf, size, off), size);
	return read_file(s->fd[ARRAY_OF_VECTORS], buf, size, off);
}

int row_source_meta(const struct row_source *s, uint64_t first, uint64_t count, struct vs_row_meta *out)
{
	if (s->snapshot)
		return whole(vs_snapshot_meta(s->snapshot, first, count, out), count);
	return read_file(s->fd[ARRAY_OF_META], out, count * sizeof *out, first * sizeof *out);
}

/* Where the file of segment n is: in a mount a link, below control_fd. */
static int segment_path(const struct row_source *s, uint32_t n, char path[PATH_MAX])
{
	char own[PATH_MAX];
	int rc, len;

	if (!s->store) {
		len = snprintf(path, PATH_MAX, "segments/%u.npy", n);
	} else {
		rc = vs_segment_path(s->store, s->collection, n, own, sizeof own, NULL);
		if (rc)
			return rc;
		len = snprintf(path, PATH_MAX, "%s/%s", s->store_dir, own);
	}
	return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int row_source_open_segment(const struct row_source *s, uint32_t n)
{
	char path[PATH_MAX];
	int rc = segment_path(s, n, path), fd = -1;

	if (!rc)
		fd = openat(s->control_fd, path, O_RDONLY | O_CLOEXEC);
	return rc ? rc : fd < 0 ? -errno : fd;
}

int row_source_write(const struct row_source *s, const char *file, const char *line, size_t size)
{
	int fd = s->store ? -ENOTSUP : openat(s->control_fd, file, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return s->store ? fd : -errno;
	if (write(fd, line, size) != (ssize_t)size)
		rc = -EIO;
	close(fd);
	return rc;
}

void row_source_file(const struct row_source *s, uint32_t n, struct row_file *out)
{
	char path[PATH_MAX];
	struct stat st;

	*out = (struct row_file){0};
	if (segment_path(s, n, path) == 0 && fstatat(s->control_fd, path, &st, 0) == 0)
		*out = (struct row_file){st.st_nlink > 1, st.st_dev, st.st_ino};
}

static int add_line(char *out, size_t size, const char *name, const char *seed, const char *train,
		    const char *retrain)
{
	size_t used = strlen(out);
	int n = snprintf(out + used, size - used, "%s seed=%s train=%s retrain=%s\n", name, seed, train,
			 retrain);

	return (size_t)n < size - used ? 0 : -ENAMETOOLONG;
}

static int add_mounted_view(const struct row_source *s, const char *name, char *out, size_t size)
{
	static struct keyfile k;
	const char *seed, *train, *retrain;
	char dir[PATH_MAX];
	int rc;

	if (name[0] == '.')
		return 0;
	if (snprintf(dir, sizeof dir, "%s/views/%s/.vecfs", s->control, name) >= (int)sizeof dir)
		return -ENAMETOOLONG;
	rc = keyfile_load(dir, "params", &k);
	if (rc)
		return rc == -ENOENT ? 0 : rc; /* just dropped */
	seed = keyfile_get(&k, "seed");
	train = keyfile_get(&k, "train");
	retrain = keyfile_get(&k, "retrain");
	return seed && train && retrain ? add_line(out, size, name, seed, train, retrain) : -EPROTO;
}

static int mounted_views(const struct row_source *s, char *out, size_t size)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int rc = 0;

	if (snprintf(path, sizeof path, "%s/views", s->control) >= (int)sizeof path)
		return -ENAMETOOLONG;
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (!rc && (entry = readdir(dir)))
		rc = add_mounted_view(s, entry->d_name, out, size);
	closedir(dir);
	return rc;
}

int row_source_views(const struct row_source *s, char *out, size_t size)
{
	struct vs_view_info info = {.name = ""};
	int rc = 0;

	*out = 0;
	if (!s->store)
		return mounted_views(s, out, size);
	while (!rc && vs_view_next(s->store, s->collection, info.name, &info) == 0) {
		char seed[24], train[16];

		snprintf(seed, sizeof seed, "%llu", (unsigned long long)info.params.seed);
		snprintf(train, sizeof train, "%u", info.params.train_rows);
		rc = add_line(out, size, info.name, seed, train, info.params.retrain_auto ? "auto" : "off");
	}
	return rc;
}

/* ------------------------------------------------------------------ from front to back */

int row_cursor_start(struct row_cursor *c, const struct row_source *source, bool has_meta)
{
	*c = (struct row_cursor){.source = source, .has_meta = has_meta, .ids = malloc(IDS_BYTES)};
	c->meta = has_meta ? malloc(ROW_CURSOR_ROWS * sizeof *c->meta) : NULL;
	if (c->ids && (c->meta || !has_meta))
		return 0;
	row_cursor_end(c);
	return -ENOMEM;
}

/* More ids behind those that have not been handed out. */
static int fill_ids(struct row_cursor *c)
{
	const struct row_source_info *info = &c->source->info;
	size_t size, held = c->ids_held - c->ids_used;
	int rc;

	memmove(c->ids, c->ids + c->ids_used, held);
	size = info->ids_bytes - c->ids_at < IDS_BYTES - held ? (size_t)(info->ids_bytes - c->ids_at)
							      : IDS_BYTES - held;
	rc = size > 0 ? row_source_ids(c->source, c->ids + held, size, c->ids_at) : -EIO;
	c->ids_at += size;
	c->ids_held = held + size;
	c->ids_used = 0;
	return rc;
}

int row_cursor_next(struct row_cursor *c, const char **id, size_t *len, const struct vs_row_meta **meta)
{
	const struct row_source_info *info = &c->source->info;
	uint64_t in_block = c->row % ROW_CURSOR_ROWS, left = info->rows - c->row;
	char *end;
	int rc = 0;

	if (c->row >= info->rows)
		return 0;
	if (c->has_meta && in_block == 0)
		rc = row_source_meta(c->source, c->row, left < ROW_CURSOR_ROWS ? left : ROW_CURSOR_ROWS,
				     c->meta);
	if (rc)
		return rc;
	end = memchr(c->ids + c->ids_used, 0, c->ids_held - c->ids_used);
	if (!end) {
		rc = fill_ids(c);
		end = rc ? NULL : memchr(c->ids, 0, c->ids_held);
	}
	if (!end)
		return rc ? rc : -EIO;
	*id = c->ids + c->ids_used;
	*len = (size_t)(end - *id);
	c->ids_used += *len + 1;
	if (meta)
		*meta = &c->meta[in_block];
	c->row++;
	return 1;
}

void row_cursor_end(struct row_cursor *c)
{
	free(c->ids);
	free(c->meta);
	c->ids = NULL;
	c->meta = NULL;
}
