/* SPDX-License-Identifier: Apache-2.0 */
/* row_digest - the digest of all rows of a source (store/base/digest.h), by as many threads as there are
 * CPUs. */
#ifndef VECFS_FS_CLI_ROW_DIGEST_H
#define VECFS_FS_CLI_ROW_DIGEST_H

#include "fs/cli/row_source.h"
#include "store/base/digest.h"

#define ROW_DIGEST_TEXT 64
/* -EIO: a vector cannot be read; -errno. */
int row_digest(const struct row_source *s, struct digest *out);
/* As people see it: 32 hexadecimal digits, a colon, how many rows. */
void row_digest_text(const struct digest *d, char text[ROW_DIGEST_TEXT]);

#endif
