/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "cli/findings.h"
#include "json/json.h"

static const char *const states[] = {"ok", "warn", "fail"};

void finding_add(struct findings *f, enum finding_state state, struct str what, struct str next,
		 const char *fmt, ...)
{
	struct arena *a = f->cli->arena;
	va_list ap;
	va_start(ap, fmt);
	f->v = arena_grow(a, f->v, f->n, &f->cap, sizeof *f->v);
	f->v[f->n++] =
		(struct finding){state, arena_str(a, what), arena_vfmt(a, fmt, ap), arena_str(a, next)};
	va_end(ap);
	f->warnings += state == FINDING_WARN;
	f->failures += state == FINDING_FAIL;
}

static void print_json(struct findings *f)
{
	struct json_writer w;
	json_write_init(&w, &f->cli->out);
	json_write_object_begin(&w);
	json_write_member_bool(&w, "ok", f->failures == 0);
	json_write_member_int(&w, "warnings", (int64_t)f->warnings);
	json_write_member_int(&w, "failures", (int64_t)f->failures);
	json_write_name(&w, STR("checks"));
	json_write_array_begin(&w);
	for (size_t i = 0; i < f->n; i++) {
		json_write_object_begin(&w);
		json_write_member_str(&w, "what", f->v[i].what);
		json_write_member_cstr(&w, "state", states[f->v[i].state]);
		json_write_member_str(&w, "text", f->v[i].text);
		json_write_member_str(&w, "next", f->v[i].next);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	json_write_object_end(&w);
	buf_byte(&f->cli->out, '\n');
}

static void print_text(struct findings *f)
{
	struct cli *cli = f->cli;
	static const char *const marks[] = {"OK  ", "WARN", "FAIL"};
	for (size_t i = 0; i < f->n; i++) {
		const struct finding *x = &f->v[i];
		cli_print(cli, "%s  %.*s: %.*s\n", marks[x->state], STR_ARG(x->what), STR_ARG(x->text));
		if (x->next.n)
			cli_print(cli, "      -> %.*s\n", STR_ARG(x->next));
	}
	cli_print(cli,
		  cli_text(cli, "%zu looked at, %zu to look after, %zu wrong\n",
			   "%zu개 확인, 주의 %zu, 잘못 %zu\n"),
		  f->n, f->warnings, f->failures);
}

int findings_print(struct findings *f)
{
	if (f->cli->json)
		print_json(f);
	else
		print_text(f);
	return f->failures ? CLI_NOT_FOUND : CLI_OK;
}
