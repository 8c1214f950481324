/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/reason.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/cli/store_path.h"

#define MARK "refused: "

void reason_find(const char *collection, const char *what, char *why, size_t why_size)
{
	const char *snap = strstr(collection, STORE_PATH_SNAP);
	int len = (int)(snap ? (size_t)(snap - collection) : strlen(collection));
	char path[PATH_MAX + 32], *line = NULL, *reason;
	size_t room = 0;
	FILE *log;

	/* The control directory of the mount is that of the parent of the collection, or of a snapshot's. */
	snprintf(path, sizeof path, "%.*s/../.vecfs/log", len, collection);
	log = fopen(path, "re");
	while (log && getline(&line, &room, log) > 0) {
		line[strcspn(line, "\n")] = '\0';
		reason = strstr(line, what) ? strstr(line, MARK) : NULL;
		if (reason)
			snprintf(why, why_size, "%s", reason + strlen(MARK));
	}
	free(line);
	if (log)
		fclose(log);
}
