/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/message.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define LINES 1000
#define LINES_KEPT 1500
#define LINE_BYTES_MAX 2048 /* two ids of 255 bytes, each byte escaped to four, and a sentence */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct line {
	char *text;
	uint64_t start; /* its position in the log */
} lines[LINES_KEPT];    /* a ring: line n is at n % LINES_KEPT */
static uint64_t count;  /* lines ever added */
static uint64_t end;    /* of the log, in bytes */
static atomic_uint_fast64_t count_by_severity[VS_ERROR + 1];
static atomic_bool to_syslog;

void message_init(bool foreground)
{
	if (!foreground)
		openlog("vecfs", LOG_PID, LOG_DAEMON);
	atomic_store(&to_syslog, !foreground);
}

/* Copies text to out, control characters as \ooo. What does not fit is cut off. */
static void escape(const char *text, char *out, size_t out_size)
{
	size_t used = 0;

	for (const char *p = text; *p && used + 5 <= out_size; p++) {
		unsigned char c = (unsigned char)*p;

		if (c >= ' ' && c != 0x7f)
			out[used++] = *p;
		else
			used += (size_t)snprintf(out + used, 5, "\\%03o", c);
	}
	out[used] = '\0';
}

static void keep(const char *line)
{
	char *copy = strdup(line);

	if (!copy)
		return;
	pthread_mutex_lock(&lock);
	free(lines[count % LINES_KEPT].text);
	lines[count++ % LINES_KEPT] = (struct line){copy, end};
	end += strlen(copy) + 1;
	pthread_mutex_unlock(&lock);
}

void message_report(void *arg, enum vs_severity severity, const char *line)
{
	static const int priorities[] = {
		[VS_INFO] = LOG_INFO, [VS_WARNING] = LOG_WARNING, [VS_ERROR] = LOG_ERR};
	char clean[LINE_BYTES_MAX];

	(void)arg;
	assert(severity <= VS_ERROR);
	escape(line, clean, sizeof clean);
	atomic_fetch_add(&count_by_severity[severity], 1);
	keep(clean);
	if (atomic_load(&to_syslog))
		syslog(priorities[severity], "%s", clean);
	else
		fprintf(stderr, "vecfs: %s\n", clean);
}

void message(enum vs_severity severity, const char *format, ...)
{
	char line[LINE_BYTES_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	message_report(NULL, severity, line);
}

uint64_t message_count(enum vs_severity severity)
{
	return atomic_load(&count_by_severity[severity]);
}

uint64_t message_log_start(void)
{
	uint64_t start;

	pthread_mutex_lock(&lock);
	start = count > LINES ? lines[(count - LINES) % LINES_KEPT].start : 0;
	pthread_mutex_unlock(&lock);
	return start;
}

uint64_t message_log_end(void)
{
	uint64_t at;

	pthread_mutex_lock(&lock);
	at = end;
	pthread_mutex_unlock(&lock);
	return at;
}

char *message_log(uint64_t from, size_t *size, int *rc)
{
	char *text = NULL, *to;
	uint64_t n;

	pthread_mutex_lock(&lock);
	for (n = count; n > 0 && n + LINES_KEPT > count && lines[(n - 1) % LINES_KEPT].start >= from; n--)
		continue;
	/* Line n is the first that begins there or later; the one before it may reach over. */
	*rc = from > end || (n < count ? lines[n % LINES_KEPT].start : end) != from ? -ESTALE : 0;
	*size = *rc ? 0 : (size_t)(end - from);
	if (!*rc && !(text = to = malloc(*size + 1)))
		*rc = -ENOMEM;
	for (; text && n < count; n++) {
		to = stpcpy(to, lines[n % LINES_KEPT].text);
		*to++ = '\n';
	}
	pthread_mutex_unlock(&lock);
	return text;
}
