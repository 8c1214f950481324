/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/searched.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "fs/control/control.h"
#include "fs/request/message.h"

#define ROWS_MAX UINT32_MAX /* of a collection */
#define TIMES_MAX 64        /* that a search is made again, with more candidates each time */
#define US_MAX (UINT64_C(1) << 44)

size_t searched_format(const struct searched *told, char line[SEARCHED_LINE_BYTES])
{
	return (size_t)snprintf(line, SEARCHED_LINE_BYTES,
				"queries=%" PRIu64 " rows_scanned=%" PRIu64 " rows_verified=%" PRIu64
				" us=%" PRIu64 "\n",
				told->queries, told->rows_scanned, told->rows_verified, told->us);
}

/* "key=12": moves *text behind it. */
static bool take_number(const char **text, const char *key, uint64_t max, uint64_t *out)
{
	size_t len = strlen(key), digits;

	if (strncmp(*text, key, len) != 0)
		return false;
	*text += len;
	digits = strspn(*text, "0123456789");
	*out = 0;
	for (size_t i = 0; i < digits && digits < 20; i++)
		*out = *out * 10 + (uint64_t)((*text)[i] - '0');
	*text += digits;
	return digits && digits < 20 && *out <= max;
}

bool searched_parse(const char *line, size_t size, struct searched *out)
{
	char copy[SEARCHED_LINE_BYTES];
	const char *at = copy;

	if (size >= sizeof copy)
		return false;
	memcpy(copy, line, size);
	copy[size] = '\0';
	return take_number(&at, "queries=", UINT32_MAX, &out->queries) && out->queries &&
	       take_number(&at, " rows_scanned=", (uint64_t)ROWS_MAX * TIMES_MAX, &out->rows_scanned) &&
	       take_number(&at, " rows_verified=", out->queries * ROWS_MAX, &out->rows_verified) &&
	       take_number(&at, " us=", US_MAX, &out->us) && (!*at || !strcmp(at, "\n")) &&
	       at + (*at != '\0') == copy + size;
}

/* ------------------------------------------------------------------ the file */

static int searched_open(fuse_req_t req, const struct node *node, struct fuse_file_info *fi)
{
	(void)req;
	(void)node;
	fi->direct_io = 1;
	return (fi->flags & O_ACCMODE) == O_WRONLY ? 0 : -EACCES;
}

static int searched_write(fuse_req_t req, const struct node *node, const void *buf, size_t size, off_t off,
			  const struct fuse_file_info *fi)
{
	struct mount *s = ops_serve(req);
	struct vs_collection_info info = {0};
	struct searched told;

	(void)off; /* like a log it has no place */
	(void)fi;
	if (!searched_parse(buf, size, &told)) {
		vs_collection_get(s->store, node->collection, &info);
		message(VS_WARNING, "%s/.vecfs/searched: refused: no search has counted that", info.name);
		return -EINVAL;
	}
	s->told.queries += told.queries;
	s->told.rows_scanned += told.rows_scanned;
	s->told.rows_verified += told.rows_verified;
	s->told.us += told.us;
	return 0;
}

const struct node_ops searched_ops = {
	.attr = control_attr,
	.open = searched_open,
	.write = searched_write,
};
