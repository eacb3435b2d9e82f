/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* config/config_int.h: for this folder alone. */
#pragma once
#include "base/arena.h"
#include "config/config.h"

enum {
	CONFIG_FILE_MAX = 1 << 20,
	CONFIG_INCLUDE_DEPTH_MAX = 10,
	CONFIG_INCLUDES_MAX = 1000,
	CONFIG_ITEMS_MAX = 10000, /* of one list */
	CONFIG_LISTENERS_MAX = 256,
};

/* A value in its final text and, beside it, parsed. */
struct config_value {
	bool is_set;   /* the file names it */
	bool present;  /* this role gets it */
	struct config_list items; /* one for scalars; each is NUL-terminated */
	int64_t number;           /* bool, int, size, duration, enum */
	struct networks networks;
};

struct config {
	unsigned refs; /* atomic */
	struct arena *arena;
	const char *file;
	struct config_value values[SETTING_COUNT];
	struct listener *listeners;
	size_t listener_count;
};

/* One "name = value" of a file, in the order of the text with includes in their place. */
struct assignment {
	const char *file;
	unsigned line;
	const char *section; /* "" at the top */
	const char *title;   /* listener sections */
	const char *name;
	struct config_list items;
};
struct assignments {
	struct arena *arena;
	struct assignment *v;
	size_t n, cap;
	size_t includes;
	struct buf *problems;
	bool failed;
};

enum listener_option {
#define OPTION(id, ...) LISTENER_OPTION_##id,
#include "config/listener.def"
#undef OPTION
	LISTENER_OPTION_COUNT
};
extern const struct listener_option_row {
	const char *name, *default_text, *choices;
	enum setting_type type;
	const char *help_en, *help_ko;
} listener_option_rows[LISTENER_OPTION_COUNT];

extern const struct setting_row {
	struct setting_info info;
	const char *section, *key; /* "smtp", "max_recipients" */
} setting_rows[SETTING_COUNT];
/* Other names for settings, as the classic setup calls them. */
extern const struct setting_other_name {
	const char *name;
	enum setting id;
} setting_other_names[];

struct config *config_new(void);
/* file:line of an assignment (NULL: the defaults), then the message. Sets failed unless warning. */
void assignments_problem(struct assignments *as, const struct assignment *at, bool warning,
			 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Reads text, and what it includes, into as. Syntax errors and unknown names become problems. */
void config_read(struct assignments *as, const char *file, struct str text, unsigned depth);

/* Blanks comments out, in place. The line of a brace that is never closed, or 0. */
unsigned config_blank_comments(char *text, size_t n);

/* Parses items for a type; dir (absolute) completes relative paths. Message in err->text. */
bool config_value_parse(struct arena *a, enum setting_type type, const char *choices, int64_t min,
			int64_t max, const char *dir, struct config_list items, struct config_value *out,
			struct err *err) MUST_CHECK;
/* Cuts "a, b" inside items and drops empty ones. */
struct config_list config_list_cut(struct arena *a, struct config_list items);
bool config_choice(const char *choices, struct str s, int *out);
struct str config_choice_at(const char *choices, int i);

/* The assignments made a snapshot: $names, defaults, bounds, listeners. */
bool config_build(struct config *c, struct assignments *as, const char *dir);
void config_build_listeners(struct config *c, struct assignments *as, const char *dir);
