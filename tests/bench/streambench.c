/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streambench - what the planes of a stream are worth: the frames of a raw file of f32, packed as vecfs send
 * does and by zstd as they are, in turns; ratios, and GB/s of the processor's time of one thread.
 *
 * usage: streambench FILE DIM [LEVEL [ROUNDS]]
 *
 * Prints a line: bytes in, then of planes and of plain zstd: ratio, GB/s there, GB/s back; and GB/s of taking
 * apart.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "quant/planes.h"
#include "store/stream/vecstream.h"

#define ID_BYTES 8

struct result {
	double there_s, back_s;
	size_t in, out;
};

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "streambench: %s\n", what);
	exit(1);
}

static char *load(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	char *data;

	must(fd >= 0 && fstat(fd, &st) == 0, path);
	*size = (size_t)st.st_size;
	data = malloc(*size + 1);
	must(data != NULL, "no memory");
	for (size_t done = 0; done < *size;) { /* one call reads 2 GiB at most */
		ssize_t n = read(fd, data + done, *size - done);

		must(n > 0, path);
		done += (size_t)n;
	}
	close(fd);
	return data;
}

/* One frame's ids and attributes are those of files that one program has written: alike. */
static void describe(struct vecstream_rows *r, char *ids, struct vs_file_attr *attrs, uint64_t first)
{
	r->type = VECSTREAM_ROWS;
	r->ids = ids;
	r->attrs = attrs;
	r->ids_bytes = r->rows * ID_BYTES;
	for (uint32_t i = 0; i < r->rows; i++) {
		snprintf(ids + i * ID_BYTES, ID_BYTES, "%07u", (unsigned)((first + i) % 10000000));
		attrs[i] = (struct vs_file_attr){1700000000, 123456789, 0644, 1000, 1000};
	}
}

static void run_planes(struct vecstream_packer *p, const struct vecstream_rows *r, int level, void *copy,
		       struct result *out)
{
	struct vecstream_packed packed;
	struct vecstream_rows back;
	char why[256];
	double at = cpu_s();

	must(vecstream_pack(p, r, level, &packed) == 0, "packing");
	out->there_s += cpu_s() - at;
	memcpy(copy, packed.pieces[0].data, packed.pieces[0].size);
	at = cpu_s();
	must(vecstream_unpack(p, &packed.frame, copy, &back, why, sizeof why) == 0, why);
	out->back_s += cpu_s() - at;
	must(memcmp(back.vectors, r->vectors,
		    packed.frame.raw_bytes - sizeof(struct vecstream_block) - r->ids_bytes -
			    r->rows * sizeof *r->attrs) == 0,
	     "other bytes came back");
	out->in += packed.frame.raw_bytes;
	out->out += packed.frame.stored_bytes;
}

static void run_plain(struct vecstream_packer *p, const struct vecstream_rows *r, int level, char *copy,
		      char *raw, struct result *out)
{
	static ZSTD_CCtx *c;
	static ZSTD_DCtx *d;
	struct vecstream_packed packed;
	size_t size = 0, got;
	double at;

	c = c ? c : ZSTD_createCCtx();
	d = d ? d : ZSTD_createDCtx();
	must(vecstream_pack(p, r, VECSTREAM_PLAIN, &packed) == 0, "packing");
	for (int i = 0; i < VECSTREAM_PIECES; i++) {
		memcpy(raw + size, packed.pieces[i].data, packed.pieces[i].size);
		size += packed.pieces[i].size;
	}
	at = cpu_s();
	got = ZSTD_compressCCtx(c, copy, 2 * (size_t)VECSTREAM_RAW_MAX, raw, size, level);
	out->there_s += cpu_s() - at;
	must(!ZSTD_isError(got), "zstd");
	at = cpu_s();
	must(ZSTD_decompressDCtx(d, raw, size, copy, got) == size, "zstd");
	out->back_s += cpu_s() - at;
	out->in += size;
	out->out += got;
}

static void print(const struct result *r)
{
	printf("  %.3f %6.2f %6.2f", (double)r->in / (double)r->out, (double)r->in / r->there_s / 1e9,
	       (double)r->in / r->back_s / 1e9);
}

int main(int argc, char **argv)
{
	int level = argc > 3 ? atoi(argv[3]) : 1, rounds = argc > 4 ? atoi(argv[4]) : 3;
	struct vs_schema schema = {.dim = argc > 2 ? (uint32_t)atoi(argv[2]) : 0, .dtype = VS_F32};
	size_t row_bytes = vs_row_bytes(&schema), size;
	uint32_t frame_rows;
	struct result planes = {0}, plain = {0};
	char *data, *copy = malloc(2 * (size_t)VECSTREAM_RAW_MAX),
		    *raw = malloc(2 * (size_t)VECSTREAM_RAW_MAX);
	char *ids = malloc((size_t)VECSTREAM_ROWS_MAX * ID_BYTES);
	struct vs_file_attr *attrs = malloc((size_t)VECSTREAM_ROWS_MAX * sizeof *attrs);
	struct vecstream_packer *p = vecstream_packer_new(&schema);
	double split_s = 0, at;

	must(argc > 2 && row_bytes > 0, "usage: streambench FILE DIM [LEVEL [ROUNDS]]");
	must(copy && raw && ids && attrs && p, "no memory");
	data = load(argv[1], &size);
	frame_rows = vecstream_frame_rows(row_bytes);
	for (int n = 0; n < rounds; n++)
		for (uint64_t row = 0; row + 1 <= size / row_bytes; row += frame_rows) {
			uint64_t left = size / row_bytes - row;
			struct vecstream_rows r = {.rows = left < frame_rows ? (uint32_t)left : frame_rows,
						   .vectors = data + row * row_bytes};

			describe(&r, ids, attrs, row);
			run_planes(p, &r, level, copy, &planes);
			run_plain(p, &r, level, copy, raw, &plain);
			at = cpu_s();
			planes_split(r.vectors, r.rows * row_bytes / 4, 4, raw);
			planes_merge(raw, r.rows * row_bytes / 4, 4, copy);
			split_s += cpu_s() - at;
		}
	printf("%zu", size);
	print(&planes);
	print(&plain);
	printf("  %.1f\n", 2 * (double)size * rounds / split_s / 1e9);
	return 0;
}
