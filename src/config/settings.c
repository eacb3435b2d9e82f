/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The tables of settings.def and listener.def as data, and looking names up in them. */
#include "config/config_int.h"

#include <string.h>

/* "smtp" and "max_recipients" give "smtp.max_recipients", "" and "hostname" give "hostname":
 * names are made here once, as literals cannot be glued conditionally. */
#define NAME_(sec, key) (sizeof(sec) == 1 ? key : sec "." key)

const struct setting_row setting_rows[SETTING_COUNT] = {
#define SETTING(id, type_, sec, key_, def, min_, max_, choices_, rel, roles_, en, ko)                 \
	[SETTING_##id] = {                                                                           \
		.info = {.type = SETTING_TYPE_##type_, .name = NAME_(sec, key_), .default_text = def,  \
			 .min = min_, .max = max_, .choices = choices_, .reloadable = rel,              \
			 .roles = (roles_) | CONFIG_ROLE_MASTER, .help_en = en, .help_ko = ko},         \
		.section = sec, .key = key_,                                                           \
	},
#include "config/settings.def"
#undef SETTING
};

const struct listener_option_row listener_option_rows[LISTENER_OPTION_COUNT] = {
#define OPTION(id, name_, type_, def, choices_, en, ko)                                              \
	[LISTENER_OPTION_##id] = {.name = name_, .default_text = def, .choices = choices_,           \
				  .type = SETTING_TYPE_##type_, .help_en = en, .help_ko = ko},
#include "config/listener.def"
#undef OPTION
};

const struct setting_other_name setting_other_names[] = {
	{"myhostname", SETTING_HOSTNAME},
	{NULL, SETTING_COUNT},
};

const struct setting_info *setting_info(enum setting id)
{
	return &setting_rows[id].info;
}

const struct listener_option_info *listener_option_info(size_t i)
{
	static const struct listener_option_info infos[] = {
#define OPTION(id, name_, type_, def, choices_, en, ko) {name_, def, en, ko},
#include "config/listener.def"
#undef OPTION
	};
	return i < LISTENER_OPTION_COUNT ? &infos[i] : NULL;
}

bool setting_find(struct str name, enum setting *out)
{
	for (int i = 0; i < SETTING_COUNT; i++) {
		if (str_eq_nocase(name, str_of(setting_rows[i].info.name))) {
			*out = (enum setting)i;
			return true;
		}
	}
	for (const struct setting_other_name *o = setting_other_names; o->name; o++) {
		if (str_eq_nocase(name, str_of(o->name))) {
			*out = o->id;
			return true;
		}
	}
	return false;
}

/* Levenshtein's distance with neighbours swapped counting one, ignoring case. Names are short. */
static size_t distance(struct str a, struct str b)
{
	enum { MAX = 48 };
	size_t rows[3][MAX + 1];
	size_t *before = rows[0], *last = rows[1], *now = rows[2];
	if (a.n > MAX || b.n > MAX)
		return MAX;
	for (size_t j = 0; j <= b.n; j++)
		last[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			bool same = ascii_lower(a.p[i - 1]) == ascii_lower(b.p[j - 1]);
			size_t best = last[j - 1] + !same;
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
		size_t *free_row = before;
		before = last;
		last = now;
		now = free_row;
	}
	return last[b.n];
}

const char *config_nearest(struct str s, const char *const *names, size_t n)
{
	const char *best = NULL;
	size_t best_distance = s.n / 3 + 1;
	for (size_t i = 0; i < n; i++) {
		size_t d = distance(s, str_of(names[i]));
		if (d < best_distance || (d == best_distance && !best)) {
			best_distance = d;
			best = names[i];
		}
	}
	return best;
}

const char *setting_suggest(struct str name)
{
	const char *names[2 * SETTING_COUNT];
	size_t n = 0;
	for (int i = 0; i < SETTING_COUNT; i++)
		names[n++] = setting_rows[i].info.name;
	const char *full = config_nearest(name, names, n);
	if (full)
		return full;
	/* The name without its section, as people remember it. */
	for (int i = 0; i < SETTING_COUNT; i++) {
		if (str_eq_nocase(name, str_of(setting_rows[i].key)))
			return setting_rows[i].info.name;
	}
	return NULL;
}
