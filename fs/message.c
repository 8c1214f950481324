/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#define LINES 1000
#define LINE_BYTES_MAX 2048 /* two ids of 255 bytes, each byte escaped to four, and a sentence */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *lines[LINES]; /* a ring: line n is at n % LINES */
static uint64_t count;     /* lines ever added */
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
	free(lines[count % LINES]);
	lines[count++ % LINES] = copy;
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

char *message_log(size_t *size)
{
	uint64_t first;
	size_t total = 0;
	char *text, *end;

	pthread_mutex_lock(&lock);
	first = count > LINES ? count - LINES : 0;
	for (uint64_t n = first; n < count; n++)
		total += strlen(lines[n % LINES]) + 1;
	text = end = malloc(total + 1);
	for (uint64_t n = first; text && n < count; n++) {
		end = stpcpy(end, lines[n % LINES]);
		*end++ = '\n';
	}
	pthread_mutex_unlock(&lock);
	*size = text ? total : 0;
	return text;
}
