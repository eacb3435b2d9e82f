/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/codec.h: base64 (RFC 4648 section 4), hexadecimal, UTF-8 (RFC 3629).
 */
#pragma once
#include "base/buf.h"

void base64_encode(struct buf *out, struct str in);          /* no line breaks */
/* Strict: padding is needed, and nothing else is let through. On failure out is as before. */
bool base64_decode(struct buf *out, struct str in) __attribute__((warn_unused_result));
void hex_encode(struct buf *out, struct str in);             /* lower case */
bool hex_decode(struct buf *out, struct str in) __attribute__((warn_unused_result));

bool utf8_valid(struct str s); /* no surrogates, no overlong forms, at most U+10FFFF */
/* Length 1-4 and the code point, or 0 where the bytes at the start are not valid UTF-8. */
size_t utf8_decode(struct str s, uint32_t *out_cp);
void utf8_encode(struct buf *out, uint32_t cp);
