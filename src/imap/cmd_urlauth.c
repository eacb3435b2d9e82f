/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_urlauth.c: GENURLAUTH, RESETKEY, URLFETCH (RFC 4467, RFC 5524). A token is an HMAC of the
 * URL with a key that the mailbox has for it, kept with its annotations under a name that METADATA
 * does not know. A session opens no account but its own, so only URLs of that are fetched.
 */
#include "base/clock.h"
#include "base/codec.h"
#include "base/ids.h"
#include "base/secret.h"
#include "crypto/hash.h"
#include "imap/stream.h"
#include "imap/url_read.h"
#include "mime/envelope.h"

enum { KEY_SIZE = 32, URLS_MAX = 100 };
static const struct str key_name = {"/pabal/urlauth", 14};

/* ---- keys and tokens ------------------------------------------------------------------------ */

/* The key in hexadecimal; empty: there is none. */
static bool find_key(struct imap *s, struct str mailbox, struct str *out, struct err *err)
{
	struct metadata_entry *e;
	size_t n;

	*out = STR_NONE;
	if (!mailbox_metadata(imap_account(s), mailbox, s->arena, &e, &n, err))
		return false;
	for (size_t i = 0; i < n; i++)
		if (str_eq(e[i].name, key_name))
			*out = e[i].value;
	return true;
}

static bool new_key(struct imap *s, struct str mailbox, struct str *out, struct err *err)
{
	char raw[KEY_SIZE];
	BUF_SCOPED hex = {};

	random_bytes(raw, sizeof(raw));
	hex_encode(&hex, (struct str){raw, sizeof(raw)});
	*out = arena_str(s->arena, buf_str(&hex));
	struct metadata_entry e = {key_name, *out};
	return mailbox_metadata_set(imap_account(s), mailbox, &e, 1, err);
}

static struct str token_of(struct imap *s, struct str key, struct str rump)
{
	unsigned char mac[SHA256_SIZE];
	BUF_SCOPED hex = {};

	hmac(HASH_SHA256, key, rump, mac);
	hex_encode(&hex, (struct str){(const char *)mac, sizeof(mac)});
	return arena_str(s->arena, buf_str(&hex));
}

/* ---- GENURLAUTH ------------------------------------------------------------------------------ */

/* access = "submit+" enc-user / "user+" enc-user / "authuser" / "anonymous" (RFC 4467 9) */
static bool known_access(struct str access)
{
	return (str_starts_nocase(access, STR("submit+")) && access.n > 7) ||
	       (str_starts_nocase(access, STR("user+")) && access.n > 5) ||
	       str_eq_nocase(access, STR("authuser")) || str_eq_nocase(access, STR("anonymous"));
}

struct wanted_url {
	struct str text;
	struct imap_url url;
};

/* "GENURLAUTH" 1*(SP url-rump SP mechanism) */
static bool parse_genurlauth(struct parse *p, struct wanted_url *list, size_t *n)
{
	struct str mechanism;

	*n = 0;
	do {
		struct wanted_url *w = &list[*n];
		if (*n == URLS_MAX)
			return parse_fail(p, "Too many URLs");
		if (!parse_astring(p, &w->text) || !parse_sp(p) || !parse_atom(p, &mechanism))
			return false;
		if (!str_eq_nocase(mechanism, STR("INTERNAL")))
			return parse_fail(p, "INTERNAL is the only mechanism");
		if (!imap_url_parse(w->text, p->a, &w->url) || !w->url.access.p || w->url.token.p ||
		    !w->url.user.p || !w->url.mailbox.p || !known_access(w->url.access))
			return parse_fail(p, "Not a URL that can be authorized");
		*n += 1;
	} while (scan_byte(&p->s, ' '));
	return parse_end(p);
}

static void write_url(struct imap *s, struct str text)
{
	write_string(imap_out(s), text, false);
}

enum step cmd_genurlauth(struct imap *s, struct command *c)
{
	struct wanted_url *list = arena_array(s->arena, URLS_MAX, sizeof(*list));
	struct str key;
	struct err err;
	size_t n;

	if (!parse_genurlauth(&c->p, list, &n))
		return imap_bad_syntax(s, &c->p);
	BUF_SCOPED line = {};
	for (size_t i = 0; i < n; i++) {
		const struct imap_url *u = &list[i].url;
		if (!url_is_ours(s, u))
			return imap_no(s, "NOPERM", "The URL is not of this account");
		if (!find_key(s, u->mailbox, &key, &err) || (!key.n && !new_key(s, u->mailbox, &key, &err)))
			return imap_fail(s, &err);
		struct str token = token_of(s, key, u->rump);
		buf_byte(&line, ' ');
		write_string(&line, arena_fmt(s->arena, "%.*s:internal:%.*s", STR_ARG(list[i].text),
					      STR_ARG(token)), false);
	}
	struct buf *b = imap_out(s);
	buf_add(b, STR("* GENURLAUTH"));
	buf_add(b, buf_str(&line));
	buf_add(b, STR("\r\n"));
	return imap_ok(s, "GENURLAUTH completed");
}

/* ---- RESETKEY --------------------------------------------------------------------------------- */

static bool remove_all_keys(struct imap *s, struct err *err)
{
	struct mailbox_entry *list;
	struct str key;
	size_t n;

	if (!mailbox_list(imap_account(s), s->arena, &list, &n, err))
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct metadata_entry none = {key_name, STR_NONE};
		if (list[i].attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT))
			continue;
		if (!find_key(s, list[i].name, &key, err) ||
		    (key.n && !mailbox_metadata_set(imap_account(s), list[i].name, &none, 1, err)))
			return false;
	}
	return true;
}

/* "RESETKEY" [SP mailbox *(SP mechanism)] */
enum step cmd_resetkey(struct imap *s, struct command *c)
{
	struct str name, mechanism, key;
	struct err err;

	if (scan_end(&c->p.s))
		return remove_all_keys(s, &err) ? imap_ok(s, "All keys removed") : imap_fail(s, &err);
	if (!parse_mailbox(&c->p, &name))
		return imap_bad_syntax(s, &c->p);
	while (scan_byte(&c->p.s, ' '))
		if (!parse_atom(&c->p, &mechanism))
			return imap_bad_syntax(s, &c->p);
	if (!parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	if (!new_key(s, name, &key, &err))
		return imap_fail(s, &err);
	return imap_ok_code(s, STR("URLMECH INTERNAL"), "New key");
}

/* ---- URLFETCH ---------------------------------------------------------------------------------- */

enum fetch_what { WHAT_BODY = 1, WHAT_BINARY = 2, WHAT_STRUCTURE = 4 };
struct url_fetch {
	struct str text;
	bool extended;
	unsigned what; /* enum fetch_what */
};
struct urlfetch_run {
	struct url_fetch *list;
	size_t n, at;
};

/* "(" url *(SP ("BODY" / "BINARY" / "BODYPARTSTRUCTURE")) ")" (RFC 5524 3) */
static bool extended_url(struct parse *p, struct url_fetch *out)
{
	out->extended = true;
	if (!parse_astring(p, &out->text))
		return false;
	while (scan_byte(&p->s, ' ')) {
		if (parse_word(p, STR("BODYPARTSTRUCTURE")))
			out->what |= WHAT_STRUCTURE;
		else if (parse_word(p, STR("BINARY")))
			out->what |= WHAT_BINARY;
		else if (parse_word(p, STR("BODY")))
			out->what |= WHAT_BODY;
		else
			return parse_fail(p, "Unknown URLFETCH parameter");
	}
	if ((out->what & (WHAT_BODY | WHAT_BINARY)) == (WHAT_BODY | WHAT_BINARY))
		return parse_fail(p, "BODY and BINARY exclude each other");
	if (!out->what)
		out->what = WHAT_BODY;
	return parse_char(p, ')');
}

/* "URLFETCH" 1*(SP (url / extended)) */
static bool parse_urlfetch(struct parse *p, struct urlfetch_run *out)
{
	out->list = arena_array(p->a, URLS_MAX, sizeof(*out->list));
	do {
		if (out->n == URLS_MAX)
			return parse_fail(p, "Too many URLs");
		struct url_fetch *u = &out->list[out->n];
		*u = (struct url_fetch){.what = WHAT_BODY};
		if (scan_byte(&p->s, '(')) {
			u->what = 0;
			if (!extended_url(p, u))
				return false;
		} else if (!parse_astring(p, &u->text)) {
			return false;
		}
		out->n++;
	} while (scan_byte(&p->s, ' '));
	return parse_end(p);
}

static bool may_access(const struct imap *s, const struct imap_url *u)
{
	if (u->expire && u->expire < clock_wall_s())
		return false;
	if (str_starts_nocase(u->access, STR("user+"))) {
		const struct imap_url who = {.user = str_from(u->access, 5)};
		return url_is_ours(s, &who);
	}
	/* "submit+" is for submission servers, which are nobody's session (RFC 4467 5.1.3). */
	return !str_starts_nocase(u->access, STR("submit+"));
}

static bool token_is_right(struct imap *s, const struct imap_url *u)
{
	struct str key;
	struct err err;

	if (!str_eq_nocase(u->mechanism, STR("INTERNAL")) || !find_key(s, u->mailbox, &key, &err) || !key.n)
		return false;
	return secret_eq(arena_lower(s->arena, u->token), token_of(s, key, u->rump));
}

static void write_octets(struct imap *s, struct str octets, bool binary)
{
	struct buf *b = imap_out(s);

	if (!binary) {
		write_string(b, octets, false);
		return;
	}
	buf_add(b, str_has_byte(octets, '\0') ? STR("~{") : STR("{"));
	buf_u64(b, octets.n);
	buf_add(b, STR("}\r\n"));
	buf_add(b, octets);
}

static const struct mime_part *part_of(const struct mime_message *m, const struct imap_url *u)
{
	return u->section.kind == SECTION_WHOLE ? mime_find(m, u->section.path, u->section.path_n) : NULL;
}

/* RFC 5524 3: together with BINARY the structure is that of the decoded part. Its lines are not counted. */
static void decode_structure(const struct mime_message *m, struct mime_part *p)
{
	uint64_t size;
	struct err err;

	if (p->kind != MIME_LEAF || !mime_decoded_size(m, p, &size, &err) || size > UINT32_MAX)
		return;
	p->encoding_text = p->has_nul ? STR("binary") : p->has_8bit ? STR("8bit") : STR("7bit");
	p->body_end = p->body_start + (size_t)size;
	p->body_lines = 0;
}

static void write_structure(struct imap *s, const struct mime_message *m, const struct mime_part *p,
			    bool decoded)
{
	BUF_SCOPED text = {};
	struct mime_part as_told;

	buf_add(imap_out(s), STR(" (BODYPARTSTRUCTURE "));
	if (p) {
		as_told = *p;
		if (decoded)
			decode_structure(m, &as_told);
		mime_render_part_structure(&text, m, &as_told);
		buf_add(imap_out(s), buf_str(&text));
	} else {
		buf_add(imap_out(s), STR("NIL"));
	}
	buf_byte(imap_out(s), ')');
}

static void write_binary(struct imap *s, const struct mime_message *m, const struct mime_part *p)
{
	BUF_SCOPED decoded = {};
	struct err err;

	buf_add(imap_out(s), STR(" (BINARY "));
	if (p && p->kind == MIME_LEAF && mime_decode_part(m, p, 0, &decoded, &err))
		write_octets(s, decoded.n ? buf_str(&decoded) : STR(""), true);
	else if (p && p->kind != MIME_LEAF)
		write_octets(s, p->parent ? mime_part_body(m, p) : m->data, true);
	else
		buf_add(imap_out(s), STR("NIL"));
	buf_byte(imap_out(s), ')');
}

static bool write_extended(struct imap *s, struct url_reader *r, const struct imap_url *u,
			   const struct url_fetch *f, struct err *err)
{
	const struct mime_message *m;
	struct content content;
	struct str octets;

	if (f->what & WHAT_BODY && !url_octets(r, u, &octets, err))
		return false;
	if (!url_open(r, u, &content, err))
		return false;
	bool ok = content_mime(&content, &m, err);
	if (ok) {
		write_url(s, f->text);
		if (f->what & WHAT_STRUCTURE)
			write_structure(s, m, part_of(m, u), f->what & WHAT_BINARY);
		if (f->what & WHAT_BINARY)
			write_binary(s, m, part_of(m, u));
		if (f->what & WHAT_BODY) {
			buf_add(imap_out(s), STR(" (BODY "));
			write_octets(s, octets, false);
			buf_byte(imap_out(s), ')');
		}
	}
	content_fini(&content);
	return ok;
}

static bool write_content(struct imap *s, struct url_reader *r, const struct url_fetch *f)
{
	struct imap_url u;
	struct str octets;
	struct err err;

	if (!imap_url_parse(f->text, s->arena, &u) || !u.token.p || !u.user.p || !u.mailbox.p ||
	    !url_is_ours(s, &u) || !may_access(s, &u) || !token_is_right(s, &u))
		return false;
	if (f->extended)
		return write_extended(s, r, &u, f, &err);
	if (!url_octets(r, &u, &octets, &err))
		return false;
	write_url(s, f->text);
	buf_byte(imap_out(s), ' ');
	write_octets(s, octets, false);
	return true;
}

/* RFC 4467 7: what cannot be had, for whatever reason, is NIL. */
static void fetch_one(struct imap *s, const struct url_fetch *f)
{
	struct url_reader r;

	buf_add(imap_out(s), STR("* URLFETCH "));
	url_reader_init(&r, s, 0);
	if (!write_content(s, &r, f)) {
		write_url(s, f->text);
		buf_add(imap_out(s), STR(" NIL"));
	}
	url_reader_fini(&r);
	buf_add(imap_out(s), STR("\r\n"));
	arena_reset(s->scratch);
}

enum step cmd_urlfetch(struct imap *s, struct command *c)
{
	struct urlfetch_run *r = c->state;

	if (!r) {
		r = arena_new_of(s->arena, struct urlfetch_run);
		if (!parse_urlfetch(&c->p, r))
			return imap_bad_syntax(s, &c->p);
		c->state = r;
	}
	while (r->at < r->n) {
		if (imap_out_pending(s) > CONN_OUT_HIGH)
			return STEP_OUTPUT;
		if (imap_turn_over(s))
			return STEP_AGAIN;
		fetch_one(s, &r->list[r->at++]);
	}
	return imap_ok(s, "URLFETCH completed");
}
