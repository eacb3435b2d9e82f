/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/content.h: the octets of one message, opened and read as far as somebody asks. For FETCH,
 * SEARCH and POP3. The store gives lines that end in CRLF.
 */
#pragma once
#include "base/err.h"
#include "mime/message.h"
#include "store/mailbox.h"

struct content {
	struct view *view;
	struct arena *a;       /* what is read lives here */
	struct msg msg;
	int fd;                /* -1: not opened yet */
	uint64_t file_size;
	bool has_header, has_all;
	struct str header, all;
	struct mime_message *mime;
};
void content_init(struct content *c, struct view *v, const struct msg *m, struct arena *a);
void content_fini(struct content *c);
/* Each may fail with what view_message_fd() says; ERR_GONE: expunged. */
bool content_open(struct content *c, struct err *err) MUST_CHECK;
bool content_header(struct content *c, struct str *out, struct err *err) MUST_CHECK; /* with the empty line */
bool content_all(struct content *c, struct str *out, struct err *err) MUST_CHECK;
bool content_mime(struct content *c, const struct mime_message **out, struct err *err) MUST_CHECK;
