/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* From the text of a value to the value, per type. Used for files and for decoded snapshots. */
#include "config/config_int.h"
#include "base/scan.h"

#include <string.h>

static bool unit_is(struct str unit, const char *name)
{
	return str_eq_nocase(unit, str_of(name));
}

bool config_parse_size(struct str s, uint64_t *out_bytes)
{
	static const struct { const char *names[4]; unsigned shift;
	} units[] = {
		{{"", "b", "bytes", NULL}, 0},  {{"k", "kb", "kib", NULL}, 10},
		{{"m", "mb", "mib", NULL}, 20}, {{"g", "gb", "gib", NULL}, 30},
		{{"t", "tb", "tib", NULL}, 40},
	};
	struct scan sc = scan_of(str_trim(s));
	uint64_t v;
	if (!scan_u64(&sc, INT64_MAX, &v))
		return false;
	struct str unit = str_trim(scan_rest(&sc));
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		for (size_t j = 0; units[i].names[j]; j++) {
			if (!unit_is(unit, units[i].names[j]))
				continue;
			if (v > (uint64_t)INT64_MAX >> units[i].shift)
				return false;
			*out_bytes = v << units[i].shift;
			return true;
		}
	}
	return false;
}

bool config_parse_duration(struct str s, int64_t *out_ms)
{
	static const struct { const char *name; int64_t ms; } units[] = {
		{"ms", 1}, {"s", 1000}, {"", 1000}, {"sec", 1000}, {"m", 60000}, {"min", 60000},
		{"h", 3600000}, {"d", 86400000}, {"w", 7 * 86400000LL},
	};
	struct scan sc = scan_of(str_trim(s));
	uint64_t v;
	if (!scan_u64(&sc, INT64_MAX, &v))
		return false;
	struct str unit = str_trim(scan_rest(&sc));
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (unit_is(unit, units[i].name))
			return !__builtin_mul_overflow((int64_t)v, units[i].ms, out_ms);
	}
	return false;
}

static bool parse_bool(struct str s, int64_t *out)
{
	static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off",
										    "0"};
	for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
		if (unit_is(s, yes[i]) || unit_is(s, no[i])) {
			*out = unit_is(s, yes[i]);
			return true;
		}
	}
	return false;
}

static bool parse_int(struct str s, int64_t *out)
{
	bool negative = s.n > 0 && s.p[0] == '-';
	uint64_t v;
	if (!str_u64(str_from(s, negative), INT64_MAX, &v))
		return false;
	*out = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

bool config_choice(const char *choices, struct str s, int *out)
{
	struct str rest = str_of(choices);
	for (int i = 0; rest.p; i++) {
		if (str_eq_nocase(str_cut(&rest, '|'), s)) {
			*out = i;
			return true;
		}
	}
	return false;
}

struct str config_choice_at(const char *choices, int i)
{
	struct str rest = str_of(choices), one = STR_NONE;
	for (int at = 0; at <= i && rest.p; at++)
		one = str_cut(&rest, '|');
	return one;
}

struct config_list config_list_cut(struct arena *a, struct config_list items)
{
	struct str *v = NULL;
	size_t n = 0, cap = 0;
	for (size_t i = 0; i < items.n; i++) {
		struct str rest = items.v[i];
		while (rest.p && n < CONFIG_ITEMS_MAX) {
			struct str one = str_trim(str_cut(&rest, ','));
			if (one.n == 0)
				continue;
			v = arena_grow(a, v, n, &cap, sizeof *v);
			v[n++] = one;
		}
	}
	return (struct config_list){v, n};
}

/* Copies that end in NUL; NUL inside is refused before (config_value_parse). */
static struct config_list keep(struct arena *a, struct config_list items)
{
	struct str *v = arena_array(a, items.n ? items.n : 1, sizeof *v);
	for (size_t i = 0; i < items.n; i++)
		v[i] = (struct str){arena_cstr(a, items.v[i]), items.v[i].n};
	return (struct config_list){v, items.n};
}

static struct str path_absolute(struct arena *a, const char *dir, struct str path)
{
	if (path.n == 0 || path.p[0] == '/')
		return path;
	while (str_starts(path, STR("./")))
		path = str_from(path, 2);
	return arena_fmt(a, "%s/%.*s", strcmp(dir, "/") == 0 ? "" : dir, STR_ARG(path));
}

static bool parse_networks(struct arena *a, struct config_list items, struct networks *out, struct err *err)
{
	struct network *v = arena_array(a, items.n ? items.n : 1, sizeof *v);
	for (size_t i = 0; i < items.n; i++) {
		if (!network_parse(items.v[i], &v[i], err))
			return false;
	}
	*out = (struct networks){v, items.n};
	return true;
}

static bool bounded(int64_t v, int64_t min, int64_t max, const char *unit, int64_t scale, struct err *err)
{
	if (v >= min && v <= max)
		return true;
	return err_set(err, ERR_LIMIT, "must be between %lld%s and %lld%s", (long long)(min / scale), unit,
		       (long long)(max / scale), unit);
}

static bool parse_number(enum setting_type type, const char *choices, int64_t min, int64_t max, struct str s,
			 int64_t *out, struct err *err)
{
	uint64_t size;
	int choice;
	switch (type) {
	case SETTING_TYPE_BOOL:
		return parse_bool(s, out) || err_set(err, ERR_SYNTAX, "must be yes or no");
	case SETTING_TYPE_INT:
		if (!parse_int(s, out))
			return err_set(err, ERR_SYNTAX, "must be a whole number");
		return bounded(*out, min, max, "", 1, err);
	case SETTING_TYPE_SIZE:
		if (!config_parse_size(s, &size))
			return err_set(err, ERR_SYNTAX, "must be a size such as 512, 64k, 10M or 2G");
		*out = (int64_t)size;
		return bounded(*out, min, max, " bytes", 1, err);
	case SETTING_TYPE_DURATION:
		if (!config_parse_duration(s, out))
			return err_set(err, ERR_SYNTAX, "must be a time such as 500ms, 30s, 5m, 12h or 7d");
		return bounded(*out, min, max, " ms", 1, err);
	case SETTING_TYPE_ENUM:
		if (!config_choice(choices, s, &choice))
			return err_set(err, ERR_SYNTAX, "must be one of %s", choices);
		*out = choice;
		return true;
	case SETTING_TYPE_STR:
	case SETTING_TYPE_PATH:
	case SETTING_TYPE_LIST:
	case SETTING_TYPE_PATHS:
	case SETTING_TYPE_NETWORKS:
		break;
	}
	return true;
}

bool config_value_parse(struct arena *a, enum setting_type type, const char *choices, int64_t min,
			int64_t max, const char *dir, struct config_list items, struct config_value *out,
			struct err *err)
{
	bool list = type == SETTING_TYPE_LIST || type == SETTING_TYPE_PATHS || type == SETTING_TYPE_NETWORKS;
	if (items.n > CONFIG_ITEMS_MAX)
		return err_set(err, ERR_LIMIT, "has more than %d items", CONFIG_ITEMS_MAX);
	for (size_t i = 0; i < items.n; i++) {
		if (str_has_ctl(items.v[i]))
			return err_set(err, ERR_SYNTAX, "holds a control character");
		if (items.v[i].n > 4096)
			return err_set(err, ERR_LIMIT, "is longer than 4096 bytes");
	}
	if (!list && items.n != 1)
		return err_set(err, ERR_SYNTAX, "must be one value");
	if (type == SETTING_TYPE_PATH || type == SETTING_TYPE_PATHS) {
		struct str *v = arena_array(a, items.n ? items.n : 1, sizeof *v);
		for (size_t i = 0; i < items.n; i++)
			v[i] = path_absolute(a, dir, items.v[i]);
		items.v = v;
	}
	if (type == SETTING_TYPE_NETWORKS && !parse_networks(a, items, &out->networks, err))
		return false;
	if (!list && !parse_number(type, choices, min, max, items.v[0], &out->number, err))
		return false;
	struct str choice;
	if (type == SETTING_TYPE_ENUM) {
		choice = config_choice_at(choices, (int)out->number);
		items.v = &choice;
	}
	out->items = keep(a, items);
	return true;
}
