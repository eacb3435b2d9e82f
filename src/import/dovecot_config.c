/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "import/dovecot_config.h"
#include "base/buf.h"
#include "base/file.h"
#include "directory/dovecot_sql.h"
#include <fcntl.h>
#include <glob.h>
#include <string.h>

enum { SECTION_DEPTH_MAX = 16 };

struct parse {
	struct arena *a;
	const char *file;
	bool follow;
	unsigned depth;
	struct dovecot_config *out;
	struct str prefix[SECTION_DEPTH_MAX]; /* paths of the open sections, with a final "/" */
	unsigned open, section;
};

static bool add(struct parse *p, unsigned line, struct str name, struct str value, struct err *err)
{
	struct dovecot_config *c = p->out;
	struct dovecot_setting *v = (struct dovecot_setting *)(void *)c->v;
	if (c->n == DOVECOT_SETTINGS_MAX)
		return err_set(err, ERR_LIMIT, "more than %d settings", DOVECOT_SETTINGS_MAX);
	v = arena_grow(p->a, v, c->n, &c->cap, sizeof *v);
	v[c->n++] = (struct dovecot_setting){
		.file = p->file,
		.line = line,
		.section = p->open ? p->section : 0,
		.path = p->open ? arena_cat(p->a, p->prefix[p->open - 1], name) : name,
		.value = dovecot_unquote(p->a, value),
	};
	c->v = v;
	return true;
}

static bool open_section(struct parse *p, struct str title, struct err *err)
{
	if (p->open == SECTION_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "sections deeper than %d", SECTION_DEPTH_MAX);
	if (p->open == 0)
		p->section = ++p->out->sections;
	struct str before = p->open ? p->prefix[p->open - 1] : STR("");
	if (before.n + title.n > 4000)
		return err_set(err, ERR_LIMIT, "a section's name is too long");
	p->prefix[p->open++] =
		arena_fmt(p->a, "%.*s%.*s/", STR_ARG(before), STR_ARG(dovecot_unquote(p->a, title)));
	return true;
}

static bool read_file(struct parse *p, const char *path, bool must, struct err *err)
{
	BUF_SCOPED text = {0};
	struct err missing = {0};
	if (++p->out->files > DOVECOT_FILES_MAX)
		return err_set(err, ERR_LIMIT, "more than %d files", DOVECOT_FILES_MAX);
	if (!file_read_whole(AT_FDCWD, path, DOVECOT_FILE_MAX, &text, &missing)) {
		if (!must)
			return true;
		*err = missing;
		return err_while(err, "reading %s", path);
	}
	return dovecot_config_parse(p->a, arena_cstr(p->a, str_of(path)), arena_str(p->a, buf_str(&text)),
				    true, p->depth + 1, p->out, err);
}

/* Relative to the file's directory; a pattern that fits nothing is fine. */
static bool include(struct parse *p, struct str pattern, bool must, struct err *err)
{
	glob_t found = {0};
	bool ok = true;
	if (!p->follow)
		return true;
	if (p->depth == DOVECOT_DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "files include each other");
	size_t slash = str_find_last_byte(str_of(p->file), '/');
	if (!str_starts(pattern, STR("/")) && slash != STR_NPOS)
		pattern = arena_cat(p->a, str_sub(str_of(p->file), 0, slash + 1), pattern);
	const char *text = arena_cstr(p->a, pattern);
	bool is_pattern = strpbrk(text, "*?[") != NULL;
	if (!is_pattern)
		return read_file(p, text, must, err);
	if (glob(text, 0, NULL, &found) == 0) {
		for (size_t i = 0; ok && i < found.gl_pathc; i++)
			ok = read_file(p, found.gl_pathv[i], must, err);
	}
	globfree(&found);
	return ok;
}

static bool take_line(struct parse *p, const struct postfix_line *line, struct err *err)
{
	struct str text = line->value;
	if (str_starts(text, STR("!include_try ")))
		return include(p, str_trim(str_from(text, 13)), false, err);
	if (str_starts(text, STR("!include ")))
		return include(p, str_trim(str_from(text, 9)), true, err);
	if (str_eq(text, STR("}"))) {
		if (p->open == 0)
			return err_set(err, ERR_SYNTAX, "a } too many");
		p->open--;
		return true;
	}
	if (str_ends(text, STR("{")))
		return open_section(p, str_trim(str_sub(text, 0, text.n - 1)), err);
	struct str value = text, name = str_trim(str_cut(&value, '='));
	if (!value.p || name.n == 0)
		return err_set(err, ERR_SYNTAX, "no \"name = value\", section or }");
	return add(p, line->number, name, str_trim(value), err);
}

bool dovecot_config_parse(struct arena *a, const char *file, struct str text, bool follow, unsigned depth,
			  struct dovecot_config *out, struct err *err)
{
	struct parse p = {.a = a, .file = file, .follow = follow, .depth = depth, .out = out};
	struct postfix_line line;
	unsigned number = 0;
	if (text.n && str_has_byte(text, '\0'))
		return err_set(err, ERR_SYNTAX, "%s holds a NUL byte", file);
	while (dovecot_logical_line(a, &text, &number, &line)) {
		if (!take_line(&p, &line, err))
			return err_while(err, "%s:%u", file, line.number);
	}
	return p.open == 0 || err_set(err, ERR_SYNTAX, "%s: a section is not closed", file);
}

bool dovecot_config_read(struct arena *a, const char *path, struct dovecot_config *out, struct err *err)
{
	struct parse p = {.a = a, .file = path, .follow = true, .out = out};
	*out = (struct dovecot_config){0};
	return read_file(&p, path, true, err);
}

const struct dovecot_setting *dovecot_config_find(const struct dovecot_config *c, struct str path)
{
	for (size_t i = c->n; i > 0; i--) {
		if (str_eq(c->v[i - 1].path, path))
			return &c->v[i - 1];
	}
	return NULL;
}

struct str dovecot_config_get(const struct dovecot_config *c, struct str path)
{
	const struct dovecot_setting *s = dovecot_config_find(c, path);
	return s ? s->value : STR_NONE;
}
