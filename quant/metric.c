/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/metric.h"

#include <string.h>

static const char *const names[VS_METRIC_COUNT] = {[VS_L2] = "l2", [VS_IP] = "ip", [VS_COSINE] = "cosine"};

const char *vs_metric_name(enum vs_metric metric)
{
	return (unsigned)metric < VS_METRIC_COUNT ? names[metric] : "?";
}

int vs_metric_parse(const char *word)
{
	for (int i = 0; i < VS_METRIC_COUNT; i++)
		if (!strcmp(word, names[i]))
			return i;
	return -1;
}
