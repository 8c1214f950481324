/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idlist - lists of ids as people and programs write them.
 *
 * In a list of lines each id is a line, so that line n names row n whatever the id holds: the two bytes that
 *would break a line, and the mark that a reader would take for the file's own, are written as escapes. They
 *begin with
 * '/', the one byte that no id can hold; so backslashes, percent signs and all else stand for themselves, and
 *a list that needs no escape has none.
 *
 *	/\n     a newline
 *	/\r     a carriage return
 *	/\b     a byte order mark (EF BB BF) that an id begins with
 *
 * A byte order mark at the start of a list is skipped. Its lines end in LF or all in CRLF: a mixture is
 *refused, for nobody can tell which of its CR belong to ids. The last line need not be ended.
 *
 * In a list of NUL-separated ids (find -print0, xargs -0) every byte is the id's own. The last NUL may be
 *missing.
 *
 * Pure functions but for malloc: callable from any thread.
 */
#ifndef VECFS_STORE_BASE_IDLIST_H
#define VECFS_STORE_BASE_IDLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDLIST_LINE_MAX (3 * 255 + 1) /* bytes of one id as a line, its newline included */
#define IDLIST_ENCODE_MAX 3           /* how many bytes an encoder may make of one */
#define IDLIST_IDS_MAX (UINT32_MAX - 1)
#define IDLIST_PIECE_MAX 1024 /* no legal id is longer in any form */

enum idlist_separator { IDLIST_LINES, IDLIST_NULS };

struct idlist {
	char *text; /* the ids, each ended by a NUL: the same list in its NUL-separated form */
	size_t size_bytes;
	uint64_t count;
	const char **id; /* count pointers into text; not for use after idlist_free */
};

/* Makes at most IDLIST_ENCODE_MAX * len bytes of an id at out; returns how many. out and id do not overlap.
 */
typedef size_t (*idlist_encoder)(const char *id, size_t len, char *out);

/*
 * Splits text (malloc'ed, size bytes, which the list takes in any case; NULL if size is 0) into ids that are
 * legal names. With an encoder each id goes through it first, and a line's escapes are not looked for: it is
 * the list of somebody who knows nothing of them.
 *
 * Refused, with a sentence in why that begins with "line N: " ("id N: " in a NUL-separated list): -EILSEQ for
 * an id that an encoder could have made legal ('/', NUL, ".", "..", ".vecfs"), -EINVAL for all else (empty,
 * longer than 255 bytes, mixed line ends). -ENOMEM. After a failure *out is empty.
 */
int idlist_parse(char *text, size_t size, enum idlist_separator separator, idlist_encoder encode,
		 struct idlist *out, char *why, size_t why_size);
/* -EINVAL if an id stands in the list twice; why says in which lines. Takes 8 to 16 bytes an id while it
 * runs. */
int idlist_check_unique(const struct idlist *list, enum idlist_separator separator, char *why,
			size_t why_size);
void idlist_free(struct idlist *list);

/*
 * The same judgement of a list that comes bit by bit, in order: each id as soon as it is complete, and the
 * last one at the end. Only ids that stand in it twice are not seen. After a refusal the scan is over.
 */
struct idlist_scan {
	enum idlist_separator separator;
	uint64_t count; /* ids so far */
	bool crlf, utf16;
	size_t held;
	char part[IDLIST_PIECE_MAX +
		  8]; /* of an id that is not complete: a mark and CR LF more than the longest */
};
void idlist_scan_start(struct idlist_scan *scan, enum idlist_separator separator);
int idlist_scan_add(struct idlist_scan *scan, const char *data, size_t size, char *why, size_t why_size);
int idlist_scan_end(struct idlist_scan *scan, char *why, size_t why_size);

/* Writes id as a line, with its newline; out has room for IDLIST_LINE_MAX bytes, or 3 * len + 1. Returns its
 * length. */
size_t idlist_line(const char *id, size_t len, char *out);
/* That length. */
size_t idlist_line_bytes(const char *id, size_t len);

#endif
