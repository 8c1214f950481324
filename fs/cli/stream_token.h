/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_token - how far a receiver has come, for `vecfs send --resume`: the stream's number, and how many
 * removals and rows it has, as "0123456789abcdef-REMOVALS-ROWS".
 */
#ifndef VECFS_FS_CLI_STREAM_TOKEN_H
#define VECFS_FS_CLI_STREAM_TOKEN_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct stream_token {
	uint64_t stream, removals, rows;
};

#define STREAM_TOKEN_TEXT 64

static inline void stream_token_print(const struct stream_token *t, char text[STREAM_TOKEN_TEXT])
{
	snprintf(text, STREAM_TOKEN_TEXT, "%016" PRIx64 "-%" PRIu64 "-%" PRIu64, t->stream, t->removals,
		 t->rows);
}

static inline bool stream_token_parse(const char *text, struct stream_token *out)
{
	char again[STREAM_TOKEN_TEXT];

	if (sscanf(text, "%16" SCNx64 "-%" SCNu64 "-%" SCNu64, &out->stream, &out->removals, &out->rows) != 3)
		return false;
	stream_token_print(out, again);
	for (const char *a = again; *a || *text; a++, text++)
		if (*a != *text)
			return false;
	return true;
}

#endif
