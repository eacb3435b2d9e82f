/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"
#include "mime/part.h"
#include "mime/summary.h"
#include "mime/text.h"
#include <stdlib.h>

static void check_part(const struct mime_message *m, const struct mime_part *p)
{
	if (p->header_start > p->body_start || p->body_start > p->body_end || p->body_end > m->data.n)
		abort();
	if (p->depth > MIME_DEPTH_MAX || p->number >= MIME_PARTS_MAX) abort();
	if (!p->parent) return;
	if (p->header_start < p->parent->body_start || p->body_end > p->parent->body_end) abort();
}

/* Parts lie inside their parents; everything that is made from a message works; text is UTF-8. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ARENA_SCOPED a = arena_new();
	struct mime_message *m = mime_parse(a, (struct str){(const char *)data, size});
	struct summary s, again;
	struct err err;
	BUF_SCOPED b = {0}, text = {.max = 1 << 20}, octets = {0};
	unsigned n = 0;
	for (struct mime_part *p = m->root; p; p = mime_next(p), n++) {
		uint64_t decoded;
		check_part(m, p);
		buf_clear(&octets);
		if (!mime_decoded_size(m, p, &decoded, &err)) continue;
		if (!mime_decode_part(m, p, 0, &octets, &err) || octets.n != decoded) abort();
	}
	if (n != m->part_n) abort();
	summary_make(a, m, &s);
	summary_encode(&b, &s);
	if (!summary_decode(buf_str(&b), &again, &err) || !str_eq(s.subject, again.subject)) abort();
	if (!utf8_valid(s.subject) || !utf8_valid(s.base_subject) || !utf8_valid(s.from)) abort();
	text_extract_normalised(&text, m, TEXT_HEADER | TEXT_BODY);
	if (!utf8_valid(buf_str(&text))) abort();
	return 0;
}
