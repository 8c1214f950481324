/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/reply_buffer.h"

#include <pthread.h>
#include <stdlib.h>

struct buffer {
	size_t size;
	char bytes[];
};

static pthread_key_t key; /* so that a thread's buffer goes with the thread */
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	if (pthread_key_create(&key, free))
		abort();
}

static char *thread_buffer(size_t size)
{
	struct buffer *b;

	pthread_once(&key_once, make_key);
	b = pthread_getspecific(key);
	if (b && b->size >= size)
		return b->bytes;
	free(b);
	b = malloc(sizeof *b + size);
	if (b)
		b->size = size;
	pthread_setspecific(key, b);
	return b ? b->bytes : NULL;
}

char *buffer_get(fuse_req_t req, size_t size)
{
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
	char *payload;
	size_t payload_size;

	if (fuse_req_is_uring(req) && !fuse_req_get_payload(req, &payload, &payload_size, NULL) &&
	    payload_size >= size)
		return payload;
#endif
	(void)req;
	return thread_buffer(size);
}
