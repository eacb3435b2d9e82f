/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The argument text of a command as its grammar, and arguments read by it. */
#include "cli/cli_int.h"
#include "config/config.h"

#include <string.h>

static struct str strip(struct str s, struct cli_part *part)
{
	if (str_ends(s, STR("..."))) {
		part->repeated = true;
		s = str_sub(s, 0, s.n - 3);
	}
	if (str_ends(s, STR("]")))
		s = str_sub(s, 0, s.n - 1);
	if (str_ends(s, STR("..."))) {
		part->repeated = true;
		s = str_sub(s, 0, s.n - 3);
	}
	return s;
}

/* "[--quota SIZE]...", "NAME", "[NAME...]": words separated by single spaces. */
void cli_spec_parse(const char *args, struct cli_spec *out)
{
	struct str rest = str_of(args);
	out->n = 0;
	while (rest.p && rest.n > 0 && out->n < CLI_SPEC_MAX) {
		struct str word = str_cut(&rest, ' ');
		struct cli_part part = {0};
		part.optional = str_starts(word, STR("["));
		word = str_from(word, part.optional);
		bool open = part.optional && !str_has_byte(word, ']');
		part.is_option = str_starts(word, STR("-"));
		if (part.is_option && (open || !part.optional) && rest.p) {
			part.name = word;
			part.value = strip(str_cut(&rest, ' '), &part);
		} else {
			part.name = strip(word, &part);
		}
		out->v[out->n++] = part;
	}
}

static const struct cli_part *find_option(const struct cli_spec *spec, struct str name)
{
	for (size_t i = 0; i < spec->n; i++) {
		if (spec->v[i].is_option && str_eq(spec->v[i].name, name))
			return &spec->v[i];
	}
	return NULL;
}

static int unknown_option(struct cli *cli, const struct cli_spec *spec, struct str name)
{
	const char *names[CLI_SPEC_MAX + 3] = {"--config", "--json", "--help"};
	size_t n = 3;
	for (size_t i = 0; i < spec->n; i++) {
		if (spec->v[i].is_option)
			names[n++] = arena_cstr(cli->arena, spec->v[i].name);
	}
	const char *near = config_nearest(name, names, n);
	return cli_usage(cli, cli_text(cli, "unknown option %.*s%s%s", "알 수 없는 옵션 %.*s%s%s"), STR_ARG(name),
			 near ? cli_text(cli, "; did you mean ", "; 혹시 ") : "", near ? near : "");
}

static const struct cli_part *missing(const struct cli *cli, const struct cli_spec *spec)
{
	size_t want = 0;
	for (size_t i = 0; i < spec->n; i++) {
		const struct cli_part *p = &spec->v[i];
		if (!p->is_option && !p->optional && ++want > cli->nargs)
			return p;
		if (p->is_option && !p->optional && !cli_option(cli, arena_cstr(cli->arena, p->name)).p)
			return p;
	}
	return NULL;
}

static bool too_many(const struct cli *cli, const struct cli_spec *spec)
{
	size_t most = 0;
	for (size_t i = 0; i < spec->n; i++) {
		if (!spec->v[i].is_option && spec->v[i].repeated)
			return false;
		most += !spec->v[i].is_option;
	}
	return cli->nargs > most;
}

struct reading {
	struct str *args, *names, *values;
};

/* One option at v[*i]; its value is behind "=" or in the next argument. */
static int read_option(struct cli *cli, const struct cli_spec *spec, struct reading *r, const struct str *v,
		       size_t n, size_t *i)
{
	size_t equals = str_starts(v[*i], STR("--")) ? str_find_byte(v[*i], '=') : STR_NPOS;
	struct str name = str_sub(v[*i], 0, equals);
	const struct cli_part *p = find_option(spec, name);
	if (!p)
		return unknown_option(cli, spec, name);
	struct str value = STR("");
	if (!p->value.p && equals != STR_NPOS)
		return cli_usage(cli, cli_text(cli, "%.*s takes no value", "%.*s 옵션은 값을 받지 않습니다"),
				 STR_ARG(name));
	if (p->value.p && equals == STR_NPOS && *i + 1 >= n)
		return cli_usage(cli, cli_text(cli, "%.*s needs a value: %.*s", "%.*s 옵션에 값이 필요합니다: %.*s"),
				 STR_ARG(name), STR_ARG(p->value));
	if (p->value.p)
		value = equals == STR_NPOS ? v[++*i] : str_from(v[*i], equals + 1);
	r->names[cli->noptions] = p->name;
	r->values[cli->noptions++] = value;
	return 0;
}

int cli_parse_arguments(struct cli *cli, const struct str *v, size_t n)
{
	struct cli_spec spec;
	struct reading r = {arena_array(cli->arena, n + 1, sizeof *r.args),
			    arena_array(cli->arena, n + 1, sizeof *r.args),
			    arena_array(cli->arena, n + 1, sizeof *r.args)};
	bool options = true;
	cli_spec_parse(cli->command->args, &spec);
	cli->args = r.args;
	cli->option_names = r.names;
	cli->option_values = r.values;
	for (size_t i = 0; i < n; i++) {
		if (options && str_eq(v[i], STR("--"))) {
			options = false;
		} else if (options && v[i].n > 1 && v[i].p[0] == '-') {
			int rc = read_option(cli, &spec, &r, v, n, &i);
			if (rc != 0)
				return rc;
		} else {
			r.args[cli->nargs++] = v[i];
		}
	}
	const struct cli_part *p = missing(cli, &spec);
	if (p)
		return cli_usage(cli, cli_text(cli, "%.*s is missing", "%.*s 값이 없습니다"), STR_ARG(p->name));
	if (too_many(cli, &spec))
		return cli_usage(cli, cli_text(cli, "too many arguments", "인자가 너무 많습니다"));
	return 0;
}

struct str cli_option(const struct cli *cli, const char *name)
{
	struct str last = STR_NONE;
	for (size_t i = 0; i < cli->noptions; i++) {
		if (str_eq(cli->option_names[i], str_of(name)))
			last = cli->option_values[i];
	}
	return last;
}

struct str cli_option_at(const struct cli *cli, const char *name, size_t i)
{
	for (size_t k = 0; k < cli->noptions; k++) {
		if (str_eq(cli->option_names[k], str_of(name)) && i-- == 0)
			return cli->option_values[k];
	}
	return STR_NONE;
}

struct str cli_arg(const struct cli *cli, size_t i)
{
	return i < cli->nargs ? cli->args[i] : STR_NONE;
}
