/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The files of a host that is taken over: main.cf, master.cf, dovecot.conf, a dump. */
#include "base/testing.h"
#include "import/dovecot_config.h"
#include "import/mysqldump.h"
#include "import/postfix_config.h"

static void test_main_cf(void **state)
{
	static const char text[] =
		"# comment\nmyhostname = mail.demologthink.com\nmyorigin = $mydomain\nempty =\n"
		"mydestination = $myhostname, localhost.$mydomain,\n    localhost\n\nloop = $pool\npool "
		"= "
		"$loop\nmyhostname = mx.demologthink.com\na = "
		"${empty:none}${empty?some}${myhostname?{x}}\n"
		"b = $(myorigin)$$\nmany = $two$two$two$two\ntwo = $three$three$three$three\nthree = "
		"$four$four$four$four\nfour = $five$five$five\nfive = $six$six$six$six\nsix = "
		"$seven$seven$seven$seven\nseven = $none$none$none$none$none$none$none$none\nbad = ${x\n";
	static const struct { const char *name, *want; } cases[] = {
		{"myhostname", "mx.demologthink.com"},
		{"mydestination", "mx.demologthink.com, localhost.demologthink.com,    localhost"},
		{"a", "nonex"},
		{"b", "demologthink.com$"},
		{"empty", ""},
	};
	static const char *const bad[] = {"loop", "many", "bad"};
	ARENA_SCOPED a = arena_new();
	struct postfix_config c;
	struct err err = {0};
	struct str out;
	assert_true(postfix_config_parse(a, STR(text), &c, &err));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_true(postfix_config_expand(&c, a, postfix_config_get(&c, str_of(cases[i].name)),
						  &out, &err));
		assert_str(cases[i].name, out, str_of(cases[i].want));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_case(bad[i], !postfix_config_expand(&c, a, postfix_config_get(&c, str_of(bad[i])),
							   &out, &err));
	assert_true(postfix_config_get(&c, STR("nothing")).p == NULL);
	assert_false(postfix_config_parse(a, STR("no equals sign\n"), &c, &err));
}

static void test_master_cf(void **state)
{
	static const char text[] = "smtp      inet  n       -       n       -       -       smtpd\n"
				   "submission inet n       -       n       -       -       smtpd\n  -o "
				   "syslog_name=postfix/submission\n"
				   "  -o smtpd_tls_security_level=encrypt\n#  -o commented=out\n  -o { "
				   "smtpd_client_restrictions = a, b }\n"
				   "dovecot   unix  -       n       n       -       -       pipe\n"
				   "    flags=DRhu user=vmail:vmail argv=/usr/libexec/dovecot/deliver -f "
				   "${sender} -d ${recipient}\n";
	ARENA_SCOPED a = arena_new();
	const struct postfix_service *v;
	struct err err = {0};
	size_t n;
	assert_true(postfix_master_parse(a, STR(text), &v, &n, &err));
	assert_int_equal(3, n);
	assert_str("name", v[1].name, STR("submission"));
	assert_int_equal(2, v[1].line);
	assert_int_equal(3, v[1].options_n);
	assert_str("level", postfix_service_option(&v[1], STR("smtpd_tls_security_level")), STR("encrypt"));
	assert_str("braces", postfix_service_option(&v[1], STR("smtpd_client_restrictions")), STR("a, b"));
	assert_true(str_starts(v[2].command, STR("pipe")));
	assert_false(postfix_master_parse(a, STR("smtp inet n - n\n"), &v, &n, &err));
	assert_false(postfix_master_parse(a, STR("smtp inet n - n - - smtpd -o x\n"), &v, &n, &err));
}

static void test_dovecot_conf(void **state)
{
	static const char text[] =
		"protocols = imap pop3 lmtp # more\n!include conf.d/*.conf\nservice lmtp {\n"
		"  unix_listener /var/spool/postfix/private/dovecot-lmtp {\n    mode = 0600\n    user = "
		"postfix\n  }\n}\nssl_cert = </etc/pki/cert.pem\npassdb {\n  driver = sql\n  args = "
		"/etc/dovecot/dovecot-sql.conf.ext\n}\npassdb {\n  driver = pam\n}\nplugin {\n  "
		"quota_rule = "
		"\"*:storage=1G\"\n}\nlisten = *, \\\n  ::\n";
	static const struct { const char *path, *want; } cases[] = {
		{"protocols", "imap pop3 lmtp"},
		{"service lmtp/unix_listener /var/spool/postfix/private/dovecot-lmtp/mode", "0600"},
		{"ssl_cert", "</etc/pki/cert.pem"},
		{"passdb/driver", "pam"},
		{"plugin/quota_rule", "*:storage=1G"},
		{"listen", "*, ::"},
	};
	static const char *const bad[] = {"a\n", "}\n", "x {\n", "= x\n"};
	ARENA_SCOPED a = arena_new();
	struct dovecot_config c = {0};
	struct err err = {0};
	if (!dovecot_config_parse(a, "/x/dovecot.conf", STR(text), false, 0, &c, &err))
		fail_msg("%s", err.cause);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_str(cases[i].path, dovecot_config_get(&c, str_of(cases[i].path)),
			   str_of(cases[i].want));
	assert_true(c.v[4].section != 0 && c.v[4].section == c.v[5].section &&
		    c.v[6].section != c.v[5].section);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct dovecot_config d = {0};
		assert_case(bad[i], !dovecot_config_parse(a, "/x/d", str_of(bad[i]), false, 0, &d, &err));
	}
}

static void test_dump(void **state)
{
	static const char text[] =
		"-- MySQL dump 10.14\n/*!40101 SET NAMES utf8 */;\nDROP TABLE IF EXISTS "
		"`domains_table`;\n"
		"CREATE TABLE `domains_table` (\n  `DomainId` int(11) NOT NULL AUTO_INCREMENT,\n  "
		"`DomainName` varchar(50) "
		"NOT NULL COMMENT 'a, ) b',\n  PRIMARY KEY (`DomainId`)\n) ENGINE=InnoDB "
		"AUTO_INCREMENT=2;\n"
		"LOCK TABLES `domains_table` WRITE;\n# note; with a semicolon\n"
		"INSERT INTO `domains_table` VALUES (1,'demologthink.com'),(2,'it\\'s "
		"''quoted'';\\n'),(-3,NULL);\n"
		"INSERT INTO db.other (b, a) VALUES (_binary 'x', 0x4142), ('', 1.5);\n"
		"INSERT INTO x SELECT * FROM y;\nUNLOCK TABLES;\n";
	static const char *const bad[] = {
		"INSERT INTO t VALUES (1);", "CREATE TABLE t (a INT); INSERT INTO t VALUES (1, 2);",
		"CREATE TABLE t (a INT, b INT); INSERT INTO t VALUES (1);", "INSERT INTO t (a VALUES (1);",
		"INSERT INTO t (a) VALUES ('x);", "INSERT INTO t (a) VALUES 1;", "INSERT INTO t (a) VALUES (",
	};
	ARENA_SCOPED a = arena_new();
	struct mysqldump d;
	struct err err = {0};
	if (!mysqldump_parse(a, STR(text), &d, &err))
		fail_msg("%s %s", err.text, err.cause);
	const struct dump_table *t = mysqldump_table(&d, STR("Domains_Table"));
	assert_non_null(t);
	assert_int_equal(2, t->columns_n);
	assert_int_equal(3, t->rows_n);
	size_t name = dump_column(t, STR("domainname"));
	assert_int_equal(1, name);
	assert_str("plain", t->rows[0][name], STR("demologthink.com"));
	assert_str("quotes", t->rows[1][name], STR("it's 'quoted';\n"));
	assert_true(t->rows[2][name].p == NULL);
	assert_str("number", t->rows[2][0], STR("-3"));
	const struct dump_table *o = mysqldump_table(&d, STR("other"));
	assert_str("hex", o->rows[0][dump_column(o, STR("a"))], STR("AB"));
	assert_str("binary", o->rows[0][dump_column(o, STR("b"))], STR("x"));
	assert_str("decimal", o->rows[1][dump_column(o, STR("a"))], STR("1.5"));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_case(bad[i], !mysqldump_parse(a, str_of(bad[i]), &d, &err));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_main_cf),	      cmocka_unit_test(test_master_cf),
		cmocka_unit_test(test_dovecot_conf), cmocka_unit_test(test_dump),
	};
	return RUN_TESTS(tests);
}
