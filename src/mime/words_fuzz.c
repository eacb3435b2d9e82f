/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "base/codec.h"
#include "mime/text.h"
#include "mime/words.h"
#include <stdlib.h>

/* Decoded text is valid UTF-8 without line ends; encoded, it decodes to itself. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED plain = {0}, coded = {0}, back = {0}, name = {0}, phrase = {0};
	struct str value;
	struct mime_params params;
	int flags = 0;
	words_decode(&plain, (struct str){(const char *)data, size});
	if (!utf8_valid(buf_str(&plain)) || str_has_byte(buf_str(&plain), '\n')) abort();
	words_encode(&coded, buf_str(&plain), 10);
	if (!str_is_ascii(buf_str(&coded))) abort();
	words_decode(&back, buf_str(&coded));
	if (!str_eq(str_trim(buf_str(&back)), str_trim(buf_str(&plain)))) abort();
	words_encode_phrase(&phrase, buf_str(&plain), 10);
	filename_clean(&name, buf_str(&plain));
	if (!utf8_valid(buf_str(&name)) || name.n == 0 || name.n > 255 || str_has_byte(buf_str(&name), '/'))
		abort();
	if (mime_disposition_parse(a, (struct str){(const char *)data, size}, &value, &params, &flags)) {
		buf_clear(&plain);
		param_decode(&plain, params, STR("filename"));
		if (!utf8_valid(buf_str(&plain))) abort();
	}
	return 0;
}
