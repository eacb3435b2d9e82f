/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The snapshot: life, access, and printing. Its memory is one arena. */
#include "config/config_int.h"
#include "base/file.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct config *config_new(void)
{
	struct arena *a = arena_new();
	struct config *c = arena_zalloc(a, sizeof *c);
	c->arena = a;
	c->refs = 1;
	c->file = "";
	return c;
}

struct config *config_ref(const struct config *c)
{
	struct config *shared = (struct config *)c;
	__atomic_add_fetch(&shared->refs, 1, __ATOMIC_RELAXED);
	return shared;
}

void config_unref(struct config *c)
{
	if (c && __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) == 0)
		arena_free(c->arena);
}

static const char *absolute(struct arena *a, const char *path)
{
	char *real = realpath(path, NULL);
	if (real) {
		const char *kept = arena_cstr(a, str_of(real));
		free(real);
		return kept;
	}
	if (path[0] == '/')
		return arena_cstr(a, str_of(path));
	char *cwd = realpath(".", NULL);
	const char *full = arena_cstr(a, arena_fmt(a, "%s/%s", cwd ? cwd : "", path));
	free(cwd);
	return full;
}

static const char *directory_of_file(struct arena *a, const char *file)
{
	size_t slash = str_find_last_byte(str_of(file), '/');
	return slash == 0 || slash == STR_NPOS ? "/" : arena_cstr(a, str_sub(str_of(file), 0, slash));
}

/* The first error line for err->text, without its newline. */
static bool first_problem(const struct buf *problems, size_t from, struct err *err)
{
	struct str rest = str_from(buf_str(problems), from), line = rest;
	while (rest.p) {
		line = str_cut(&rest, '\n');
		if (str_find(line, STR("error: ")) != STR_NPOS)
			break;
	}
	return err_set(err, ERR_SYNTAX, "%.*s", STR_ARG(str_sub(line, 0, 150)));
}

bool config_parse(const char *name, struct str text, struct buf *problems, struct config **out,
		  struct err *err)
{
	CONFIG_SCOPED c = config_new();
	ARENA_SCOPED scratch = arena_new();
	struct assignments as = {.arena = scratch, .problems = problems};
	size_t before = problems->n;
	c->file = absolute(c->arena, name);
	config_read(&as, name, text, 0);
	if (as.failed || !config_build(c, &as, directory_of_file(scratch, c->file)))
		return first_problem(problems, before, err);
	*out = c;
	c = NULL;
	return true;
}

bool config_load(const char *path, struct buf *problems, struct config **out, struct err *err)
{
	BUF_SCOPED text = {0};
	if (!file_read_whole(AT_FDCWD, path, CONFIG_FILE_MAX, &text, err)) {
		buf_fmt(problems, "%s: error: cannot read the configuration: %s\n", path,
			err->cause[0] ? err->cause : err->text);
		return false;
	}
	return config_parse(path, buf_str(&text), problems, out, err);
}

static const struct config_value *value(const struct config *c, enum setting id, unsigned types)
{
	assert(types & (1u << setting_rows[id].info.type));
	assert(c->values[id].present);
	return &c->values[id];
}
#define TYPE(t) (1u << SETTING_TYPE_##t)

bool config_bool(const struct config *c, enum setting id)
{
	return value(c, id, TYPE(BOOL))->number;
}

int64_t config_int(const struct config *c, enum setting id)
{
	return value(c, id, TYPE(INT))->number;
}

uint64_t config_size(const struct config *c, enum setting id)
{
	return (uint64_t)value(c, id, TYPE(SIZE))->number;
}

int64_t config_duration_ms(const struct config *c, enum setting id)
{
	return value(c, id, TYPE(DURATION))->number;
}

struct str config_str(const struct config *c, enum setting id)
{
	return value(c, id, TYPE(STR) | TYPE(PATH) | TYPE(ENUM))->items.v[0];
}

const char *config_path(const struct config *c, enum setting id)
{
	return value(c, id, TYPE(STR) | TYPE(PATH))->items.v[0].p;
}

struct config_list config_list(const struct config *c, enum setting id)
{
	return value(c, id, TYPE(LIST) | TYPE(PATHS) | TYPE(NETWORKS))->items;
}

const struct networks *config_networks(const struct config *c, enum setting id)
{
	return &value(c, id, TYPE(NETWORKS))->networks;
}

int config_enum(const struct config *c, enum setting id)
{
	return (int)value(c, id, TYPE(ENUM))->number;
}

bool config_list_has(const struct config *c, enum setting id, struct str item)
{
	struct config_list list = config_list(c, id);
	for (size_t i = 0; i < list.n; i++) {
		if (str_eq_nocase(list.v[i], item))
			return true;
	}
	return false;
}

const struct listener *config_listeners(const struct config *c, size_t *out_count)
{
	*out_count = c->listener_count;
	return c->listeners;
}

const char *config_file(const struct config *c)
{
	return c->file;
}

bool config_is_set(const struct config *c, enum setting id)
{
	return c->values[id].is_set;
}

static bool values_equal(const struct config_value *a, const struct config_value *b)
{
	if (a->items.n != b->items.n)
		return false;
	for (size_t i = 0; i < a->items.n; i++) {
		if (!str_eq(a->items.v[i], b->items.v[i]))
			return false;
	}
	return true;
}

bool config_reloadable(const struct config *from, const struct config *to, enum setting *out_first)
{
	for (int id = 0; id < SETTING_COUNT; id++) {
		if (!setting_rows[id].info.reloadable && !values_equal(&from->values[id], &to->values[id])) {
			*out_first = (enum setting)id;
			return false;
		}
	}
	return true;
}

static void format_item(struct buf *out, struct str s)
{
	buf_byte(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_byte(out, '\\');
		buf_byte(out, s.p[i]);
	}
	buf_byte(out, '"');
}

void config_format(const struct config *c, enum setting id, struct buf *out)
{
	const struct config_value *v = &c->values[id];
	switch (setting_rows[id].info.type) {
	case SETTING_TYPE_BOOL:
		buf_add(out, v->number ? STR("yes") : STR("no"));
		return;
	case SETTING_TYPE_INT:
	case SETTING_TYPE_SIZE:
	case SETTING_TYPE_DURATION:
	case SETTING_TYPE_ENUM:
		buf_add(out, v->items.n ? v->items.v[0] : STR("\"\""));
		return;
	case SETTING_TYPE_STR:
	case SETTING_TYPE_PATH:
		format_item(out, v->items.n ? v->items.v[0] : STR(""));
		return;
	case SETTING_TYPE_LIST:
	case SETTING_TYPE_PATHS:
	case SETTING_TYPE_NETWORKS:
		break;
	}
	buf_byte(out, '{');
	for (size_t i = 0; i < v->items.n; i++) {
		if (i > 0)
			buf_add(out, STR(", "));
		format_item(out, v->items.v[i]);
	}
	buf_byte(out, '}');
}
