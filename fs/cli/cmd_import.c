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

#include "store/array/array_format.h"
#include "fs/cli/batch_result.h"
#include "fs/cli/command.h"
#include "fs/cli/ids.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/keyfile.h"
#include "fs/request/message.h"
#include "fs/mount/mountpoint.h"
#include "fs/cli/progress.h"
#include "fs/mount/humanize.h"
#include "fs/cli/recode.h"
#include "fs/cli/array_reader.h"
#include "fs/cli/transfer.h"

#define WHY_BYTES 512
#define LINES_BYTES ((size_t)1 << 20)
#define LOOKS 64

static const char help[] =
	"usage: vecfs import [--ids FILE] [-0] [--escape] [--start N] [--replace] COLLECTION FILE\n\n"
	"Imports the vectors of FILE into COLLECTION, a directory of a mount, which is made if it is\n"
	"missing. All of them appear at once and durably, or none does. FILE is a .npy, .npz, .fvecs,\n"
	".bvecs, .fbin, .u8bin, .i8bin or, raw, a .f32, .f16, .bf16, .i8, .u8 or .bit file, or text with\n"
	"an id in each line: word2vec's or GloVe's (.vec, .txt), or id, tab, numbers (.tsv); each may be\n"
	"compressed by zstd(1), with .zst behind its suffix.\n\n"
	"  --ids FILE         line n is the id of row n (-: standard input)\n"
	"  -0, --null         the ids in that file are separated by NUL bytes\n"
	"  --escape           percent-encode in ids what no file name can have\n"
	"  --start N          without ids rows are numbered, from N on (default: 0)\n"
	"  --replace          rows whose numbers exist replace those vectors (default: refused)\n"
	"  --dtype TYPE       convert among f32, f16 and bf16; bf16 also takes a .npy of uint16\n"
	"  --dim N            the dim of a raw file (default: that of the collection)\n"
	"  --member NAME      the array of a .npz that has several; the same as FILE.npz:NAME\n"
	"  --format SUFFIX    the format of FILE, whatever it is called, or word2vec or glove; needed\n"
	"                     where FILE is -, standard input\n"
	"  -q, --quiet        no progress\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_import = {"import", "vectors of a file into a collection", help, run};

struct import {
	/* What was asked for. */
	const char *file, *ids_file, *format, *member;
	int dtype; /* enum vs_dtype, or -1 */
	uint32_t dim;
	bool escape, quiet, nulls, replace, starts;
	uint64_t start; /* the first row's number */
	/* The collection. */
	char collection[PATH_MAX]; /* absolute */
	char control[PATH_MAX];    /* COLLECTION/.vecfs */
	char batch[PATH_MAX];      /* COLLECTION/.vecfs/tx/NAME */
	char batch_name[48];
	bool made_collection, made_batch, set_schema;
	int result;              /* of the batch, opened: what its commit did */
	struct vs_schema schema; /* of the collection; dim is 0 while it is not fixed */
	bool is_free; /* it never had a vector or a schema: it takes the dtype of what comes first */
	/* What is imported. */
	struct array_reader *source;
	struct idlist ids;
	struct array_shape shape; /* of the vectors as they are written */
	struct progress progress;
};

static int fail(const char *what, int rc)
{
	message(VS_ERROR, "%s: %s", what, rc == -EINTR ? "interrupted; nothing was imported" : strerror(-rc));
	return rc;
}

__attribute__((format(printf, 3, 4))) static int join(char path[PATH_MAX], const char *dir,
						      const char *format, ...)
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
 * Nobody else's, and nobody can guess it: importers in several containers have the same process numbers, and
 * one that died may have left its batch.
 */
static int name_batch(struct import *im)
{
	uint64_t random[2];

	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -errno;
	snprintf(im->batch_name, sizeof im->batch_name, "import-%016llx%016llx",
		 (unsigned long long)random[0], (unsigned long long)random[1]);
	return 0;
}

static int find_mount(struct import *im, const char *collection)
{
	static struct mountpoint m;
	int rc = mountpoint_resolve(collection, im->collection);

	if (rc != 0)
		return fail(collection, rc);
	/* A collection may be bind-mounted: then it is a mountpoint itself. */
	if (mountpoint_around(im->collection, &m) != 0 || mountpoint_is_root(&m, im->collection)) {
		message(VS_ERROR, "%s: want a directory below a mountpoint of vecfs", collection);
		return -EINVAL;
	}
	return join(im->control, im->collection, ".vecfs");
}

static int load_schema(struct import *im)
{
	static struct keyfile k;
	const char *dim, *dtype, *metric;
	int rc = keyfile_load(im->control, "schema", &k), parsed, parsed_metric;

	if (rc != 0)
		return fail(im->collection, rc);
	dim = keyfile_get(&k, "dim");
	dtype = keyfile_get(&k, "dtype");
	metric = keyfile_get(&k, "metric");
	parsed = dtype ? vs_dtype_parse(dtype) : VS_F32;
	parsed_metric = metric ? vs_metric_parse(metric) : VS_L2;
	if (parsed < 0 || parsed_metric < 0)
		return fail(im->collection, -EPROTO);
	im->schema = (struct vs_schema){
		.dim = dim ? (uint32_t)strtoul(dim, NULL, 10) : 0,
		.dtype = (enum vs_dtype)parsed,
		.metric = (enum vs_metric)parsed_metric,
	};
	return 0;
}

/* Whether somebody has given it a schema stands in its stats. */
static int load_is_free(struct import *im)
{
	static struct keyfile k;
	const char *given;
	int rc = keyfile_load(im->control, "stats", &k);

	if (rc != 0)
		return fail(im->collection, rc);
	given = keyfile_get(&k, "schema_given");
	if (!given)
		return fail(im->collection, -EPROTO);
	im->is_free = strcmp(given, "0") == 0;
	return 0;
}

/* Before anything is made: a missing collection is like one without dim that has the wanted dtype. */
static int look_at_collection(struct import *im, bool *missing)
{
	struct stat st;
	int rc;

	*missing = stat(im->collection, &st) != 0;
	im->is_free = *missing;
	if (*missing)
		return errno == ENOENT ? 0 : fail(im->collection, -errno);
	if (!S_ISDIR(st.st_mode))
		return fail(im->collection, -ENOTDIR);
	rc = load_schema(im);
	return rc == 0 ? load_is_free(im) : rc;
}

/* dtype: a name, or "any" for that of what comes first. */
static int write_dtype(const struct import *im, const char *dtype)
{
	char path[PATH_MAX], text[32];
	int n = snprintf(text, sizeof text, "dtype=%s\n", dtype);
	int rc = join(path, im->control, "schema");

	if (rc == 0 && (rc = transfer_write_path(path, text, (size_t)n)) != 0)
		fail(path, rc);
	return rc;
}

/* Whether the rows bring their dtype along: NumPy's names of dtypes have neither bf16 nor bit. */
static bool upload_decides(const struct import *im)
{
	return im->shape.rows != ARRAY_ROWS_UNTOLD && im->shape.dtype != VS_BF16 && im->shape.dtype != VS_BIT;
}

static int prepare_collection(struct import *im, bool missing)
{
	int rc;

	if (missing && mkdir(im->collection, 0777) != 0)
		return fail(im->collection, -errno);
	im->made_collection = missing;
	if (!im->is_free || im->shape.dtype == im->schema.dtype || upload_decides(im))
		return 0;
	rc = write_dtype(im, vs_dtype_name(im->shape.dtype));
	im->set_schema = rc == 0 && !missing;
	return rc;
}

/* ------------------------------------------------------------------ what is imported */

/* "FILE.npz:NAME" is the member NAME of FILE.npz, unless there is a file of that name; or FILE.npz.zst:NAME.
 */
static void split_member(struct import *im)
{
	static char path[PATH_MAX];
	const char *colon = strstr(im->file, ".npz:");

	colon = colon ? colon : strstr(im->file, ".npz.zst:");
	if (!colon || access(im->file, F_OK) == 0 || strlen(im->file) >= sizeof path)
		return;
	colon = strchr(colon, ':');
	strcpy(path, im->file);
	path[colon - im->file] = 0;
	im->member = path + (colon - im->file) + 1;
	im->file = path;
}

static int open_source(struct import *im)
{
	struct array_reader_options options = {
		.dim = im->dim, .dim_guess = im->schema.dim, .escape = im->escape};
	char name[64], why[WHY_BYTES];

	split_member(im);
	options.member = im->member;
	snprintf(name, sizeof name, ".%s", im->format ? im->format : "");
	if (array_reader_format_of_name(im->format ? name : im->file, &options) != 0) {
		message(VS_ERROR, "%s: its name tells no format that can be imported: give --format",
			im->file);
		return -EINVAL;
	}
	if (im->member && !options.archived) {
		message(VS_ERROR, "%s: only a .npz has members", im->file);
		return -EINVAL;
	}
	if (options.text == VECTEXT_NONE && options.format == ARRAY_RAW && options.dim == 0)
		options.dim = im->schema.dim;
	if (array_reader_open(im->file, &options, &im->source, why, sizeof why) != 0) {
		message(VS_ERROR, "%s: %s", im->file, why);
		return -EINVAL;
	}
	im->shape = *array_reader_shape(im->source);
	if (im->shape.is_uint16 && im->dtype != VS_BF16) {
		message(VS_ERROR,
			"%s: found integers of 16 bits ('<u2'), want f32, f16, bf16, i8 or u8: if they are "
			"the bits "
			"of bf16, say so with --dtype bf16",
			im->file);
		return -EINVAL;
	}
	return 0;
}

/* The shape in which the vectors are to be written: that of the file, but for conversion and packed bits. */
static int choose_shape(struct import *im)
{
	enum vs_dtype found = im->shape.dtype, want = im->schema.dtype;

	if (im->is_free)
		want = im->dtype >= 0 ? (enum vs_dtype)im->dtype : found;
	if (im->shape.rows == 0 || im->shape.dim == 0) {
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

	if (array_reader_has_ids(im->source) && (im->ids_file || im->starts)) {
		message(VS_ERROR, "%s: it brings its own ids: leave out %s", im->file,
			im->ids_file ? "--ids" : "--start");
		return -EINVAL;
	}
	if (!im->ids_file)
		return 0;
	if (ids_load(im->ids_file, im->nulls ? IDLIST_NULS : IDLIST_LINES, im->escape, &im->ids, why,
		     sizeof why) != 0) {
		message(VS_ERROR, "%s: %s", im->ids_file, why);
		return -EINVAL;
	}
	if (im->shape.rows != ARRAY_ROWS_UNTOLD && im->ids.count != im->shape.rows) {
		message(VS_ERROR, "%s: found %llu ids, want %llu: one for each row of %s", im->ids_file,
			(unsigned long long)im->ids.count, (unsigned long long)im->shape.rows, im->file);
		return -EINVAL;
	}
	return 0;
}

/* Rows that have no ids are numbered; a number does not mean the same vector in two files. */
static bool is_numbered(const struct import *im)
{
	return !im->ids_file && !array_reader_has_ids(im->source);
}

static int refuse_number(const struct import *im, const char *why)
{
	message(VS_ERROR,
		"%s: %s: number the rows from another one on with --start N, or replace vectors with "
		"--replace",
		im->collection, why);
	return -EEXIST;
}

/* The commit decides whether a number exists already; a few are looked up here, before all rows are written
 * for nothing. */
static int look_for_numbers(const struct import *im)
{
	uint64_t rows = im->shape.rows == ARRAY_ROWS_UNTOLD ? 1 : im->shape.rows;
	uint64_t step = rows > LOOKS ? rows / LOOKS : 1;
	char path[PATH_MAX], why[64];
	struct stat st;

	for (uint64_t i = 0; is_numbered(im) && !im->replace && i < rows; i += step) {
		unsigned long long number = im->start + (i + step < rows ? i : rows - 1);
		int rc = join(path, im->collection, "%llu", number);

		if (rc != 0)
			return rc;
		if (lstat(path, &st) != 0)
			continue;
		snprintf(why, sizeof why, "'%llu' is there already", number);
		return refuse_number(im, why);
	}
	return 0;
}

/* ------------------------------------------------------------------ the batch */

static int make_batch(struct import *im)
{
	int rc = name_batch(im);

	if (rc != 0)
		return fail(im->collection, rc);
	rc = join(im->batch, im->control, "tx/%s", im->batch_name);
	if (rc != 0)
		return rc;
	if (mkdir(im->batch, 0777) != 0)
		return fail(im->collection, -errno);
	im->made_batch = true;
	return 0;
}

/*
 * Opens the file that will say what the commit did, tells it that the batch goes with us should we be killed,
 * and that numbers must not replace.
 */
static int open_result(struct import *im)
{
	static const char goes_with_us[] = "keep=no\n", only_add[] = "replace=no\n";
	char path[PATH_MAX];
	int rc = join(path, im->batch, ".vecfs/result");

	if (rc != 0)
		return rc;
	im->result = open(path, O_RDWR | O_CLOEXEC);
	if (im->result >= 0)
		rc = transfer_write(im->result, goes_with_us, sizeof goes_with_us - 1);
	if (im->result >= 0 && rc == 0 && is_numbered(im) && !im->replace)
		rc = transfer_write(im->result, only_add, sizeof only_add - 1);
	if (im->result < 0)
		rc = -errno;
	return rc == 0 ? 0 : fail(path, rc);
}

/* The whole list as lines, in pieces. */
static int write_list(const struct idlist *ids, int fd)
{
	char *lines = malloc(LINES_BYTES);
	size_t used = 0;
	int rc = lines ? 0 : -ENOMEM;

	for (uint64_t i = 0; rc == 0 && i < ids->count; i++) {
		used += idlist_line(ids->id[i], strlen(ids->id[i]), lines + used);
		if (i + 1 < ids->count && LINES_BYTES - used >= IDLIST_LINE_MAX)
			continue;
		rc = interrupt_came() ? -EINTR : transfer_write(fd, lines, used);
		used = 0;
	}
	free(lines);
	return rc;
}

/* Opens the batch's file of ids; one that is known as a whole is written at once. *fd: where others go, or
 * -1. */
static int start_ids(struct import *im, int *fd)
{
	char path[PATH_MAX];
	int rc = join(path, im->batch, ".vecfs/ids");

	*fd = -1;
	if (rc != 0 || (is_numbered(im) && im->start == 0)) /* rows without ids are numbered from 0 anyway */
		return rc;
	*fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (*fd < 0)
		return fail(im->collection, -errno);
	if (!im->ids_file)
		return 0;
	rc = write_list(&im->ids, *fd);
	idlist_free(&im->ids);
	if (close(*fd) != 0 && rc == 0)
		rc = -errno;
	*fd = -1;
	return rc == 0 ? 0 : fail(im->collection, rc);
}

/* The format in which the batch gets the rows. Only some can do without their number. */
static int choose_upload(const struct import *im, enum array_format *format, char name[32])
{
	enum vs_dtype dtype = im->shape.dtype;

	*format = ARRAY_NPY;
	if (im->shape.rows == ARRAY_ROWS_UNTOLD) {
		if (im->schema.dim == 0 && dtype != VS_F32 && dtype != VS_U8) {
			message(VS_ERROR,
				"%s: a stream that does not tell its rows can be imported as f32 or u8, or "
				"into a "
				"collection that has a dim: import it from a file",
				im->file);
			return -EINVAL;
		}
		*format = im->schema.dim != 0 ? ARRAY_RAW : dtype == VS_U8 ? ARRAY_BVECS : ARRAY_FVECS;
	}
	snprintf(name, 32, ".vecfs/vectors.%s",
		 *format == ARRAY_RAW ? vs_dtype_name(dtype) : array_format_name(*format));
	return 0;
}

static int write_rows(struct import *im, int ids_fd)
{
	struct transfer_target target = {.shape = im->shape, .ids_fd = ids_fd, .first_number = im->start};
	char path[PATH_MAX], name[32], why[WHY_BYTES];
	int rc = choose_upload(im, &target.format, name);

	if (rc == 0)
		rc = join(path, im->batch, "%s", name);
	if (rc != 0)
		return rc;
	target.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (target.fd < 0)
		return fail(im->collection, -errno);
	rc = transfer_run(im->source, &target, &im->progress, why, sizeof why);
	if (close(target.fd) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && im->progress.done_bytes == 0) {
		snprintf(why, sizeof why, "found no vectors");
		rc = -EINVAL;
	}
	if (*why)
		message(VS_ERROR, "%s: %s; nothing was imported", im->file, why);
	else if (rc != 0)
		fail(im->collection, rc);
	return rc;
}

static int fill_batch(struct import *im)
{
	int ids_fd, rc = start_ids(im, &ids_fd);

	if (rc == 0)
		rc = write_rows(im, ids_fd);
	if (ids_fd >= 0 && close(ids_fd) != 0 && rc == 0)
		rc = fail(im->collection, -errno);
	return rc;
}

static int explain_refusal(const struct import *im, int rc, char *text)
{
	static const char refused[] = "refused=";
	char *why = text + sizeof refused - 1;

	if (strncmp(text, refused, sizeof refused - 1) != 0)
		return fail(im->collection, rc);
	why[strcspn(why, "\n")] = 0;
	if (rc == -EEXIST)
		return refuse_number(im, why);
	message(VS_ERROR, "%s: refused: %s", im->collection, why);
	return rc;
}

static int commit_batch(struct import *im)
{
	char path[PATH_MAX], text[BATCH_RESULT_BYTES];
	int rc = join(path, im->control, "commit/%s", im->batch_name);

	if (rc != 0)
		return rc;
	progress_note(&im->progress, "making it durable");
	rc = batch_result_commit(im->result, im->batch, path, text);
	if (rc != 0)
		return explain_refusal(im, rc, text);
	im->made_batch = im->made_collection = im->set_schema = false; /* nothing is to be undone any more */
	return 0;
}

static void tell_result(const struct import *im)
{
	unsigned long long added, replaced;
	char text[BATCH_RESULT_BYTES];

	batch_result_read(im->result, text);
	if (!im->quiet && sscanf(text, "added=%llu replaced=%llu", &added, &replaced) == 2)
		fprintf(stderr, "import: %llu new, %llu replaced\n", added, replaced);
}

static int run_batch(struct import *im)
{
	uint64_t row_bytes = array_row_bytes(&im->shape), rows = im->shape.rows;
	int rc = make_batch(im);

	if (rc == 0)
		rc = open_result(im);
	if (rc != 0)
		return rc;
	progress_start(&im->progress, "import", rows == ARRAY_ROWS_UNTOLD ? 0 : row_bytes * rows, row_bytes,
		       im->quiet);
	rc = fill_batch(im);
	if (rc == 0)
		rc = commit_batch(im);
	progress_end(&im->progress, rc == 0);
	if (rc == 0)
		tell_result(im);
	return rc;
}

/* No trace is left of what failed. */
static void undo(struct import *im)
{
	if (im->made_batch && rmdir(im->batch) != 0)
		fail(im->batch, -errno);
	if (im->result >= 0)
		close(im->result);
	if (im->set_schema)
		write_dtype(im, "any");
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
		rc = choose_shape(im);
	if (rc == 0)
		rc = load_ids(im);
	if (rc == 0)
		rc = look_for_numbers(im);
	interrupt_catch();
	if (rc == 0)
		rc = prepare_collection(im, missing);
	if (rc == 0)
		rc = run_batch(im);
	undo(im);
	idlist_free(&im->ids);
	if (im->source)
		array_reader_close(im->source);
	return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}

/* ------------------------------------------------------------------ arguments */

enum { OPT_IDS = 256, OPT_ESCAPE, OPT_START, OPT_REPLACE, OPT_DTYPE, OPT_DIM, OPT_MEMBER, OPT_FORMAT };

static bool is_format(const char *suffix)
{
	struct array_reader_options unused;
	char name[64];

	return snprintf(name, sizeof name, ".%s", suffix) < (int)sizeof name &&
	       array_reader_format_of_name(name, &unused) == 0;
}

static int set_option(struct import *im, int answer, char **argv)
{
	uint64_t n;

	switch (answer) {
	case OPT_IDS:
		im->ids_file = optarg;
		return 0;
	case OPT_ESCAPE:
		im->escape = true;
		return 0;
	case OPT_FORMAT:
		im->format = optarg;
		return is_format(optarg)
			       ? 0
			       : command_misused(&command_import, "--format %s: no such format", optarg);
	case OPT_MEMBER:
		im->member = optarg;
		return 0;
	case OPT_REPLACE:
		im->replace = true;
		return 0;
	case '0':
		im->nulls = true;
		return 0;
	case 'q':
		im->quiet = true;
		return 0;
	case OPT_START:
		if (!humanize_parse(optarg, 0, UINT64_MAX - UINT32_MAX, &im->start))
			return command_misused(&command_import, "--start %s: want a number", optarg);
		im->starts = true;
		return 0;
	case OPT_DTYPE:
		im->dtype = vs_dtype_parse(optarg);
		if (im->dtype < 0)
			return command_misused(&command_import, "--dtype %s: no such dtype", optarg);
		return 0;
	case OPT_DIM:
		/* No dtype has more than eight values a byte. */
		if (!humanize_parse(optarg, 1, VS_ROW_BYTES_MAX * 8, &n))
			return command_misused(&command_import, "--dim %s: want a number, 1 to %u", optarg,
					       VS_ROW_BYTES_MAX * 8);
		im->dim = (uint32_t)n;
		return 0;
	default:
		return command_bad_option(&command_import, answer, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"ids", required_argument, NULL, OPT_IDS},
		{"null", no_argument, NULL, '0'},
		{"escape", no_argument, NULL, OPT_ESCAPE},
		{"start", required_argument, NULL, OPT_START},
		{"replace", no_argument, NULL, OPT_REPLACE},
		{"member", required_argument, NULL, OPT_MEMBER},
		{"dtype", required_argument, NULL, OPT_DTYPE},
		{"dim", required_argument, NULL, OPT_DIM},
		{"format", required_argument, NULL, OPT_FORMAT},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct import im = {.dtype = -1, .result = -1};
	int answer, rc;

	while ((answer = getopt_long(argc, argv, ":0qh", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_import);
		if ((rc = set_option(&im, answer, argv)) != 0)
			return rc;
	}
	if (argc - optind != 2)
		return command_misused(&command_import, "want COLLECTION and FILE");
	im.file = argv[optind + 1];
	if (im.nulls && !im.ids_file)
		return command_misused(&command_import, "-0 is about the file of --ids: give one");
	if (im.ids_file && im.starts)
		return command_misused(&command_import, "--start numbers rows that have no --ids");
	if (im.ids_file && strcmp(im.ids_file, "-") == 0 && strcmp(im.file, "-") == 0)
		return command_misused(&command_import, "standard input is either the ids or the vectors");
	return import_into(&im, argv[optind]);
}
