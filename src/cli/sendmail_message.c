/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The header of a message that a program hands in: whom it is for, what nobody else may see of
 * that, and names without a domain. All other fields stay as they are, octet for octet; what is
 * missing (Date, Message-ID) the server adds, as for any submission (RFC 6409 8).
 */
#include "base/clock.h"
#include "base/codec.h"
#include "base/map.h"
#include "cli/sendmail.h"
#include "mail/envelope.h"
#include "mail/header.h"
#include "mail/trace.h"
#include "mime/address_list.h"
#include "mime/words.h"

struct making {
	struct arena *a;
	const struct sendmail_options *o;
	struct str origin, sender;
	struct sendmail_message *m;
	struct err *err;
	struct map *seen; /* recipients in lower case */
	size_t cap;
	bool resent, has_from, has_resent_from, has_resent_date, has_resent_id, header;
};

enum field_use {
	FIELD_OTHER = 0, FIELD_ADDRESSES = 1, FIELD_RECIPIENTS = 2, FIELD_RESENT = 4, FIELD_SECRET = 8,
};

static unsigned use_of(struct str name)
{
	static const struct {
		const char *name;
		unsigned use;
	} fields[] = {
		{"To", FIELD_ADDRESSES | FIELD_RECIPIENTS}, {"Cc", FIELD_ADDRESSES | FIELD_RECIPIENTS},
		{"Bcc", FIELD_ADDRESSES | FIELD_RECIPIENTS | FIELD_SECRET}, {"From", FIELD_ADDRESSES},
		{"Sender", FIELD_ADDRESSES}, {"Reply-To", FIELD_ADDRESSES},
	};
	unsigned resent = str_starts_nocase(name, STR("Resent-")) ? FIELD_RESENT : 0;
	struct str rest = resent ? str_from(name, 7) : name;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (str_eq_nocase(rest, str_of(fields[i].name)))
			return fields[i].use | resent;
	return resent;
}

/* ---- recipients ---- */

static struct str complete(struct arena *a, const struct address_item *item, struct str origin)
{
	struct address address = {item->local, item->domain.p ? item->domain : origin};
	return address_str(a, address);
}

static void add_recipient(struct making *k, const struct address_item *item)
{
	struct sendmail_message *m = k->m;
	struct str text = complete(k->a, item, k->origin), key = arena_lower(k->a, text);
	if (map_get(k->seen, key))
		return;
	map_put(k->seen, key, k);
	m->recipients = arena_grow(k->a, m->recipients, m->recipients_n, &k->cap, sizeof *m->recipients);
	m->recipients[m->recipients_n++] = text;
	m->utf8_address |= !str_is_ascii(text);
}

static bool add_recipients(struct making *k, const struct address_list *list, struct str text)
{
	for (size_t i = 0; i < list->n; i++) {
		const struct address_item *item = &list->at[i];
		if (item->kind != ADDRESS_ITEM_MAILBOX)
			continue;
		if (!item->local.n || str_has_ctl(item->local) || str_has_ctl(item->domain))
			return err_set(k->err, ERR_SYNTAX, "\"%.*s\" is not an address",
				       STR_ARG(str_sub(str_trim(text), 0, 80)));
		add_recipient(k, item);
	}
	return true;
}

bool sendmail_address(struct arena *a, struct str text, struct str origin, struct str *out)
{
	struct address_list list;
	address_list_parse(a, text, &list);
	for (size_t i = 0; i < list.n; i++)
		if (list.at[i].kind == ADDRESS_ITEM_MAILBOX && list.at[i].local.n &&
		    !str_has_ctl(list.at[i].local) && !str_has_ctl(list.at[i].domain)) {
			*out = complete(a, &list.at[i], origin);
			return true;
		}
	return false;
}

/* ---- fields ---- */

static bool has_bare_name(const struct address_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->at[i].kind == ADDRESS_ITEM_MAILBOX && list->at[i].local.n && !list->at[i].domain.p)
			return true;
	return false;
}

static void put_item(struct making *k, struct buf *out, const struct address_item *item)
{
	struct str address = complete(k->a, item, k->origin);
	if (!item->name.p) {
		buf_add(out, address);
		return;
	}
	/* Encoded words stay as they are; words_encode_phrase quotes what must be. */
	words_encode_phrase(out, words_decode_str(k->a, item->name), 0);
	buf_fmt(out, " <%.*s>", STR_ARG(address));
}

/* The field anew, with complete addresses; a line for each. */
static void put_list(struct making *k, struct str name, const struct address_list *list)
{
	struct buf *out = &k->m->text;
	bool first = true;
	buf_fmt(out, "%.*s:", STR_ARG(name));
	for (size_t i = 0; i < list->n; i++) {
		const struct address_item *item = &list->at[i];
		if (item->kind == ADDRESS_ITEM_GROUP_END) {
			buf_byte(out, ';');
			first = false;
			continue;
		}
		buf_add(out, first ? STR(" ") : STR(",\n "));
		first = item->kind == ADDRESS_ITEM_GROUP_START;
		if (first) {
			words_encode_phrase(out, words_decode_str(k->a, item->name), 0);
			buf_byte(out, ':');
		} else {
			put_item(k, out, item);
		}
	}
	buf_byte(out, '\n');
}

static bool take_field(struct making *k, const struct header_field *f)
{
	unsigned use = use_of(f->name);
	struct address_list list = {0};
	if (use & FIELD_ADDRESSES)
		address_list_parse(k->a, f->body, &list);
	if ((use & FIELD_RECIPIENTS) && k->o->from_header && !!(use & FIELD_RESENT) == k->resent &&
	    !add_recipients(k, &list, f->body))
		return false;
	if (use & FIELD_SECRET)
		return true;
	if (has_bare_name(&list))
		put_list(k, f->name, &list);
	else
		buf_add(&k->m->text, f->raw);
	return true;
}

static void look_at(struct making *k, const struct header_field *f)
{
	unsigned use = use_of(f->name);
	k->header = true;
	/* Only the fields that say to whom make it a message sent again (RFC 5322 3.6.6). */
	if ((use & FIELD_RESENT) && (use & FIELD_RECIPIENTS))
		k->resent = true;
	k->has_from |= str_eq_nocase(f->name, STR("From"));
	k->has_resent_from |= str_eq_nocase(f->name, STR("Resent-From"));
	k->has_resent_date |= str_eq_nocase(f->name, STR("Resent-Date"));
	k->has_resent_id |= str_eq_nocase(f->name, STR("Resent-Message-ID"));
}

/* ---- what is missing ---- */

static void put_author(struct making *k, const char *name)
{
	struct buf *out = &k->m->text;
	buf_fmt(out, "%s: ", name);
	if (k->o->full_name.n && utf8_valid(k->o->full_name)) {
		words_encode_phrase(out, k->o->full_name, 6);
		buf_fmt(out, " <%.*s>\n", STR_ARG(k->sender));
	} else {
		buf_fmt(out, "%.*s\n", STR_ARG(k->sender));
	}
}

/* RFC 5322 3.6.6: the fields of sending again stand together, in front. */
static void put_missing(struct making *k)
{
	struct buf *out = &k->m->text;
	BUF_SCOPED text = {0};
	if (k->resent && !k->has_resent_date) {
		date_format(&text, date_local(clock_wall_s()));
		buf_fmt(out, "Resent-Date: %.*s\n", STR_ARG(buf_str(&text)));
		buf_clear(&text);
	}
	if (k->resent && !k->has_resent_from && k->sender.n)
		put_author(k, "Resent-From");
	if (k->resent && !k->has_resent_id) {
		message_id_new(&text, k->origin);
		buf_fmt(out, "Resent-Message-ID: %.*s\n", STR_ARG(buf_str(&text)));
	}
	if (!k->resent && !k->has_from && k->sender.n)
		put_author(k, "From");
}

/* "From kim Tue Nov 24 ..." of an mbox. */
static struct str without_mbox_line(struct str in)
{
	if (!str_starts(in, STR("From ")) && !str_starts(in, STR(">From ")))
		return in;
	size_t end = str_find_byte(in, '\n');
	return end == STR_NPOS ? STR("") : str_from(in, end + 1);
}

struct str sendmail_until_dot(struct str in)
{
	for (size_t at = 0; at < in.n;) {
		struct str line = str_from(in, at);
		size_t end = str_find_byte(line, '\n');
		line = str_sub(line, 0, end == STR_NPOS ? line.n : end);
		if (str_eq(line, STR(".")) || str_eq(line, STR(".\r")))
			return str_sub(in, 0, at);
		at += line.n + 1;
	}
	return in;
}

/* The fields at the front; *out_body: where the rest begins, behind the empty line. The first line that is
 * no field ends the header, with or without an empty line before it (R92). */
static struct str header_of(struct str in, size_t *out_body)
{
	struct scan s = scan_of(in);
	struct header_field f;
	size_t n = 0;
	while (header_next(&s, &f) && f.raw.p == in.p + n)
		n += f.raw.n;
	struct str rest = str_from(in, n);
	*out_body = n + (str_starts(rest, STR("\r\n")) ? 2 : str_starts(rest, STR("\n")) ? 1 : 0);
	return str_sub(in, 0, n);
}

static bool command_line_recipients(struct making *k)
{
	for (size_t i = 0; i < k->o->recipients_n; i++) {
		struct address_list list;
		address_list_parse(k->a, k->o->recipients[i], &list);
		size_t before = k->m->recipients_n;
		if (!add_recipients(k, &list, k->o->recipients[i]))
			return false;
		if (k->m->recipients_n == before && list.n == 0)
			return err_set(k->err, ERR_SYNTAX, "\"%.*s\" is not an address",
				       STR_ARG(str_sub(k->o->recipients[i], 0, 80)));
	}
	return true;
}

static bool make(struct making *k, struct str in)
{
	size_t body;
	struct str header = header_of(in, &body);
	struct scan s = scan_of(header);
	struct header_field f;
	while (header_next(&s, &f))
		look_at(k, &f);
	put_missing(k);
	s = scan_of(header);
	if (!command_line_recipients(k))
		return false;
	while (header_next(&s, &f))
		if (!take_field(k, &f))
			return false;
	if (k->m->text.n && k->m->text.p[k->m->text.n - 1] != '\n')
		buf_byte(&k->m->text, '\n');
	if (k->m->text.n)
		buf_byte(&k->m->text, '\n');
	buf_add(&k->m->text, str_from(in, body));
	if (k->m->recipients_n == 0)
		return err_set(k->err, ERR_NOT_FOUND, "there is no recipient");
	k->m->eight_bit = k->o->eight_bit || !str_is_ascii(buf_str(&k->m->text));
	return true;
}

bool sendmail_message_make(struct arena *a, struct str in, const struct sendmail_options *o,
			   struct str origin, struct str sender, struct sendmail_message *out,
			   struct err *err)
{
	struct making k = {.a = a, .o = o, .origin = origin, .sender = sender, .m = out, .err = err};
	*out = (struct sendmail_message){0};
	k.seen = map_new();
	bool good = make(&k, without_mbox_line(in));
	map_free(k.seen);
	return good;
}
