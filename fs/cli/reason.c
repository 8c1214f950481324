/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/reason.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARK "refused: "

void reason_find(const char *collection, const char *what, char *why, size_t why_size)
{
	char path[PATH_MAX + 32], *line = NULL, *reason;
	size_t room = 0;
	FILE *log;

	/* The control directory of the mount is that of the collection's parent. */
	snprintf(path, sizeof path, "%s/../.vecfs/log", collection);
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
