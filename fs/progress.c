/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/quantity.h"

#define BAR_CHARS 24
#define REDRAW_MS 100
#define LINE_MS 5000 /* between plain lines */
#define NS_PER_MS 1000000
#define NS_PER_S 1e9
#define CLEAR_LINE "\r\033[K"

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void progress_start(struct progress *p, const char *what, uint64_t total_bytes, uint64_t row_bytes,
                    bool quiet)
{
	*p = (struct progress){
		.what = what, .total_bytes = total_bytes, .row_bytes = row_bytes, .quiet = quiet,
	};
	p->start_ns = p->drawn_ns = now_ns();
	p->terminal = isatty(STDERR_FILENO);
}

static void draw_bar(double part)
{
	int filled = (int)(part * BAR_CHARS);

	fputs(" [", stderr);
	for (int i = 0; i < BAR_CHARS; i++)
		fputc(i < filled ? '=' : i == filled ? '>' : ' ', stderr);
	fputc(']', stderr);
}

static void draw(const struct progress *p, int64_t at_ns)
{
	char done[QUANTITY_SIZE], rate[QUANTITY_SIZE], left[QUANTITY_SIZE];
	double time_s = (double)(at_ns - p->start_ns) / NS_PER_S;
	double bytes_per_s = (double)p->done_bytes / time_s;
	double part = p->total_bytes > 0 ? (double)p->done_bytes / (double)p->total_bytes : 0;

	fprintf(stderr, "%s%s", p->terminal ? CLEAR_LINE : "", p->what);
	if (p->total_bytes > 0) {
		fprintf(stderr, " %3.0f%%", 100 * part);
		if (p->terminal)
			draw_bar(part);
	}
	fprintf(stderr, " %s vectors, %s/s", quantity_count(done, p->done_bytes / p->row_bytes),
	        quantity_bytes(rate, (uint64_t)bytes_per_s));
	if (p->total_bytes > p->done_bytes && bytes_per_s > 0) {
		double left_s = (double)(p->total_bytes - p->done_bytes) / bytes_per_s;

		fprintf(stderr, ", %s left", quantity_time(left, left_s + 0.5));
	}
	if (!p->terminal)
		fputc('\n', stderr);
}

void progress_add(struct progress *p, uint64_t size_bytes)
{
	int64_t at_ns = now_ns();

	p->done_bytes += size_bytes;
	if (p->quiet || at_ns - p->drawn_ns < (int64_t)(p->terminal ? REDRAW_MS : LINE_MS) * NS_PER_MS)
		return;
	draw(p, at_ns);
	p->drawn_ns = at_ns;
}

void progress_note(struct progress *p, const char *note)
{
	if (p->terminal && !p->quiet)
		fprintf(stderr, CLEAR_LINE "%s: %s", p->what, note);
}

void progress_end(struct progress *p, bool done)
{
	char vectors[QUANTITY_SIZE], size[QUANTITY_SIZE], rate[QUANTITY_SIZE];
	double time_s = (double)(now_ns() - p->start_ns) / NS_PER_S;

	if (p->quiet)
		return;
	if (p->terminal)
		fputs(CLEAR_LINE, stderr);
	if (done)
		fprintf(stderr, "%s: %s vectors, %s in %.2f s (%s/s)\n", p->what,
		        quantity_count(vectors, p->done_bytes / p->row_bytes),
		        quantity_bytes(size, p->done_bytes), time_s,
		        quantity_bytes(rate, (uint64_t)((double)p->done_bytes / time_s)));
}
