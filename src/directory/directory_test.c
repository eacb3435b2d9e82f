/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/control.h"
#include "directory/directory_int.h"
#include "directory/domain.h"
#include "directory/facts.h"
#include "base/clock.h"
#include "config/config.h"
#include "sql/mariadb_testing.h"

/* Every test runs on both engines: the second time with this server. */
static struct mariadb server;
static unsigned databases;

struct world {
	struct config *config;
	struct directory *d;
	struct arena *a;
};

static const char settings[] =
	"hostname = mail.example.com\ndirectory { alias_limit = 10 restore_time = 30d }\n"
	"store { quota = 1G }\n";

static struct config *make_config(const char *text)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	struct config *c = NULL;
	if (!config_parse("/x/y.conf", str_of(text), &problems, &c, &err))
		fail_msg("%.*s", (int)problems.n, problems.p);
	return c;
}

static void must(bool ok, const struct err *err, const char *what)
{
	if (!ok)
		fail_msg("%s: %s (%s)", what, err->text, err->cause);
}

static void add_account(struct directory *d, const char *address)
{
	struct account v;
	struct err err = {0};
	account_init(&v);
	v.address = str_of(address);
	v.password = STR("$6$x$y");
	must(account_add(d, &v, &err), &err, address);
}

static void add_alias(struct directory *d, const char *source, const char *destination)
{
	struct err err = {0};
	struct str to = str_of(destination);
	must(alias_add(d, str_of(source), &to, 1, &err), &err, source);
}

static struct config *server_config(const char *more)
{
	char text[600];
	snprintf(text, sizeof text,
		 "hostname = mail.example.com\nstore { quota = 1G }\ndirectory { alias_limit = 10 "
		 "restore_time = 30d "
		 "backend = mariadb socket = \"%s\" user = root database = t%u %s }\n",
		 server.socket, databases, more);
	return make_config(text);
}

static void new_database(void)
{
	char sql[80];
	struct err err = {0};
	struct sql_db *db = mariadb_connect(&server, NULL);
	snprintf(sql, sizeof sql, "CREATE DATABASE t%u", ++databases);
	must(sql_exec(db, sql, &err), &err, sql);
	sql_close(db);
}

static void open_world(struct world *w)
{
	struct err err = {0};
	if (server.pid) {
		new_database();
		w->config = server_config("cache_time = 1s");
		must(directory_open(w->config, &w->d, &err), &err, "open");
	} else {
		w->config = make_config(settings);
		must(directory_open_memory(w->config, &w->d, &err), &err, "open");
	}
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct err err = {0};
	w->a = arena_new();
	open_world(w);
	must(domain_add(w->d, STR("Example.COM"), STR("ours"), &err), &err, "domain");
	must(domain_add(w->d, STR("example.org"), STR(""), &err), &err, "domain");
	must(domain_add(w->d, STR("한국.kr"), STR(""), &err), &err, "domain");
	add_account(w->d, "Test1@example.com");
	add_account(w->d, "test2@example.com");
	add_account(w->d, "test1@example.org");
	add_account(w->d, "user@한국.kr");
	add_alias(w->d, "testfc@example.com", "test2@example.com");
	add_alias(w->d, "Dangling@example.com", "nobody@example.com");
	add_alias(w->d, "team@example.com", "test1@example.com");
	add_alias(w->d, "team@example.com", "test2@example.com");
	add_alias(w->d, "team@example.com", "team2@example.com");
	add_alias(w->d, "team2@example.com", "test1@example.com");
	add_alias(w->d, "team2@example.com", "team@example.com");
	add_alias(w->d, "away@example.com", "Someone@Elsewhere.example");
	add_alias(w->d, "ring1@example.com", "ring2@example.com");
	add_alias(w->d, "ring2@example.com", "ring1@example.com");
	add_alias(w->d, "test2@example.com", "test2@example.com");
	add_alias(w->d, "test2@example.com", "copy@elsewhere.example");
	add_alias(w->d, "@example.org", "test1@example.org");
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	directory_close(w->d);
	config_unref(w->config);
	arena_free(w->a);
	free(w);
	return 0;
}

/* "LOCAL a@b+detail, REMOTE c@d" */
static struct str describe(struct arena *a, const struct directory_resolution *r)
{
	static const char *const kinds[] = {"LOCAL", "REMOTE", "UNKNOWN", "DISABLED"};
	struct str s = arena_fmt(a, "%s:", kinds[r->kind]);
	for (size_t i = 0; i < r->n; i++) {
		s = arena_fmt(a, "%.*s %s=%.*s", STR_ARG(s), kinds[r->v[i].kind], STR_ARG(r->v[i].address));
		if (r->v[i].detail.n)
			s = arena_fmt(a, "%.*s[%.*s]", STR_ARG(s), STR_ARG(r->v[i].detail));
	}
	return s;
}

static void test_resolve(void **state)
{
	struct world *w = *state;
	static const struct { const char *address, *want;
	} cases[] = {
		{"test1@example.com", "LOCAL: LOCAL=test1@example.com"},
		{"TEST1@EXAMPLE.com", "LOCAL: LOCAL=test1@example.com"},
		{"test1+Box@example.com", "LOCAL: LOCAL=test1@example.com[box]"},
		{"user@xn--3e0b707e.kr", "LOCAL: LOCAL=user@xn--3e0b707e.kr"},
		{"user@한국.kr", "LOCAL: LOCAL=user@xn--3e0b707e.kr"},
		{"testfc@example.com", "LOCAL: LOCAL=test2@example.com REMOTE=copy@elsewhere.example"},
		{"dangling@example.com", "UNKNOWN: UNKNOWN=nobody@example.com"},
		{"nobody@example.com", "UNKNOWN: UNKNOWN=nobody@example.com"},
		{"nobody+x@example.com", "UNKNOWN: UNKNOWN=nobody+x@example.com"},
		{"team@example.com",
		 "LOCAL: LOCAL=test1@example.com LOCAL=test2@example.com REMOTE=copy@elsewhere.example"},
		{"team+x@example.com", "LOCAL: LOCAL=test1@example.com[x] LOCAL=test2@example.com[x] "
				       "REMOTE=copy@elsewhere.example"},
		{"away@example.com", "REMOTE: REMOTE=Someone@elsewhere.example"},
		{"ring1@example.com", "UNKNOWN: UNKNOWN=ring1@example.com"},
		{"anything@example.org", "LOCAL: LOCAL=test1@example.org"},
		{"Foo@Bar.example", "REMOTE: REMOTE=Foo@bar.example"},
		{"x@[192.0.2.1]", "REMOTE: REMOTE=x@[192.0.2.1]"},
		{"test1@localhost", "LOCAL: LOCAL=test1@example.com"},
		{"test1@mail.example.com", "LOCAL: LOCAL=test1@example.com"},
		{"nobody@localhost.example.com", "UNKNOWN: UNKNOWN=nobody@example.com"},
		{"test1", "LOCAL: LOCAL=test1@example.com"},
		{"postmaster", "LOCAL: LOCAL=test1@example.com"},
		{"Postmaster@example.com", "LOCAL: LOCAL=test1@example.com"},
		{"postmaster@example.org", "LOCAL: LOCAL=test1@example.org"},
		{"postmaster@xn--3e0b707e.kr", "LOCAL: LOCAL=user@xn--3e0b707e.kr"},
		{"postmaster@foreign.example", "REMOTE: REMOTE=postmaster@foreign.example"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct directory_resolution r;
		struct err err = {0};
		must(directory_resolve(w->d, str_of(cases[i].address), w->a, &r, &err), &err,
		     cases[i].address);
		struct str got = describe(w->a, &r);
		if (!str_eq(got, str_of(cases[i].want)))
			fail_msg("%s: %.*s", cases[i].address, STR_ARG(got));
	}
	struct directory_resolution r;
	struct err err = {0};
	assert_false(directory_resolve(w->d, STR("a@b@c"), w->a, &r, &err));
	assert_int_equal(ERR_SYNTAX, err.kind);
	assert_false(directory_resolve(w->d, STR(""), w->a, &r, &err));
}

static void test_resolve_limit(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct directory_resolution r;
	char to[64];
	for (int i = 0; i < 10; i++) {
		snprintf(to, sizeof to, "r%d@elsewhere.example", i);
		add_alias(w->d, "big@example.com", to);
	}
	must(directory_resolve(w->d, STR("big@example.com"), w->a, &r, &err), &err, "ten");
	assert_int_equal(10, r.n);
	add_alias(w->d, "big@example.com", "r10@elsewhere.example");
	assert_false(directory_resolve(w->d, STR("big@example.com"), w->a, &r, &err));
	assert_int_equal(ERR_LIMIT, err.kind);
}

static void test_disabled(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct directory_resolution r;
	struct account off = {.enabled = false};
	must(account_set(w->d, STR("TEST1@example.com"), ACCOUNT_SET_ENABLED, &off, &err), &err, "set");
	must(directory_resolve(w->d, STR("test1@example.com"), w->a, &r, &err), &err, "resolve");
	assert_int_equal(DIRECTORY_DISABLED, r.kind);
	must(directory_resolve(w->d, STR("postmaster"), w->a, &r, &err), &err, "resolve");
	assert_true(str_eq(describe(w->a, &r),
			   STR("LOCAL: LOCAL=test2@example.com REMOTE=copy@elsewhere.example")));
	struct domain d = {.enabled = false};
	must(domain_set(w->d, STR("example.org"), DOMAIN_ENABLED, &d, &err), &err, "set");
	must(directory_resolve(w->d, STR("test1@example.org"), w->a, &r, &err), &err, "resolve");
	assert_int_equal(DIRECTORY_DISABLED, r.kind);
}

static void test_postmaster(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct directory_resolution r;
	struct account admin = {.role = ACCOUNT_ROLE_ADMIN};
	must(account_set(w->d, STR("test1@example.org"), ACCOUNT_SET_ROLE, &admin, &err), &err, "set");
	must(directory_resolve(w->d, STR("postmaster@example.com"), w->a, &r, &err), &err, "resolve");
	assert_true(str_eq(describe(w->a, &r), STR("LOCAL: LOCAL=test1@example.org")));
	CONFIG_SCOPED c = make_config("hostname = mail.example.com postmaster = \"user@한국.kr\"");
	directory_reconfigure(w->d, c);
	must(directory_resolve(w->d, STR("postmaster@example.com"), w->a, &r, &err), &err, "resolve");
	assert_true(str_eq(describe(w->a, &r), STR("LOCAL: LOCAL=user@xn--3e0b707e.kr")));
	add_account(w->d, "postmaster@example.com");
	must(directory_resolve(w->d, STR("POSTMASTER"), w->a, &r, &err), &err, "resolve");
	assert_true(str_eq(describe(w->a, &r), STR("LOCAL: LOCAL=postmaster@example.com")));
}

static void test_may_send_as(void **state)
{
	struct world *w = *state;
	add_alias(w->d, "t1@example.com", "test1@example.com");
	static const struct { const char *account, *sender; bool want; } cases[] = {
		{"test1@example.com", "test1@example.com", true},
		{"test1@example.com", "Test1@EXAMPLE.com", true},
		{"test1@example.com", "test1+news@example.com", true},
		{"test1@example.com", "t1@example.com", true},
		{"test1@example.com", "team@example.com", false}, /* several */
		{"test1@example.com", "test2@example.com", false},
		{"test2@example.com", "test2@example.com", true}, /* though an alias copies */
		{"test1@example.com", "away@example.com", false},
		{"test1@example.com", "nobody@example.com", false},
		{"test1@example.com", "test1@elsewhere.example", false},
		{"test1@example.com", "test1@example.org", false},
		{"test1@example.com", "postmaster@example.com", false},
		{"test1@example.org", "whatever@example.org", true}, /* its catch-all */
		{"gone@example.com", "gone@example.com", false},
		{"test1@example.com", "", false},
		{"test1@example.com", "not an address", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool may = !cases[i].want;
		struct err err = {0};
		must(directory_may_send_as(w->d, str_of(cases[i].account), str_of(cases[i].sender), &may,
					   &err),
		     &err, cases[i].sender);
		if (may != cases[i].want)
			fail_msg("%s as %s", cases[i].account, cases[i].sender);
	}
}

static void test_refused(void **state)
{
	struct world *w = *state;
	static const struct { const char *address; enum err_kind want;
	} cases[] = {
		{"test1@example.com", ERR_EXISTS},    {"TEST1@Example.com", ERR_EXISTS},
		{"a@nowhere.example", ERR_NOT_FOUND}, {"a/b@example.com", ERR_SYNTAX},
		{"\"a b\"@example.com", ERR_SYNTAX},  {"..@example.com", ERR_SYNTAX},
		{".a@example.com", ERR_SYNTAX},       {"example.com", ERR_SYNTAX},
		{"a@[192.0.2.1]", ERR_NOT_FOUND},     {"\"..\"@example.com", ERR_SYNTAX},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct account v;
		struct err err = {0};
		account_init(&v);
		v.address = str_of(cases[i].address);
		if (account_add(w->d, &v, &err) || err.kind != cases[i].want)
			fail_msg("%s: %d %s", cases[i].address, err.kind, err.text);
	}
	struct err err = {0};
	assert_false(domain_add(w->d, STR("EXAMPLE.com"), STR(""), &err));
	assert_int_equal(ERR_EXISTS, err.kind);
	assert_false(domain_add(w->d, STR("a..b"), STR(""), &err));
	assert_int_equal(ERR_SYNTAX, err.kind);
	assert_false(domain_remove(w->d, STR("nowhere.example"), &err));
	assert_int_equal(ERR_NOT_FOUND, err.kind);
	struct account bad = {.language = STR("fr")};
	assert_false(account_set(w->d, STR("test1@example.com"), ACCOUNT_SET_LANGUAGE, &bad, &err));
	struct str to = STR("x@y.example");
	assert_false(alias_add(w->d, STR("a@nowhere.example"), &to, 1, &err));
	assert_int_equal(ERR_NOT_FOUND, err.kind);
	assert_false(alias_remove(w->d, STR("none@example.com"), NULL, 0, &err));
	assert_int_equal(ERR_NOT_FOUND, err.kind);
}

static void test_long_values(void **state)
{
	struct world *w = *state;
	struct account v, back;
	struct err err = {0};
	account_init(&v);
	/* R20: a 100-character address and a 300-character hash. */
	struct str address = arena_fmt(w->a, "%064d@%023d.%s", 1, 2, "example.com");
	struct str domain = str_from(address, 65), hash = arena_fmt(w->a, "$6$%0297d", 3);
	assert_int_equal(100, address.n);
	assert_int_equal(300, hash.n);
	must(domain_add(w->d, domain, STR(""), &err), &err, "domain");
	v.address = address;
	v.password = hash;
	must(account_add(w->d, &v, &err), &err, "account");
	must(account_find(w->d, address, w->a, &back, &err), &err, "find");
	assert_true(str_eq(address, back.address) && str_eq(hash, back.password));
}

static void test_account_fields(void **state)
{
	struct world *w = *state;
	struct account v = {.password = STR("h"),
			    .scram_sha1 = STR("s1"),
			    .scram_sha256 = STR("s2"),
			    .quota_bytes = 5,
			    .quota_messages = 7,
			    .role = ACCOUNT_ROLE_ADMIN,
			    .language = STR("en"),
			    .display_name = STR("홍길동"),
			    .protocols = ACCOUNT_IMAP,
			    .intranet_only = true,
			    .enabled = true},
		       back;
	struct err err = {0};
	int64_t bytes, messages;
	must(account_find(w->d, STR("test1@example.com"), w->a, &back, &err), &err, "find");
	account_effective_quota(w->config, &back, &bytes, &messages);
	assert_int_equal(1 << 30, bytes);
	assert_int_equal(0, messages);
	int64_t id = back.id;
	must(account_set(w->d, STR("test1@example.com"), ~0u, &v, &err), &err, "set");
	must(account_find_id(w->d, id, w->a, &back, &err), &err, "find");
	assert_true(str_eq(back.scram_sha256, STR("s2")) && str_eq(back.display_name, STR("홍길동")));
	assert_true(back.intranet_only && back.protocols == ACCOUNT_IMAP && back.role == ACCOUNT_ROLE_ADMIN);
	account_effective_quota(w->config, &back, &bytes, &messages);
	assert_int_equal(5, bytes);
	assert_int_equal(7, messages);
	must(account_find(w->d, STR("what is this"), w->a, &back, &err), &err, "find");
	assert_int_equal(0, back.id);
}

/* R21: unless the password was changed meanwhile. */
static void test_rehash(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct account v = {.password = STR("$y$new"), .scram_sha256 = STR("{SCRAM-SHA-256}x")}, got;
	must(account_find(w->d, STR("test1@example.com"), w->a, &got, &err), &err, "find");
	int64_t changed = got.password_changed_unix;
	must(account_rehash(w->d, STR("test1@example.com"), STR("other"), &v, &err), &err, "rehash");
	must(account_find(w->d, STR("test1@example.com"), w->a, &got, &err), &err, "find");
	assert_str("kept", got.password, STR("$6$x$y"));
	must(account_rehash(w->d, STR("test1@example.com"), STR("$6$x$y"), &v, &err), &err, "rehash");
	must(account_find(w->d, STR("test1@example.com"), w->a, &got, &err), &err, "find");
	assert_str("new", got.password, STR("$y$new"));
	assert_str("verifier", got.scram_sha256, STR("{SCRAM-SHA-256}x"));
	assert_true(got.password_changed_unix == changed);
	assert_false(account_rehash(w->d, STR("nobody@example.com"), STR(""), &v, &err));
}

static void test_remove_restore(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct account v;
	struct alias al;
	struct domain_list removed;
	must(account_remove(w->d, STR("test2@example.com"), &err), &err, "remove");
	must(domain_remove(w->d, STR("example.com"), &err), &err, "remove");
	must(account_find(w->d, STR("test1@example.com"), w->a, &v, &err), &err, "find");
	assert_int_equal(0, v.id);
	must(alias_find(w->d, STR("team@example.com"), w->a, &al, &err), &err, "find");
	assert_int_equal(0, al.n);
	must(domain_list_removed(w->d, w->a, &removed, &err), &err, "list");
	assert_int_equal(1, removed.n);
	assert_int_equal(1, removed.v[0].accounts);
	/* The name is free meanwhile; then the old one cannot come back. */
	must(domain_add(w->d, STR("example.com"), STR("new"), &err), &err, "add");
	assert_false(domain_restore(w->d, STR("example.com"), &err));
	assert_int_equal(ERR_EXISTS, err.kind);
	clock_test_shift(1000000);
	must(domain_remove(w->d, STR("example.com"), &err), &err, "remove");
	must(domain_restore(w->d, STR("example.com"), &err), &err, "restore"); /* the newest */
	must(account_find(w->d, STR("test1@example.com"), w->a, &v, &err), &err, "find");
	assert_int_equal(0, v.id);
	must(domain_remove(w->d, STR("example.com"), &err), &err, "remove");
	clock_test_shift(-1000000);
}

static void test_restore_whole(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct account v, before;
	struct alias al;
	must(account_find(w->d, STR("test1@example.com"), w->a, &before, &err), &err, "find");
	must(account_remove(w->d, STR("test2@example.com"), &err), &err, "remove");
	must(domain_remove(w->d, STR("example.com"), &err), &err, "remove");
	must(domain_restore(w->d, STR("example.com"), &err), &err, "restore");
	must(account_find(w->d, STR("test1@example.com"), w->a, &v, &err), &err, "find");
	assert_int_equal(before.id, v.id);
	must(alias_find(w->d, STR("team@example.com"), w->a, &al, &err), &err, "find");
	assert_int_equal(3, al.n);
	must(account_find(w->d, STR("test2@example.com"), w->a, &v, &err), &err, "find");
	assert_int_equal(0, v.id); /* it went before, by itself */
	must(account_restore(w->d, STR("test2@example.com"), &err), &err, "restore");
	must(account_find(w->d, STR("test2@example.com"), w->a, &v, &err), &err, "find");
	assert_int_not_equal(0, v.id);
}

static void test_restore_ends(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	int64_t month = 31LL * 24 * 3600 * 1000000;
	must(domain_remove(w->d, STR("example.com"), &err), &err, "remove");
	clock_test_shift(month);
	must(domain_remove(w->d, STR("example.org"), &err), &err, "remove");
	clock_test_shift(-month);
	assert_false(domain_restore(w->d, STR("example.com"), &err));
	assert_int_equal(ERR_NOT_FOUND, err.kind);
	must(domain_restore(w->d, STR("example.org"), &err), &err, "restore");
}

static void test_changes(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	int64_t a, b, c;
	must(directory_changes(w->d, &a, &err), &err, "changes");
	must(directory_changes(w->d, &b, &err), &err, "changes");
	assert_int_equal(a, b);
	must(domain_add(w->d, STR("new.example"), STR(""), &err), &err, "add");
	assert_false(domain_add(w->d, STR("new.example"), STR(""), &err));
	must(directory_changes(w->d, &c, &err), &err, "changes");
	assert_int_equal(a + 1, c);
}

static void test_alias_edit(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct alias al;
	struct alias_list list;
	struct str to[] = {STR("b@x.example"), STR("A@X.example"), STR("b@X.EXAMPLE")};
	must(alias_set(w->d, STR("team@example.com"), to, 3, &err), &err, "set");
	must(alias_find(w->d, STR("TEAM@example.com"), w->a, &al, &err), &err, "find");
	assert_int_equal(2, al.n);
	assert_true(str_eq(al.destinations[1], STR("A@x.example")));
	must(alias_remove(w->d, STR("team@example.com"), to, 1, &err), &err, "remove");
	must(alias_find(w->d, STR("team@example.com"), w->a, &al, &err), &err, "find");
	assert_int_equal(1, al.n);
	must(alias_list(w->d, STR("example.org"), w->a, &list, &err), &err, "list");
	assert_int_equal(1, list.n);
	assert_true(str_eq(list.v[0].source, STR("@example.org")));
	must(alias_list(w->d, STR(""), w->a, &list, &err), &err, "list");
	assert_true(list.n > 5);
}

static void test_queries(void **state)
{
	struct world *w = *state;
	LOCK_SCOPED(&w->d->lock);
	for (int q = 0; q < QUERY_COUNT; q++) {
		struct sql_stmt *st;
		struct err err = {0};
		must(directory_query(w->d, (enum query)q, &st, &err), &err, "query");
	}
}

static void test_control(void **state)
{
	struct world *w = *state;
	static const struct { const char *request, *want; bool changed;
	} cases[] = {
		{"{\"verb\":\"lookup\",\"map\":\"domain\",\"key\":\"EXAMPLE.com\"}",
		 "{\"ok\":true,\"found\":true,\"value\":\"1\"}", false},
		{"{\"verb\":\"lookup\",\"map\":\"domain\",\"key\":\"none.example\"}",
		 "{\"ok\":true,\"found\":false,\"value\":\"\"}", false},
		{"{\"verb\":\"lookup\",\"map\":\"account\",\"key\":\"test1@example.com\"}",
		 "{\"ok\":true,\"found\":true,\"value\":\"1\"}", false},
		{"{\"verb\":\"lookup\",\"map\":\"alias\",\"key\":\"testfc@example.com\"}",
		 "{\"ok\":true,\"found\":true,\"value\":\"test2@example.com\"}", false},
		{"{\"verb\":\"lookup\",\"map\":\"alias\",\"key\":\"team@example.com\"}",
		 "{\"ok\":true,\"found\":true,\"value\":\"test1@example.com,test2@example.com,team2@"
		 "example.com\"}",
		 false},
		{"{\"verb\":\"lookup\",\"map\":\"x\",\"key\":\"y\"}",
		 "{\"ok\":false,\"kind\":\"syntax\",\"text\":\"the map must be domain, account or "
		 "alias\"}",
		 false},
		{"{\"verb\":\"domain.add\",\"name\":\"c.example\"}", "{\"ok\":true}", true},
		{"{\"verb\":\"account.add\",\"address\":\"n@c.example\",\"password\":\"$6$a$b\",\"role\":"
		 "\"admin\"}",
		 "{\"ok\":true}", true},
		{"{\"verb\":\"account.set\",\"address\":\"n@c.example\",\"role\":\"boss\"}",
		 "{\"ok\":false,\"kind\":\"syntax\",\"text\":\"the role must be user or admin\"}", false},
		{"{\"verb\":\"account.set\",\"address\":\"n@c.example\",\"protocols\":[\"imap\"]}",
		 "{\"ok\":true}", true},
		{"{\"verb\":\"alias.show\",\"source\":\"dangling@example.com\"}",
		 "{\"ok\":true,\"alias\":{\"source\":\"dangling@example.com\",\"destinations\":[\"nobody@"
		 "example.com\"],"
		 "\"dangling\":[\"nobody@example.com\"]}}",
		 false},
		{"{\"verb\":\"resolve\",\"address\":\"test1+a@example.com\"}",
		 "{\"ok\":true,\"kind\":\"local\",\"by_alias\":false,\"recipients\":[{\"kind\":\"local\","
		 "\"address\":\"test1@example.com\",\"detail\":\"a\"}]}",
		 false},
		{"{\"verb\":\"domain.remove\",\"name\":\"c.example\"}", "{\"ok\":true}", true},
		{"{\"verb\":\"domain.restore\",\"name\":\"c.example\"}", "{\"ok\":true}", true},
		{"{\"verb\":\"nonsense\"}",
		 "{\"ok\":false,\"kind\":\"not_found\",\"text\":\"unknown verb\"}", false},
		{"{}", "{\"ok\":false,\"kind\":\"syntax\",\"text\":\"\\\"verb\\\" is missing\"}", false},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED reply = {0};
		bool changed = directory_control(w->d, str_of(cases[i].request), &reply);
		if (!str_eq(buf_str(&reply), str_of(cases[i].want)) || changed != cases[i].changed)
			fail_msg("%s\n%.*s", cases[i].request, STR_ARG(buf_str(&reply)));
	}
	BUF_SCOPED reply = {0};
	directory_control(w->d, STR("{\"verb\":\"account.show\",\"address\":\"n@c.example\"}"), &reply);
	assert_true(str_find(buf_str(&reply), STR("\"protocols\":[\"imap\"]")) != STR_NPOS);
	assert_true(str_find(buf_str(&reply), STR("$6$")) == STR_NPOS);
	buf_clear(&reply);
	directory_control(w->d, STR("not json"), &reply);
	assert_true(str_starts(buf_str(&reply), STR("{\"ok\":false,\"kind\":\"syntax\"")));
	assert_true(directory_control_knows(STR("account.add")));
	assert_false(directory_control_knows(STR("serve")));
}

/* On disk: it survives, and a newer schema is left alone. */
static void test_file(void **state)
{
	char dir[] = "/tmp/pabal-directory-XXXXXX", text[256], command[96], path[96];
	struct err err = {0};
	struct directory *d = NULL;
	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof text, "data_dir = \"%s\"", dir);
	CONFIG_SCOPED c = make_config(text);
	must(directory_open(c, &d, &err), &err, "open");
	must(domain_add(d, STR("a.example"), STR(""), &err), &err, "add");
	directory_close(d);
	must(directory_open(c, &d, &err), &err, "open");
	assert_false(domain_add(d, STR("a.example"), STR(""), &err));
	directory_close(d);
	snprintf(path, sizeof path, "%s/directory/directory.db", dir);
	struct sql_db *db = NULL;
	must(sql_open(path, NULL, &db, &err), &err, "sql");
	must(sql_exec(db, "UPDATE meta SET value = 9999 WHERE name = 'schema'", &err), &err, "sql");
	sql_close(db);
	assert_false(directory_open(c, &d, &err));
	assert_int_equal(ERR_CONFLICT, err.kind);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(0, system(command));
}

/* ---- what only a server does ------------------------------------------------------------------------ */

static void test_server_twice(void **state)
{
	struct world *w = *state;
	struct directory *other, *third;
	struct err err = {0};
	struct account account;
	struct directory_stats stats;
	must(directory_clone(w->d, &other, &err), &err, "clone");
	must(directory_open(w->config, &third, &err), &err, "open");
	must(account_find(other, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	assert_int_not_equal(0, account.id);
	must(account_remove(w->d, STR("test1@example.com"), &err), &err, "remove");
	/* A handle of the same process knows at once; another process, after cache_time. */
	must(account_find(other, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	assert_int_equal(0, account.id);
	must(account_find(third, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	assert_int_equal(0, account.id);
	must(account_restore(third, STR("test1@example.com"), &err), &err, "restore");
	must(account_find(third, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	must(account_find(third, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	directory_stats(third, &stats);
	assert_true(directory_remote(third) && stats.remembered > 0 && stats.asked > 0 && !stats.away);
	directory_close(other);
	directory_close(third);
}

/* Away: what is known stays known, what is not is temporary, "no such account" is never said. Back:
 * the next question is answered. */
static void test_server_away(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct directory_resolution r;
	struct directory_stats stats;
	struct account account;
	CONFIG_SCOPED c = server_config("cache_time = 0 stale_time = 1h");
	directory_reconfigure(w->d, c);
	must(directory_resolve(w->d, STR("test1@example.com"), w->a, &r, &err), &err, "resolve");
	must(directory_resolve(w->d, STR("nobody@example.com"), w->a, &r, &err), &err, "resolve");
	assert_int_equal(DIRECTORY_UNKNOWN, r.kind);
	mariadb_stop(&server);
	must(directory_resolve(w->d, STR("test1@example.com"), w->a, &r, &err), &err, "resolve");
	assert_int_equal(DIRECTORY_LOCAL, r.kind);
	must(account_find(w->d, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	assert_str("hash", account.password, STR("$6$x$y"));
	static const char *const not_known[] = {"nobody@example.com", "test2@example.org", "x@new.example"};
	for (size_t i = 0; i < sizeof not_known / sizeof *not_known; i++) {
		assert_false(directory_resolve(w->d, str_of(not_known[i]), w->a, &r, &err));
		assert_int_equal(ERR_TEMP, err.kind);
	}
	assert_false(domain_add(w->d, STR("new.example"), STR(""), &err));
	assert_int_equal(ERR_TEMP, err.kind);
	directory_stats(w->d, &stats);
	assert_true(stats.stale > 0 && stats.away);
	mariadb_start(&server);
	atomic_store(&w->d->facts->away_until_ms, 1); /* the second is over */
	must(domain_add(w->d, STR("new.example"), STR(""), &err), &err, "add");
	must(directory_resolve(w->d, STR("nobody@example.com"), w->a, &r, &err), &err, "resolve");
	assert_int_equal(DIRECTORY_UNKNOWN, r.kind);
}

/* A server that takes every question and answers none: the first who asks waits for the time-out, the rest
 * does not, and what is known is told. */
static void test_server_hangs(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct account account;
	struct directory_stats stats;
	struct directory *d;
	CONFIG_SCOPED c = server_config("cache_time = 0 timeout = 1s");
	must(directory_open(c, &d, &err), &err, "open");
	must(account_find(d, STR("test1@example.com"), w->a, &account, &err), &err, "find");
	kill(server.pid, SIGSTOP);
	assert_int_equal(server.pid, waitpid(server.pid, NULL, WUNTRACED)); /* it has stopped indeed */
	for (int i = 0; i < 100; i++) {
		must(account_find(d, STR("test1@example.com"), w->a, &account, &err), &err, "find");
		assert_int_not_equal(0, account.id);
		assert_false(account_find(d, STR("never@example.com"), w->a, &account, &err));
		assert_int_equal(ERR_TEMP, err.kind);
		/* It counts as away from here on: nobody waits, however long the rest takes. */
		directory_stats(d, &stats);
		assert_true(i > 0 || stats.away);
		atomic_store(&d->facts->away_until_ms, INT64_MAX);
	}
	assert_true(stats.stale >= 100);
	kill(server.pid, SIGCONT);
	atomic_store(&d->facts->away_until_ms, 1);
	must(account_find(d, STR("never@example.com"), w->a, &account, &err), &err, "find");
	directory_stats(d, &stats);
	assert_true(account.id == 0 && !stats.away);
	directory_close(d);
}

/* A server that is away does not keep pabal from starting. */
static void test_server_later(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct directory *d;
	struct domain domain;
	mariadb_stop(&server);
	must(directory_open(w->config, &d, &err), &err, "open");
	assert_false(domain_find(d, STR("example.com"), w->a, &domain, &err));
	assert_int_equal(ERR_TEMP, err.kind);
	mariadb_start(&server);
	atomic_store(&d->facts->away_until_ms, 1);
	must(domain_find(d, STR("example.com"), w->a, &domain, &err), &err, "find");
	assert_int_equal(2, domain.accounts);
	directory_close(d);
}

/* A connection that the server dropped is replaced within the question. */
static void test_server_drops(void **state)
{
	struct world *w = *state;
	struct err err = {0};
	struct domain domain;
	struct account account;
	struct sql_db *db = mariadb_connect(&server, NULL);
	for (int i = 0; i < 2; i++) {
		must(sql_exec(db, "KILL USER root", &err) || sql_lost(db) ? true : false, &err, "kill");
		sql_close(db);
		db = mariadb_connect(&server, NULL);
		if (i == 0)
			must(account_find(w->d, STR("test1@example.org"), w->a, &account, &err), &err,
			     "find");
	}
	w->d->link.used_ms = 0; /* idle for long: it is asked first */
	must(domain_find(w->d, STR("example.com"), w->a, &domain, &err), &err, "find");
	sql_close(db);
}

static int start_server(void **state)
{
	mariadb_new(&server);
	return 0;
}

static int stop_server(void **state)
{
	mariadb_free(&server);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_resolve),        T(test_resolve_limit),
		T(test_disabled),       T(test_postmaster),
		T(test_may_send_as),    T(test_refused),
		T(test_long_values),    T(test_account_fields),
		T(test_remove_restore), T(test_rehash), T(test_restore_whole),
		T(test_restore_ends),   T(test_changes),
		T(test_alias_edit),     T(test_queries),
		T(test_control),        cmocka_unit_test(test_file),
	};
	const struct CMUnitTest server_tests[] = {
		T(test_server_twice), T(test_server_away),  T(test_server_hangs),
		T(test_server_later), T(test_server_drops),
	};
	signal(SIGPIPE, SIG_IGN);
	int failed = cmocka_run_group_tests_name("SQLite", tests, NULL, NULL);
	failed += cmocka_run_group_tests_name("MariaDB", tests, start_server, stop_server);
	return failed + cmocka_run_group_tests_name("server", server_tests, start_server, stop_server);
}
