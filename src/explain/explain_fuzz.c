/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Replies and pastes against the built-in table; what comes out is clean text within its limits. */
#include "explain/explain.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/codec.h"
#include "json/json.h"

#include <stdlib.h>

static void check(struct str s, size_t max)
{
	if (s.n > max || str_has_ctl(s) || !utf8_valid(s))
		abort();
}

static void check_explanation(const struct explanation *x)
{
	check(x->reply, EXPLAIN_TEXT_MAX);
	check(x->ip, 45);
	for (size_t i = 0; i < x->link_n; i++)
		check(x->links[i], EXPLAIN_TEXT_MAX);
	if (x->meaning.en.n == 0 || x->meaning.ko.n == 0 || x->advice_n > EXPLAIN_ADVICE_MAX)
		abort();
	if (x->suppress && x->kind != EXPLAIN_KIND_PERM)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct explain *table;
	struct err err = {0};
	ARENA_SCOPED a = arena_new();
	BUF_SCOPED out = {0};
	struct str text = {(const char *)data, size}, rest = text, host = str_cut(&rest, '\n');
	struct explanation x;
	struct explain_report report;
	struct json_writer w;
	if (!table && !explain_load(STR(""), &table, &err))
		abort();
	explain_reply(table, rest.p ? rest : text, rest.p ? host : STR(""), a, &x);
	check_explanation(&x);
	explain_paste(table, text, a, &report);
	for (size_t i = 0; i < report.n; i++) {
		check_explanation(&report.items[i].why);
		check(report.items[i].recipients, 800);
		check(report.items[i].action, 40);
	}
	check(report.subject, 300);
	explain_print(&out, &report, size & 1);
	json_write_init(&w, &out);
	explain_write_json(&w, &report);
	return 0;
}
