/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsan_order - what one request leaves behind, the requests after its reply find: the kernel sees to that. On
 * io_uring ThreadSanitizer cannot know that, so these functions tell it; otherwise they do nothing.
 */
#ifndef VECFS_FS_REQUEST_TSAN_ORDER_H
#define VECFS_FS_REQUEST_TSAN_ORDER_H

#ifdef __has_feature
#define ORDER_HAS_FEATURE(feature) __has_feature(feature)
#else
#define ORDER_HAS_FEATURE(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || ORDER_HAS_FEATURE(thread_sanitizer)
#include <sanitizer/tsan_interface.h>

static inline void tsan_request(void *shared)
{
	__tsan_acquire(shared);
}

static inline void tsan_reply(void *shared)
{
	__tsan_release(shared);
}
#else
static inline void tsan_request(void *shared)
{
	(void)shared;
}

static inline void tsan_reply(void *shared)
{
	(void)shared;
}
#endif

#endif
