/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/control/search_params.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/search/search.h"

#define WORD_BYTES 512

void search_params_init(struct search_params *p)
{
	*p = (struct search_params){.k = SEARCH_K_DEFAULT, .threads = 1, .rerank = VS_RERANK_AUTO};
}

/* A whole decimal number of at most max. */
static bool number_of(const char *value, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;

	if (!*value || strspn(value, "0123456789") != strlen(value))
		return false;
	errno = 0;
	*out = strtoul(value, &end, 10);
	return !errno && *out >= min && *out <= max;
}

static bool float_of(const char *value, float *out)
{
	char *end;

	if (!*value || strspn(value, "+-.0123456789eE") != strlen(value))
		return false;
	*out = strtof(value, &end);
	return !*end && isfinite(*out);
}

static bool text_of(const char *value, char *out, size_t size)
{
	return *value && (size_t)snprintf(out, size, "%s", value) < size;
}

static bool set_k(struct search_params *p, const char *value)
{
	unsigned long n = 0;
	bool ok = number_of(value, 1, SEARCH_K_MAX, &n);

	p->k = (uint32_t)n;
	return ok;
}

static bool set_radius(struct search_params *p, const char *value)
{
	p->has_radius = true;
	return float_of(value, &p->radius);
}

static bool set_filter(struct search_params *p, const char *value)
{
	return text_of(value, p->filter, sizeof p->filter);
}

static bool set_ids(struct search_params *p, const char *value)
{
	p->deny = *value == '!';
	return text_of(value + p->deny, p->ids, sizeof p->ids);
}

static bool set_format(struct search_params *p, const char *value)
{
	p->json = !strcmp(value, "json");
	return p->json || !strcmp(value, "text");
}

static bool set_timeout(struct search_params *p, const char *value)
{
	unsigned long n = 0;
	bool ok = number_of(value, 0, 1u << 30, &n);

	p->timeout_ms = (unsigned)n;
	return ok;
}

static bool set_view(struct search_params *p, const char *value)
{
	return text_of(value, p->view, sizeof p->view);
}

/* What comes last counts: a number of candidates, or what they are to reach. */
static bool set_rerank(struct search_params *p, const char *value)
{
	unsigned long n = VS_RERANK_AUTO;
	bool ok = !strcmp(value, "auto") || number_of(value, 0, VS_RERANK_AUTO - 1, &n);

	p->rerank = (uint32_t)n;
	p->recall = 0;
	return ok;
}

static bool set_recall(struct search_params *p, const char *value)
{
	float recall;
	bool ok = float_of(value, &recall) && recall > 0 && recall <= 1;

	p->recall = ok ? strtod(value, NULL) : 0;
	return ok;
}

static const struct {
	const char *key, *want;
	bool (*set)(struct search_params *p, const char *value);
} keys[] = {
	{"k", "a number from 1 to 1000000", set_k},
	{"radius", "a number", set_radius},
	{"filter", "a pattern of at most 255 bytes", set_filter},
	{"ids", "the name of a list in this session", set_ids},
	{"format", "text or json", set_format},
	{"timeout_ms", "milliseconds", set_timeout},
	{"view", "the name of a view", set_view},
	{"rerank", "auto or a number", set_rerank},
	{"recall", "a number above 0, at most 1", set_recall},
};

int search_params_set(struct search_params *p, const char *word, size_t len, char *why, size_t why_size)
{
	struct search_params changed = *p;
	char copy[WORD_BYTES], *value;

	if (len >= sizeof copy || memchr(word, '\0', len)) {
		snprintf(why, why_size, "got %zu bytes of one key=value, want text of at most %d", len,
			 WORD_BYTES - 1);
		return -EINVAL;
	}
	memcpy(copy, word, len);
	copy[len] = '\0';
	value = strchr(copy, '=');
	if (!value) {
		snprintf(why, why_size, "got '%s', want key=value", copy);
		return -EINVAL;
	}
	*value++ = '\0';
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		if (strcmp(copy, keys[i].key) != 0)
			continue;
		if (!keys[i].set(&changed, value)) {
			snprintf(why, why_size, "got %s=%s, want %s", copy, value, keys[i].want);
			return -EINVAL;
		}
		*p = changed;
		return 0;
	}
	snprintf(why, why_size,
		 "got key '%s', want k, radius, filter, ids, format, timeout_ms, view, rerank or recall",
		 copy);
	return -EINVAL;
}

int search_params_parse(struct search_params *p, const char *text, size_t len, char separator, char *why,
			size_t why_size)
{
	int rc = 0;

	while (len && !rc) {
		const char *end = memchr(text, separator, len);
		size_t n = end ? (size_t)(end - text) : len;

		if (n)
			rc = search_params_set(p, text, n, why, why_size);
		n += end != NULL;
		text += n;
		len -= n;
	}
	return rc;
}
