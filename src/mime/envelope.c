/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Texts for people (Subject, Content-Description, display-names) have their folds undone and runs of
 * blanks made one blank; all other values only the folds.
 */
#include "mime/envelope.h"
#include "base/arena.h"
#include "mail/header.h"
#include "mime/address_list.h"
#include "mime/mime_int.h"

enum { QUOTED_MAX = 1024 };
/* A host of NIL would mean a group (RFC 9051 7.5.2), so what is missing gets a name. */
static const struct str missing_mailbox = {"MISSING_MAILBOX", 15}, missing_domain = {"MISSING_DOMAIN", 14};

static bool can_be_quoted(struct str s)
{
	if (s.n > QUOTED_MAX) return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\r' || c == '\n' || c == 0 || c > 0x7f) return false;
	}
	return true;
}

void imap_render_nstring(struct buf *out, struct str s)
{
	if (!s.p) {
		buf_add(out, STR("NIL"));
		return;
	}
	if (can_be_quoted(s)) {
		buf_byte(out, '"');
		for (size_t i = 0; i < s.n; i++) {
			if (s.p[i] == '"' || s.p[i] == '\\') buf_byte(out, '\\');
			buf_byte(out, s.p[i]);
		}
		buf_byte(out, '"');
		return;
	}
	buf_fmt(out, "{%zu}\r\n", s.n);
	for (size_t i = 0; i < s.n; i++) buf_byte(out, s.p[i] ? s.p[i] : '?');
}

static void space_nstring(struct buf *out, struct str s)
{
	buf_byte(out, ' ');
	imap_render_nstring(out, s);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Unfolded, runs of blanks as one; p NULL stays. */
static struct str for_people(struct arena *a, struct str s)
{
	if (!s.p) return s;
	s = str_trim(s);
	BUF_SCOPED b = {0};
	for (size_t i = 0; i < s.n; i++) {
		if (!is_blank(s.p[i])) buf_byte(&b, s.p[i]);
		else if (!is_blank(s.p[i - 1])) buf_byte(&b, ' ');
	}
	return arena_str(a, b.n > 0 ? buf_str(&b) : STR(""));
}

static struct str unfolded(struct arena *a, struct str s)
{
	if (!s.p) return s;
	s = str_trim(s);
	if (!str_has_byte(s, '\n')) return s.p ? s : STR("");
	BUF_SCOPED b = {0};
	header_unfold(&b, s);
	return arena_str(a, buf_str(&b));
}

static void render_item(struct buf *out, struct arena *a, const struct address_item *it)
{
	switch (it->kind) {
	case ADDRESS_ITEM_MAILBOX:
		buf_byte(out, '(');
		imap_render_nstring(out, for_people(a, it->name));
		space_nstring(out, it->route);
		space_nstring(out, it->local.p ? it->local : missing_mailbox);
		space_nstring(out, it->domain.p ? it->domain : missing_domain);
		buf_byte(out, ')');
		return;
	case ADDRESS_ITEM_GROUP_START:
		buf_add(out, STR("(NIL NIL "));
		imap_render_nstring(out, it->name.p ? for_people(a, it->name) : STR(""));
		buf_add(out, STR(" NIL)"));
		return;
	case ADDRESS_ITEM_GROUP_END:
		buf_add(out, STR("(NIL NIL NIL NIL)"));
		return;
	}
}

static void render_list(struct buf *out, struct arena *a, const struct address_list *list)
{
	buf_byte(out, ' ');
	if (list->n == 0) {
		buf_add(out, STR("NIL"));
		return;
	}
	buf_byte(out, '(');
	for (size_t i = 0; i < list->n; i++) render_item(out, a, &list->at[i]);
	buf_byte(out, ')');
}

enum field {
	F_DATE, F_SUBJECT, F_FROM, F_SENDER, F_REPLY_TO, F_TO, F_CC, F_BCC, F_IN_REPLY_TO, F_MESSAGE_ID,
		F_COUNT,
};
static const struct str field_names[F_COUNT] = {
	[F_DATE] = {"Date", 4}, [F_SUBJECT] = {"Subject", 7}, [F_FROM] = {"From", 4}, [F_SENDER] =
		{"Sender", 6},
	[F_REPLY_TO] = {"Reply-To", 8}, [F_TO] = {"To", 2}, [F_CC] = {"Cc", 2}, [F_BCC] = {"Bcc", 3},
	[F_IN_REPLY_TO] = {"In-Reply-To", 11}, [F_MESSAGE_ID] = {"Message-ID", 10},
};

static bool is_list(int field)
{
	return field >= F_FROM && field <= F_BCC;
}

/*
 * A field may stand there twice only by mistake (RFC 5322 3.6). Addresses of all are shown, so that
 * nobody is hidden; of the others the last counts, since what servers add stands above.
 */
static void find_fields(struct arena *a, struct str header, struct str out[F_COUNT])
{
	struct buf joined[F_COUNT] = {0};
	struct scan s = scan_of(str_sub(header, 0, MIME_HEADER_MAX));
	struct header_field f;
	while (header_next(&s, &f)) {
		for (int i = 0; i < F_COUNT; i++) {
			if (!str_eq_nocase(f.name, field_names[i])) continue;
			struct str body = f.body.n > 0 ? f.body : STR("");
			if (is_list(i) && out[i].n > 0) {
				if (joined[i].n == 0) buf_add(&joined[i], out[i]);
				buf_byte(&joined[i], ',');
				buf_add(&joined[i], body);
			} else {
				out[i] = body;
			}
		}
	}
	for (int i = 0; i < F_COUNT; i++) {
		if (joined[i].n > 0) out[i] = arena_str(a, buf_str(&joined[i]));
		buf_free(&joined[i]);
	}
}

void mime_render_envelope(struct buf *out, struct str header)
{
	ARENA_SCOPED a = arena_new();
	struct str f[F_COUNT] = {0};
	struct address_list list[F_COUNT] = {0};
	find_fields(a, header, f);
	for (int i = F_FROM; i <= F_BCC; i++) address_list_parse(a, f[i], &list[i]);
	/* RFC 9051 7.5.2: an absent or empty Sender or Reply-To is the From. */
	if (list[F_SENDER].n == 0) list[F_SENDER] = list[F_FROM];
	if (list[F_REPLY_TO].n == 0) list[F_REPLY_TO] = list[F_FROM];

	buf_byte(out, '(');
	imap_render_nstring(out, unfolded(a, f[F_DATE]));
	space_nstring(out, for_people(a, f[F_SUBJECT]));
	for (int i = F_FROM; i <= F_BCC; i++) render_list(out, a, &list[i]);
	space_nstring(out, unfolded(a, f[F_IN_REPLY_TO]));
	space_nstring(out, unfolded(a, f[F_MESSAGE_ID]));
	buf_byte(out, ')');
}

/* body-fld-param */
static void render_params(struct buf *out, struct arena *a, struct mime_params params, bool add_charset)
{
	params = params_joined(a, params);
	add_charset = add_charset && !mime_param(params, STR("charset")).p;
	if (params.n == 0 && !add_charset) {
		buf_add(out, STR("NIL"));
		return;
	}
	buf_byte(out, '(');
	for (size_t i = 0; i < params.n; i++) {
		if (i > 0) buf_byte(out, ' ');
		imap_render_nstring(out, params.at[i].name);
		space_nstring(out, params.at[i].value.p ? params.at[i].value : STR(""));
	}
	if (add_charset) {
		if (params.n > 0) buf_byte(out, ' ');
		buf_add(out, STR("\"charset\" \"us-ascii\""));
	}
	buf_byte(out, ')');
}

/* body-fld-lang: one tag or a list of them (RFC 3282) */
static void render_language(struct buf *out, struct str body)
{
	struct scan s = scan_of(body);
	size_t n = 0;
	for (lex_cfws(&s); !scan_end(&s); lex_cfws(&s)) {
		struct str tag = lex_token(&s);
		if (tag.n > 0) {
			buf_add(out, n++ ? STR(" ") : STR("("));
			imap_render_nstring(out, tag);
		} else {
			s.p++;
		}
	}
	buf_add(out, n > 0 ? STR(")") : STR("NIL"));
}

struct renderer {
	struct buf *out;
	struct arena *a;
	const struct mime_message *m;
	bool extended; /* BODYSTRUCTURE, not BODY */
};

/* body-fld-dsp SP body-fld-lang SP body-fld-loc */
static void render_extension_tail(struct renderer *r, const struct mime_part *p)
{
	if (p->disposition.n > 0) {
		buf_add(r->out, STR(" ("));
		imap_render_nstring(r->out, p->disposition);
		buf_byte(r->out, ' ');
		render_params(r->out, r->a, p->disposition_params, false);
		buf_byte(r->out, ')');
	} else {
		buf_add(r->out, STR(" NIL"));
	}
	buf_byte(r->out, ' ');
	render_language(r->out, p->language);
	space_nstring(r->out, unfolded(r->a, p->location));
}

static void render_part(struct renderer *r, const struct mime_part *p);

static void render_multipart(struct renderer *r, const struct mime_part *p)
{
	for (const struct mime_part *c = p->first_child; c; c = c->next) render_part(r, c);
	/* The grammar wants one part at least. */
	if (!p->first_child)
		buf_fmt(r->out, "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0%s)",
			r->extended ? " NIL NIL NIL NIL" : "");
	space_nstring(r->out, p->subtype);
	if (!r->extended) return;
	buf_byte(r->out, ' ');
	render_params(r->out, r->a, p->params, false);
	render_extension_tail(r, p);
}

/* media-basic, media-message, media-text: body-fields, then what the type adds */
static void render_single(struct renderer *r, const struct mime_part *p)
{
	bool text = mime_is(p, STR("text"), STR_NONE);
	/* media-message is a literal of the grammar; some clients compare with case. */
	if (p->kind == MIME_MESSAGE) {
		bool global = mime_is(p, STR("message"), STR("global"));
		buf_fmt(r->out, "\"message\" \"%s\"", global ? "global" : "rfc822");
	} else {
		imap_render_nstring(r->out, p->type);
		space_nstring(r->out, p->subtype);
	}
	buf_byte(r->out, ' ');
	render_params(r->out, r->a, p->params, text);
	space_nstring(r->out, unfolded(r->a, p->id));
	space_nstring(r->out, for_people(r->a, p->description));
	space_nstring(r->out, p->encoding_text.n > 0 ? p->encoding_text : STR("7bit"));
	buf_fmt(r->out, " %zu", p->body_end - p->body_start);
	if (p->kind == MIME_MESSAGE && p->first_child) {
		buf_byte(r->out, ' ');
		mime_render_envelope(r->out, mime_part_header(r->m, p->first_child));
		buf_byte(r->out, ' ');
		render_part(r, p->first_child);
	}
	if (text || p->kind == MIME_MESSAGE) buf_fmt(r->out, " %u", p->body_lines);
	if (!r->extended) return;
	space_nstring(r->out, unfolded(r->a, p->md5));
	render_extension_tail(r, p);
}

static void render_part(struct renderer *r, const struct mime_part *p)
{
	buf_byte(r->out, '(');
	if (p->kind == MIME_MULTIPART) render_multipart(r, p);
	else render_single(r, p);
	buf_byte(r->out, ')');
}

void mime_render_bodystructure(struct buf *out, const struct mime_message *m)
{
	ARENA_SCOPED a = arena_new();
	struct renderer r = {out, a, m, true};
	render_part(&r, m->root);
}

void mime_render_part_structure(struct buf *out, const struct mime_message *m, const struct mime_part *p)
{
	ARENA_SCOPED a = arena_new();
	struct renderer r = {out, a, m, true};
	render_part(&r, p);
}

void mime_render_body(struct buf *out, const struct mime_message *m)
{
	ARENA_SCOPED a = arena_new();
	struct renderer r = {out, a, m, false};
	render_part(&r, m->root);
}
