/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/definition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t definition_format(const struct view_definition *d, char *buf, size_t size)
{
	char owner[24] = "", dtype[16] = "";
	int n;

	if (d->owner)
		snprintf(owner, sizeof owner, " owner=%" PRIu32, d->owner);
	if (d->dtype != VS_DTYPE_COUNT)
		snprintf(dtype, sizeof dtype, " dtype=%d",
			 d->dtype); /* numbers are what any version passes over */
	n = snprintf(buf, size,
		     "%s seed=%" PRIu64 " train=%" PRIu32 " retrain=%d epoch=%" PRIu32 " model=%016" PRIx64
		     " sum=%016" PRIx64 " rows=%" PRIu64 " error=%.9g dim=%" PRIu32
		     " metric=%s%s unsettled=%d%s\n",
		     d->name, d->params.seed, d->params.train_rows, d->params.retrain_auto, d->epoch,
		     d->model, d->model_sum, d->rows_trained, d->error_trained, d->dim,
		     vs_metric_name(d->metric), dtype, d->unsettled, owner);

	return n < 0 || (size_t)n >= size ? size : (size_t)n;
}

static int parse_pair(char *pair, struct view_definition *out)
{
	char *value = strchr(pair, '='), *end;
	int base = 10, metric;
	uint64_t n;

	if (!value)
		return -EINVAL;
	*value++ = 0;
	if (!strcmp(pair, "metric")) {
		metric = vs_metric_parse(value);
		out->metric = metric < 0 ? VS_L2 : (enum vs_metric)metric;
		return metric < 0 ? -EINVAL : 0;
	}
	if (!strcmp(pair, "error")) {
		out->error_trained = strtod(value, &end);
		return *end || end == value ? -EINVAL : 0;
	}
	if (!strcmp(pair, "model") || !strcmp(pair, "sum"))
		base = 16;
	n = strtoull(value, &end, base);
	if (*end || end == value)
		return -EINVAL;
	if (!strcmp(pair, "seed"))
		out->params.seed = n;
	else if (!strcmp(pair, "train"))
		out->params.train_rows = (uint32_t)n;
	else if (!strcmp(pair, "retrain"))
		out->params.retrain_auto = n;
	else if (!strcmp(pair, "epoch"))
		out->epoch = (uint32_t)n;
	else if (!strcmp(pair, "model"))
		out->model = n;
	else if (!strcmp(pair, "sum"))
		out->model_sum = n;
	else if (!strcmp(pair, "rows"))
		out->rows_trained = n;
	else if (!strcmp(pair, "unsettled"))
		out->unsettled = n;
	else if (!strcmp(pair, "dim"))
		out->dim = (uint32_t)n;
	else if (!strcmp(pair, "dtype") && n < VS_DTYPE_COUNT)
		out->dtype = (enum vs_dtype)n;
	else if (!strcmp(pair, "owner"))
		out->owner = (uint32_t)n;
	return 0;
}

int definition_parse(const char **text, const char *end, struct view_definition *out)
{
	char line[VIEW_LINE_BYTES], *word, *rest = line;
	const char *newline = memchr(*text, '\n', (size_t)(end - *text));
	struct codec_name codec;
	size_t len;
	int rc = 0;

	*out = (struct view_definition){.dtype = VS_DTYPE_COUNT};
	if (!newline || (size_t)(newline - *text) >= sizeof line)
		return -EINVAL;
	len = (size_t)(newline - *text);
	memcpy(line, *text, len);
	line[len] = 0;
	*text = newline + 1;
	word = strsep(&rest, " ");
	if (strlen(word) >= sizeof out->name || codec_parse(word, &codec))
		return -EINVAL;
	strcpy(out->name, word);
	while (!rc && (word = strsep(&rest, " ")))
		rc = parse_pair(word, out);
	return rc;
}
