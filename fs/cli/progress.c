/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fs/mount/humanize.h"
#include "store/base/clock.h"

#define BAR_CHARS 24
#define BAR_CHARS_MIN 4
#define TEXT_BYTES 192
#define DEFAULT_COLUMNS 80
#define REDRAW_MS 100
#define LINE_MS 5000 /* between plain lines */
#define NS_PER_MS 1000000
#define NS_PER_S 1e9
#define CLEAR_LINE "\r\033[K"

/* One that can clear a line; what is not said (no TERM) is not so. */
static bool is_terminal(void)
{
	const char *kind = getenv("TERM");

	return isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

void progress_start(struct progress *p, const char *what, uint64_t total_bytes, uint64_t row_bytes,
		    bool quiet)
{
	*p = (struct progress){
		.what = what,
		.total_bytes = total_bytes,
		.row_bytes = row_bytes,
		.quiet = quiet,
	};
	p->start_ns = p->drawn_ns = clock_ns();
	p->terminal = is_terminal();
}

/* The last column stays free: there some terminals go on to the next line at once. */
static size_t terminal_columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 2)
		return DEFAULT_COLUMNS - 1;
	return size.ws_col - 1u;
}

/* The bar takes the room that what and the numbers leave it. Returns its length. */
static size_t make_bar(char bar[BAR_CHARS + 4], double part, size_t room)
{
	size_t width = room > 3 ? room - 3 : 0, filled;

	bar[0] = 0;
	if (width < BAR_CHARS_MIN)
		return 0;
	if (width > BAR_CHARS)
		width = BAR_CHARS;
	filled = (size_t)(part * (double)width);
	strcpy(bar, " [");
	for (size_t i = 0; i < width; i++)
		bar[i + 2] = i < filled ? '=' : i == filled ? '>' : ' ';
	strcpy(bar + width + 2, "]");
	return width + 3;
}

/* "1,234 vectors, 1.2 GB/s, 0:10 left" */
static void describe(const struct progress *p, int64_t at_ns, char text[TEXT_BYTES])
{
	char done[QUANTITY_SIZE], rate[QUANTITY_SIZE], left[QUANTITY_SIZE];
	double time_s = (double)(at_ns - p->start_ns) / NS_PER_S;
	double bytes_per_s = (double)p->done_bytes / time_s;
	int n = snprintf(text, TEXT_BYTES, " %s vectors, %s/s",
			 humanize_count(done, p->done_bytes / p->row_bytes),
			 humanize_bytes(rate, (uint64_t)bytes_per_s));

	if (p->total_bytes > p->done_bytes && bytes_per_s > 0) {
		double left_s = (double)(p->total_bytes - p->done_bytes) / bytes_per_s;

		snprintf(text + n, TEXT_BYTES - (size_t)n, ", %s left", humanize_time(left, left_s + 0.5));
	}
}

static void draw(const struct progress *p, int64_t at_ns)
{
	char head[TEXT_BYTES], text[TEXT_BYTES], bar[BAR_CHARS + 4] = "";
	double part = p->total_bytes > 0 ? (double)p->done_bytes / (double)p->total_bytes : 0;
	size_t columns = p->terminal ? terminal_columns() : SIZE_MAX, used;

	if (p->total_bytes > 0)
		snprintf(head, sizeof head, "%s %3.0f%%", p->what, 100 * part);
	else
		snprintf(head, sizeof head, "%s", p->what);
	describe(p, at_ns, text);
	used = strlen(head) + strlen(text);
	if (p->terminal && p->total_bytes > 0)
		used += make_bar(bar, part, columns > used ? columns - used : 0);
	if (used > columns && strlen(head) <= columns) /* the words go, from the right */
		text[columns - strlen(head)] = 0;
	else if (used > columns)
		head[columns] = text[0] = 0;
	fprintf(stderr, "%s%s%s%s%s", p->terminal ? CLEAR_LINE : "", head, bar, text,
		p->terminal ? "" : "\n");
}

void progress_add(struct progress *p, uint64_t size_bytes)
{
	int64_t at_ns = clock_ns();

	p->done_bytes += size_bytes;
	if (p->quiet || at_ns - p->drawn_ns < (int64_t)(p->terminal ? REDRAW_MS : LINE_MS) * NS_PER_MS)
		return;
	draw(p, at_ns);
	p->drawn_ns = at_ns;
}

void progress_note(struct progress *p, const char *note)
{
	char text[TEXT_BYTES];

	if (!p->terminal || p->quiet)
		return;
	snprintf(text, sizeof text, "%s: %s", p->what, note);
	fprintf(stderr, CLEAR_LINE "%.*s", (int)terminal_columns(), text);
}

void progress_end(struct progress *p, bool done)
{
	char vectors[QUANTITY_SIZE], size[QUANTITY_SIZE], rate[QUANTITY_SIZE];
	double time_s = (double)(clock_ns() - p->start_ns) / NS_PER_S;

	if (p->quiet)
		return;
	if (p->terminal)
		fputs(CLEAR_LINE, stderr);
	if (done)
		fprintf(stderr, "%s: %s vectors, %s in %.2f s (%s/s)\n", p->what,
			humanize_count(vectors, p->done_bytes / p->row_bytes),
			humanize_bytes(size, p->done_bytes), time_s,
			humanize_bytes(rate, (uint64_t)((double)p->done_bytes / time_s)));
}
