/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * One walk over the lines. Open multiparts are a stack of boundaries; the walk stops at a line that
 * begins with "--" and one of them (RFC 2046 5.1.1: comparing with the beginning of the line is
 * enough), and whoever owns that boundary goes on. Line counts are differences of one counter, so
 * enclosing parts cost nothing.
 */
#include "mime/message.h"
#include "base/arena.h"
#include "mail/header.h"
#include "mime/mime_int.h"
#include <string.h>

/* Where the walk stopped. */
struct stop {
	int level;           /* of the boundary; -1 at the end of the message */
	bool close;          /* "--" after the boundary */
	size_t start, end;   /* of the delimiter line; start is where the body's line would begin */
	size_t content_end;  /* before the line end that belongs to the delimiter */
	uint32_t content_lines;
};

struct parser {
	struct arena *a;
	struct mime_message *m;
	size_t pos;
	uint32_t lines; /* LFs before pos */
	int open;
	struct str boundary[MIME_DEPTH_MAX];
	struct stop stop;
};

static const char *at(const struct parser *p, size_t offset)
{
	return p->m->data.p + offset;
}

/* The longest matching boundary: "--ab" is the inner one's where "a" and "ab" are open. */
static int matching_level(const struct parser *p, struct str rest)
{
	int best = -1;
	for (int i = p->open - 1; i >= 0; i--)
		if (str_starts(rest, p->boundary[i]) && (best < 0 || p->boundary[i].n > p->boundary[best].n))
			best = i;
	return best;
}

static size_t line_end_at(const struct parser *p, size_t pos)
{
	size_t left = p->m->data.n - pos;
	const char *lf = left > 0 ? memchr(at(p, pos), '\n', left) : NULL;
	return lf ? (size_t)(lf - p->m->data.p) + 1 : p->m->data.n;
}

/* delimiter := "--" boundary at the beginning of the line at pos; fills the stop. */
static bool delimiter_at(struct parser *p, size_t pos)
{
	struct str rest = str_from(p->m->data, pos);
	if (p->open == 0 || rest.n < 2 || rest.p[0] != '-' || rest.p[1] != '-') return false;
	int level = matching_level(p, str_from(rest, 2));
	if (level < 0) return false;
	struct stop st = {.level = level, .start = pos, .end = line_end_at(p, pos), .content_end = pos,
			  .content_lines = p->lines};
	st.close = str_starts(str_from(rest, 2 + p->boundary[level].n), STR("--"));
	if (pos > 0 && *at(p, pos - 1) == '\n') {
		st.content_end--;
		st.content_lines--;
		if (pos > 1 && *at(p, pos - 2) == '\r') st.content_end--;
	}
	p->stop = st;
	return true;
}

static void stop_at_end(struct parser *p)
{
	size_t n = p->m->data.n;
	p->pos = n;
	p->stop =
		(struct stop){.level = -1, .start = n, .end = n, .content_end = n, .content_lines = p->lines};
}

/* Moves over one line; false when it has no line end, i.e. at the end of the message. */
static bool pass_line(struct parser *p)
{
	size_t end = line_end_at(p, p->pos);
	bool ended = end > p->pos && *at(p, end - 1) == '\n';
	p->pos = end;
	if (!ended) return false;
	p->lines++;
	if (end < 2 || *at(p, end - 2) != '\r') p->m->flags |= MIME_BARE_LF;
	return true;
}

static void walk_to_stop(struct parser *p)
{
	while (p->pos < p->m->data.n) {
		if (delimiter_at(p, p->pos)) return;
		if (!pass_line(p)) break;
	}
	stop_at_end(p);
}

/* Goes over the delimiter line that the walk stopped at. */
static void pass_delimiter(struct parser *p)
{
	p->pos = p->stop.start;
	pass_line(p);
}

/* To the body. true: the part ended in its header, at a delimiter or the end of the message. */
static bool walk_header(struct parser *p)
{
	while (p->pos < p->m->data.n) {
		const char *line = at(p, p->pos);
		if (delimiter_at(p, p->pos)) return true;
		bool empty = line[0] == '\n' ||
			(line[0] == '\r' && p->m->data.n - p->pos > 1 && line[1] == '\n');
		if (!pass_line(p)) break;
		if (empty) return false;
	}
	stop_at_end(p);
	return true;
}

static enum mime_encoding encoding_of(struct str name)
{
	static const struct {
		struct str name;
		enum mime_encoding encoding;
	} names[] = {
		{{"7bit", 4}, MIME_7BIT}, {{"8bit", 4}, MIME_8BIT}, {{"binary", 6}, MIME_BINARY},
		{{"base64", 6}, MIME_BASE64}, {{"quoted-printable", 16}, MIME_QP},
		{{"x-uuencode", 10}, MIME_UUENCODE}, {{"uuencode", 8}, MIME_UUENCODE},
		{{"x-uue", 5}, MIME_UUENCODE},
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (str_eq_nocase(name, names[i].name)) return names[i].encoding;
	return MIME_ENCODING_UNKNOWN;
}

/* mechanism, alone or before a semicolon (seen); "8 bit" and the like are as if absent */
static struct str mechanism(struct str body)
{
	struct scan s = scan_of(body);
	lex_cfws(&s);
	struct str token = lex_token(&s);
	lex_cfws(&s);
	return scan_end(&s) || scan_peek(&s) == ';' ? token : STR_NONE;
}

/* The first field of a name counts, as everywhere in this tree. */
static void content_field(struct parser *p, struct mime_part *part, struct str name, struct str body)
{
	int *flags = &p->m->flags;
	if (str_eq_nocase(name, STR("type"))) {
		if (part->has_type) return;
		part->has_type =
			mime_content_type_parse(p->a, body, &part->type, &part->subtype, &part->params,
				flags);
	} else if (str_eq_nocase(name, STR("transfer-encoding"))) {
		struct str token = mechanism(body);
		if (part->encoding_text.n > 0 || token.n == 0) return;
		part->encoding_text = token;
		part->encoding = encoding_of(token);
	} else if (str_eq_nocase(name, STR("disposition"))) {
		if (part->disposition.n > 0) return;
		if (!mime_disposition_parse(p->a, body, &part->disposition, &part->disposition_params, flags))
			part->disposition = STR_NONE;
	} else if (str_eq_nocase(name, STR("id"))) {
		if (!part->id.p) part->id = body;
	} else if (str_eq_nocase(name, STR("description"))) {
		if (!part->description.p) part->description = body;
	} else if (str_eq_nocase(name, STR("language"))) {
		if (!part->language.p) part->language = body;
	} else if (str_eq_nocase(name, STR("location"))) {
		if (!part->location.p) part->location = body;
	} else if (str_eq_nocase(name, STR("md5"))) {
		if (!part->md5.p) part->md5 = body;
	}
}

static void read_fields(struct parser *p, struct mime_part *part)
{
	struct str header = str_sub(p->m->data, part->header_start, p->pos - part->header_start);
	if (header.n > MIME_HEADER_MAX) {
		header.n = MIME_HEADER_MAX;
		p->m->flags |= MIME_HEADER_LONG;
	}
	struct scan s = scan_of(header);
	struct header_field f;
	while (header_next(&s, &f))
		if (str_starts_nocase(f.name, STR("content-")))
			content_field(p, part, str_from(f.name, 8), f.body);
}

/* RFC 2045 5.2, RFC 2046 5.1.5 */
static void default_type(struct mime_part *part)
{
	bool in_digest = part->parent && !part->is_message &&
		mime_is(part->parent, STR("multipart"), STR("digest"));
	part->type = in_digest ? STR("message") : STR("text");
	part->subtype = in_digest ? STR("rfc822") : STR("plain");
}

static enum mime_kind kind_of(const struct mime_part *part)
{
	if (mime_is(part, STR("multipart"), STR_NONE)) return MIME_MULTIPART;
	if (mime_is(part, STR("message"), STR("rfc822")) || mime_is(part, STR("message"), STR("global")))
		return MIME_MESSAGE;
	return MIME_LEAF;
}

/* What a limit keeps us from looking into is shown as what it is to us, a row of octets: IMAP has no
 * words for a multipart without its parts. */
static void set_kind(struct parser *p, struct mime_part *part)
{
	part->kind = kind_of(part);
	if (part->kind == MIME_LEAF) return;
	int limit = part->depth >= MIME_DEPTH_MAX ? MIME_TOO_DEEP : 0;
	if (p->m->part_n >= MIME_PARTS_MAX) limit |= MIME_TOO_MANY;
	if (!limit) return;
	p->m->flags |= limit;
	part->kind = MIME_LEAF;
	part->type = STR("application");
	part->subtype = STR("octet-stream");
	part->params = (struct mime_params){0};
}

/* RFC 2046 5.1.1; put together from pieces where it is in pieces (RFC 2231 3). */
static struct str boundary_of(struct parser *p, const struct mime_part *part)
{
	struct str b = mime_param(params_joined(p->a, part->params), STR("boundary"));
	return b.n <= MIME_BOUNDARY_MAX ? b : STR_NONE;
}

static struct mime_part *new_part(struct parser *p, struct mime_part *parent, bool is_message)
{
	struct mime_part *part = arena_new_of(p->a, struct mime_part);
	part->number = p->m->part_n++;
	part->is_message = is_message;
	part->header_start = p->pos;
	part->parent = parent;
	if (!parent) return part;
	part->depth = parent->depth + 1;
	part->ordinal = ++parent->child_n;
	if (parent->last_child) parent->last_child->next = part;
	else parent->first_child = part;
	parent->last_child = part;
	return part;
}

static struct mime_part *parse_part(struct parser *p, struct mime_part *parent, bool is_message);

/* multipart-body := [preamble] dash-boundary *parts close-delimiter [epilogue] */
static void parse_multipart(struct parser *p, struct mime_part *part, struct str boundary)
{
	int mine = p->open;
	if (boundary.n == 0) {
		/* Its parts cannot be told apart: a multipart without any. */
		walk_to_stop(p);
		return;
	}
	p->boundary[p->open++] = boundary;
	walk_to_stop(p);
	while (p->stop.level == mine && !p->stop.close) {
		pass_delimiter(p);
		if (p->m->part_n < MIME_PARTS_MAX) {
			parse_part(p, part, false);
		} else {
			p->m->flags |= MIME_TOO_MANY;
			walk_to_stop(p);
		}
	}
	p->open = mine;
	if (p->stop.level != mine) {
		p->m->flags |= MIME_UNCLOSED;
		return;
	}
	pass_delimiter(p);
	walk_to_stop(p);
}

/* Any NUL, any octet above 0x7f: a word at a time. */
static void read_octets(const struct parser *p, struct mime_part *part)
{
	const char *q = at(p, part->body_start);
	size_t n = part->body_end - part->body_start, i = 0;
	uint64_t any = 0, w;
	for (; i + 8 <= n; i += 8) {
		memcpy(&w, q + i, 8);
		any |= w;
	}
	for (; i < n; i++) any |= (unsigned char)q[i];
	part->has_8bit = any & 0x8080808080808080u;
	part->has_nul = n > 0 && memchr(q, 0, n);
}

static struct mime_part *parse_part(struct parser *p, struct mime_part *parent, bool is_message)
{
	struct mime_part *part = new_part(p, parent, is_message);
	uint32_t lines = p->lines;
	bool ended = walk_header(p);
	part->header_lines = p->lines - lines;
	part->body_start = p->pos;
	read_fields(p, part);
	if (!part->has_type) default_type(part);
	set_kind(p, part);

	lines = p->lines;
	if (!ended) {
		if (part->kind == MIME_MULTIPART) parse_multipart(p, part, boundary_of(p, part));
		else if (part->kind == MIME_MESSAGE) parse_part(p, part, true);
		else walk_to_stop(p);
	}
	if (p->stop.content_end < part->body_start) {
		/* Not even a body: the line end before the delimiter is the header's, for the parts
		 * around this one too. */
		p->stop.content_end = part->body_start;
		p->stop.content_lines = lines;
	}
	part->body_end = p->stop.content_end;
	part->body_lines = p->stop.content_lines - lines;
	if (part->kind == MIME_LEAF) read_octets(p, part);
	return part;
}

struct mime_message *mime_parse(struct arena *a, struct str data)
{
	struct mime_message *m = arena_new_of(a, struct mime_message);
	struct parser *p = arena_new_of(a, struct parser);
	m->data = data.p ? data : STR("");
	p->a = a;
	p->m = m;
	m->root = parse_part(p, NULL, true);
	return m;
}

struct mime_part *mime_next(const struct mime_part *part)
{
	if (part->first_child) return part->first_child;
	while (part && !part->next) part = part->parent;
	return part ? part->next : NULL;
}

struct str mime_part_header(const struct mime_message *m, const struct mime_part *p)
{
	return str_sub(m->data, p->header_start, p->body_start - p->header_start);
}

struct str mime_part_body(const struct mime_message *m, const struct mime_part *p)
{
	return str_sub(m->data, p->body_start, p->body_end - p->body_start);
}

bool mime_is(const struct mime_part *p, struct str type, struct str subtype)
{
	return str_eq_nocase(p->type, type) && (subtype.n == 0 || str_eq_nocase(p->subtype, subtype));
}
