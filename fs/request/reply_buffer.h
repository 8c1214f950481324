/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_buffer - memory for a reply: the ring's own payload on io_uring, so that nothing is copied, else one
 * buffer a thread, kept for its next reply.
 */
#ifndef VECFS_FS_REQUEST_REPLY_BUFFER_H
#define VECFS_FS_REQUEST_REPLY_BUFFER_H

#include "fs/request/ops.h"

/* At least size bytes, valid until this request is replied to; NULL without memory. */
char *buffer_get(fuse_req_t req, size_t size);

#endif
