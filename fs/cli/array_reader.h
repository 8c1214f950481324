/* SPDX-License-Identifier: Apache-2.0 */
/*
 * array_reader - a file of many vectors that is read from front to back: its header checked against its size,
 * its rows handed out packed, without what the format puts between them; of text also the ids.
 *
 * One thread at a time for one reader. The file is untrusted, also while it is read.
 */
#ifndef VECFS_FS_CLI_ARRAY_READER_H
#define VECFS_FS_CLI_ARRAY_READER_H

#include <stddef.h>
#include <sys/types.h>

#include "store/array/array_format.h"
#include "fs/cli/vector_text.h"

struct array_reader;

/* What a file is. array_reader_format_of_name() fills the first part. */
struct array_reader_options {
	bool archived;          /* the array is a member of an .npz archive */
	bool compressed;        /* by zstd(1) */
	enum vectext_form text; /* NONE: an array */
	enum array_format format;
	enum vs_dtype dtype; /* of a raw file */

	const char *member; /* of the archive; NULL: its only array */
	uint32_t dim;       /* of a raw file; of any other what it must be; 0: not known */
	uint32_t dim_guess; /* of a text that does not tell it; 0: as its first line has numbers */
	bool escape;        /* percent-encode the ids of a text (ids.h) */
};

/* The format by a file's suffix: array_format_of_name's, .npz, .txt, .vec, .tsv, ".word2vec", ".glove", each
 * also with ".zst" behind it. -EINVAL. */
int array_reader_format_of_name(const char *file_name, struct array_reader_options *out);

/*
 * Opens the file at path ("-": standard input). *out is closed with array_reader_close(). -EINVAL: why says
 * what was expected and found.
 */
int array_reader_open(const char *path, const struct array_reader_options *options, struct array_reader **out,
		      char *why, size_t why_size);
/* What it holds. rows is ARRAY_ROWS_UNTOLD in a stream whose format does not tell them; dim is 0 only without
 * rows. */
const struct array_shape *array_reader_shape(const struct array_reader *s);
/*
 * The next bytes of rows laid end to end, as many as capacity has room for, or of a text fewer; 0 after the
 * last. In formats with a prefix before each row, and of a text, capacity must have room for a row (with its
 * prefix), and whole rows are handed out. -EINVAL, -EIO: why says what is wrong; -EINTR: a signal arrived.
 */
ssize_t array_reader_read(struct array_reader *s, void *buf, size_t capacity, char *why, size_t why_size);
/* Of the file, for fstat(2); the source's own. */
int array_reader_fd(const struct array_reader *s);
/* Whether it brings ids: it is a text. */
bool array_reader_has_ids(const struct array_reader *s);
/* The ids of the rows that the last array_reader_read handed out, as lines (store/base/idlist.h); until the
 * next one. */
const char *array_reader_ids(const struct array_reader *s, size_t *size);
void array_reader_close(struct array_reader *s);

#endif
