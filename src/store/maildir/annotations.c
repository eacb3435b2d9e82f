/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/annotations.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/scan.h"

/* NAME SP LENGTH LF VALUE LF */
static bool parse_one(struct scan *s, struct annotation *out)
{
	uint32_t n;

	out->name = scan_until_byte(s, ' ');
	return out->name.n && !str_has_ctl(out->name) && scan_byte(s, ' ') &&
	       scan_u32(s, ANNOTATIONS_FILE_MAX, &n) && scan_byte(s, '\n') && scan_take(s, n, &out->value) &&
	       scan_byte(s, '\n');
}

void annotations_parse(struct arena *a, struct str file, struct annotation **out, size_t *out_n)
{
	struct scan s = scan_of(file);
	struct annotation one;
	size_t cap = 0;

	*out = NULL;
	*out_n = 0;
	while (parse_one(&s, &one)) {
		*out = arena_grow(a, *out, *out_n, &cap, sizeof(**out));
		(*out)[(*out_n)++] = one;
	}
}

bool annotations_read(int dirfd, const char *file, struct arena *a, struct annotation **out, size_t *out_n,
		      struct err *err)
{
	BUF_SCOPED content = {0};

	*out = NULL;
	*out_n = 0;
	if (!file_read_whole(dirfd, file, ANNOTATIONS_FILE_MAX, &content, err))
		return err->kind == ERR_NOT_FOUND;
	annotations_parse(a, arena_str(a, buf_str(&content)), out, out_n);
	return true;
}

bool annotations_write(int dirfd, const char *file, const struct annotation *list, size_t n, struct err *err)
{
	BUF_SCOPED content = {0};

	for (size_t i = 0; i < n; i++) {
		if (!list[i].value.p)
			continue;
		buf_add(&content, list[i].name);
		buf_byte(&content, ' ');
		buf_u64(&content, list[i].value.n);
		buf_byte(&content, '\n');
		buf_add(&content, list[i].value);
		buf_byte(&content, '\n');
	}
	return file_replace_whole(dirfd, file, buf_str(&content), 0600, err);
}
