/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Reading files with libconfuse into a list of assignments.
 *
 * libconfuse keeps values but not where they stood, so a validation callback notes each
 * assignment with file and line as it is parsed. Its callbacks have no context pointer; the
 * unused numeric default of our string options carries it (context_of). An include is parsed
 * at once into a list of its own by a fresh parser after the including file is done, and put in
 * at its place: libconfuse's own include has a fixed depth that a conf.d of 11 files exceeds.
 */
#include "base/file.h"
#include "config/config_int.h"

#include <confuse.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct assignments *as;
	const char *file;
	struct assignment *v; /* a name of NULL marks an include, its pattern in title */
	size_t n, cap;
};

void assignments_problem(struct assignments *as, const struct assignment *at, bool warning,
			 const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct str text = arena_vfmt(as->arena, fmt, ap);
	va_end(ap);
	if (at && at->file)
		buf_fmt(as->problems, "%s:%u: ", at->file, at->line);
	buf_fmt(as->problems, "%s: %.*s\n", warning ? "warning" : "error", STR_ARG(text));
	if (!warning)
		as->failed = true;
}

static struct reader *context_of(const cfg_t *cfg)
{
	return (struct reader *)cfg->opts[0].def.number;
}

static const char *copy(struct reader *r, const char *s)
{
	return arena_cstr(r->as->arena, str_of(s));
}

static void add(struct reader *r, struct assignment a)
{
	r->v = arena_grow(r->as->arena, r->v, r->n, &r->cap, sizeof *r->v);
	r->v[r->n++] = a;
}

static struct assignment here(struct reader *r, const cfg_t *cfg)
{
	bool top = strcmp(cfg->name, "root") == 0;
	return (struct assignment){
		.file = r->file, .line = (unsigned)cfg->line, .section = top ? "" : copy(r, cfg->name),
		.title = cfg->title ? copy(r, cfg->title) : "",
	};
}

/* Called after each value of an option; the list so far replaces what was noted before. */
static int on_option(cfg_t *cfg, cfg_opt_t *opt)
{
	struct reader *r = context_of(cfg);
	unsigned n = cfg_opt_size(opt);
	struct str *items = arena_array(r->as->arena, n ? n : 1, sizeof *items);
	for (unsigned i = 0; i < n; i++)
		items[i] = arena_str(r->as->arena, str_of(cfg_opt_getnstr(opt, i)));
	struct assignment a = here(r, cfg);
	a.name = copy(r, opt->name);
	a.items = (struct config_list){items, n};
	add(r, a);
	return 0;
}

/* The name in "no such option 'x'", to suggest another. */
static void suggest(struct reader *r, const cfg_t *cfg, struct assignment at, struct str message)
{
	struct str prefix = STR("no such option '");
	if (!str_starts(message, prefix) || !str_ends(message, STR("'"))) {
		assignments_problem(r->as, &at, false, "%.*s", STR_ARG(message));
		return;
	}
	struct str name = str_sub(message, prefix.n, message.n - prefix.n - 1);
	const char *names[SETTING_COUNT + LISTENER_OPTION_COUNT];
	size_t n = 0;
	for (const cfg_opt_t *o = cfg->opts; o->name && n < sizeof names / sizeof *names; o++)
		names[n++] = o->name;
	const char *near = config_nearest(name, names, n);
	const char *elsewhere = near ? NULL : setting_suggest(name);
	assignments_problem(r->as, &at, false, "there is no setting \"%.*s\"%s%s%s%s%s", STR_ARG(name),
			    at.section[0] ? " in section " : "", at.section,
			    near || elsewhere ? "; did you mean \"" : "",
			    near        ? near
			    : elsewhere ? elsewhere
					: "",
			    near || elsewhere ? "\"?" : "");
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	struct reader *r = context_of(cfg);
	suggest(r, cfg, here(r, cfg), arena_vfmt(r->as->arena, fmt, ap));
}

static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
	struct reader *r = context_of(cfg);
	if (argc != 1) {
		cfg_error(cfg, "%s takes one file or pattern", opt->name);
		return -1;
	}
	struct assignment a = here(r, cfg);
	a.title = copy(r, argv[0]);
	a.section = copy(r, opt->name);
	add(r, a);
	return 0;
}

static cfg_opt_t string_option(struct reader *r, const char *name, enum setting_type type)
{
	bool list = type == SETTING_TYPE_LIST || type == SETTING_TYPE_NETWORKS || type == SETTING_TYPE_PATHS;
	return (cfg_opt_t){.name = name, .type = CFGT_STR, .flags = CFGF_NODEFAULT | (list ? CFGF_LIST : 0),
			   .def = {.number = (long)r}, .validcb = on_option};
}

/* Options of one section, ended by CFG_END; "" is the top level. */
static size_t section_options(struct reader *r, const char *section, cfg_opt_t *out)
{
	size_t n = 0;
	for (int i = 0; i < SETTING_COUNT; i++) {
		if (strcmp(setting_rows[i].section, section) == 0)
			out[n++] = string_option(r, setting_rows[i].key, setting_rows[i].info.type);
	}
	if (section[0])
		return n;
	for (const struct setting_other_name *o = setting_other_names; o->name; o++)
		out[n++] = string_option(r, o->name, setting_rows[o->id].info.type);
	return n;
}

static bool has_option(const cfg_opt_t *opts, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(opts[i].name, name) == 0)
			return true;
	}
	return false;
}

static cfg_t *make_parser(struct reader *r)
{
	struct arena *a = r->as->arena;
	size_t room = 2 * SETTING_COUNT + LISTENER_OPTION_COUNT + 16;
	cfg_opt_t *top = arena_array(a, room, sizeof *top);
	size_t n = section_options(r, "", top);
	for (int i = 0; i < SETTING_COUNT; i++) {
		const char *section = setting_rows[i].section;
		if (!section[0] || has_option(top, n, section))
			continue;
		cfg_opt_t *sub = arena_array(a, room, sizeof *sub);
		size_t k = section_options(r, section, sub);
		sub[k] = (cfg_opt_t)CFG_END();
		top[n++] = (cfg_opt_t)CFG_SEC(section, sub, CFGF_NONE);
	}
	cfg_opt_t *listener = arena_array(a, LISTENER_OPTION_COUNT + 1, sizeof *listener);
	for (int i = 0; i < LISTENER_OPTION_COUNT; i++)
		listener[i] = string_option(r, listener_option_rows[i].name, listener_option_rows[i].type);
	listener[LISTENER_OPTION_COUNT] = (cfg_opt_t)CFG_END();
	top[n++] = (cfg_opt_t)CFG_SEC("listener", listener, CFGF_MULTI | CFGF_TITLE);
	top[n++] = (cfg_opt_t)CFG_FUNC("include", on_include);
	top[n++] = (cfg_opt_t)CFG_FUNC("include_optional", on_include);
	top[n] = (cfg_opt_t)CFG_END();
	return cfg_init(top, CFGF_NONE);
}

/* An empty list "{}" calls nobody: found afterwards. */
static void add_empty_lists(struct reader *r, cfg_t *cfg)
{
	for (cfg_opt_t *o = cfg->opts; o->name; o++) {
		if (o->type == CFGT_SEC) {
			for (unsigned i = 0; i < cfg_opt_size(o); i++)
				add_empty_lists(r, cfg_opt_getnsec(o, i));
		} else if (o->type == CFGT_STR && (o->flags & CFGF_MODIFIED) && cfg_opt_size(o) == 0) {
			struct assignment a = here(r, cfg);
			a.name = copy(r, o->name);
			add(r, a);
		}
	}
}

static void parse(struct reader *r, struct str text)
{
	struct assignment at = {.file = r->file, .line = 1, .section = ""};
	if (text.n == 0)
		return;
	if (text.n > CONFIG_FILE_MAX || str_has_byte(text, '\0')) {
		assignments_problem(r->as, &at, false, "the file is larger than 1 MiB or holds a NUL byte");
		return;
	}
	char *blanked = (char *)arena_str(r->as->arena, text).p;
	at.line = config_blank_comments(blanked, text.n);
	if (at.line) {
		assignments_problem(r->as, &at, false, "what is opened here is never closed");
		return;
	}
	FILE *f = fmemopen(blanked, text.n, "r");
	cfg_t *cfg = f ? make_parser(r) : NULL;
	at.line = 1;
	if (!cfg) {
		assignments_problem(r->as, &at, false, "out of memory");
	} else {
		cfg_set_error_function(cfg, on_error);
		cfg->filename = strdup(r->file);
		/* Its callbacks report; one that did not is reported here. */
		if (cfg_parse_fp(cfg, f) != CFG_SUCCESS && !r->as->failed)
			assignments_problem(r->as, &at, false, "syntax error");
		add_empty_lists(r, cfg);
		cfg_free(cfg);
	}
	if (f)
		fclose(f);
}

static const char *directory_of(struct arena *a, const char *file)
{
	size_t slash = str_find_last_byte(str_of(file), '/');
	if (slash == STR_NPOS)
		return ".";
	return arena_cstr(a, str_sub(str_of(file), 0, slash ? slash : 1));
}

static void include_file(struct assignments *as, const struct assignment *at, const char *file,
			 unsigned depth)
{
	BUF_SCOPED text = {0};
	struct err err = {0};
	if (++as->includes > CONFIG_INCLUDES_MAX) {
		assignments_problem(as, at, false, "more than %d files are included", CONFIG_INCLUDES_MAX);
		return;
	}
	if (!file_read_whole(AT_FDCWD, file, CONFIG_FILE_MAX, &text, &err)) {
		assignments_problem(as, at, false, "cannot read %s: %s", file,
				    err.cause[0] ? err.cause : err.text);
		return;
	}
	config_read(as, arena_cstr(as->arena, str_of(file)), buf_str(&text), depth + 1);
}

/* include: the file must exist, but a pattern may match nothing; include_optional: neither. */
static void include(struct assignments *as, const struct assignment *at, unsigned depth)
{
	struct arena *a = as->arena;
	const char *pattern = at->title;
	if (pattern[0] != '/')
		pattern = arena_cstr(a, arena_fmt(a, "%s/%s", directory_of(a, at->file), pattern));
	if (depth >= CONFIG_INCLUDE_DEPTH_MAX) {
		assignments_problem(as, at, false, "includes are nested deeper than %d",
				    CONFIG_INCLUDE_DEPTH_MAX);
		return;
	}
	glob_t g = {0};
	int rc = glob(pattern, 0, NULL, &g);
	if (rc == 0) {
		for (size_t i = 0; i < g.gl_pathc && as->includes <= CONFIG_INCLUDES_MAX; i++)
			include_file(as, at, g.gl_pathv[i], depth);
	} else if (rc != GLOB_NOMATCH) {
		assignments_problem(as, at, false, "cannot list %s", pattern);
	} else if (strcmp(at->section, "include") == 0 && !strpbrk(pattern, "*?[")) {
		assignments_problem(as, at, false, "there is no file %s", pattern);
	}
	globfree(&g);
}

void config_read(struct assignments *as, const char *file, struct str text, unsigned depth)
{
	struct reader r = {.as = as, .file = file};
	parse(&r, text);
	for (size_t i = 0; i < r.n; i++) {
		if (!r.v[i].name) {
			include(as, &r.v[i], depth);
			continue;
		}
		as->v = arena_grow(as->arena, as->v, as->n, &as->cap, sizeof *as->v);
		as->v[as->n++] = r.v[i];
	}
}
