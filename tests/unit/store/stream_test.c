/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quant/planes.h"
#include "store/stream/vecstream.h"

#define WHY 256

/* ------------------------------------------------------------------ a stream in memory */

struct memory {
	char *data;
	size_t size, at;
};

static int put(void *arg, const void *data, size_t size)
{
	struct memory *m = arg;

	m->data = realloc(m->data, m->size + size);
	memcpy(m->data + m->size, data, size);
	m->size += size;
	return 0;
}

static ssize_t get(void *arg, void *buf, size_t size)
{
	struct memory *m = arg;

	if (size > m->size - m->at)
		size = m->size - m->at;
	memcpy(buf, m->data + m->at, size);
	m->at += size;
	return (ssize_t)size;
}

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Rows of which every byte is known again by whoever has the seed. */
struct content {
	struct vecstream_header header;
	struct vecstream_rows removals, rows;
	char ids[4096], gone[256];
	struct vs_file_attr attrs[64];
	char vectors[64 * 512];
};

static void make_ids(char *ids, uint32_t *bytes, uint32_t n, uint64_t *x)
{
	for (uint32_t i = 0; i < n; i++) {
		int len = 1 + (int)(next(x) % 30);

		for (int k = 0; k < len; k++) {
			char c = (char)(1 + next(x) % 255);

			ids[(*bytes)++] = c == '/' ? '\n' : c;
		}
		if (ids[*bytes - 1] == '.')
			ids[*bytes - 1] = 'x';
		ids[(*bytes)++] = 0;
	}
}

static struct content *content_new(enum vs_dtype dtype, uint32_t dim, uint32_t rows, uint64_t seed)
{
	struct content *c = calloc(1, sizeof *c);
	uint64_t x = seed;

	c->header = (struct vecstream_header){.to = "night\nly",
					      .from = "first",
					      .has_from = true,
					      .schema = {dim, dtype, VS_COSINE},
					      .removals = 3,
					      .rows = rows,
					      .to_print = {100, next(&x), next(&x)},
					      .from_print = {90, next(&x), next(&x)},
					      .attr = {-12345, 999999999, 02775, 7, UINT32_MAX},
					      .views = "sq8 seed=3\nopq96\n"};
	c->header.stream = vecstream_number(&c->header, seed);
	make_ids(c->gone, &c->removals.ids_bytes, 3, &x);
	make_ids(c->ids, &c->rows.ids_bytes, rows, &x);
	for (uint32_t i = 0; i < rows; i++)
		c->attrs[i] = (struct vs_file_attr){(int64_t)next(&x), (uint32_t)(next(&x) % 1000000000),
						    0644, i, i};
	for (size_t i = 0; i < rows * vs_row_bytes(&c->header.schema); i++)
		c->vectors[i] = (char)(next(&x) % (i % 4 ? 256 : 3));
	c->removals.type = VECSTREAM_REMOVALS;
	c->removals.rows = 3;
	c->removals.ids = c->gone;
	c->rows.type = VECSTREAM_ROWS;
	c->rows.rows = rows;
	c->rows.ids = c->ids;
	c->rows.attrs = c->attrs;
	c->rows.vectors = c->vectors;
	return c;
}

static void put_block(struct vecstream_writer *w, struct vecstream_packer *p, const struct vecstream_rows *r,
		      int level)
{
	struct vecstream_packed packed;

	assert_int_equal(vecstream_pack(p, r, level, &packed), 0);
	assert_int_equal(vecstream_write(w, &packed), 0);
}

static void put_stream(const struct content *c, int level, struct memory *out)
{
	struct vecstream_writer w = {.write = put, .arg = out};
	struct vecstream_packer *p = vecstream_packer_new(&c->header.schema);
	struct vecstream_end end = {0};

	assert_int_equal(vecstream_write_header(&w, &c->header), 0);
	put_block(&w, p, &c->removals, level);
	put_block(&w, p, &c->rows, level);
	vecstream_count(&c->removals, 0, &end);
	vecstream_count(&c->rows, vs_row_bytes(&c->header.schema), &end);
	assert_int_equal(vecstream_write_end(&w, &end), 0);
	vecstream_packer_free(p);
}

/* Reads all of a stream: how many whole frames it had, or the error; rows is compared with what was sent. */
static int read_stream(struct memory *m, const struct content *want, uint64_t *frames, char why[WHY])
{
	struct vecstream_reader r = {.read = get, .arg = m};
	struct vecstream_header h;
	struct vecstream_packer *p = NULL;
	struct vecstream_frame frame = {0};
	struct vecstream_rows rows;
	struct vecstream_end end = {0};
	void *buf = NULL;
	size_t capacity = 0;
	int rc = vecstream_read_header(&r, &h, why, WHY);

	if (!rc)
		p = vecstream_packer_new(&h.schema);
	while (!rc && frame.type != VECSTREAM_END) {
		rc = vecstream_read(&r, &frame, &buf, &capacity, why, WHY);
		if (rc || frame.type == VECSTREAM_END)
			break;
		rc = vecstream_unpack(p, &frame, buf, &rows, why, WHY);
		if (rc)
			break;
		vecstream_count(&rows, vs_row_bytes(&h.schema), &end);
		const struct vecstream_rows *w = rows.type == VECSTREAM_ROWS ? &want->rows : &want->removals;

		assert_int_equal(rows.rows, w->rows);
		assert_memory_equal(rows.ids, w->ids, w->ids_bytes);
		if (rows.type == VECSTREAM_ROWS) {
			assert_memory_equal(rows.attrs, w->attrs, w->rows * sizeof *w->attrs);
			assert_memory_equal(rows.vectors, w->vectors, w->rows * vs_row_bytes(&h.schema));
		}
	}
	if (!rc)
		rc = vecstream_check_end(&frame, buf, &end, why, WHY);
	*frames = r.frames;
	vecstream_packer_free(p);
	free(buf);
	return rc;
}

/* ------------------------------------------------------------------ tests */

static void test_planes_there_and_back(void **state)
{
	uint8_t in[24 * 100], out[sizeof in], back[sizeof in];
	uint64_t x = 7;

	(void)state;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)next(&x);
	for (size_t width = 1; width <= 24; width++)
		for (size_t count = 0; count <= 100; count++) {
			memset(back, 0xee, sizeof back);
			planes_split(in, count, width, out);
			for (size_t i = 0; i < count; i++)
				for (size_t k = 0; k < width; k++)
					assert_int_equal(out[k * count + i], in[i * width + k]);
			planes_merge(out, count, width, back);
			assert_memory_equal(in, back, count * width);
			assert_true(count * width == sizeof back || back[count * width] == 0xee);
		}
}

static void test_header_there_and_back(void **state)
{
	struct content *c = content_new(VS_F32, 5, 4, 11);
	struct vecstream_header back;
	struct vecstream_start start;
	char *text, why[WHY];
	size_t size;

	(void)state;
	for (uint32_t version = 1; version <= VECSTREAM_VERSION; version++) {
		c->header.has_ctime = version == 2;
		c->header.ctime_s = version == 2 ? -7 : 0;
		c->header.ctime_ns = version == 2 ? 123456789 : 0;
		assert_int_equal(vecstream_header_build(&c->header, &text, &size), 0);
		memcpy(&start, text, sizeof start);
		assert_int_equal(start.version, version);
		assert_int_equal(vecstream_start_check(&start, why, sizeof why), 0);
		assert_int_equal(vecstream_header_parse(&start, text + sizeof start, &back, why, sizeof why),
				 0);
		assert_memory_equal(&back, &c->header, sizeof back);
		free(text);
	}
	free(c);
}

static void test_every_dtype_comes_through(void **state)
{
	static const int levels[] = {VECSTREAM_PLAIN, 1, 5};
	uint64_t frames;
	char why[WHY];

	(void)state;
	for (int dtype = 0; dtype < VS_DTYPE_COUNT; dtype++)
		for (uint32_t dim = 1; dim < 128; dim += 9)
			for (size_t l = 0; l < 3; l++) {
				struct content *c =
					content_new((enum vs_dtype)dtype, dim, 1 + dim % 60, dim + 1);
				struct memory m = {0};

				put_stream(c, levels[l], &m);
				assert_int_equal(read_stream(&m, c, &frames, why), 0);
				assert_int_equal(frames, 3);
				free(m.data);
				free(c);
			}
}

static void test_every_cut_is_told(void **state)
{
	struct content *c = content_new(VS_F32, 7, 20, 3);
	struct memory whole = {0};
	uint64_t frames;
	char why[WHY];

	(void)state;
	put_stream(c, 1, &whole);
	for (size_t size = 0; size < whole.size; size++) {
		struct memory m = {whole.data, size, 0};

		*why = 0;
		assert_int_equal(read_stream(&m, c, &frames, why), -EINVAL);
		assert_true(*why && frames < 3);
	}
	put(&whole, "", 1);
	assert_int_equal(read_stream(&whole, c, &frames, why), -EINVAL);
	assert_non_null(strstr(why, "more follows"));
	free(whole.data);
	free(c);
}

static void test_every_flipped_bit_is_told(void **state)
{
	struct content *c = content_new(VS_F16, 6, 9, 5);
	uint64_t frames;
	char why[WHY];

	(void)state;
	for (int level = 0; level < 2; level++) {
		struct memory m = {0};

		put_stream(c, level ? 1 : VECSTREAM_PLAIN, &m);
		for (size_t bit = 0; bit < 8 * m.size; bit++) {
			m.data[bit / 8] ^= (char)(1 << bit % 8);
			m.at = 0;
			*why = 0;
			assert_int_equal(read_stream(&m, c, &frames, why), -EINVAL);
			assert_true(*why);
			m.data[bit / 8] ^= (char)(1 << bit % 8);
		}
		free(m.data);
	}
	free(c);
}

/* Frames of another stream, or in another order, fit by themselves, but not here. */
static void test_frames_are_chained(void **state)
{
	struct content *c = content_new(VS_F32, 3, 8, 21);
	struct memory m = {0};
	struct vecstream_start start;
	struct vecstream_frame first;
	uint64_t frames;
	char why[WHY], *at;
	size_t bytes;

	(void)state;
	put_stream(c, VECSTREAM_PLAIN, &m);
	memcpy(&start, m.data, sizeof start);
	at = m.data + sizeof start + start.header_bytes;
	memcpy(&first, at, sizeof first);
	bytes = sizeof first + first.stored_bytes;
	memmove(at, at + bytes, m.size - (size_t)(at - m.data) - bytes); /* the removals are left out */
	m.size -= bytes;
	assert_int_equal(read_stream(&m, c, &frames, why), -EINVAL);
	assert_non_null(strstr(why, "frame 0"));
	free(m.data);
	free(c);
}

static void test_other_versions_are_refused(void **state)
{
	struct vecstream_start start = {VECSTREAM_MAGIC, VECSTREAM_VERSION + 1, 10, 0};
	char why[WHY];

	(void)state;
	assert_int_equal(vecstream_start_check(&start, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "newer vecfs"));
	start.magic++;
	assert_int_equal(vecstream_start_check(&start, why, sizeof why), -EINVAL);
	assert_non_null(strstr(why, "something else"));
}

static void test_headers_that_make_no_sense(void **state)
{
	static const struct {
		const char *from, *to;
	} lies[] = {
		{"dim=5", "dim=-5"},
		{"dim=5", "dim=4000000000"},
		{"rows=4\n", "rows=4x\n"},
		{"rows_done=0", "rows_done=9"},
		{"mode=2775", "mode=9775"},
		{"metric=cosine", "metric=cosin"},
		{"dtype=f32", "dtype=f64"},
		{"removals=3", "sizes=3"},
		{"mtime=-12345.999999999", "mtime=1.9"},
		{"from=first\n", ""},
		{"to_fingerprint=1", "to_fingerprint=z"},
		{"uid=7", "uid=7\nuid=7"},
		{"uid=7", "uid=7\nctime=1.000000000"}, /* of version 2 */
	};
	struct content *c = content_new(VS_F32, 5, 4, 11);
	struct vecstream_header back;

	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		char *text, *found, *forged = calloc(1, 8192), why[WHY] = "";
		struct vecstream_start start;
		size_t size;

		assert_int_equal(vecstream_header_build(&c->header, &text, &size), 0);
		memcpy(&start, text, sizeof start);
		memmove(text, text + sizeof start, size - sizeof start);
		text[size - sizeof start] = 0;
		found = strstr(text, lies[i].from);
		assert_non_null(found);
		sprintf(forged, "%.*s%s%s", (int)(found - text), text, lies[i].to,
			found + strlen(lies[i].from));
		start.header_bytes = (uint32_t)strlen(forged);
		start.sum = XXH3_64bits_withSeed(forged, start.header_bytes, start.magic ^ start.version);
		assert_int_equal(vecstream_header_parse(&start, forged, &back, why, sizeof why), -EINVAL);
		assert_true(*why);
		free(forged);
		free(text);
	}
	free(c);
}

static void test_digests_do_not_depend_on_order(void **state)
{
	struct digest a = {0}, b = {0}, part = {0}, other = {0};

	(void)state;
	digest_add(&a, "x", 1, "1234", 4);
	digest_add(&a, "y", 1, "5678", 4);
	digest_add(&part, "y", 1, "5678", 4);
	digest_add(&b, "x", 1, "1234", 4);
	digest_merge(&part, &b);
	assert_true(digest_equal(&a, &part));
	digest_add(&other, "y", 1, "1234", 4);
	digest_add(&other, "x", 1, "5678", 4);
	assert_false(digest_equal(&a, &other));
	a = (struct digest){0, UINT64_MAX, 1};
	digest_sum(&a, 1, 1);
	assert_true(a.low == 0 && a.high == 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_planes_there_and_back),
		cmocka_unit_test(test_header_there_and_back),
		cmocka_unit_test(test_every_dtype_comes_through),
		cmocka_unit_test(test_every_cut_is_told),
		cmocka_unit_test(test_every_flipped_bit_is_told),
		cmocka_unit_test(test_frames_are_chained),
		cmocka_unit_test(test_other_versions_are_refused),
		cmocka_unit_test(test_headers_that_make_no_sense),
		cmocka_unit_test(test_digests_do_not_depend_on_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
