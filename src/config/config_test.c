/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "config/config.h"

#include <netinet/in.h>
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct config *parse_ok(const char *text)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	struct config *c = NULL;
	if (!config_parse("/etc/pabal/pabal.conf", str_of(text), &problems, &c, &err)) {
		print_error("%.*s\n", (int)problems.n, problems.p);
		fail();
	}
	return c;
}

static void test_sizes(void **state)
{
	static const struct { const char *in; int64_t want; } cases[] = {
		{"0", 0}, {"512", 512}, {"64k", 65536}, {"64K", 65536}, {"10M", 10485760}, {"1 GiB", 1 << 30},
		{"3kb", 3072}, {"", -1}, {"k", -1}, {"-1", -1}, {"1x", -1}, {"9999999999999T", -1},
		{"99999999999999999999", -1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t v;
		bool ok = config_parse_size(str_of(cases[i].in), &v);
		if (ok != (cases[i].want >= 0) || (ok && v != (uint64_t)cases[i].want))
			fail_msg("%s", cases[i].in);
	}
}

static void test_durations(void **state)
{
	static const struct { const char *in; int64_t want; } cases[] = {
		{"0", 0}, {"500ms", 500}, {"30", 30000}, {"30s", 30000}, {"5m", 300000}, {"2 h", 7200000},
		{"7d", 604800000}, {"1w", 604800000}, {"x", -1}, {"", -1}, {"9223372036854775807d", -1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int64_t v;
		bool ok = config_parse_duration(str_of(cases[i].in), &v);
		if (ok != (cases[i].want >= 0) || (ok && v != cases[i].want))
			fail_msg("%s", cases[i].in);
	}
}

static void test_networks(void **state)
{
	static const struct { const char *network, *address; int want;
	} cases[] = {
		{"10.0.0.0/8", "10.1.2.3", 1},
		{"10.0.0.0/8", "11.1.2.3", 0},
		{"127.0.0.1", "127.0.0.1", 1},
		{"127.0.0.1", "127.0.0.2", 0},
		{"*", "2001:db8::1", 1},
		{"*", "1.2.3.4", 1},
		{"2001:db8::/33", "2001:db8:7fff::1", 1},
		{"2001:db8::/33", "2001:db8:8000::1", 0},
		{"[::1]", "::1", 1},
		{"[2001:db8::]/32", "2001:db8::5", 1},
		{"10.0.0.0/8", "::ffff:10.0.0.1", 1},
		{"0.0.0.0/0", "9.9.9.9", 1},
		{"0.0.0.0/0", "2001:db8::1", 0},
		{"::/0", "9.9.9.9", 1},
		{"10.0.0.1/8", NULL, -1},
		{"10.0.0.0/33", NULL, -1},
		{"300.1.1.1", NULL, -1},
		{"", NULL, -1},
		{"10.0.0.0/", NULL, -1},
		{"example.com", NULL, -1},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct network net;
		struct err err = {0};
		bool ok = network_parse(str_of(cases[i].network), &net, &err);
		if (ok != (cases[i].want >= 0))
			fail_msg("%s", cases[i].network);
		if (!ok)
			continue;
		struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
		struct sockaddr_in v4 = {.sin_family = AF_INET};
		struct sockaddr *sa = (struct sockaddr *)&v6;
		if (inet_pton(AF_INET6, cases[i].address, &v6.sin6_addr) != 1) {
			assert_int_equal(1, inet_pton(AF_INET, cases[i].address, &v4.sin_addr));
			sa = (struct sockaddr *)&v4;
		}
		struct networks set = {&net, 1};
		if (networks_match(&set, sa) != cases[i].want)
			fail_msg("%s %s", cases[i].network, cases[i].address);
	}
	struct sockaddr un = {.sa_family = AF_UNIX};
	struct network all;
	struct err err = {0};
	assert_true(network_parse(STR("*"), &all, &err));
	assert_false(networks_match(&(struct networks){&all, 1}, &un));
}

static void test_defaults(void **state)
{
	CONFIG_SCOPED c = parse_ok("hostname = mail.example.com");
	assert_true(str_eq(config_str(c, SETTING_MYDOMAIN), STR("example.com")));
	assert_true(str_eq(config_str(c, SETTING_MYORIGIN), STR("example.com")));
	assert_true(config_list_has(c, SETTING_MYDESTINATION, STR("LOCALHOST.example.com")));
	assert_int_equal(3, config_list(c, SETTING_MYDESTINATION).n);
	assert_string_equal("/var/lib/pabal/mail", config_path(c, SETTING_MAIL_DIR));
	assert_int_equal(1000, config_int(c, SETTING_SMTP_MAX_RECIPIENTS));
	assert_int_equal(50 << 20, config_size(c, SETTING_SMTP_MAX_MESSAGE_SIZE));
	assert_int_equal(300000, config_duration_ms(c, SETTING_SMTP_TIMEOUT_COMMAND));
	assert_true(config_bool(c, SETTING_REJECT_UNLISTED));
	assert_int_equal(CONFIG_LANGUAGE_KO, config_enum(c, SETTING_LANGUAGE));
	assert_int_equal(2, config_networks(c, SETTING_MYNETWORKS)->n);
	assert_false(config_is_set(c, SETTING_LANGUAGE));
	assert_true(config_is_set(c, SETTING_HOSTNAME));
	assert_string_equal("/etc/pabal/pabal.conf", config_file(c));
}

static const struct listener *find_listener(const struct config *c, const char *name)
{
	size_t n;
	const struct listener *l = config_listeners(c, &n);
	for (size_t i = 0; i < n; i++) {
		if (str_eq(l[i].name, str_of(name)))
			return &l[i];
	}
	return NULL;
}

static void test_listeners(void **state)
{
	CONFIG_SCOPED c = parse_ok(
		"inet_interfaces = 127.0.0.1\n"
		"listener pop3 { enabled = no }\n"
		"listener imap { tls = required  plaintext_auth_from = {\"10.0.0.0/8\", \"::1\"} }\n"
		"listener smtp { port = 2525 }\n"
		"listener \"mx-proxied\" { service = smtp port = 26 proxy_from = 192.0.2.7 }\n");
	size_t n;
	config_listeners(c, &n);
	assert_int_equal(10, n);
	assert_null(find_listener(c, "pop3"));
	assert_true(str_eq(find_listener(c, "auth")->unix_path, STR("/run/pabal/auth.sock")));
	const struct listener *imap = find_listener(c, "imap");
	assert_int_equal(LISTENER_TLS_REQUIRED, imap->tls);
	assert_int_equal(2, imap->plaintext_auth_from.n);
	assert_int_equal(143, imap->port);
	assert_true(str_eq(imap->address.v[0], STR("127.0.0.1")));
	assert_int_equal(2525, find_listener(c, "smtp")->port);
	assert_int_equal(LISTENER_TLS_MAY, find_listener(c, "smtp")->tls);
	assert_int_equal(LISTENER_TLS_IMPLICIT, find_listener(c, "imaps")->tls);
	assert_int_equal(1, find_listener(c, "mx-proxied")->proxy_from.n);
	const struct listener *lmtp = find_listener(c, "lmtp");
	assert_int_equal(0, lmtp->port);
	assert_true(str_eq(lmtp->unix_path, STR("/run/pabal/lmtp.sock")));
	assert_int_equal(0660, lmtp->unix_mode);
	assert_true(str_eq(find_listener(c, "local")->unix_path, STR("/run/pabal/sendmail.sock")));
	assert_int_equal(0666, find_listener(c, "local")->unix_mode);
}

static void test_port_base(void **state)
{
	CONFIG_SCOPED c = parse_ok("port_base = 10000 run_dir = run");
	assert_int_equal(10993, find_listener(c, "imaps")->port);
	assert_int_equal(10024, find_listener(c, "lmtp")->port);
	assert_true(str_eq(find_listener(c, "lmtp")->address.v[0], STR("127.0.0.1")));
	assert_true(str_eq(find_listener(c, "lmtp")->unix_path, STR("/etc/pabal/run/lmtp.sock")));
}

/* Text, and a part of the problem lines. */
static void test_problems(void **state)
{
	static const struct { const char *text, *want;
	} cases[] = {
		{"hostnme = x", ":1: error: there is no setting \"hostnme\"; did you mean \"hostname\"?"},
		{"\n\nsmtp {\n max_recipient = 5\n}",
		 ":4: error: there is no setting \"max_recipient\" in section smtp; "
		 "did you mean \"max_recipients\"?"},
		{"max_recipients = 500", "did you mean \"smtp.max_recipients\"?"},
		{"smtp { max_recipients = 5 }",
		 ":1: error: smtp.max_recipients must be between 100 and 100000"},
		{"smtp { max_recipients = many }", "must be a whole number"},
		{"smtp { max_message_size = 5X }", "must be a size such as"},
		{"smtp { timeout_data = 5y }", "must be a time such as"},
		{"language = fr", "must be one of ko|en"},
		{"reject_unlisted = maybe", "must be yes or no"},
		{"mynetworks = {\"10.0.0.1/8\"}", "bits set beyond its prefix"},
		{"data_dir = $mail_dir", "leads back to itself"},
		{"mail_dir = $nothing/x", "there is no setting \"nothing\""},
		{"hostname = \"ex ample\"", "must be a domain name"},
		{"recipient_delimiter = \"+-\"", "must be one character"},
		{"mail_home = \"%d/%x\"", "variables are"},
		{"mail_home = \"/%d/%n\"", "cannot be a directory"},
		{"listener x { port = 1 }", "listener x needs a service"},
		{"listener imap { port = 70000 }", "must be between 0 and 65535"},
		{"listener imap { adress = ::1 }", "did you mean \"address\"?"},
		{"listener imap { address = \"nowhere\" }", "is not an IP address"},
		{"listener imap { port = 25 }", "both want port 25"},
		{"listener smtp { unix_mode = 999 unix_path = x }", "must be octal"},
		{"listener auth { port = 12345 }", "Unix socket only"},
		{"include(\"missing.conf\")", "there is no file /etc/pabal/missing.conf"},
		{"tls { certificate_files = {\"/nonexistent/a.pem\"} key_files = {} }",
		 "must name one file for each"},
		{"smtp {", ":1: error: what is opened here is never closed"},
		{"# one\n// two\n/* three\n */ language = fr # \"", ":4: error: language"},
		{"mynetworks = {\"::1\", # one\n \"::2\"}\nlanguage = 'fr'", ":3: error: language"},
		{"postmaster = \"a#b\\\"//c\"\nlanguage = a#b", ":2: error: language"},
		{"hostname = \"unterminated", "error:"},
		{"hostname", "error:"},
		{"process { workers = 100 workers_max = 50 }", "workers_max is less than"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		BUF_SCOPED problems = {0};
		struct config *c = NULL;
		struct err err = {0};
		if (config_parse("/etc/pabal/pabal.conf", str_of(cases[i].text), &problems, &c, &err))
			fail_msg("accepted: %s", cases[i].text);
		if (str_find(buf_str(&problems), str_of(cases[i].want)) == STR_NPOS ||
		    str_find(buf_str(&problems), STR("/etc/pabal/pabal.conf:")) == STR_NPOS)
			fail_msg("%s\ngave: %.*s", cases[i].text, (int)problems.n, problems.p);
		assert_int_equal(ERR_SYNTAX, err.kind);
	}
}

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_includes(void **state)
{
	char dir[] = "/tmp/pabal-config-XXXXXX", path[128], command[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/conf.d", dir);
	mkdir(path, 0700);
	for (int i = 0; i < 14; i++) {
		char name[32], text[64];
		snprintf(name, sizeof name, "conf.d/%02d.conf", i);
		snprintf(text, sizeof text, "smtp { max_recipients = %d }", 200 + i);
		write_file(dir, name, text);
	}
	write_file(dir, "loop.conf", "include(\"loop.conf\")");
	write_file(dir, "bad.conf", "# comment\nlanguage = xx\n");
	write_file(dir, "main.conf",
		   "smtp { max_recipients = 150 max_errors = 5 }\ninclude(\"conf.d/*.conf\")\n"
		   "include_optional(\"local.conf\")\nsmtp { max_errors = 7 }\n");
	write_file(dir, "main2.conf", "include(\"bad.conf\")");
	write_file(dir, "main3.conf", "include(\"loop.conf\")");
	BUF_SCOPED problems = {0};
	struct err err = {0};
	struct config *c = NULL;
	snprintf(path, sizeof path, "%s/main.conf", dir);
	if (!config_load(path, &problems, &c, &err))
		fail_msg("%.*s", (int)problems.n, problems.p);
	assert_int_equal(213, config_int(c, SETTING_SMTP_MAX_RECIPIENTS));
	assert_int_equal(7, config_int(c, SETTING_SMTP_MAX_ERRORS));
	config_unref(c);
	snprintf(path, sizeof path, "%s/main2.conf", dir);
	assert_false(config_load(path, &problems, &c, &err));
	assert_true(str_find(buf_str(&problems), STR("bad.conf:2: error: language")) != STR_NPOS);
	snprintf(path, sizeof path, "%s/main3.conf", dir);
	assert_false(config_load(path, &problems, &c, &err));
	assert_true(str_find(buf_str(&problems), STR("nested deeper")) != STR_NPOS);
	snprintf(path, sizeof path, "%s/none.conf", dir);
	assert_false(config_load(path, &problems, &c, &err));
	assert_int_equal(ERR_NOT_FOUND, err.kind);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	assert_int_equal(0, system(command));
}

static void test_encode(void **state)
{
	CONFIG_SCOPED c = parse_ok("hostname = mail.example.com mynetworks = {\"10.0.0.0/8\"} language = en\n"
				   "listener lmtp { xclient_from = ::1 }");
	BUF_SCOPED bytes = {0};
	struct err err = {0};
	config_encode(c, CONFIG_ROLE_MASTER, &bytes);
	CONFIG_SCOPED d = NULL;
	if (!config_decode(buf_str(&bytes), &d, &err))
		fail_msg("%s", err.text);
	assert_true(str_eq(config_str(d, SETTING_HOSTNAME), STR("mail.example.com")));
	assert_int_equal(CONFIG_LANGUAGE_EN, config_enum(d, SETTING_LANGUAGE));
	assert_int_equal(1, config_networks(d, SETTING_MYNETWORKS)->n);
	assert_int_equal(1, find_listener(d, "lmtp")->xclient_from.n);
	enum setting first;
	assert_true(config_reloadable(c, d, &first));
	BUF_SCOPED again = {0};
	config_encode(d, CONFIG_ROLE_MASTER, &again);
	assert_true(str_eq(buf_str(&bytes), buf_str(&again)));
	for (size_t n = 0; n < bytes.n; n++) {
		struct config *e = NULL;
		assert_false(config_decode((struct str){bytes.p, n}, &e, &err));
	}
}

/* A row for keys alone does not reach smtp. */
static void test_roles(void **state)
{
	CONFIG_SCOPED c = parse_ok("process { user_vmail = \"6000:6000\" }");
	BUF_SCOPED bytes = {0};
	struct err err = {0};
	config_encode(c, CONFIG_ROLE_SMTP, &bytes);
	assert_true(str_find(buf_str(&bytes), STR("6000:6000")) == STR_NPOS);
	CONFIG_SCOPED d = NULL;
	assert_true(config_decode(buf_str(&bytes), &d, &err));
	assert_int_equal(1000, config_int(d, SETTING_SMTP_MAX_RECIPIENTS));
}

static void test_reloadable(void **state)
{
	CONFIG_SCOPED a = parse_ok("language = ko");
	CONFIG_SCOPED b = parse_ok("language = en");
	CONFIG_SCOPED c = parse_ok("data_dir = /srv/pabal");
	enum setting first;
	assert_true(config_reloadable(a, b, &first));
	assert_false(config_reloadable(a, c, &first));
	assert_int_equal(SETTING_DATA_DIR, first);
}

/* What is shown can be read again. */
static void test_format(void **state)
{
	CONFIG_SCOPED c = parse_ok("hostname = h.example.org postmaster = 'a\"b\\c@x'");
	BUF_SCOPED text = {0};
	for (int id = 0; id < SETTING_COUNT; id++) {
		const char *name = setting_info((enum setting)id)->name;
		const char *dot = strchr(name, '.');
		if (dot)
			buf_fmt(&text, "%.*s { %s = ", (int)(dot - name), name, dot + 1);
		else
			buf_fmt(&text, "%s = ", name);
		config_format(c, (enum setting)id, &text);
		buf_add(&text, dot ? STR(" }\n") : STR("\n"));
	}
	BUF_SCOPED problems = {0};
	struct err err = {0};
	CONFIG_SCOPED d = NULL;
	if (!config_parse("/x/y.conf", buf_str(&text), &problems, &d, &err))
		fail_msg("%.*s", (int)problems.n, problems.p);
	assert_true(str_eq(config_str(d, SETTING_POSTMASTER), config_str(c, SETTING_POSTMASTER)));
	assert_string_equal(config_path(c, SETTING_MAIL_DIR), config_path(d, SETTING_MAIL_DIR));
}

static void test_table(void **state)
{
	for (int id = 0; id < SETTING_COUNT; id++) {
		const struct setting_info *info = setting_info((enum setting)id);
		enum setting found;
		assert_true(setting_find(str_of(info->name), &found));
		assert_int_equal(id, found);
		assert_true(strlen(info->help_en) > 0 && strlen(info->help_ko) > 0);
	}
	enum setting id;
	assert_true(setting_find(STR("myhostname"), &id));
	assert_int_equal(SETTING_HOSTNAME, id);
	assert_string_equal("smtp.max_recipients", setting_suggest(STR("smtp.max_recipeints")));
	assert_null(setting_suggest(STR("zzzzzzzz")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),      cmocka_unit_test(test_durations),
		cmocka_unit_test(test_networks),   cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_listeners),  cmocka_unit_test(test_port_base),
		cmocka_unit_test(test_problems),   cmocka_unit_test(test_includes),
		cmocka_unit_test(test_encode),     cmocka_unit_test(test_roles),
		cmocka_unit_test(test_reloadable), cmocka_unit_test(test_format),
		cmocka_unit_test(test_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
