/* SPDX-License-Identifier: Apache-2.0 */
/* vecfs export - the vectors of a collection of a mount as one file, through plain file calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/array/array_format.h"
#include "fs/cli/command.h"
#include "fs/cli/ids.h"
#include "fs/cli/interrupt.h"
#include "fs/cli/keyfile.h"
#include "fs/request/message.h"
#include "fs/cli/output.h"
#include "fs/cli/progress.h"
#include "fs/cli/recode.h"
#include "fs/cli/array_reader.h"
#include "fs/cli/stream.h"
#include "fs/cli/transfer.h"

#define WHY_BYTES 512
#define COPY_BYTES ((size_t)1 << 20)
#define WHICH_BITS 4
#define TRIES_MAX 10000

static const char help[] =
	"usage: vecfs export [--ids FILE] [-0] [--escape] [--dtype TYPE] COLLECTION FILE\n\n"
	"Writes the vectors of COLLECTION, a directory of a mount, to FILE in the format that its name\n"
	"tells: .npy, .fvecs, .bvecs, .fbin, .u8bin, .i8bin or, raw, .f32, .f16, .bf16, .i8, .u8, .bit;\n"
	"with .zst behind that, compressed as zstd(1) does.\n"
	"FILE appears when it is complete. Others may change the collection meanwhile: what is written is\n"
	"of one moment.\n\n"
	"  --ids FILE         also write the ids: line n is the id of row n\n"
	"  -0, --null         separate the ids by NUL bytes: exact whatever they hold\n"
	"  --escape           the ids as they were before import --escape\n"
	"  --dtype TYPE       convert among f32, f16 and bf16\n"
	"  --format SUFFIX    the format of FILE, whatever it is called; needed where FILE is -, standard\n"
	"                     output\n"
	"  -q, --quiet        no progress\n"
	"  -h, --help         show this text\n";

static int run(int argc, char **argv);
const struct command command_export = {"export", "vectors of a collection into a file", help, run};

struct export
{
	/* What was asked for. */
	const char *collection, *file, *ids_file, *format_suffix;
	int dtype; /* enum vs_dtype, or -1 */
	bool quiet, nulls, escape;
	/* The files of the collection, of one moment. */
	int ids_fd;
	struct array_reader *vectors;
	/* What is written. */
	enum array_format format;
	bool compressed;
	struct array_shape shape;
	struct output array, ids;
};

static int fail(const char *what, int rc)
{
	message(VS_ERROR, "%s: %s", what, rc == -EINTR ? "interrupted; nothing was exported" : strerror(-rc));
	return rc;
}

/* ------------------------------------------------------------------ the collection */

/* .npy has no bf16 and no bit: the schema tells what the numbers of vectors.npy are. */
static int load_shape(struct export *ex)
{
	static struct keyfile k;
	char control[PATH_MAX];
	const char *dtype, *dim;
	int rc, parsed;

	snprintf(control, sizeof control, "%s/.vecfs", ex->collection);
	rc = keyfile_load(control, "schema", &k);
	dtype = rc == 0 ? keyfile_get(&k, "dtype") : NULL;
	dim = rc == 0 ? keyfile_get(&k, "dim") : NULL;
	if (rc == -ENOENT)
		message(VS_ERROR, "%s: not a collection of a mount", ex->collection);
	else if (rc != 0)
		fail(ex->collection, rc);
	if (rc != 0)
		return rc;
	parsed = dtype ? vs_dtype_parse(dtype) : -1;
	if (!dim || strtoul(dim, NULL, 10) == 0 || parsed < 0) {
		message(VS_ERROR, "%s: holds no vectors", ex->collection);
		return -EINVAL;
	}
	ex->shape.dtype = (enum vs_dtype)parsed;
	ex->shape.dim = (uint32_t)strtoul(dim, NULL, 10);
	return 0;
}

static int open_vectors(struct export *ex)
{
	struct array_reader_options options = {.format = ARRAY_NPY};
	char vectors[PATH_MAX], why[WHY_BYTES];

	if (ex->vectors)
		array_reader_close(ex->vectors);
	ex->vectors = NULL;
	if (snprintf(vectors, sizeof vectors, "%s/.vecfs/vectors.npy", ex->collection) >= (int)sizeof vectors)
		return fail(ex->collection, -ENAMETOOLONG);
	if (array_reader_open(vectors, &options, &ex->vectors, why, sizeof why) == 0)
		return 0;
	message(VS_ERROR, "%s: %s", ex->collection, why);
	return -EIO;
}

static int open_ids(struct export *ex)
{
	char ids[PATH_MAX];

	if (ex->ids_fd >= 0)
		close(ex->ids_fd);
	/* What --escape has made of an id is a line as it stands. */
	if (snprintf(ids, sizeof ids, "%s/.vecfs/%s", ex->collection,
		     ex->nulls && !ex->escape ? "ids0" : "ids") >= (int)sizeof ids)
		return fail(ex->collection, -ENAMETOOLONG);
	ex->ids_fd = open(ids, O_RDONLY | O_CLOEXEC);
	return ex->ids_fd < 0 ? fail(ex->collection, -errno) : 0;
}

/* The number of an array's inode is made of the version of the collection; the last bits tell which array it
 * is. */
static bool is_one_moment(const struct export *ex)
{
	struct stat ids, vectors;

	return fstat(ex->ids_fd, &ids) == 0 && fstat(array_reader_fd(ex->vectors), &vectors) == 0 &&
	       ids.st_ino >> WHICH_BITS == vectors.st_ino >> WHICH_BITS;
}

/*
 * Files opened one right after the other are of one moment. Where the mount cannot tell us from others (we
 * live in another pid namespace) that is not so while somebody writes: then both are opened in turn until
 * they meet.
 */
static int open_moment(struct export *ex)
{
	int rc = ex->ids_file ? open_ids(ex) : 0;

	if (rc == 0)
		rc = open_vectors(ex);
	for (int tries = 0; rc == 0 && ex->ids_file && !is_one_moment(ex); tries++) {
		rc = tries % 2 ? open_vectors(ex) : open_ids(ex);
		if (rc == 0 && tries == TRIES_MAX) {
			message(VS_ERROR,
				"%s: others change it too fast for its ids and vectors to be of one moment",
				ex->collection);
			rc = -EBUSY;
		}
	}
	if (rc != 0)
		return rc;
	if (array_row_bytes(array_reader_shape(ex->vectors)) != array_row_bytes(&ex->shape)) {
		message(VS_ERROR, "%s: its vectors.npy is not what its schema says", ex->collection);
		return -EIO;
	}
	ex->shape.rows = array_reader_shape(ex->vectors)->rows;
	return 0;
}

static int choose_format(struct export *ex)
{
	char suffix[64], plain[64];
	enum vs_dtype held = ex->shape.dtype, named;

	snprintf(suffix, sizeof suffix, ".%s", ex->format_suffix ? ex->format_suffix : "");
	ex->compressed = stream_plain_name(ex->format_suffix ? suffix : ex->file, plain, sizeof plain);
	if (array_format_of_name(plain, &ex->format, &named) != 0) {
		if (ex->format_suffix)
			message(VS_ERROR, "--format %s: no such format", ex->format_suffix);
		else
			message(VS_ERROR, "%s: its name tells no format: give --format", ex->file);
		return -EINVAL;
	}
	if (ex->dtype >= 0)
		ex->shape.dtype = (enum vs_dtype)ex->dtype;
	if (!recode_is_possible(held, ex->shape.dtype)) {
		message(VS_ERROR, "%s: cannot convert %s to %s", ex->collection, vs_dtype_name(held),
			vs_dtype_name(ex->shape.dtype));
		return -EINVAL;
	}
	if (!array_format_fits(ex->format, ex->shape.dtype) ||
	    (ex->format == ARRAY_RAW && named != ex->shape.dtype)) {
		message(VS_ERROR, "%s: this format holds %s, %s holds %s%s%s", ex->file, vs_dtype_name(named),
			ex->collection, vs_dtype_name(held),
			recode_is_possible(held, named) ? ": convert with --dtype " : "",
			recode_is_possible(held, named) ? vs_dtype_name(named) : "");
		return -EINVAL;
	}
	if (ex->shape.rows > array_rows_max(ex->format)) {
		message(VS_ERROR, "%s: %llu rows are more than this format can tell", ex->file,
			(unsigned long long)ex->shape.rows);
		return -EFBIG;
	}
	return 0;
}

/* ------------------------------------------------------------------ the files */

/* The ids on their way from the collection's file to ours. */
struct id_copy {
	struct export *ex;
	char *in, *out;
	size_t in_used, out_used;
	uint64_t count;
};

static int refuse_id(const struct id_copy *c, const char *id, size_t len, const char *why)
{
	message(VS_ERROR, "%s: the id '%.*s' %s", c->ex->collection, (int)len, id, why);
	return -EINVAL;
}

/* Writes one id as it was before import --escape; none that a reader of the list would take for something
 * else. */
static int put_unescaped(struct id_copy *c, const char *id, size_t len)
{
	bool nulls = c->ex->nulls;
	char *plain = c->out + c->out_used;
	size_t n = len <= VS_NAME_MAX ? ids_unescape(id, len, plain) : 0;

	if (n == 0)
		return refuse_id(c, id, len,
				 "is not what import --escape makes of an id: export it without --escape");
	if (nulls && memchr(plain, 0, n))
		return refuse_id(c, id, len, "has a NUL in it: export it without -0");
	if (!nulls && (memchr(plain, '\n', n) || plain[n - 1] == '\r' ||
		       (c->count == 0 && n >= 3 && memcmp(plain, "\xef\xbb\xbf", 3) == 0)))
		return refuse_id(c, id, len, "cannot be a line of text: export it with -0");
	plain[n] = nulls ? 0 : '\n';
	c->out_used += n + 1;
	return 0;
}

/* Takes the whole ids among the bytes read; those of the last one stay if it is not complete. */
static int take_ids(struct id_copy *c)
{
	char separator = c->ex->nulls && !c->ex->escape ? 0 : '\n';
	char *at = c->in, *end = c->in + c->in_used, *stop;
	int rc = 0;

	c->out_used = 0;
	for (; rc == 0 && (stop = memchr(at, separator, (size_t)(end - at))); at = stop + 1) {
		if (c->ex->escape)
			rc = put_unescaped(c, at, (size_t)(stop - at));
		c->count++;
	}
	if (rc == 0)
		rc = c->ex->escape ? transfer_write(c->ex->ids.fd, c->out, c->out_used)
				   : transfer_write(c->ex->ids.fd, c->in, (size_t)(at - c->in));
	c->in_used = (size_t)(end - at);
	memmove(c->in, at, c->in_used);
	return rc;
}

static int copy_ids(struct export *ex)
{
	struct id_copy c = {.ex = ex, .in = malloc(COPY_BYTES), .out = malloc(COPY_BYTES)};
	ssize_t n = 1;
	int rc = c.in && c.out ? 0 : -ENOMEM;

	while (rc == 0 && n != 0) {
		n = c.in_used < COPY_BYTES ? read(ex->ids_fd, c.in + c.in_used, COPY_BYTES - c.in_used) : -1;
		if (n < 0) /* a whole buffer is no id */
			rc = c.in_used < COPY_BYTES ? -errno : -EIO;
		c.in_used += n > 0 ? (size_t)n : 0;
		if (rc == 0)
			rc = take_ids(&c);
	}
	free(c.in);
	free(c.out);
	if (rc == -EINVAL)
		return rc; /* a message has been printed */
	if (rc != 0)
		return fail(ex->ids_file, interrupt_came() ? -EINTR : rc);
	if (c.count != ex->shape.rows || c.in_used > 0) {
		message(VS_ERROR, "%s: found %llu ids and %llu vectors", ex->collection,
			(unsigned long long)c.count, (unsigned long long)ex->shape.rows);
		return -EIO;
	}
	return 0;
}

static int copy_vectors(struct export *ex)
{
	uint64_t row_bytes = array_row_bytes(&ex->shape);
	struct transfer_target target = {ex->array.fd, ex->format, ex->shape, .ids_fd = -1,
					 .compressed = ex->compressed};
	struct progress progress;
	char why[WHY_BYTES];
	int rc;

	progress_start(&progress, "export", row_bytes * ex->shape.rows, row_bytes, ex->quiet);
	rc = transfer_run(ex->vectors, &target, &progress, why, sizeof why);
	progress_note(&progress, "making it durable");
	if (rc == 0)
		rc = output_finish(&ex->array);
	else
		output_drop(&ex->array);
	progress_end(&progress, rc == 0);
	if (rc != 0 && *why)
		message(VS_ERROR, "%s: %s", ex->collection, why);
	else if (rc != 0)
		fail(ex->file, rc);
	return rc;
}

/* The ids go first: they are small, and wrong before the long part is better than after it. */
static int write_files(struct export *ex)
{
	int rc;

	if (ex->ids_file && (rc = output_open(ex->ids_file, &ex->ids)) != 0)
		return fail(ex->ids_file, rc);
	rc = ex->ids_file ? copy_ids(ex) : 0;
	if (rc == 0 && (rc = output_open(ex->file, &ex->array)) != 0)
		fail(ex->file, rc);
	if (rc == 0)
		rc = copy_vectors(ex);
	if (ex->ids_file && rc != 0)
		output_drop(&ex->ids);
	if (ex->ids_file && rc == 0 && (rc = output_finish(&ex->ids)) != 0)
		fail(ex->ids_file, rc);
	return rc;
}

static int export_collection(struct export *ex)
{
	int rc = load_shape(ex);

	if (rc == 0)
		rc = open_moment(ex);
	if (rc == 0)
		rc = choose_format(ex);
	interrupt_catch();
	if (rc == 0)
		rc = write_files(ex);
	if (ex->vectors)
		array_reader_close(ex->vectors);
	if (ex->ids_fd >= 0)
		close(ex->ids_fd);
	return rc == 0 ? COMMAND_OK : COMMAND_FAILED;
}

/* ------------------------------------------------------------------ arguments */

enum { OPT_IDS = 256, OPT_ESCAPE, OPT_DTYPE, OPT_FORMAT };

static int set_option(struct export *ex, int answer, char **argv)
{
	switch (answer) {
	case OPT_IDS:
		ex->ids_file = optarg;
		return 0;
	case OPT_FORMAT:
		ex->format_suffix = optarg;
		return 0;
	case OPT_ESCAPE:
		ex->escape = true;
		return 0;
	case '0':
		ex->nulls = true;
		return 0;
	case 'q':
		ex->quiet = true;
		return 0;
	case OPT_DTYPE:
		ex->dtype = vs_dtype_parse(optarg);
		if (ex->dtype < 0)
			return command_misused(&command_export, "--dtype %s: no such dtype", optarg);
		return 0;
	default:
		return command_bad_option(&command_export, answer, argv);
	}
}

static int run(int argc, char **argv)
{
	static const struct option longs[] = {
		{"ids", required_argument, NULL, OPT_IDS},
		{"null", no_argument, NULL, '0'},
		{"escape", no_argument, NULL, OPT_ESCAPE},
		{"dtype", required_argument, NULL, OPT_DTYPE},
		{"format", required_argument, NULL, OPT_FORMAT},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static struct export ex = {.dtype = -1, .ids_fd = -1};
	int answer, rc;

	while ((answer = getopt_long(argc, argv, ":0qh", longs, NULL)) != -1) {
		if (answer == 'h')
			return command_help(&command_export);
		if ((rc = set_option(&ex, answer, argv)) != 0)
			return rc;
	}
	if (argc - optind != 2)
		return command_misused(&command_export, "want COLLECTION and FILE");
	ex.collection = argv[optind];
	ex.file = argv[optind + 1];
	if ((ex.nulls || ex.escape) && !ex.ids_file)
		return command_misused(&command_export, "%s is about the file of --ids: give one",
				       ex.nulls ? "-0" : "--escape");
	if (ex.ids_file && strcmp(ex.ids_file, ex.file) == 0)
		return command_misused(&command_export, "%s is either the ids or the vectors", ex.file);
	return export_collection(&ex);
}
