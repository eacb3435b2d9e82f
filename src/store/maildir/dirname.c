/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/dirname.h"
#include "base/codec.h"
#include "mime/text.h"
#include "mime/words.h"

#define DOT STR("&AC4-") /* modified UTF-7 of '.', which encoding itself never makes */

static bool has_control(struct str utf8)
{
	while (utf8.n) {
		uint32_t cp;
		size_t n = utf8_decode(utf8, &cp);
		if (!n || cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x2028 || cp == 0x2029)
			return true;
		utf8 = str_from(utf8, n);
	}
	return false;
}

/* INBOX is named without regard to case (RFC 9051 5.1), also as the first component. */
static struct str capital_inbox(struct arena *a, struct str name)
{
	if (!str_starts_nocase(name, STR("INBOX")) || (name.n > 5 && name.p[5] != '/'))
		return name;
	return arena_cat(a, STR("INBOX"), str_from(name, 5));
}

bool mailbox_name_normal(struct arena *a, struct str name, struct str *out, struct err *err)
{
	if (name.n > MAILBOX_NAME_MAX)
		return err_set(err, ERR_LIMIT, "mailbox name is too long");
	if (name.n && name.p[name.n - 1] == '/')
		name.n--;
	if (!name.n)
		return err_set(err, ERR_SYNTAX, "mailbox name is empty");
	if (!utf8_valid(name) || has_control(name))
		return err_set(err, ERR_SYNTAX, "mailbox name holds characters that are not allowed");

	name = text_nfc_str(a, name);
	int depth = 0;
	struct str rest = name;
	while (rest.p) {
		if (!str_cut(&rest, '/').n)
			return err_set(err, ERR_SYNTAX, "mailbox name has an empty component");
		if (++depth > MAILBOX_DEPTH_MAX)
			return err_set(err, ERR_LIMIT, "mailbox name has too many components");
	}
	*out = capital_inbox(a, name);
	return true;
}

bool dir_of_mailbox(struct arena *a, struct str name, struct str *out, struct err *err)
{
	if (str_eq(name, STR("INBOX"))) {
		*out = STR(".");
		return true;
	}

	BUF_SCOPED encoded = {0}, dir = {0};
	if (!mutf7_encode(&encoded, name))
		return err_set(err, ERR_SYNTAX, "mailbox name holds characters that are not allowed");
	buf_byte(&dir, '.');
	for (size_t i = 0; i < encoded.n; i++) {
		char c = encoded.p[i];
		if (c == '.')
			buf_add(&dir, DOT);
		else
			buf_byte(&dir, c == '/' ? '.' : c);
	}
	if (dir.n > DIR_NAME_MAX)
		return err_set(err, ERR_LIMIT, "mailbox name is too long");
	const char *copy = arena_cstr(a, buf_str(&dir));
	*out = (struct str){copy, dir.n};
	return true;
}

/* The encoder writes one run of characters as one; so "&vBs-&AC4-&vBs-" is cut at the dot first. */
static void undot(struct buf *out, struct str component)
{
	size_t at;

	while ((at = str_find(component, DOT)) != STR_NPOS) {
		buf_add(out, str_sub(component, 0, at));
		buf_byte(out, '.');
		component = str_from(component, at + DOT.n);
	}
	buf_add(out, component);
}

static bool component_decode(struct arena *a, struct str component, struct buf *out)
{
	BUF_SCOPED plain = {0}, decoded = {0};

	undot(&plain, component);
	if (mutf7_decode(&decoded, buf_str(&plain)))
		buf_add(out, text_nfc_str(a, buf_str(&decoded)));
	else if (utf8_valid(component))
		buf_add(out, text_nfc_str(a, component));
	else
		return false;
	return true;
}

bool mailbox_of_dir(struct arena *a, struct str dir, struct str *out)
{
	if (str_eq(dir, STR("."))) {
		*out = STR("INBOX");
		return true;
	}
	if (dir.n < 2 || dir.p[0] != '.' || dir.p[1] == '.')
		return false;

	BUF_SCOPED name = {0};
	struct str rest = str_from(dir, 1);
	while (rest.p) {
		struct str component = str_cut(&rest, '.');
		if (name.n)
			buf_byte(&name, '/');
		size_t before = name.n;
		if (!component_decode(a, component, &name) || name.n == before ||
		    str_has_byte(str_from(buf_str(&name), before), '/'))
			return false;
	}
	struct str all = buf_str(&name);
	if (has_control(all) || str_eq_nocase(all, STR("INBOX")))
		return false;
	*out = capital_inbox(a, arena_str(a, all));
	return true;
}
