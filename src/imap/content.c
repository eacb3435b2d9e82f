/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/content.c: see imap/content.h. The header is looked for in the first HEAD octets. */
#include "imap/content.h"
#include "base/arena.h"
#include "base/file.h"
#include "mail/header.h"
#include <string.h>

enum { HEAD = 16 * 1024 };

void content_init(struct content *c, struct view *v, const struct msg *m, struct arena *a)
{
	*c = (struct content){.view = v, .a = a, .msg = *m, .fd = -1};
}

void content_fini(struct content *c) { fd_close(&c->fd); }

bool content_open(struct content *c, struct err *err)
{
	if (c->fd >= 0)
		return true;
	if (!view_message_fd(c->view, c->msg.uid, &c->fd, &c->file_size, err)) {
		c->fd = -1;
		return false;
	}
	return true;
}

static bool read_part(struct content *c, size_t n, struct str *out, struct err *err)
{
	char *p = arena_alloc(c->a, n ? n : 1);

	if (!file_pread_all(c->fd, p, n, 0, err))
		return false;
	*out = (struct str){p, n};
	return true;
}

bool content_all(struct content *c, struct str *out, struct err *err)
{
	if (!c->has_all) {
		if (!content_open(c, err) || !read_part(c, c->file_size, &c->all, err))
			return false;
		c->has_all = true;
	}
	*out = c->all;
	return true;
}

/* Does this beginning of a file hold the whole header? */
static bool header_ends(struct str head, size_t *out_n)
{
	*out_n = header_length(head);
	return *out_n < head.n;
}

bool content_header(struct content *c, struct str *out, struct err *err)
{
	struct str raw;
	size_t n;

	if (!c->has_header && !c->has_all) {
		if (!content_open(c, err))
			return false;
		if (c->file_size > HEAD && !read_part(c, HEAD, &raw, err))
			return false;
		if (c->file_size > HEAD && header_ends(raw, &n)) {
			c->header = str_sub(raw, 0, n);
			c->has_header = true;
		}
	}
	if (!c->has_header) {
		if (!content_all(c, &raw, err))
			return false;
		c->header = str_sub(raw, 0, header_length(raw));
		c->has_header = true;
	}
	*out = c->header;
	return true;
}

bool content_mime(struct content *c, const struct mime_message **out, struct err *err)
{
	struct str all;

	if (!c->mime) {
		if (!content_all(c, &all, err))
			return false;
		c->mime = mime_parse(c->a, all);
	}
	*out = c->mime;
	return true;
}
