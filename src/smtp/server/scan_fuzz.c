/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The fast scanner against one that goes octet by octet, and itself in other pieces. */
#include "smtp/server/server_int.h"
#include <assert.h>
#include <string.h>

/* What DATA means, as plainly as can be said. */
static size_t plainly(struct str in, struct buf *out, bool *out_end, bool *out_bare)
{
	bool start = true;
	*out_end = *out_bare = false;
	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (start && c == '.') {
			if (i + 2 < in.n && in.p[i + 1] == '\r' && in.p[i + 2] == '\n') {
				*out_end = true;
				return i + 3;
			}
			start = false;
			continue;
		}
		if (c == '\r' && i + 1 < in.n && in.p[i + 1] == '\n') {
			buf_add(out, STR("\r\n"));
			i++;
			start = true;
			continue;
		}
		if (c == '\r' || c == '\n' || c == 0)
			*out_bare = true;
		buf_byte(out, c);
		start = false;
	}
	return in.n;
}

static size_t in_pieces(struct str in, size_t piece, bool normalise, struct buf *out, bool *out_end,
			bool *out_bare)
{
	struct smtp_text t = {.line_start = true, .normalise = normalise};
	size_t used = 0, there = 0;
	*out_end = false;
	while (!*out_end && there < in.n) {
		there = there + piece < in.n ? there + piece : in.n;
		used += smtp_text_scan(&t, str_sub(in, used, there - used), out, out_end);
		assert(used <= there);
	}
	*out_bare = t.bare;
	return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	struct str in = {(const char *)data + 1, size - 1};
	BUF_SCOPED want = {0}, got = {0}, normal = {0};
	bool want_end, want_bare, end, bare;
	size_t want_used = plainly(in, &want, &want_end, &want_bare);
	size_t used = in_pieces(in, data[0] + 1u, false, &got, &end, &bare);
	assert(end == want_end);
	if (end)
		assert(used == want_used && bare == want_bare && str_eq(buf_str(&got), buf_str(&want)));
	else /* a CR or a dot may be held back */
		assert(got.n <= want.n && (got.n == 0 || memcmp(got.p, want.p, got.n) == 0));
	/* Normalised text has no bare octet left, and ends where it ended. */
	size_t again = in_pieces(in, data[0] + 1u, true, &normal, &end, &bare);
	assert(again == used && end == want_end);
	for (size_t i = 0; i < normal.n; i++) {
		assert(normal.p[i] != 0);
		assert(normal.p[i] != '\n' || (i > 0 && normal.p[i - 1] == '\r'));
		assert(normal.p[i] != '\r' || (i + 1 < normal.n && normal.p[i + 1] == '\n'));
	}
	return 0;
}
