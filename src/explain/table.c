/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Reads share/explain.tsv; the head of that file describes it. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"
#include "base/embed.h"
#include "base/file.h"
#include "base/mem.h"
#include "explain/explain_int.h"

#include <fcntl.h>
#include <stdlib.h>

extern const struct embedded_file explain_data[];

enum column {
	COLUMN_TYPE, COLUMN_ID, COLUMN_PROVIDER, COLUMN_MATCH, COLUMN_CAUSE, COLUMN_KIND, COLUMN_ACTION,
	COLUMN_FAULT, COLUMN_EN, COLUMN_KO, COLUMN_ADVICE, COLUMN_EXAMPLE, COLUMN_SURE, COLUMN_COUNT,
};
static const char *const columns[] = {"type", "id", "provider", "match", "cause", "kind", "action",
				      "fault", "en", "ko", "advice", "example", "sure"};
enum { ROWS_MAX = 5000 };

static const char *const cause_names[] = {
#define CAUSE(id, name, en, ko) name,
#include "explain/words.def"
};
static const char *const fault_names[] = {
#define FAULT(id, name, en, ko) name,
#include "explain/words.def"
};
static const char *const action_names[] = {
#define ACTION(id, name) name,
#include "explain/words.def"
};
/* In the order of enum explain_kind. */
static const char *const kind_names[] = {"any", "ok", "temp", "perm"};

struct reading {
	struct explain *e;
	struct str cells[COLUMN_COUNT];
	struct err *err;
};

static bool lookup(struct reading *r, enum column column, const char *const *names, size_t n, unsigned *out)
{
	struct str cell = r->cells[column];
	for (size_t i = 0; i < n; i++) {
		if (str_eq(cell, str_of(names[i]))) {
			*out = (unsigned)i;
			return true;
		}
	}
	return err_set(r->err, ERR_SYNTAX, "%s: \"%.*s\" is not known", columns[column], STR_ARG(cell));
}
#define LOOKUP(r, column, names, out) lookup((r), (column), (names), sizeof(names) / sizeof *(names), (out))

static struct explain_words words_of(const struct reading *r)
{
	return (struct explain_words){r->cells[COLUMN_EN], r->cells[COLUMN_KO]};
}

static bool need_words(struct reading *r)
{
	return (r->cells[COLUMN_EN].n > 0 && r->cells[COLUMN_KO].n > 0) ||
	       err_set(r->err, ERR_SYNTAX, "en and ko must both say something");
}

static const struct explain_advice *advice_by_id(const struct explain *e, struct str id)
{
	for (size_t i = 0; i < e->advice_n; i++) {
		if (str_eq(e->advice[i]->id, id))
			return e->advice[i];
	}
	return NULL;
}

static struct explain_provider *provider_by_id(const struct explain *e, struct str id)
{
	for (size_t i = 0; i < e->provider_n; i++) {
		if (str_eq(e->providers[i]->id, id))
			return e->providers[i];
	}
	return NULL;
}

static bool read_advice(struct reading *r)
{
	struct explain *e = r->e;
	if (!need_words(r))
		return false;
	if (advice_by_id(e, r->cells[COLUMN_ID]))
		return err_set(r->err, ERR_SYNTAX, "this advice is there already");
	struct explain_advice *advice = arena_new_of(e->arena, struct explain_advice);
	*advice = (struct explain_advice){.id = r->cells[COLUMN_ID], .text = words_of(r)};
	e->advice = arena_grow(e->arena, e->advice, e->advice_n, &e->advice_cap,
			       sizeof(struct explain_advice *));
	e->advice[e->advice_n++] = advice;
	return true;
}

static bool read_provider(struct reading *r)
{
	struct explain *e = r->e;
	struct str kind = r->cells[COLUMN_PROVIDER];
	bool mailbox = str_eq(kind, STR("mailbox"));
	if (!need_words(r))
		return false;
	if (!mailbox && !str_eq(kind, STR("gateway")) && !str_eq(kind, STR("list")))
		return err_set(r->err, ERR_SYNTAX, "provider: wants mailbox, gateway or list");
	if (provider_by_id(e, r->cells[COLUMN_ID]))
		return err_set(r->err, ERR_SYNTAX, "this provider is there already");
	struct explain_provider *p = arena_new_of(e->arena, struct explain_provider);
	*p = (struct explain_provider){.id = r->cells[COLUMN_ID], .mailbox = mailbox, .name = words_of(r),
				       .hosts = arena_lower(e->arena, r->cells[COLUMN_MATCH])};
	e->providers = arena_grow(e->arena, e->providers, e->provider_n, &e->provider_cap,
				  sizeof(struct explain_provider *));
	e->providers[e->provider_n++] = p;
	return true;
}

static bool read_needs(struct reading *r)
{
	struct explain_provider *p = provider_by_id(r->e, r->cells[COLUMN_PROVIDER]);
	if (!need_words(r))
		return false;
	if (!p)
		return err_set(r->err, ERR_SYNTAX, "provider: no such provider above");
	p->needs = words_of(r);
	return true;
}

static bool read_action(struct reading *r, struct explain_row *row)
{
	struct str whole = r->cells[COLUMN_ACTION];
	unsigned action = 0;
	row->final = str_ends(whole, STR(" final"));
	if (row->final)
		r->cells[COLUMN_ACTION] = str_sub(whole, 0, whole.n - 6);
	if (!LOOKUP(r, COLUMN_ACTION, action_names, &action))
		return false;
	row->action = action;
	return true;
}

static bool read_advice_list(struct reading *r, struct explain_row *row)
{
	struct str rest = r->cells[COLUMN_ADVICE];
	while (rest.n > 0) {
		struct str id = str_trim(str_cut(&rest, ';'));
		const struct explain_advice *advice = advice_by_id(r->e, id);
		if (!advice)
			return err_set(r->err, ERR_SYNTAX, "advice: no row \"%.*s\" above", STR_ARG(id));
		if (row->advice_n == EXPLAIN_ADVICE_MAX)
			return err_set(r->err, ERR_LIMIT, "advice: more than %d", EXPLAIN_ADVICE_MAX);
		row->advice[row->advice_n++] = advice;
	}
	return true;
}

/* What code, status, reply and host rows have in common. */
static bool read_row(struct reading *r, struct explain_rows *rows, struct explain_row **out)
{
	struct explain_row row = {.id = r->cells[COLUMN_ID], .text = words_of(r),
				  .example = r->cells[COLUMN_EXAMPLE],
				  .assumed = str_eq(r->cells[COLUMN_SURE], STR("A"))};
	unsigned cause = 0, kind = 0, fault = 0;
	if (!need_words(r) || !LOOKUP(r, COLUMN_CAUSE, cause_names, &cause) ||
	    !LOOKUP(r, COLUMN_KIND, kind_names, &kind) || !LOOKUP(r, COLUMN_FAULT, fault_names, &fault) ||
	    !read_action(r, &row) || !read_advice_list(r, &row))
		return false;
	row.cause = cause;
	row.kind = kind;
	row.fault = fault;
	for (size_t i = 0; i < rows->n; i++) {
		if (str_eq(rows->at[i].id, row.id))
			return err_set(r->err, ERR_SYNTAX, "id: \"%.*s\" is there already", STR_ARG(row.id));
	}
	rows->at = arena_grow(r->e->arena, rows->at, rows->n, &rows->cap, sizeof *rows->at);
	rows->at[rows->n] = row;
	*out = &rows->at[rows->n++];
	return true;
}

static bool read_code(struct reading *r)
{
	struct explain_row *row;
	uint64_t code;
	if (!read_row(r, &r->e->codes, &row))
		return false;
	if (!str_u64(row->id, 599, &code) || code < 200)
		return err_set(r->err, ERR_SYNTAX, "id: wants a reply code, 200 to 599");
	row->code = (uint16_t)code;
	return true;
}

/* "X." subject "." detail */
static bool read_status(struct reading *r)
{
	struct explain_row *row;
	uint32_t subject, detail;
	struct scan s = scan_of(r->cells[COLUMN_ID]);
	if (!scan_lit(&s, STR("X.")) || !scan_u32(&s, 999, &subject) || !scan_byte(&s, '.') ||
	    !scan_u32(&s, 999, &detail) || !scan_end(&s))
		return err_set(r->err, ERR_SYNTAX, "id: wants X.subject.detail");
	if (!read_row(r, &r->e->statuses, &row))
		return false;
	row->subject = (uint16_t)subject;
	row->detail = (uint16_t)detail;
	return true;
}

static bool read_wording(struct reading *r, struct str type)
{
	bool host = str_eq(type, STR("host"));
	struct explain_row *row;
	struct err err = {0};
	struct str provider = r->cells[COLUMN_PROVIDER];
	const struct explain_provider *p = provider_by_id(r->e, provider);
	const struct pattern *pattern;
	if (!p && (host || !str_eq(provider, STR("-"))))
		return err_set(r->err, ERR_SYNTAX, "provider: no row \"%.*s\" above", STR_ARG(provider));
	if (!pattern_compile(r->e->arena, r->cells[COLUMN_MATCH], &pattern, &err))
		return err_set(r->err, err.kind, "match: %s", err.text);
	if (!read_row(r, &r->e->replies, &row))
		return false;
	row->provider = p;
	row->host = host;
	row->hint = str_eq(type, STR("hint"));
	row->pattern = pattern;
	return true;
}

static bool read_line(struct reading *r, struct str line)
{
	struct str type, rest = line;
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		r->cells[i] = rest.p ? str_trim(str_cut(&rest, '\t')) : STR("");
	if (rest.p)
		return err_set(r->err, ERR_SYNTAX, "more than %d columns", COLUMN_COUNT);
	type = r->cells[COLUMN_TYPE];
	if (str_eq(type, STR("type")))
		return true;
	if (r->cells[COLUMN_ID].n == 0)
		return err_set(r->err, ERR_SYNTAX, "id: missing");
	if (str_eq(type, STR("advice")))
		return read_advice(r);
	if (str_eq(type, STR("provider")))
		return read_provider(r);
	if (str_eq(type, STR("needs")))
		return read_needs(r);
	if (str_eq(type, STR("code")))
		return read_code(r);
	if (str_eq(type, STR("status")))
		return read_status(r);
	if (str_eq(type, STR("reply")) || str_eq(type, STR("host")) || str_eq(type, STR("hint")))
		return read_wording(r, type);
	return err_set(r->err, ERR_SYNTAX, "type: \"%.*s\" is not known", STR_ARG(type));
}

static bool read_all(struct explain *e, struct str text, struct err *err)
{
	struct str rest = text;
	unsigned number = 0, rows = 0;
	struct reading r = {.e = e, .err = err};
	if (!utf8_valid(text))
		return err_set(err, ERR_SYNTAX, "the table is not UTF-8");
	while (rest.n > 0) {
		struct str line = str_cut(&rest, '\n');
		number++;
		if (str_ends(line, STR("\r")))
			line.n--;
		if (line.n == 0 || line.p[0] == '#')
			continue;
		if (++rows > ROWS_MAX)
			return err_set(err, ERR_LIMIT, "line %u: more than %d rows", number, ROWS_MAX);
		if (!read_line(&r, line)) {
			struct err why = *err;
			return err_set(err, why.kind, "line %u: %s", number, why.text);
		}
	}
	return true;
}

bool explain_parse(struct str tsv, struct explain **out, struct err *err)
{
	struct explain *e = mem_new(struct explain);
	e->arena = arena_new();
	if (!read_all(e, arena_str(e->arena, tsv), err)) {
		explain_free(e);
		return false;
	}
	*out = e;
	return true;
}

bool explain_load(struct str path, struct explain **out, struct err *err)
{
	BUF_SCOPED text = {0};
	ARENA_SCOPED a = arena_new();
	const char *name = arena_cstr(a, path);
	if (path.n == 0)
		return explain_parse(explain_builtin(), out, err);
	if (!name)
		return err_set(err, ERR_SYNTAX, "a file name with a NUL octet");
	if (!file_read_whole(AT_FDCWD, name, EXPLAIN_TABLE_BYTES_MAX, &text, err) ||
	    !explain_parse(buf_str(&text), out, err))
		return err_while(err, "reading %s", name);
	return true;
}

void explain_free(struct explain *e)
{
	if (!e)
		return;
	arena_free(e->arena);
	free(e);
}

struct str explain_builtin(void)
{
	return (struct str){explain_data[0].bytes, explain_data[0].size};
}

const struct explain_row *explain_code_row(const struct explain *e, unsigned code)
{
	for (size_t i = 0; i < e->codes.n; i++) {
		if (e->codes.at[i].code == code)
			return &e->codes.at[i];
	}
	return NULL;
}

/* The row of that code, else the general one of its subject (RFC 3463 2: X.subject.0). */
const struct explain_row *explain_status_row(const struct explain *e, struct status st)
{
	const struct explain_row *general = NULL;
	for (size_t i = 0; i < e->statuses.n; i++) {
		const struct explain_row *row = &e->statuses.at[i];
		if (row->subject == st.subject && row->detail == st.detail)
			return row;
		if (row->subject == st.subject && row->detail == 0)
			general = row;
	}
	return general;
}

const struct explain_provider *explain_provider_of(const struct explain *e, struct str host)
{
	if (str_ends(host, STR(".")))
		host.n--;
	for (size_t i = 0; host.n > 0 && i < e->provider_n; i++) {
		struct str rest = e->providers[i]->hosts;
		while (rest.n > 0) {
			struct str name = str_cut(&rest, ' ');
			bool suffix = str_starts(name, STR("."));
			if (name.n > 0 && (suffix ? str_ends_nocase(host, name) : str_eq_nocase(host, name)))
				return e->providers[i];
		}
	}
	return NULL;
}

size_t explain_code_count(const struct explain *e)
{
	return e->statuses.n + e->codes.n;
}

void explain_code_at(const struct explain *e, size_t i, struct explain_code *out)
{
	bool enhanced = i < e->statuses.n;
	const struct explain_row *row = enhanced ? &e->statuses.at[i] : &e->codes.at[i - e->statuses.n];
	*out = (struct explain_code){.code = row->id,
				     .enhanced = enhanced,
				     .cause = row->cause,
				     .meaning = row->text,
				     .usual_codes = enhanced ? row->example : STR(""),
				     .advice = row->advice,
				     .advice_n = row->advice_n};
}
