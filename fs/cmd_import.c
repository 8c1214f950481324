/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs import - a file of vectors into a collection of a mount, as one batch through plain file calls. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/array.h"
#include "fs/command.h"
#include "fs/ids.h"
#include "fs/interrupt.h"
#include "fs/keyfile.h"
#include "fs/message.h"
#include "fs/mountpoint.h"
#include "fs/progress.h"
#include "fs/quantity.h"
#include "fs/recode.h"
#include "fs/source.h"
#include "fs/transfer.h"

#define WHY_BYTES 512

static const char help[] =
	"usage: vecfs import [--ids FILE] [--escape] [--dtype TYPE] COLLECTION FILE\n\n"
	"Imports the vectors of FILE into COLLECTION, a directory of a mount, which is made if it is\n"
	"missing. All of them appear at once and durably, or none does. FILE is a .npy, .fvecs, .bvecs,\n"
	".fbin, .u8bin, .i8bin or, raw, a .f32, .f16, .bf16, .i8, .u8 or .bit file.\n\n"
	"  --ids FILE         line n is the id of row n (default: the row numbers 0, 1, 2, ...)\n"
	"  --escape           percent-encode in ids what no file name can have\n"
	"  --dtype TYPE       convert among f32, f16 and bf16\n"
	"  --dim N            the dim of a raw file (default: that of the collection)\n"
	"  --format SUFFIX    the format of FILE, whatever it is called; needed where FILE is -, standard\n"
	"                     input, which can be npy, fbin, u8bin or i8bin\n"
	"  -q, --quiet        no progress\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_import = {"import", "vectors of a file into a collection", help, run};

struct import {
	/* What was asked for. */
	const char *file, *ids_file, *format;
	int dtype; /* enum vs_dtype, or -1 */
	uint32_t dim;
	bool escape, quiet;
	/* The collection. */
	char collection[PATH_MAX]; /* absolute */
	char control[PATH_MAX];    /* COLLECTION/.vecfs */
	char batch[PATH_MAX];      /* COLLECTION/.vecfs/tx/NAME */
	char log[PATH_MAX];
	char batch_name[48];
	bool made_collection, made_batch;
	struct vs_schema schema; /* of the collection; dim is 0 while it is not fixed */
	/* What is imported. */
	struct source *source;
	struct ids ids;
	struct array_shape shape; /* of the vectors as they are written */
	struct progress progress;
};

static int fail(const char *what, int rc)
{
	message(VS_ERROR, "%s: %s", what, rc == -EINTR ? "interrupted; nothing was imported" : strerror(-rc));
	return rc;
}

__attribute__((format(printf, 3, 4)))
static int join(char path[PATH_MAX], const char *dir, const char *format, ...)
{
	va_list args;
	int n = snprintf(path, PATH_MAX, "%s/", dir);

	if (n < PATH_MAX) {
		va_start(args, format);
		n += vsnprintf(path + n, (size_t)(PATH_MAX - n), format, args);
		va_end(args);
	}
	return n < PATH_MAX ? 0 : fail(dir, -ENAMETOOLONG);
}

/* ------------------------------------------------------------------ the collection */

/*
 * Nobody else's, and nobody can guess it: importers in several containers have the same process numbers, and one that
 * died may have left its batch.
 */
static int name_batch(struct import *im)
{
	uint64_t random[2];

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -errno;
	snprintf(im->batch_name, sizeof im->batch_name, "import-%016llx%016llx", (unsigned long long)random[0],
	         (unsigned long long)random[1]);
	return 0;
}

static int find_mount(struct import *im, const char *collection)
{
	static struct mountpoint m, whole;
	int rc = mountpoint_resolve(collection, im->collection);

	if (rc != 0)
		return fail(collection, rc);
	if (mountpoint_around(im->collection, &m) != 0 || mountpoint_is_root(&m, im->collection)) {
		message(VS_ERROR, "%s: want a directory below a mountpoint of vecfs", collection);
		return -EINVAL;
	}
	rc = name_batch(im);
	if (rc != 0)
		return fail(collection, rc);
	/* Where only a collection is mounted (a bind mount) there may be no log. */
	rc = join(im->log, mountpoint_whole(&m, &whole) == 0 ? whole.path : m.path, ".vecfs/log");
	if (rc == 0)
		rc = join(im->control, im->collection, ".vecfs");
	if (rc == 0)
		rc = join(im->batch, im->control, "tx/%s", im->batch_name);
	return rc;
}

static int load_schema(struct import *im)
{
	static struct keyfile k;
	const char *dim, *dtype;
	int rc = keyfile_load(im->control, "schema", &k), parsed;

	if (rc != 0)
		return fail(im->collection, rc);
	dim = keyfile_get(&k, "dim");
	dtype = keyfile_get(&k, "dtype");
	parsed = dtype ? vs_dtype_parse(dtype) : VS_F32;
	if (parsed < 0)
		return fail(im->collection, -EPROTO);
	im->schema = (struct vs_schema){
		.dim = dim ? (uint32_t)strtoul(dim, NULL, 10) : 0, .dtype = (enum vs_dtype)parsed,
	};
	return 0;
}

/* Before anything is made: a missing collection is like one without dim that has the wanted dtype. */
static int look_at_collection(struct import *im, bool *missing)
{
	struct stat st;

	*missing = stat(im->collection, &st) != 0;
	if (!*missing)
		return S_ISDIR(st.st_mode) ? load_schema(im) : fail(im->collection, -ENOTDIR);
	return errno == ENOENT ? 0 : fail(im->collection, -errno);
}

static int write_text(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), rc;

	if (fd < 0)
		return -errno;
	rc = transfer_write(fd, text, size);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int make_collection(struct import *im)
{
	char path[PATH_MAX], line[32];
	int rc = 0, n;

	if (mkdir(im->collection, 0777) != 0)
		return fail(im->collection, -errno);
	im->made_collection = true;
	if (im->shape.dtype == VS_F32)
		return 0;
	n = snprintf(line, sizeof line, "dtype=%s\n", vs_dtype_name(im->shape.dtype));
	rc = join(path, im->control, "schema");
	if (rc == 0 && (rc = write_text(path, line, (size_t)n)) != 0)
		fail(path, rc);
	return rc;
}

/* ------------------------------------------------------------------ what is imported */

static int open_source(struct import *im)
{
	char name[64], why[WHY_BYTES];
	enum array_format format;
	enum vs_dtype dtype;
	uint32_t dim = im->dim;

	snprintf(name, sizeof name, ".%s", im->format ? im->format : "");
	if (array_format_of_name(im->format ? name : im->file, &format, &dtype) != 0) {
		message(VS_ERROR, "%s: its name tells no format that can be imported: give --format",
		        im->file);
		return -EINVAL;
	}
	if (format == ARRAY_RAW && dim == 0)
		dim = im->schema.dim;
	if (source_open(im->file, format, dtype, dim, &im->source, why, sizeof why) != 0) {
		message(VS_ERROR, "%s: %s", im->file, why);
		return -EINVAL;
	}
	im->shape = *source_shape(im->source);
	return 0;
}

/* The shape in which the vectors are to be written: that of the file, but for conversion and packed bits. */
static int choose_shape(struct import *im, bool missing)
{
	enum vs_dtype found = im->shape.dtype, want = im->schema.dtype;

	if (missing)
		want = im->dtype >= 0 ? (enum vs_dtype)im->dtype : found;
	if (im->shape.rows == 0) {
		message(VS_ERROR, "%s: found no vectors", im->file);
		return -EINVAL;
	}
	if (want == VS_BIT && found == VS_U8 && im->shape.dim <= UINT32_MAX / 8) {
		im->shape.dim *= 8;
		im->shape.dtype = found = VS_BIT;
	}
	if (im->dtype >= 0 && (enum vs_dtype)im->dtype != want) {
		message(VS_ERROR, "%s: holds %s, not %s", im->collection, vs_dtype_name(want),
		        vs_dtype_name((enum vs_dtype)im->dtype));
		return -EINVAL;
	}
	if (found != want && im->dtype < 0) {
		message(VS_ERROR, "%s: found %s, want %s as %s holds%s%s", im->file, vs_dtype_name(found),
		        vs_dtype_name(want), im->collection,
		        recode_is_possible(found, want) ? ": convert with --dtype " : "",
		        recode_is_possible(found, want) ? vs_dtype_name(want) : "");
		return -EINVAL;
	}
	if (!recode_is_possible(found, want)) {
		message(VS_ERROR, "%s: cannot convert %s to %s", im->file, vs_dtype_name(found),
		        vs_dtype_name(want));
		return -EINVAL;
	}
	im->shape.dtype = want;
	if (im->schema.dim != 0 && im->schema.dim != im->shape.dim) {
		message(VS_ERROR, "%s: found dim %u, want %u as %s holds", im->file, im->shape.dim,
		        im->schema.dim, im->collection);
		return -EINVAL;
	}
	return 0;
}

static int load_ids(struct import *im)
{
	char why[WHY_BYTES];

	if (!im->ids_file)
		return 0;
	if (ids_load(im->ids_file, im->escape, &im->ids, why, sizeof why) != 0) {
		message(VS_ERROR, "%s: %s", im->ids_file, why);
		return -EINVAL;
	}
	if (im->ids.count != im->shape.rows) {
		message(VS_ERROR, "%s: found %llu ids, want %llu: one for each row of %s", im->ids_file,
		        (unsigned long long)im->ids.count, (unsigned long long)im->shape.rows, im->file);
		return -EINVAL;
	}
	return 0;
}

/* ------------------------------------------------------------------ the batch */

static int fill_batch(struct import *im)
{
	char path[PATH_MAX], why[WHY_BYTES];
	int rc = join(path, im->batch, ".vecfs/ids"), fd;

	if (rc == 0 && im->ids_file && (rc = write_text(path, im->ids.text, im->ids.size_bytes)) != 0)
		fail(im->collection, rc);
	ids_free(&im->ids);
	if (rc == 0)
		rc = join(path, im->batch, ".vecfs/vectors.npy");
	if (rc != 0)
		return rc;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd < 0)
		return fail(im->collection, -errno);
	rc = transfer_run(im->source, fd, ARRAY_NPY, &im->shape, &im->progress, why, sizeof why);
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	if (*why)
		message(VS_ERROR, "%s: %s; nothing was imported", im->file, why);
	else if (rc != 0)
		fail(im->collection, rc);
	return rc;
}

/* The mount's log says why a commit was refused: its last line about our batch. */
static int explain_refusal(const struct import *im, int rc)
{
	FILE *log = fopen(im->log, "re");
	char *line = NULL, found[2048] = "";
	size_t capacity = 0;

	while (log && getline(&line, &capacity, log) > 0)
		if (strstr(line, im->batch_name))
			snprintf(found, sizeof found, "%.*s", (int)strcspn(line, "\n"), line);
	if (*found)
		message(VS_ERROR, "%s", found);
	else
		fail(im->collection, rc);
	if (log)
		fclose(log);
	free(line);
	return rc;
}

static int commit_batch(struct import *im)
{
	char path[PATH_MAX];
	int rc = join(path, im->control, "commit/%s", im->batch_name);

	if (rc != 0)
		return rc;
	progress_note(&im->progress, "making it durable");
	if (rename(im->batch, path) != 0)
		return explain_refusal(im, -errno);
	im->made_batch = im->made_collection = false; /* neither is to be undone any more */
	return 0;
}

static int run_batch(struct import *im)
{
	uint64_t row_bytes = array_row_bytes(&im->shape);
	int rc;

	if (mkdir(im->batch, 0777) != 0)
		return fail(im->collection, -errno);
	im->made_batch = true;
	progress_start(&im->progress, "import", row_bytes * im->shape.rows, row_bytes, im->quiet);
	rc = fill_batch(im);
	if (rc == 0)
		rc = commit_batch(im);
	progress_end(&im->progress, rc == 0);
	return rc;
}

/* No trace is left of what failed. */
static void undo(struct import *im)
{
	if (im->made_batch && rmdir(im->batch) != 0)
		fail(im->batch, -errno);
	if (im->made_collection && rmdir(im->collection) != 0)
		fail(im->collection, -errno);
}

static int import_into(struct import *im, const char *collection)
{
	bool missing;
	int rc = find_mount(im, collection);

	if (rc == 0)
		rc = look_at_collection(im, &missing);
	if (rc == 0)
		rc = open_source(im);
	if (rc == 0)
		rc = choose_shape(im, missing);
	if (rc == 0)
		rc = load_ids(im);
	interrupt_catch();
	if (rc == 0 && missing)
		rc = make_collection(im);
	if (rc == 0)
		rc = run_batch(im);
	undo(im);
	ids_free(&im->ids);
	if (im->source)
		source_close(im->source);
	return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}

/* ------------------------------------------------------------------ arguments */

enum { OPT_IDS = 256, OPT_ESCAPE, OPT_DTYPE, OPT_DIM, OPT_FORMAT };

static int set_option(struct import *im, int answer, char **argv)
{
	uint64_t dim;

	switch (answer) {
	case OPT_IDS:
		im->ids_file = optarg;
		return 0;
	case OPT_ESCAPE:
		im->escape = true;
		return 0;
	case OPT_FORMAT:
		im->format = optarg;
		return 0;
	case 'q':
		im->quiet = true;
		return 0;
	case OPT_DTYPE:
		im->dtype = vs_dtype_parse(optarg);
		if (im->dtype < 0)
			return command_misused(&command_import, "--dtype %s: no such dtype", optarg);
		return 0;
	case OPT_DIM:
		/* No dtype has more than eight values a byte. */
		if (!quantity_parse(optarg, 1, VS_ROW_BYTES_MAX * 8, &dim))
			return command_misused(&command_import, "--dim %s: want a number, 1 to %llu", optarg,
			                       (unsigned long long)VS_ROW_BYTES_MAX * 8);
		im->dim = (uint32_t)dim;
		return 0;
	default:
		return command_bad_option(&command_import, answer, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"ids", required_argument, NULL, OPT_IDS}, {"escape", no_argument, NULL, OPT_ESCAPE},
		{"dtype", required_argument, NULL, OPT_DTYPE}, {"dim", required_argument, NULL, OPT_DIM},
		{"format", required_argument, NULL, OPT_FORMAT}, {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'}, {0},
	};
	static struct import im = {.dtype = -1};
	int answer, rc;

	while ((answer = getopt_long(argc, argv, ":qh", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_import);
		if ((rc = set_option(&im, answer, argv)) != 0)
			return rc;
	}
	if (argc - optind != 2)
		return command_misused(&command_import, "want COLLECTION and FILE");
	im.file = argv[optind + 1];
	return import_into(&im, argv[optind]);
}
