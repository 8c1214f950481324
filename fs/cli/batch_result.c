/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/batch_result.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/cli/transfer.h"

/* Between two looks whether the commit is through. */
#define WAIT_US_MIN 500u
#define WAIT_US_MAX 10000u

void batch_result_read(int result, char text[BATCH_RESULT_BYTES])
{
	ssize_t n = pread(result, text, BATCH_RESULT_BYTES - 1, 0);

	text[n > 0 ? n : 0] = 0;
}

/* The mount commits by itself, and tells when it is through. */
static int wait_for(int result, char text[BATCH_RESULT_BYTES])
{
	static const char refused[] = "refused=";
	ssize_t n = 0;

	for (unsigned us = WAIT_US_MIN; n == 0; us = us < WAIT_US_MAX ? 2 * us : us) {
		usleep(us);
		n = pread(result, text, BATCH_RESULT_BYTES - 1, 0);
	}
	text[n > 0 ? n : 0] = 0;
	if (n < 0)
		return -errno;
	if (strncmp(text, refused, sizeof refused - 1) != 0)
		return 0;
	return strstr(text, "' is there already") ? -EEXIST : -ECANCELED;
}

int batch_result_commit(int result, const char *batch, const char *to, char text[BATCH_RESULT_BYTES])
{
	static const char wait_not[] = "wait=no\n";
	int rc;

	/* A mount that does not know this has the rename wait. */
	transfer_write(result, wait_not, sizeof wait_not - 1);
	rc = rename(batch, to) == 0 ? 0 : -errno;
	if (rc == -EINPROGRESS)
		return wait_for(result, text);
	batch_result_read(result, text);
	return rc;
}
