/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/buf.h"
#include "mime/part.h"
#include <stdlib.h>

/* Cut anywhere, the output is the same. First octet: encoding and width of the cuts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) return 0;
	enum mime_encoding encoding = MIME_BASE64 + data[0] % 3;
	size_t width = 1 + data[0] / 3 % 7;
	struct str in = {(const char *)data + 1, size - 1};
	struct mime_decoder whole, cut;
	BUF_SCOPED x = {0}, y = {0}, few = {.max = 10};
	mime_decoder_init(&whole, encoding);
	mime_decoder_feed(&whole, in, &x);
	mime_decoder_end(&whole, &x);
	mime_decoder_init(&cut, encoding);
	for (size_t at = 0; at < in.n; at += width) mime_decoder_feed(&cut, str_sub(in, at, width), &y);
	mime_decoder_end(&cut, &y);
	if (!str_eq(buf_str(&x), buf_str(&y))) abort();
	mime_decoder_init(&cut, encoding);
	mime_decoder_feed(&cut, in, &few);
	mime_decoder_end(&cut, &few);
	if (few.n > 10) abort();
	return 0;
}
