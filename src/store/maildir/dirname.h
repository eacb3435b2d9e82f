/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/maildir/dirname.h: mailbox names and the directories that hold them, both ways; the one
 * place where a name that a user chose becomes a file name (STYLE 10).
 *
 * Names are UTF-8 in NFC with '/' between components, INBOX in capitals. Directories are Maildir++:
 * "." for INBOX, ".a.b" for "a/b", components in modified UTF-7 (RFC 3501 5.1.3), a '.' inside a
 * component as "&AC4-". Directories that other programs named in UTF-8 are read too.
 */
#pragma once
#include "base/arena.h"
#include "base/err.h"

enum {
	MAILBOX_NAME_MAX = 1000, /* octets of UTF-8 */
	MAILBOX_DEPTH_MAX = 32,
	DIR_NAME_MAX = 250,
};

/* The normal form of a name that a client sent; a final '/' goes (CREATE "a/", RFC 9051 6.3.4).
 * ERR_SYNTAX, ERR_LIMIT. */
bool mailbox_name_normal(struct arena *a, struct str name, struct str *out, struct err *err) MUST_CHECK;
/* name is in normal form. NUL-terminated. ERR_LIMIT: too long for a directory. */
bool dir_of_mailbox(struct arena *a, struct str name, struct str *out, struct err *err) MUST_CHECK;
/* false: not a mailbox of ours to show. The name need not lead back to dir (UTF-8 directories):
 * look it up in the list then. */
bool mailbox_of_dir(struct arena *a, struct str dir, struct str *out);
