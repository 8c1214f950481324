/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of vecfs send, with its sums put right: what a receiver would take of it is rows with legal ids,
 * as many bytes as they should have, and it says why it takes no more.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "store/stream/vecstream.h"
#include "tests/fuzz/fuzz.h"

#define WHY_BYTES 256

struct input {
	uint8_t *data;
	size_t size, at;
};

static ssize_t get(void *arg, void *buf, size_t size)
{
	struct input *in = arg;

	if (size > in->size - in->at)
		size = in->size - in->at;
	memcpy(buf, in->data + in->at, size);
	in->at += size;
	return (ssize_t)size;
}

static uint64_t reseal_frame(struct input *in, size_t at, size_t bytes, uint64_t sum)
{
	XXH3_state_t *state = XXH3_createState();

	XXH3_64bits_reset_withSeed(state, sum);
	XXH3_64bits_update(state, in->data + at, offsetof(struct vecstream_frame, sum));
	XXH3_64bits_update(state, in->data + at + sizeof(struct vecstream_frame), bytes);
	sum = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	memcpy(in->data + at + offsetof(struct vecstream_frame, sum), &sum, sizeof sum);
	return sum;
}

static void reseal(struct input *in)
{
	struct vecstream_start start;
	struct vecstream_frame frame;
	size_t at = sizeof start;

	if (in->size < sizeof start)
		return;
	memcpy(&start, in->data, sizeof start);
	if (start.header_bytes > in->size - at)
		return;
	start.sum = XXH3_64bits_withSeed(in->data + at, start.header_bytes, start.magic ^ start.version);
	memcpy(in->data, &start, sizeof start);
	for (at += start.header_bytes; in->size - at >= sizeof frame;
	     at += sizeof frame + frame.stored_bytes) {
		memcpy(&frame, in->data + at, sizeof frame);
		if (frame.stored_bytes > in->size - at - sizeof frame)
			return;
		start.sum = reseal_frame(in, at, frame.stored_bytes, start.sum);
	}
}

static void check_rows(const struct vecstream_rows *r, size_t row_bytes)
{
	const char *id = r->ids;
	volatile char last;

	for (uint32_t i = 0; i < r->rows; i++) {
		assert(vs_name_check(id, strlen(id)) == 0);
		id += strlen(id) + 1;
	}
	assert(id == r->ids + r->ids_bytes);
	if (r->type == VECSTREAM_ROWS && row_bytes > 0)
		last = ((const char *)r->vectors)[r->rows * row_bytes - 1];
	(void)last;
}

static void run(struct input *in)
{
	struct vecstream_reader r = {.read = get, .arg = in};
	struct vecstream_packer *p = NULL;
	static struct vecstream_header h;
	struct vecstream_frame frame = {0};
	struct vecstream_rows rows;
	struct vecstream_end end = {0};
	size_t capacity = 0;
	void *buf = NULL;
	char why[WHY_BYTES] = "";
	int rc = vecstream_read_header(&r, &h, why, sizeof why);

	if (!rc)
		p = vecstream_packer_new(&h.schema);
	while (!rc && frame.type != VECSTREAM_END) {
		rc = vecstream_read(&r, &frame, &buf, &capacity, why, sizeof why);
		if (!rc && frame.type == VECSTREAM_END)
			rc = vecstream_check_end(&frame, buf, &end, why, sizeof why);
		else if (!rc)
			rc = vecstream_unpack(p, &frame, buf, &rows, why, sizeof why);
		if (!rc && frame.type != VECSTREAM_END) {
			check_rows(&rows, vs_row_bytes(&h.schema));
			vecstream_count(&rows, vs_row_bytes(&h.schema), &end);
		}
	}
	assert(!rc || rc == -ENOMEM || (rc == -EINVAL && *why));
	vecstream_packer_free(p);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {malloc(size + 1), size, 0};

	memcpy(in.data, data, size);
	run(&in);
	in.at = 0;
	reseal(&in);
	run(&in);
	free(in.data);
	return 0;
}
