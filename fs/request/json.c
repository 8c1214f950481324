/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/request/json.h"

size_t json_utf8_len(const unsigned char *s)
{
	size_t len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;

	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong, a surrogate, beyond the last code point. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
	    (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

void json_print_string(FILE *out, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	putc('"', out);
	while (*s) {
		size_t len = json_utf8_len(s);

		if (len == 0)
			fprintf(out, "\\udc%02x", *s++);
		else if (*s < ' ' || *s == '"' || *s == '\\' || *s == 0x7f)
			fprintf(out, "\\u%04x", *s++);
		else
			for (; len > 0; len--)
				putc(*s++, out);
	}
	putc('"', out);
}
