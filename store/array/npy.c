/* SPDX-License-Identifier: Apache-2.0 */
#include "store/array/npy.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define PREFIX_BYTES_V1 10 /* magic, version, 16-bit length */
#define PREFIX_BYTES_V2 12 /* the same with a 32-bit length */
#define DESCR_BYTES 64
#define FIELDS 3

/* As we write them. */
static const char *const descrs[VS_DTYPE_COUNT] = {
	[VS_F32] = "<f4", [VS_F16] = "<f2", [VS_BF16] = "<u2",
	[VS_I8] = "|i1",  [VS_U8] = "|u1",  [VS_BIT] = "|u1",
};

void npy_header_build(const struct npy_shape *shape, unsigned char *buf, size_t bytes)
{
	const size_t text_bytes = bytes - PREFIX_BYTES_V1;
	uint32_t columns = shape->dtype == VS_BIT ? (shape->dim + 7) / 8 : shape->dim;
	char third[16] = "";
	int n;

	assert(shape->dtype < VS_DTYPE_COUNT && shape->dim > 0);
	memset(buf, ' ', bytes);
	memcpy(buf, MAGIC "\x01", MAGIC_BYTES + 2); /* version 1.0: its zero is the literal's NUL */
	buf[8] = text_bytes & 0xff;
	buf[9] = (unsigned char)(text_bytes >> 8);
	if (shape->inner)
		snprintf(third, sizeof third, ", %u", shape->inner);
	n = snprintf((char *)buf + PREFIX_BYTES_V1, text_bytes,
		     "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %u%s), }", descrs[shape->dtype],
		     (unsigned long long)shape->rows, columns, third);
	assert(n > 0 && (size_t)n < text_bytes);
	buf[PREFIX_BYTES_V1 + n] = ' ';
	buf[bytes - 1] = '\n';
}

/* ------------------------------------------------------------------ Python literals */

struct text {
	const char *at, *end;
};

static void text_skip_space(struct text *t)
{
	while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r'))
		t->at++;
}

static bool text_take(struct text *t, const char *token)
{
	size_t len = strlen(token);

	text_skip_space(t);
	if ((size_t)(t->end - t->at) < len || memcmp(t->at, token, len) != 0)
		return false;
	t->at += len;
	return true;
}

/* A string of printable ASCII without escapes: every key and every descr that we can use is one. */
static bool text_string(struct text *t, char *out, size_t out_size)
{
	size_t len = 0;
	char quote;

	text_skip_space(t);
	if (t->at == t->end || (*t->at != '\'' && *t->at != '"'))
		return false;
	quote = *t->at++;
	for (; t->at < t->end && *t->at != quote; t->at++) {
		if (*t->at < ' ' || *t->at > '~' || *t->at == '\\' || len + 1 == out_size)
			return false;
		out[len++] = *t->at;
	}
	out[len] = 0;
	return text_take(t, (char[]){quote, 0});
}

static bool text_number(struct text *t, uint64_t *out)
{
	const char *start;

	text_skip_space(t);
	start = t->at;
	for (*out = 0; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
		if (__builtin_mul_overflow(*out, 10u, out) ||
		    __builtin_add_overflow(*out, (unsigned)(*t->at - '0'), out))
			return false;
	}
	if (t->at == start)
		return false;
	text_take(t, "L"); /* Python 2 wrote long integers so */
	return true;
}

/* ------------------------------------------------------------------ the dict */

struct dict {
	char descr[DESCR_BYTES];
	bool fortran;
	unsigned dims; /* how many numbers the shape has */
	uint64_t shape[2];
};

static bool dict_shape(struct dict *d, struct text *t)
{
	if (!text_take(t, "("))
		return false;
	for (d->dims = 0; !text_take(t, ")"); d->dims++) {
		uint64_t n;

		if (!text_number(t, &n))
			return false;
		if (d->dims < 2)
			d->shape[d->dims] = n;
		if (!text_take(t, ",")) {
			d->dims++;
			return text_take(t, ")");
		}
	}
	return true;
}

static bool dict_field(struct dict *d, struct text *t, unsigned *seen)
{
	char key[DESCR_BYTES];

	if (!text_string(t, key, sizeof key) || !text_take(t, ":"))
		return false;
	if (strcmp(key, "descr") == 0) {
		*seen |= 1;
		if (text_take(t, "[")) { /* a list of fields: nothing after it matters */
			strcpy(d->descr, "[");
			t->at = t->end;
			return true;
		}
		return text_string(t, d->descr, sizeof d->descr);
	}
	if (strcmp(key, "fortran_order") == 0) {
		*seen |= 2;
		d->fortran = text_take(t, "True");
		return d->fortran || text_take(t, "False");
	}
	if (strcmp(key, "shape") == 0) {
		*seen |= 4;
		return dict_shape(d, t);
	}
	return false;
}

static bool dict_parse(struct dict *d, struct text *t)
{
	unsigned seen = 0;

	*d = (struct dict){0};
	if (!text_take(t, "{"))
		return false;
	while (!text_take(t, "}")) {
		if (!dict_field(d, t, &seen))
			return false;
		if (d->descr[0] == '[')
			return true;
		if (!text_take(t, ",")) {
			if (!text_take(t, "}"))
				return false;
			break;
		}
	}
	text_skip_space(t);
	return t->at == t->end && seen == (1u << FIELDS) - 1;
}

/* ------------------------------------------------------------------ what of it we can use */

static int refuse_dtype(const char *descr, char *why, size_t why_size)
{
	if (descr[0] == '[')
		snprintf(why, why_size,
			 "found an array of structures, want plain numbers: "
			 "save one field with np.ascontiguousarray(a['FIELD'], dtype='<f4')");
	else if (strcmp(descr, ">f4") == 0 || strcmp(descr, ">f2") == 0)
		snprintf(why, why_size,
			 "found big-endian numbers ('%s'), want little-endian ones: "
			 "save with a.astype('<%s')",
			 descr, descr + 1);
	else if (strcmp(descr, "|b1") == 0)
		snprintf(why, why_size,
			 "found booleans ('|b1'), want packed bits: save with np.packbits(a, axis=1)");
	else
		snprintf(why, why_size,
			 "found dtype '%s', want one of '<f4' '<f2' '<u2' '|i1' '|u1': "
			 "save with np.ascontiguousarray(a, dtype='<f4')",
			 descr);
	return -EINVAL;
}

static int dtype_of_descr(const char *descr, enum vs_dtype *out)
{
	/* '=' is the byte order of the machine that wrote the file, which no big-endian one is any more;
	 * for single bytes any order will do. */
	static const struct {
		const char *orders, *kind;
		enum vs_dtype dtype;
	} known[] = {
		{"<=", "f4", VS_F32},   {"<=", "f2", VS_F16},  {"<=", "u2", VS_BF16},
		{"<=|", "V2", VS_BF16}, {"<=|>", "i1", VS_I8}, {"<=|>", "u1", VS_U8},
	};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (descr[0] && strchr(known[i].orders, descr[0]) && strcmp(descr + 1, known[i].kind) == 0) {
			*out = known[i].dtype;
			return 0;
		}
	return -EINVAL;
}

static int dict_to_shape(const struct dict *d, struct npy_shape *out, char *why, size_t why_size)
{
	uint64_t row_bytes_max = VS_ROW_BYTES_MAX, width_bytes;

	if (dtype_of_descr(d->descr, &out->dtype) != 0)
		return refuse_dtype(d->descr, why, why_size);
	if (d->dims != 2) {
		snprintf(why, why_size,
			 "found an array of %u dimension%s, want 2 (rows, dim): "
			 "save with a.reshape(-1, dim)",
			 d->dims, d->dims == 1 ? "" : "s");
		return -EINVAL;
	}
	if (d->fortran) {
		snprintf(why, why_size,
			 "found Fortran order (columns first), want C order (rows first): "
			 "save with np.ascontiguousarray(a, dtype='%s')",
			 d->descr);
		return -EINVAL;
	}
	width_bytes = vs_dtype_bits(out->dtype) / 8;
	if (d->shape[1] == 0 || d->shape[1] > row_bytes_max / width_bytes) {
		snprintf(why, why_size, "found rows of %llu numbers, want 1 to %llu",
			 (unsigned long long)d->shape[1], (unsigned long long)(row_bytes_max / width_bytes));
		return -EINVAL;
	}
	if (d->shape[0] > (uint64_t)INT64_MAX / (d->shape[1] * width_bytes)) {
		snprintf(why, why_size, "found %llu rows, more than any file can hold",
			 (unsigned long long)d->shape[0]);
		return -EINVAL;
	}
	out->rows = d->shape[0];
	out->dim = (uint32_t)d->shape[1];
	out->inner = 0;
	out->is_uint16 = strcmp(d->descr + 1, "u2") == 0;
	return 0;
}

/* The offset and the length of the text. */
static int find_text(const unsigned char *buf, size_t size, size_t *off, size_t *len, char *why,
		     size_t why_size)
{
	size_t magic_bytes = size < MAGIC_BYTES ? size : MAGIC_BYTES;

	if (memcmp(buf, MAGIC, magic_bytes) != 0) {
		snprintf(why, why_size, "found no .npy header, want a file written by numpy.save");
		return -EINVAL;
	}
	if (size < PREFIX_BYTES_V2)
		return -EAGAIN; /* no valid header is as short as that in any version */
	if (buf[6] < 1 || buf[6] > 3 || buf[7] != 0) {
		snprintf(why, why_size,
			 "found .npy version %u.%u, want 1.0, 2.0 or 3.0: save with numpy.save", buf[6],
			 buf[7]);
		return -EINVAL;
	}
	*off = buf[6] == 1 ? PREFIX_BYTES_V1 : PREFIX_BYTES_V2;
	*len = buf[8] | (size_t)buf[9] << 8;
	if (buf[6] > 1)
		*len |= (size_t)buf[10] << 16 | (size_t)buf[11] << 24;
	if (*off + *len > NPY_HEADER_BYTES_MAX) {
		snprintf(why, why_size, "found a .npy header of %zu bytes, want at most %d", *off + *len,
			 NPY_HEADER_BYTES_MAX);
		return -EINVAL;
	}
	return *off + *len > size ? -EAGAIN : 0;
}

int npy_header_parse(const void *buf, size_t size, struct npy_shape *out, size_t *header_bytes, char *why,
		     size_t why_size)
{
	struct text text;
	struct dict dict;
	size_t off, len;
	int rc = find_text(buf, size, &off, &len, why, why_size);

	if (rc != 0)
		return rc;
	text = (struct text){(const char *)buf + off, (const char *)buf + off + len};
	if (!dict_parse(&dict, &text)) {
		snprintf(why, why_size,
			 "found a .npy header that is not a dict of descr, fortran_order and shape: "
			 "save with numpy.save");
		return -EINVAL;
	}
	*header_bytes = off + len;
	return dict_to_shape(&dict, out, why, why_size);
}
