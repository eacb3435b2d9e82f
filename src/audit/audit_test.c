/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The chain over crash, rotation and foreign hands; and what of an administrator's request is recorded. */
#include "audit/act.h"
#include "audit/audit.h"
#include "base/file.h"
#include "base/log_line.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define NAME "audit.log"
#define TIME "2026-11-24T10:00:00.00000"
static int dir;
static char path[64];

static int setup(void **state)
{
	strcpy(path, "/tmp/pabal-audit-XXXXXX");
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY);
	return dir < 0;
}

static int teardown(void **state)
{
	char command[128];
	close(dir);
	snprintf(command, sizeof command, "rm -rf %s", path);
	return system(command);
}

static void write_lines(int from, int to)
{
	struct audit_log *a;
	struct err err = {0};
	assert_true(audit_open(dir, NAME, STR("log-0"), &a, &err));
	for (int i = from; i <= to; i++) {
		char line[64];
		snprintf(line, sizeof line, TIME "%dZ audit x.y count=%d", i, i);
		audit_add(a, str_of(line));
		assert_true(audit_commit(a, &err));
	}
	audit_close(a);
}

static void read_file(const char *name, struct buf *out)
{
	struct err err = {0};
	assert_true(file_read_whole(dir, name, 1 << 20, out, &err));
}

static void write_file(const char *name, struct str content)
{
	struct err err = {0};
	assert_true(file_replace_whole(dir, name, content, 0640, &err));
}

struct faults {
	int n;
	enum audit_fault fault[8];
	uint64_t number[8], last[8];
};

static void on_fault(void *ctx, enum audit_fault fault, uint64_t number, uint64_t last)
{
	struct faults *f = ctx;
	assert_true(f->n < 8);
	f->fault[f->n] = fault;
	f->number[f->n] = number;
	f->last[f->n++] = last;
}

static struct faults check_files(const char *const *names, size_t n, struct audit_check *c)
{
	struct faults f = {0};
	BUF_SCOPED head = {0};
	*c = (struct audit_check){.fault = on_fault, .ctx = &f};
	for (size_t i = 0; i < n; i++) {
		BUF_SCOPED all = {0};
		read_file(names[i], &all);
		for (struct str rest = str_trim(buf_str(&all)); rest.n;)
			audit_check_line(c, str_cut(&rest, '\n'));
	}
	read_file(NAME ".head", &head);
	(void)audit_check_head(c, buf_str(&head));
	return f;
}

static struct faults check_one(struct audit_check *c)
{
	return check_files((const char *const[]){NAME}, 1, c);
}

static void test_good(void **state)
{
	struct audit_check c;
	write_lines(1, 5);
	write_lines(6, 7);
	assert_int_equal(0, check_one(&c).n);
	assert_int_equal(7, c.lines);
	assert_int_equal(1, c.first);
	assert_int_equal(7, c.last);
}

/* Each line of nine: changed, removed, written twice. */
static void test_foreign_hands(void **state)
{
	BUF_SCOPED good = {0};
	write_lines(1, 9);
	read_file(NAME, &good);
	for (int line = 1; line <= 9; line++) {
		for (int kind = 0; kind < 3; kind++) {
			BUF_SCOPED bad = {0};
			struct audit_check c;
			struct str rest = str_trim(buf_str(&good));
			for (int i = 1; rest.n; i++) {
				struct str l = str_cut(&rest, '\n');
				size_t at = bad.n;
				if (i == line && kind == 1)
					continue;
				buf_fmt(&bad, "%.*s\n", STR_ARG(l));
				if (i == line && kind == 0)
					bad.p[at + 70] ^= 1;
				if (i == line && kind == 2)
					buf_fmt(&bad, "%.*s\n", STR_ARG(l));
			}
			write_file(NAME, buf_str(&bad));
			struct faults f = check_one(&c);
			if (kind == 1 && line == 1) { /* as after an old file was removed: not to be known */
				assert_int_equal(2, c.first);
				continue;
			}
			if (f.n != 1 || f.number[0] != (uint64_t)line ||
			    f.fault[0] != (kind == 1 ? AUDIT_MISSING : AUDIT_CHANGED))
				fail_msg("line %d kind %d: %d faults, %d at %d", line, kind, f.n,
					 (int)f.fault[0], (int)f.number[0]);
		}
	}
}

/* The end cut off: the head knows better, and the writer leaves the gap to be seen. */
static void test_cut(void **state)
{
	BUF_SCOPED all = {0};
	struct audit_check c;
	write_lines(1, 5);
	read_file(NAME, &all);
	struct str text = buf_str(&all);
	for (int i = 0; i < 3; i++)
		text = str_sub(text, 0, str_find_last_byte(str_sub(text, 0, text.n - 1), '\n') + 1);
	write_file(NAME, text);
	struct faults f = check_one(&c);
	assert_int_equal(1, f.n);
	assert_int_equal(AUDIT_MISSING, f.fault[0]);
	assert_true(f.number[0] == 3 && f.last[0] == 5);
	write_lines(6, 6);
	f = check_one(&c);
	assert_int_equal(1, f.n);
	assert_true(f.fault[0] == AUDIT_MISSING && f.number[0] == 3 && f.last[0] == 5);
}

/* A crash at each octet of the last line: what was synced stays, the rest is cut off and told. */
static void test_torn(void **state)
{
	BUF_SCOPED all = {0};
	BUF_SCOPED head = {0};
	write_lines(1, 2);
	read_file(NAME ".head", &head);
	write_lines(3, 3);
	read_file(NAME, &all);
	struct str text = buf_str(&all);
	size_t whole = str_find_last_byte(str_sub(text, 0, text.n - 1), '\n') + 1;
	for (size_t n = whole; n <= text.n; n++) {
		struct audit_check c;
		BUF_SCOPED now = {0};
		write_file(NAME, str_sub(text, 0, n));
		write_file(NAME ".head", buf_str(&head));
		write_lines(4, 4);
		struct faults f = check_one(&c);
		if (f.n || c.lines != (n == whole ? 3 : 4))
			fail_msg("at %zu: %d faults, %d lines", n, f.n, (int)c.lines);
		read_file(NAME, &now);
		bool torn = n > whole && n < text.n;
		assert_int_equal(torn, str_find(buf_str(&now), STR(" audit audit.torn ")) != STR_NPOS);
	}
}

static void test_rotation(void **state)
{
	static const char *const names[] = {NAME ".1", NAME};
	struct audit_log *a;
	struct audit_check c;
	struct err err = {0};
	assert_true(audit_open(dir, NAME, STR("log-0"), &a, &err));
	audit_add(a, STR(TIME "1Z audit a b=1"));
	assert_true(audit_commit(a, &err));
	assert_int_equal(0, renameat(dir, NAME, dir, NAME ".1"));
	audit_add(a, STR(TIME "2Z audit a b=1"));
	assert_true(audit_reopen(a, &err)); /* what was added goes to the old file */
	audit_add(a, STR(TIME "3Z audit a b=1"));
	assert_true(audit_commit(a, &err));
	assert_int_equal(3, audit_count(a));
	struct audit_log *second;
	assert_false(audit_open(dir, NAME, STR("log-0"), &second, &err));
	assert_int_equal(ERR_CONFLICT, err.kind);
	audit_close(a);
	assert_int_equal(0, check_files(names, 2, &c).n);
	assert_int_equal(3, c.lines);
	/* killed between rename and the new file's first line */
	assert_int_equal(0, renameat(dir, NAME, dir, NAME ".2"));
	write_lines(4, 4);
	assert_int_equal(0, check_files((const char *const[]){NAME ".1", NAME ".2", NAME}, 3, &c).n);
	assert_int_equal(4, c.last);
}

/* The log role crashed between writing and taking the line from its ring: it comes again. */
static void test_again(void **state)
{
	struct audit_check c;
	write_lines(1, 3);
	write_lines(2, 4);
	assert_int_equal(0, check_one(&c).n);
	assert_int_equal(4, c.lines);
}

static void test_acts(void **state)
{
	static const struct {
		const char *request, *verb, *details;
	} cases[] = {
		{"{\"verb\":\"account.list\"}", NULL, NULL},
		{"{\"verb\":\"lookup\",\"key\":\"a\"}", NULL, NULL},
		{"{\"verb\":\"queue.hold\",\"count_only\":true,\"all\":true}", NULL, NULL},
		{"nonsense", NULL, NULL},
		{"{\"verb\":\"account.set\",\"address\":\"a@b\",\"enabled\":false,\"quota\":null,\"n\":"
		 "5}",
		 "account.set", "address=a@b, enabled=no, quota=none, n=5"},
		{"{\"verb\":\"account.add\",\"address\":\"a@b\",\"password\":\"$6$x\",\"scram_sha1\":"
		 "\"y\"}",
		 "account.add", "address=a@b, password=(set), scram_sha1=(set)"},
		{"{\"verb\":\"alias.set\",\"source\":\"a@b\",\"destinations\":[\"c@d\",\"e@f\"]}",
		 "alias.set", "source=a@b, destinations=c@d e@f"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED line = {0};
		struct audit_act act;
		struct log_line l;
		bool got = audit_act_read(a, str_of(cases[i].request), &act);
		assert_int_equal(got, cases[i].verb != NULL);
		if (!got)
			continue;
		assert_true(str_eq(act.verb, str_of(cases[i].verb)));
		if (!str_eq(act.details, str_of(cases[i].details)))
			fail_msg("%.*s", STR_ARG(act.details));
		audit_act_line(&line, &act, STR("cli"), 7, 8);
		assert_true(log_line_read(buf_str(&line), &l));
		assert_true(str_eq(l.level, STR("audit")) && str_eq(l.event, STR("admin.act")));
		assert_true(str_eq(log_line_find(&l, STR("value")).raw, act.details));
	}
}

int main(void)
{
#define EACH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		EACH(test_good),
		EACH(test_foreign_hands),
		EACH(test_cut),
		EACH(test_torn),
		EACH(test_rotation),
		EACH(test_again),
		cmocka_unit_test(test_acts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
