/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The classic setup's files: what their queries become (R36, R37, R59-R61), what is refused, and what the
 * tables then answer (R19-R22). */
#include "config/config.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/control.h"
#include "directory/dovecot_sql.h"
#include "directory/postfix_map.h"
#include "sql/mariadb_testing.h"

static void double_quotes(void *ctx, struct str s, struct buf *out)
{
	(void)ctx;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'' || s.p[i] == '\\')
			buf_byte(out, '\\');
		buf_byte(out, s.p[i]);
	}
}

static void test_expand(void **state)
{
	static const struct { const char *file, *key, *want; /* NULL: no query for this key */
	} cases[] = {
		{"query = SELECT 1 FROM d WHERE n='%s'", "a.example",
		 "SELECT 1 FROM d WHERE n='a.example'"},
		{"query = q '%s'", "o'brien@x", "q 'o\\'brien@x'"},
		{"query = q '%s'", "x\\", "q 'x\\\\'"},
		{"query = %u at %d", "a@b@c", "a@b at c"},
		{"query = %u", "plain", "plain"},
		{"query = %u", "@b", NULL},
		{"query = %d", "plain", NULL},
		{"query = %s", "@b", "@b"},
		{"query = 100%%", "k", "100%"},
		{"query = %U %D %S", "a@b", "a b a@b"},
		{"query = %1 %2 %3", "u@mail.example.com", "com example mail"},
		{"query = %4", "u@mail.example.com", NULL},
		{"query = %1", "plain", NULL},
		{"query = x %s\ndomain = a.example, b.example", "u@B.example", "x u@B.example"},
		{"query = x %s\ndomain = a.example, b.example", "u@c.example", NULL},
		{"query = x %s\ndomain = a.example", "a.example", NULL},
		{"table = t\nselect_field = f\nwhere_field = w\nadditional_conditions = AND active = '1'",
		 "k", "SELECT f FROM t WHERE w = 'k' AND active = '1'"},
		{"# note\nquery = SELECT a\n  FROM b\n# inside\n\tWHERE c='%s'\nuser = x", "k",
		 "SELECT a  FROM b\tWHERE c='k'"},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct postfix_map m;
		struct err err = {0};
		BUF_SCOPED out = {0};
		assert_case(cases[i].file, postfix_map_parse(a, str_of(cases[i].file), &m, &err));
		bool any = postfix_map_expand(&m, str_of(cases[i].key), double_quotes, NULL, &out);
		assert_case(cases[i].file, any == (cases[i].want != NULL));
		assert_str(cases[i].file, buf_str(&out), str_of(cases[i].want));
	}
}

static void test_result_format(void **state)
{
	static const struct { const char *format, *value, *want;
	} cases[] = {
		{"%s", "a@b", "a@b"},    {"%u", "a@b", "a"},
		{"%d", "a", ""},         {"smtp:[%s]", "h", "smtp:[h]"},
		{"%U+%s", "v", "key+v"}, {"%D", "v", "k.test"},
		{"%1", "v", "test"},     {"%s", "", ""},
	};
	ARENA_SCOPED a = arena_new();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct postfix_map m;
		struct err err = {0};
		BUF_SCOPED out = {0};
		struct str file = arena_fmt(a, "query = x\nresult_format = %s", cases[i].format);
		assert_true(postfix_map_parse(a, file, &m, &err));
		postfix_map_add(&m, STR("key@k.test"), str_of(cases[i].value), 0, &out);
		assert_str(cases[i].format, buf_str(&out), str_of(cases[i].want));
	}
}

static void test_file(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct postfix_map m;
	struct err err = {0};
	assert_true(postfix_map_parse(
		a, STR("user = postfix_admin\npassword = a = b#c\nhosts = unix:/run/s inet:db.example:3307 "
		       "localhost\ndbname = postfix_accounts\nquery = SELECT 1\nsurprise = 1\n"),
		&m, &err));
	assert_string_equal(m.password, "a = b#c");
	assert_string_equal(m.dbname, "postfix_accounts");
	assert_int_equal(3, m.hosts_n);
	assert_string_equal(m.hosts[0].socket, "/run/s");
	assert_string_equal(m.hosts[1].host, "db.example");
	assert_int_equal(3307, m.hosts[1].port);
	assert_str("unknown", m.unknown, STR("surprise"));
	static const char *const bad[] = {
		"query",
		"= x",
		"query = %x",
		"query = 50%",
		"user = a",
		"table = t\nselect_field = f",
		"query = x\nresult_format = %q",
		"query = x\nexpansion_limit = many",
		"query = x\nhosts = a:b",
		"query = x\ndomain = hash:/etc/postfix/domains",
		"query = x\nhosts = 1 2 3 4 5 6 7 8 9",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_case(bad[i], !postfix_map_parse(a, str_of(bad[i]), &m, &err));
	assert_false(postfix_map_parse(a, (struct str){"query = x\0", 10}, &m, &err));
}

static void test_text_table(void **state)
{
	static const char text[] = "# comment\na@b  one\nC@d\ttwo,\n three \na@b second\n\n@e four\n";
	static const struct { const char *key, *want; } cases[] = {
		{"a@b", "one"}, {"c@D", "two, three"}, {"@e", "four"}, {"three", ""}, {"#", ""},
	};
	ARENA_SCOPED a = arena_new();
	struct err err = {0};
	struct str value;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_true(postfix_text_find(STR(text), str_of(cases[i].key), a, &value, &err));
		assert_str(cases[i].key, value, str_of(cases[i].want));
	}
	assert_false(postfix_text_find(STR("key\n"), STR("x"), a, &value, &err));
}

/* R61, as listed there, and the other forms. */
static void test_variables(void **state)
{
	static const struct { const char *format, *user, *want;
	} cases[] = {
		{"%u|%n|%d|%h", "user@dom", "user@dom|user|dom|/home/x"},
		{"%u|%n|%d|%h", "user", "user|user||/home/x"},
		{"%u|%n|%d|%h", "u@a@b", "u@a@b|u|a@b|/home/x"},
		{"%Lu %Ud %{user} %{username} %{domain} %{home}", "Us@Dom",
		 "us@dom DOM Us@Dom Us Dom /home/x"},
		{"'%u' 5%%", "o'brien", "'o\\'brien' 5%"},
	};
	static const char *const bad[] = {"%w", "%", "%{password}", "%{user", "%Lw", "%1u", "%{sha256:user}"};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct dovecot_vars v = {.user = str_of(cases[i].user), .home = STR("/home/x")};
		struct err err = {0};
		BUF_SCOPED out = {0};
		assert_true(dovecot_expand(str_of(cases[i].format), &v, double_quotes, NULL, &out, &err));
		assert_str(cases[i].format, buf_str(&out), str_of(cases[i].want));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const struct dovecot_vars v = {.user = STR("u")};
		struct err err = {0};
		BUF_SCOPED out = {0};
		assert_case(bad[i], !dovecot_expand(str_of(bad[i]), &v, NULL, NULL, &out, &err));
	}
}

static void test_dovecot_file(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct dovecot_sql s;
	struct err err = {0};
	assert_true(dovecot_sql_parse(
		a,
		STR("# comment\ndriver = mysql\nconnect = \"host=/run/s host=db port=3307 dbname=d "
		    "user=u "
		    "password=p#w\" # more\ndefault_pass_scheme = SHA512-CRYPT\npassword_query = SELECT "
		    "Email as "
		    "User, \\\n  password FROM t \\\n  WHERE Email='%u'\nnew_thing = 1\n"),
		&s, &err));
	assert_string_equal(s.password, "p#w");
	assert_int_equal(2, s.hosts_n);
	assert_string_equal(s.hosts[0].socket, "/run/s");
	assert_string_equal(s.hosts[1].host, "db");
	assert_int_equal(3307, s.hosts[1].port);
	assert_str("query", s.password_query, STR("SELECT Email as User, password FROM t WHERE Email='%u'"));
	assert_str("unknown", s.unknown, STR("new_thing"));
	assert_true(s.user_query.p == NULL);
	static const char *const bad[] = {"password_query", "password_query = SELECT '%w'", "driver = pgsql",
					  "connect = host", "connect = port=x"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_case(bad[i], !dovecot_sql_parse(a, str_of(bad[i]), &s, &err));
}

/* ---- with a server -------------------------------------------------------------------------------- */

static struct mariadb server;
static char files[40] = "/tmp/pabal-classic-XXXXXX";

static void write_file(const char *name, const char *fmt, ...)
{
	char path[80];
	va_list ap;
	snprintf(path, sizeof path, "%s/%s", files, name);
	FILE *f = fopen(path, "w");
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	fclose(f);
}

static void map_file(const char *name, const char *query)
{
	write_file(name, "user = root\nhosts = unix:%s\ndbname = c\nquery = %s\n", server.socket, query);
}

static int start(void **state)
{
	struct err err = {0};
	mariadb_new(&server);
	assert_non_null(mkdtemp(files));
	struct sql_db *db = mariadb_connect(&server, NULL);
	if (!sql_exec(
		    db,
		    "CREATE DATABASE c; USE c; CREATE TABLE d(n VARCHAR(50)); CREATE TABLE a(e "
		    "VARCHAR(100), p "
		    "VARCHAR(300), q VARCHAR(50), l VARCHAR(9)); CREATE TABLE s(f VARCHAR(100), t "
		    "VARCHAR(300));"
		    "INSERT INTO d VALUES('a.example'); INSERT INTO a VALUES('u@a.example', '$6$s$h', "
		    "'*:storage=1G:messages=50', NULL), ('plain@a.example', 'secret', '*:bytes=10', ''), "
		    "('no@a.example', 'x', NULL, 'Y'); INSERT INTO s VALUES('x@a.example', "
		    "'u@a.example'), "
		    "('x@a.example', 'one@b.example, two@b.example'), ('x@a.example', NULL), "
		    "('bad@a.example', "
		    "'not an address@@'), ('u@a.example', 'u@a.example')",
		    &err))
		fail_msg("%s", err.cause);
	sql_close(db);
	map_file("domains", "SELECT 1 FROM d WHERE n='%s'");
	map_file("accounts", "SELECT 1 FROM a WHERE e='%s'");
	map_file("aliases", "SELECT t FROM s WHERE f='%s'");
	map_file("email2email", "SELECT e FROM a WHERE e='%s'");
	map_file("wrong", "SELECT 1 FROM nothing WHERE e='%s'");
	write_file("dovecot",
		   "connect = host=%s user=root dbname=c\ndefault_pass_scheme = %s\npassword_query = "
		   "SELECT e "
		   "AS User, p AS password, l AS nologin FROM a WHERE e='%%u'\nuser_query = SELECT q AS "
		   "quota_rule FROM a WHERE e='%%u'\n",
		   server.socket, "PLAIN");
	return 0;
}

static int stop(void **state)
{
	char command[60];
	mariadb_free(&server);
	snprintf(command, sizeof command, "rm -rf %s", files);
	return system(command);
}

static struct directory *open_classic(const char *accounts)
{
	char text[600];
	struct config *c = NULL;
	struct directory *d = NULL;
	struct err err = {0};
	BUF_SCOPED problems = {0};
	snprintf(text, sizeof text,
		 "hostname = m.a.example\ndirectory { backend = classic cache_time = 0 classic_domains = "
		 "\"mysql:%s/domains\" "
		 "classic_accounts = \"mysql:%s/%s\" classic_aliases = {\"mysql:%s/aliases\", "
		 "\"mysql:%s/email2email\"} "
		 "classic_dovecot = \"%s/dovecot\" }\n",
		 files, files, accounts, files, files, files);
	if (!config_parse("/x/y.conf", str_of(text), &problems, &c, &err))
		fail_msg("%.*s", (int)problems.n, problems.p);
	if (!directory_open(c, &d, &err))
		fail_msg("%s %s", err.text, err.cause);
	config_unref(c);
	return d;
}

static void test_tables(void **state)
{
	ARENA_SCOPED a = arena_new();
	DIRECTORY_SCOPED d = open_classic("accounts");
	struct err err = {0};
	struct account v;
	struct alias alias;
	struct directory_resolution r;
	assert_true(account_find(d, STR("U@A.example"), a, &v, &err));
	int64_t id = v.id;
	assert_true(id > 0 && v.protocols == ACCOUNT_PROTOCOLS_ALL);
	assert_str("default_pass_scheme", v.password, STR("{PLAIN}$6$s$h"));
	assert_true(v.quota_bytes == 1 << 30 && v.quota_messages == 50);
	assert_true(account_find(d, STR("u@a.example"), a, &v, &err) && v.id == id);
	assert_true(account_find(d, STR("plain@a.example"), a, &v, &err) && v.quota_bytes == 10);
	assert_true(account_find(d, STR("no@a.example"), a, &v, &err) && v.id && v.protocols == 0);
	assert_true(account_find(d, STR("nobody@a.example"), a, &v, &err) && v.id == 0);
	assert_true(alias_find(d, STR("x@a.example"), a, &alias, &err));
	assert_int_equal(3, alias.n);
	assert_str("first", alias.destinations[0], STR("u@a.example"));
	assert_str("third", alias.destinations[2], STR("two@b.example"));
	static const struct { const char *address; enum directory_kind want; size_t n; } cases[] = {
		{"u@a.example", DIRECTORY_LOCAL, 1},	   {"plain@a.example", DIRECTORY_LOCAL, 1},
		{"x@a.example", DIRECTORY_LOCAL, 3},	   {"u+tag@a.example", DIRECTORY_LOCAL, 1},
		{"nobody@a.example", DIRECTORY_UNKNOWN, 1}, {"y@b.example", DIRECTORY_REMOTE, 1},
		{"o'b@a.example", DIRECTORY_UNKNOWN, 1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_case(cases[i].address, directory_resolve(d, str_of(cases[i].address), a, &r, &err));
		assert_case(cases[i].address, r.kind == cases[i].want && r.n == cases[i].n);
	}
	assert_false(directory_resolve(d, STR("bad@a.example"), a, &r, &err));
	assert_int_equal(ERR_IO, err.kind); /* tried again later, not lost */
	assert_false(account_remove(d, STR("u@a.example"), &err));
	assert_int_equal(ERR_DENIED, err.kind);
	BUF_SCOPED reply = {0};
	assert_false(directory_control(
		d, STR("{\"verb\":\"lookup\",\"map\":\"domain\",\"key\":\"a.example\"}"), &reply));
	assert_str("lookup", buf_str(&reply), STR("{\"ok\":true,\"found\":true,\"value\":\"1\"}"));
}

/* A query that the server refuses says nothing about the account. */
static void test_wrong_query(void **state)
{
	ARENA_SCOPED a = arena_new();
	DIRECTORY_SCOPED d = open_classic("wrong");
	struct err err = {0};
	struct directory_resolution r;
	assert_false(directory_resolve(d, STR("nobody@a.example"), a, &r, &err));
	assert_int_equal(ERR_IO, err.kind);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expand),	   cmocka_unit_test(test_result_format),
		cmocka_unit_test(test_file),	   cmocka_unit_test(test_text_table),
		cmocka_unit_test(test_variables),  cmocka_unit_test(test_dovecot_file),
		cmocka_unit_test(test_tables),	   cmocka_unit_test(test_wrong_query),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, start, stop);
}
