/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/cli/command.h"
#include "fs/cli/row_diff.h"
#include "fs/cli/row_digest.h"
#include "fs/cli/row_source.h"
#include "fs/cli/transfer.h"
#include "fs/mount/mountpoint.h"
#include "fs/request/message.h"

int receive_find_collection(struct receive *r)
{
	static struct mountpoint m;
	int rc = mountpoint_resolve(r->argument, r->collection);
	char parent[PATH_MAX], *slash;

	if (rc)
		return receive_fail(r->argument, "%s", strerror(-rc));
	strcpy(parent, r->collection);
	slash = strrchr(parent, '/');
	*slash = 0;
	if (mountpoint_around(r->collection, &m) != 0 || mountpoint_is_root(&m, r->collection) ||
	    !mountpoint_is_root(&m, parent) || strcmp(slash + 1, ".vecfs") == 0)
		return receive_fail(r->argument, "want a directory just below a mountpoint of vecfs");
	if (snprintf(r->control, sizeof r->control, "%s/.vecfs", r->collection) >= (int)sizeof r->control)
		return receive_fail(r->argument, "%s", strerror(ENAMETOOLONG));
	return 0;
}

static int refuse_state(struct receive *r, const struct digest *found)
{
	const struct vecstream_header *h = &r->header;
	char want[ROW_DIGEST_TEXT], got[ROW_DIGEST_TEXT];

	if (!h->has_from)
		return receive_fail(r->argument,
				    "holds %" PRIu64
				    " vectors; a stream of all rows wants it empty or missing",
				    found->rows);
	row_digest_text(&h->from_print, want);
	row_digest_text(found, got);
	return receive_fail(
		r->argument,
		"is not what the stream is the difference to: found %s, want %s, the snapshot '%s'", got,
		want, h->from);
}

static bool schemas_fit(const struct vs_schema *a, const struct vs_schema *b)
{
	return a->dtype == b->dtype && a->dim == b->dim && a->metric == b->metric;
}

/* Whether a collection without vectors can get the stream's: what somebody has given stays. */
static bool schema_is_free(const struct vs_schema *found, const struct vs_schema *want)
{
	return (found->dim == 0 || found->dim == want->dim) &&
	       (found->dtype == VS_F32 || found->dtype == want->dtype) &&
	       (found->metric == VS_L2 || found->metric == want->metric);
}

static int refuse_schema(const struct receive *r, const struct vs_schema *found)
{
	const struct vs_schema *want = &r->header.schema;

	return receive_fail(r->argument,
			    "found dim=%u dtype=%s metric=%s, the stream has dim=%u dtype=%s metric=%s",
			    found->dim, vs_dtype_name(found->dtype), vs_metric_name(found->metric), want->dim,
			    vs_dtype_name(want->dtype), vs_metric_name(want->metric));
}

/* Of a collection that is there: whether the stream fits; *done: it is there already. */
static int look_at_rows(struct receive *r, bool *done)
{
	const struct vecstream_header *h = &r->header;
	const struct row_source_info *info;
	struct row_source *source;
	struct vs_schema schema;
	struct digest found;
	char why[RECEIVE_WHY_BYTES] = "";
	bool fits;

	if (row_source_open(r->collection, false, &source, why, sizeof why))
		return receive_fail(r->argument, "%s", why);
	info = row_source_info(source);
	r->ino = info->ino;
	if (row_fingerprint(source, &found, why, sizeof why)) {
		row_source_close(source);
		return receive_fail(r->argument, "%s", why);
	}
	*done = digest_equal(&found, &h->to_print) && schemas_fit(&info->schema, &h->schema);
	fits = info->rows > 0 ? schemas_fit(&info->schema, &h->schema)
			      : schema_is_free(&info->schema, &h->schema);
	schema = info->schema;
	row_source_close(source);
	if (!*done && !fits && h->to_print.rows > 0)
		return refuse_schema(r, &schema);
	if (!*done && !digest_equal(&found, &h->from_print)) /* of a whole stream that is the empty one */
		return refuse_state(r, &found);
	return 0;
}

static int snapshot_path(const struct receive *r, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/snap/%s", r->control, r->header.to) < PATH_MAX ? 0
											   : -ENAMETOOLONG;
}

/* Before anything is made. */
int receive_look_at_collection(struct receive *r, bool *missing, bool *done)
{
	char path[PATH_MAX];
	struct stat st;

	*done = false;
	*missing = stat(r->collection, &st) != 0;
	if (*missing && errno != ENOENT)
		return receive_fail(r->argument, "%s", strerror(errno));
	if (*missing && r->header.has_from)
		return receive_fail(r->argument, "is missing; the stream is only a difference");
	if (*missing)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return receive_fail(r->argument, "%s", strerror(ENOTDIR));
	if (*r->header.to && (snapshot_path(r, path) != 0 || stat(path, &st) == 0))
		return receive_fail(r->argument, "has a snapshot '%s' already", r->header.to);
	return look_at_rows(r, done);
}

static int write_schema(const struct receive *r)
{
	const struct vs_schema *schema = &r->header.schema;
	char path[PATH_MAX], text[128];
	int n = snprintf(text, sizeof text, "dtype=%s\nmetric=%s\n", vs_dtype_name(schema->dtype),
			 vs_metric_name(schema->metric));
	int rc;

	if (schema->dim > 0)
		n += snprintf(text + n, sizeof text - (size_t)n, "dim=%u\n", schema->dim);
	if (snprintf(path, sizeof path, "%s/schema", r->control) >= (int)sizeof path)
		return receive_fail(r->argument, "%s", strerror(ENAMETOOLONG));
	rc = transfer_write_path(path, text, (size_t)n);
	return rc ? receive_fail(path, "%s", strerror(-rc)) : 0;
}

/* The schema is ours, but nothing else may have changed. */
static int look_again(struct receive *r)
{
	struct row_source *source;
	char why[RECEIVE_WHY_BYTES] = "";
	uint64_t rows;

	if (row_source_open(r->collection, false, &source, why, sizeof why))
		return receive_fail(r->argument, "%s", why);
	r->ino = row_source_info(source)->ino;
	rows = row_source_info(source)->rows;
	row_source_close(source);
	return rows > 0 ? receive_fail(r->argument, "has been changed by others meanwhile") : 0;
}

int receive_prepare_collection(struct receive *r, bool missing)
{
	if (missing && mkdir(r->collection, 0777) != 0)
		return receive_fail(r->argument, "%s", strerror(errno));
	r->made_collection = missing;
	if (r->header.has_from)
		return 0;
	return write_schema(r) || (!missing && look_again(r)) ? COMMAND_FAILED : 0;
}

/* ------------------------------------------------------------------ afterwards */

/* Mode, owner and time of the collection, as far as whoever asks may set them. */
int receive_set_attributes(const struct receive *r)
{
	const struct vs_file_attr *a = &r->header.attr;
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = a->mtime_s, .tv_nsec = a->mtime_ns}};

	if (chown(r->collection, a->uid, a->gid) != 0 && errno != EPERM)
		return receive_fail(r->argument, "%s", strerror(errno));
	if (chmod(r->collection, a->mode) != 0 || utimensat(AT_FDCWD, r->collection, times, 0) != 0)
		return receive_fail(r->argument, "%s", strerror(errno));
	return 0;
}

/* Makes a view of its line, whose words are cut apart; one that is there stays as it is. */
static void make_view(const struct receive *r, char *line)
{
	char path[PATH_MAX], *word = strchr(line, ' ');
	int rc = 0;

	if (word)
		*word++ = 0;
	if (snprintf(path, sizeof path, "%s/views/%s", r->control, line) >= (int)sizeof path ||
	    strchr(line, '/'))
		return;
	if (mkdir(path, 0777) != 0)
		rc = errno == EEXIST ? 0 : -errno;
	else if (word && snprintf(path, sizeof path, "%s/views/%s/.vecfs/params", r->control, line) <
				 (int)sizeof path) {
		for (char *p = word; *p; p++)
			if (*p == ' ')
				*p = '\n';
		strcat(word, "\n"); /* in the place of the line's own */
		rc = transfer_write_path(path, word, strlen(word));
	}
	if (rc)
		message(VS_WARNING, "%s: cannot get the view %s: %s", r->argument, line, strerror(-rc));
}

/* They are derived: what hinders one is no reason to refuse the vectors. */
void receive_make_views(const struct receive *r)
{
	const char *line = r->header.views, *end;
	char copy[VECSTREAM_VIEWS_MAX];

	for (; (end = strchr(line, '\n')); line = end + 1) {
		snprintf(copy, sizeof copy, "%.*s", (int)(end - line), line);
		make_view(r, copy);
	}
}

/* The snapshot that was sent; not if others have changed the collection just now. */
int receive_take_snapshot(const struct receive *r)
{
	char path[PATH_MAX], why[RECEIVE_WHY_BYTES] = "";
	struct row_source *source;
	struct digest found;
	int rc;

	if (!*r->header.to)
		return 0;
	if (snapshot_path(r, path) != 0 || mkdir(path, 0777) != 0)
		return receive_fail(r->argument, "received, but it cannot get the snapshot '%s': %s",
				    r->header.to, strerror(errno));
	rc = row_source_open(path, false, &source, why, sizeof why);
	if (!rc) {
		rc = row_fingerprint(source, &found, why, sizeof why);
		row_source_close(source);
	}
	if (!rc && digest_equal(&found, &r->header.to_print))
		return 0;
	rmdir(path);
	return receive_fail(r->argument, "received, but it cannot get the snapshot '%s': %s", r->header.to,
			    *why ? why : "others have changed the collection at once");
}
