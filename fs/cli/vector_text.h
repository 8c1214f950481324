/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector_text - vectors as text, a line each, in the forms that people have:
 *
 *	word2vec   a first line "ROWS DIM", then "id 0.1 0.2 ..." (also fastText's .vec)
 *	glove      the same without a first line
 *	tsv        the id, a tab, then numbers with commas, spaces or tabs between them
 *
 * In the first two an id may have spaces in it: the last DIM fields of a line are the numbers. But an id with
 *spaces does not end in a number, so that a line with a number too many is refused and not misread. Numbers
 *are those of number.h, nan and inf among them. Lines end in LF or all in CRLF; a byte order mark at the
 *start is skipped; there are no empty lines.
 *
 * A line at a time is kept in memory, of at most VECTEXT_LINE_MAX bytes. One thread at a time.
 */
#ifndef VECFS_FS_CLI_VECTOR_TEXT_H
#define VECFS_FS_CLI_VECTOR_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/cli/stream.h"
#include "store/store.h"

#define VECTEXT_LINE_MAX ((size_t)16 << 20)

/* ANY: a first line with a tab in it means tsv, one of two whole numbers word2vec, any other glove. */
enum vectext_form { VECTEXT_NONE, VECTEXT_ANY, VECTEXT_WORD2VEC, VECTEXT_GLOVE, VECTEXT_TSV };

struct vectext;

struct vectext_options {
	enum vectext_form form; /* not NONE */
	uint32_t dim; /* expected, and how words with spaces in the first line are told from numbers; 0: not
			 known */
	bool escape;  /* percent-encode ids (ids.h) */
};

/*
 * Starts reading in, which stays the caller's, and looks at the first lines: dim is known when this returns
 * 0. -EINVAL: why says what is wrong, with the line's number; -errno.
 */
int vectext_open(struct stream *in, const struct vectext_options *options, struct vectext **out, char *why,
		 size_t why_size);
void vectext_close(struct vectext *t);
uint32_t vectext_dim(const struct vectext *t);
/* Whether the first line told the number of rows (*rows). */
bool vectext_rows(const struct vectext *t, uint64_t *rows);

/*
 * Reads the next row: its dim numbers, and its id, a legal name that the caller need not check. 1, or 0 at
 * the end. -EINVAL: why says what is wrong, with the line's number; -EINTR: a signal came; -errno.
 */
int vectext_read(struct vectext *t, float *row, char id[VS_NAME_MAX], size_t *id_len, char *why,
		 size_t why_size);

#endif
