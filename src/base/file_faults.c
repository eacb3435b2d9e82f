/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * base/file_faults.c: PABAL_FAULT, a list of rules parted by commas (grammar in base/file.h).
 * Only builds with -Dfaults=true hold it. The counters are atomic: threads share the numbering.
 */
#include "base/file.h"
#include "base/file_faults.h"
#ifdef PABAL_FAULTS
#include "base/scan.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RULES_MAX = 8, ROLE_MAX = 16, CRASH_TEXT_MAX = 200 };

enum effect { EFFECT_KILL, EFFECT_ENOSPC, EFFECT_EIO, EFFECT_EMFILE, EFFECT_COUNT };

static const char *const effect_names[EFFECT_COUNT] = {
	[EFFECT_KILL] = "kill", [EFFECT_ENOSPC] = "enospc", [EFFECT_EIO] = "eio", [EFFECT_EMFILE] = "emfile",
};

static const struct {
	const char *name;
	bool changes;
} ops[FILE_OP_COUNT] = {
#define FILE_OP(enumerator, name, changes) [FILE_OP_##enumerator] = {name, changes},
	FILE_OPS
#undef FILE_OP
};

struct rule {
	enum effect effect;
	uint64_t from;
	bool onwards;
	int op; /* -1: every one */
	_Atomic uint64_t counted;
};

static struct rule rules[RULES_MAX];
static size_t rule_count;
static char crash_rule[CRASH_TEXT_MAX]; /* "POINT=TEXT"; empty: none */
static int trace_fd = -1;
static const char *while_path; /* the rules hold while it exists; NULL: always */
static char role_name[ROLE_MAX];
static _Atomic uint64_t op_count;

static void bad(struct str text)
{
	fprintf(stderr, "pabal: PABAL_FAULT: cannot read \"%.*s\"\n", STR_ARG(text));
	_exit(64);
}

static int op_named(struct str name)
{
	for (int i = 0; i < FILE_OP_COUNT; i++)
		if (str_eq(name, str_of(ops[i].name)))
			return i;
	return -1;
}

/* "trace:PATH": a line "role number operation" for each counted operation */
static void trace_to(struct str path)
{
	char name[1024];

	snprintf(name, sizeof(name), "%.*s", STR_ARG(path));
	trace_fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (trace_fd < 0)
		bad(path);
}

/* "crash:POINT=TEXT", perhaps with "@@role" */
static void crash_on(struct str text, struct str role)
{
	struct str rest = text, rule = str_cut(&rest, '@');

	(void)str_cut(&rest, '@');
	if (!str_has_byte(rule, '=') || rule.n >= sizeof(crash_rule))
		bad(text);
	if (!rest.n || str_eq(rest, role))
		snprintf(crash_rule, sizeof(crash_rule), "%.*s", STR_ARG(rule));
}

static void add_rule(struct str text, struct str role)
{
	struct str rest = text;
	struct str what = str_cut(&rest, ':');

	if (str_eq(what, STR("trace"))) {
		trace_to(rest);
		return;
	}
	if (str_eq(what, STR("crash"))) {
		crash_on(rest, role);
		return;
	}
	struct str number = str_cut(&rest, '@');
	struct str op = str_cut(&rest, '@');
	struct rule rule = {.op = op.n ? op_named(op) : -1, .onwards = str_ends(number, STR("-"))};

	while (rule.effect < EFFECT_COUNT && !str_eq(what, str_of(effect_names[rule.effect])))
		rule.effect++;
	number.n -= rule.onwards;
	if (rule.effect == EFFECT_COUNT || !str_u64(number, UINT64_MAX, &rule.from) ||
	    (op.n && rule.op < 0) || rule_count == RULES_MAX)
		bad(text);
	if (rest.n && !str_eq(rest, role))
		return;
	rules[rule_count++] = rule;
}

void file_faults_init(const char *role)
{
	struct str rest = str_of(getenv("PABAL_FAULT"));

	snprintf(role_name, sizeof(role_name), "%s", role);
	rule_count = 0;
	crash_rule[0] = 0;
	op_count = 0;
	if (trace_fd >= 0)
		close(trace_fd);
	trace_fd = -1;
	while (rest.p) {
		struct str text = str_cut(&rest, ',');
		if (text.n)
			add_rule(text, str_of(role));
	}
	while_path = getenv("PABAL_FAULT_WHILE");
	/* A role that comes back after it was killed shall live. */
	const char *once = getenv("PABAL_FAULT_ONCE");
	if (rule_count && once && unlink(once) < 0)
		rule_count = 0;
}

uint64_t file_faults_counted(void)
{
	return op_count;
}

static bool applies(struct rule *r, enum file_op op)
{
	/* Opening for reading changes nothing: only a rule for it, or one about descriptors. */
	if (r->op >= 0 ? r->op != (int)op : !ops[op].changes && r->effect != EFFECT_EMFILE)
		return false;
	uint64_t nth = atomic_fetch_add(&r->counted, 1) + 1;
	return r->onwards ? nth >= r->from : nth == r->from;
}

static void trace(uint64_t nth, enum file_op op)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %llu %s\n", role_name, (unsigned long long)nth,
			 ops[op].name);

	if (write(trace_fd, line, (size_t)n) < 0)
		trace_fd = -1;
}

bool file_fault(enum file_op op)
{
	static const int errors[EFFECT_COUNT] = {
		[EFFECT_ENOSPC] = ENOSPC, [EFFECT_EIO] = EIO, [EFFECT_EMFILE] = EMFILE,
	};

	if (ops[op].changes) {
		uint64_t nth = atomic_fetch_add(&op_count, 1) + 1;
		if (trace_fd >= 0)
			trace(nth, op);
	}
	if (rule_count && while_path && access(while_path, F_OK) < 0)
		return false;
	for (size_t i = 0; i < rule_count; i++) {
		if (!applies(&rules[i], op))
			continue;
		if (rules[i].effect == EFFECT_KILL)
			kill(getpid(), SIGKILL);
		errno = errors[rules[i].effect];
		return true;
	}
	return false;
}

void fault_crash(const char *point, struct str text)
{
	struct str what = str_of(crash_rule), where = str_cut(&what, '=');

	if (!where.n || !str_eq(where, str_of(point)) || str_find(text, what) == STR_NPOS)
		return;
	if (!while_path || access(while_path, F_OK) == 0)
		abort();
}

#else

void file_faults_init(const char *role)
{
	(void)role;
}

uint64_t file_faults_counted(void)
{
	return 0;
}

#endif
