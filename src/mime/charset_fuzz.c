/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/codec.h"
#include "mime/charset.h"
#include "mime/text.h"
#include <stdlib.h>
#include <string.h>

/* First line the label, then the text: always valid UTF-8, and its normal form is stable. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = {(const char *)data, size}, label = str_cut(&text, '\n');
	BUF_SCOPED b = {0}, once = {0}, twice = {0}, html = {0};
	charset_decode(&b, label, text);
	if (!utf8_valid(buf_str(&b))) abort();
	text_normalise(&once, buf_str(&b));
	if (!utf8_valid(buf_str(&once))) abort();
	text_normalise(&twice, buf_str(&once));
	if (!utf8_valid(buf_str(&twice))) abort();
	text_of_html(&html, buf_str(&b));
	if (!utf8_valid(buf_str(&html))) abort();
	buf_clear(&b);
	if (charset_decode_strict(&b, label, text) && !utf8_valid(buf_str(&b))) abort();
	return 0;
}
