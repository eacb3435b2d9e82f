/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * From assignments to a snapshot. The last assignment of a setting counts. $name in strings,
 * paths and lists stands for another setting's text and is worked out on demand, so the order
 * in the file does not matter; a circle is an error.
 */
#include "config/config_int.h"
#include "config/template.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum progress { NOT_YET, UNDER_WAY, DONE };

struct builder {
	struct config *c;
	struct assignments *as;
	const char *dir;
	const struct assignment *last[SETTING_COUNT];
	enum progress progress[SETTING_COUNT];
};

static bool resolve(struct builder *b, enum setting id);

static bool is_list(enum setting_type type)
{
	return type == SETTING_TYPE_LIST || type == SETTING_TYPE_PATHS || type == SETTING_TYPE_NETWORKS;
}

static bool is_name_byte(unsigned char c)
{
	return ascii_is(c, ASCII_LOWER | ASCII_UPPER | ASCII_DIGIT) || c == '_';
}

static bool expand_name(struct builder *b, const struct assignment *at, struct str name, struct buf *out)
{
	enum setting id;
	if (!setting_find(name, &id)) {
		assignments_problem(b->as, at, false, "there is no setting \"%.*s\" for $%.*s", STR_ARG(name),
				    STR_ARG(name));
		return false;
	}
	if (b->progress[id] == UNDER_WAY) {
		assignments_problem(b->as, at ? at : b->last[id], false, "$%.*s leads back to itself",
				    STR_ARG(name));
		return false;
	}
	if (!resolve(b, id))
		return false;
	struct config_list items = b->c->values[id].items;
	for (size_t i = 0; i < items.n; i++) {
		if (i > 0)
			buf_add(out, STR(", "));
		buf_add(out, items.v[i]);
	}
	return true;
}

/* "$name" and "$$" in s. */
static bool expand(struct builder *b, const struct assignment *at, struct str s, struct str *out)
{
	if (!str_has_byte(s, '$')) {
		*out = s;
		return true;
	}
	BUF_SCOPED text = {.max = 65536};
	while (s.n > 0) {
		size_t dollar = str_find_byte(s, '$');
		buf_add(&text, str_sub(s, 0, dollar == STR_NPOS ? s.n : dollar));
		s = str_from(s, dollar == STR_NPOS ? s.n : dollar + 1);
		if (dollar == STR_NPOS)
			break;
		size_t n = 0;
		while (n < s.n && is_name_byte((unsigned char)s.p[n]))
			n++;
		if (n == 0) {
			buf_byte(&text, '$');
			s = str_from(s, s.n > 0 && s.p[0] == '$');
		} else if (!expand_name(b, at, str_sub(s, 0, n), &text)) {
			return false;
		}
		s = str_from(s, n);
	}
	*out = arena_str(b->c->arena, buf_str(&text));
	return true;
}

static bool expand_all(struct builder *b, const struct assignment *at, struct config_list *items)
{
	struct str *v = arena_array(b->c->arena, items->n ? items->n : 1, sizeof *v);
	for (size_t i = 0; i < items->n; i++) {
		if (!expand(b, at, items->v[i], &v[i]))
			return false;
	}
	items->v = v;
	return true;
}

/* The system's name where the file gives none. */
static struct str system_hostname(struct arena *a)
{
	char name[256] = "";
	if (gethostname(name, sizeof name - 1) != 0 || !name[0])
		return STR("localhost.localdomain");
	struct str s = arena_lower(a, str_of(name));
	return str_has_byte(s, '.') ? s : arena_fmt(a, "%.*s.localdomain", STR_ARG(s));
}

/* "mail.example.com" gives "example.com"; "example.com" itself stays. */
static struct str domain_of_host(struct str host)
{
	size_t dot = str_find_byte(host, '.');
	struct str rest = dot == STR_NPOS ? STR_NONE : str_from(host, dot + 1);
	return str_has_byte(rest, '.') ? rest : host;
}

static bool computed_default(struct builder *b, enum setting id, struct str *text)
{
	struct arena *a = b->c->arena;
	if (text->n > 0)
		return true;
	if (id == SETTING_HOSTNAME) {
		*text = system_hostname(a);
	} else if (id == SETTING_MYDOMAIN) {
		if (!resolve(b, SETTING_HOSTNAME))
			return false;
		*text = domain_of_host(b->c->values[SETTING_HOSTNAME].items.v[0]);
	}
	return true;
}

static bool domain_looks_right(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (!ascii_is(c, ASCII_LOWER | ASCII_UPPER | ASCII_DIGIT) && c != '-' && c != '.')
			return false;
	}
	return s.n > 0 && s.n <= 255 && s.p[0] != '.' && s.p[s.n - 1] != '.' && s.p[0] != '-';
}

/* What one row alone can tell but its type cannot. */
static bool special_check(enum setting id, struct config_value *v, struct err *err)
{
	struct str s = v->items.n ? v->items.v[0] : STR_NONE;
	switch ((int)id) {
	case SETTING_HOSTNAME:
	case SETTING_MYDOMAIN:
	case SETTING_MYORIGIN:
		return domain_looks_right(s) ||
		       err_set(err, ERR_SYNTAX, "must be a domain name in ASCII (A-labels)");
	case SETTING_RECIPIENT_DELIMITER:
		return (s.n <= 1 && !str_has_byte(s, '@') && !str_has_byte(s, '/') &&
			!str_has_byte(s, '.')) ||
		       err_set(err, ERR_SYNTAX, "must be one character, not \"@\", \"/\" or \".\"");
	case SETTING_MAIL_HOME: {
		BUF_SCOPED example = {0};
		return template_expand_path(s, STR("user@example.com"), &example, err);
	}
	case SETTING_DATA_DIR:
	case SETTING_RUN_DIR:
		return s.n > 0 || err_set(err, ERR_SYNTAX, "must not be empty");
	default:
		return true;
	}
}

static bool resolve_value(struct builder *b, enum setting id)
{
	const struct setting_info *info = setting_info(id);
	const struct assignment *at = b->last[id];
	struct config_value *v = &b->c->values[id];
	struct arena *a = b->c->arena;
	struct str default_text = str_of(info->default_text);
	struct config_list items = at ? at->items : (struct config_list){&default_text, 1};
	struct err err = {0};
	if ((info->type >= SETTING_TYPE_STR && info->type != SETTING_TYPE_ENUM) && !expand_all(b, at, &items))
		return false;
	if (is_list(info->type)) {
		items = config_list_cut(a, items);
	} else if (items.n == 1) {
		struct str text = items.v[0];
		if (!computed_default(b, id, &text))
			return false;
		items.v = memcpy(arena_alloc(a, sizeof text), &text, sizeof text);
	}
	v->is_set = at != NULL;
	v->present = true;
	if (config_value_parse(a, info->type, info->choices, info->min, info->max, b->dir, items, v, &err) &&
	    special_check(id, v, &err))
		return true;
	assignments_problem(b->as, at, false, "%s %s", info->name, err.text);
	return false;
}

static bool resolve(struct builder *b, enum setting id)
{
	if (b->progress[id] == DONE)
		return b->c->values[id].present && b->c->values[id].items.v;
	b->progress[id] = UNDER_WAY;
	bool ok = resolve_value(b, id);
	b->progress[id] = DONE;
	if (!ok)
		b->c->values[id].items = (struct config_list){0};
	return ok;
}

static void find_last(struct builder *b)
{
	for (size_t i = 0; i < b->as->n; i++) {
		const struct assignment *at = &b->as->v[i];
		if (strcmp(at->section, "listener") == 0)
			continue;
		struct str name = at->section[0] ? arena_fmt(b->as->arena, "%s.%s", at->section, at->name)
						 : str_of(at->name);
		enum setting id;
		if (setting_find(name, &id))
			b->last[id] = at;
	}
}

/* Key files that others can read are told (R38); missing ones refuse the configuration. */
static void check_files(struct builder *b, enum setting id, bool secret)
{
	struct config_list files = b->c->values[id].items;
	for (size_t i = 0; i < files.n; i++) {
		struct stat st;
		if (stat(files.v[i].p, &st) != 0)
			assignments_problem(b->as, b->last[id], false, "%s: cannot find %.*s",
					    setting_info(id)->name, STR_ARG(files.v[i]));
		else if (secret && (st.st_mode & 07))
			assignments_problem(b->as, b->last[id], true,
					    "%.*s can be read by others: chmod 0600",
					    STR_ARG(files.v[i]));
	}
}

static void check_together(struct builder *b)
{
	const struct config_value *v = b->c->values;
	if (v[SETTING_TLS_CERTIFICATE_FILES].items.n != v[SETTING_TLS_KEY_FILES].items.n)
		assignments_problem(b->as, b->last[SETTING_TLS_KEY_FILES], false,
				    "tls.key_files must name one file for each of tls.certificate_files");
	check_files(b, SETTING_TLS_CERTIFICATE_FILES, false);
	check_files(b, SETTING_TLS_KEY_FILES, true);
	if (v[SETTING_PROCESS_WORKERS_MAX].number < v[SETTING_PROCESS_WORKERS].number)
		assignments_problem(b->as, b->last[SETTING_PROCESS_WORKERS_MAX], false,
				    "process.workers_max is less than process.workers");
}

bool config_build(struct config *c, struct assignments *as, const char *dir)
{
	struct builder b = {.c = c, .as = as, .dir = dir};
	find_last(&b);
	for (int id = 0; id < SETTING_COUNT; id++)
		(void)resolve(&b, (enum setting)id);
	if (as->failed)
		return false;
	check_together(&b);
	config_build_listeners(c, as, dir);
	return !as->failed;
}
