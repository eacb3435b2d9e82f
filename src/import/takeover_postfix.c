/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* main.cf and master.cf: a row of takeover.def for each setting, a few functions for the values. */
#include "base/file.h"
#include "import/takeover.h"
#include <fcntl.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

struct take {
	struct takeover *t;
	const struct postfix_line *line;
	struct str value; /* expanded */
	const char *section, *setting;
};
typedef void take_function(struct take *k);

static void say(struct take *k, enum takeover_kind kind, struct str becomes, const char *en, const char *ko)
{
	struct takeover *t = k->t;
	struct str what = arena_fmt(t->arena, "%.*s = %.*s", STR_ARG(k->line->name), STR_ARG(k->line->value));
	takeover_say(t, kind, t->main_cf, k->line->number, what, becomes, en, ko);
}

static void taken(struct take *k, struct str becomes)
{
	struct str value = becomes.p ? becomes : takeover_value(k->t, k->section, k->setting);
	say(k, TAKEOVER_TAKEN,
	    arena_fmt(k->t->arena, "%s%s%s = %.*s", k->section, *k->section ? "." : "", k->setting,
		      STR_ARG(value)),
	    "", "");
}

static void not_a_value(struct take *k)
{
	say(k, TAKEOVER_CANNOT, STR_NONE, "this value is not understood", "이 값을 이해하지 못합니다");
}

static void take_str(struct take *k)
{
	takeover_set_str(k->t, k->section, k->setting, k->value);
	taken(k, STR_NONE);
}

/* /etc/mailname, as Debian has it */
static void take_origin(struct take *k)
{
	BUF_SCOPED text = {0};
	struct err err = {0};
	if (str_starts(k->value, STR("/"))) {
		if (!file_read_whole(AT_FDCWD, arena_cstr(k->t->arena, k->value), 4096, &text, &err)) {
			not_a_value(k);
			return;
		}
		k->value = arena_str(k->t->arena, str_trim(buf_str(&text)));
	}
	take_str(k);
}

static void take_list(struct take *k)
{
	struct str *v;
	size_t n = takeover_words(k->t, k->value, &v);
	takeover_set_list(k->t, k->section, k->setting, v, n);
	taken(k, STR_NONE);
}

/* Tables and files in a list are not followed. */
static bool plain_list(struct take *k)
{
	struct str *v;
	size_t n = takeover_words(k->t, k->value, &v);
	for (size_t i = 0; i < n; i++) {
		if (str_has_byte(v[i], '/') || str_has_byte(v[i], ':'))
			return false;
	}
	return true;
}

static void take_destination(struct take *k)
{
	if (plain_list(k))
		take_list(k);
	else
		say(k, TAKEOVER_CANNOT, STR_NONE, "tables in this list: write the names into mydestination",
		    "목록에 테이블이 있습니다. 이름을 mydestination에 직접 적으세요");
}

/* "[::1]/128" is "::1/128" here. */
static void take_networks(struct take *k)
{
	BUF_SCOPED out = {0};
	struct str *v;
	size_t n = takeover_words(k->t, k->value, &v), kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (str_starts(v[i], STR("/")) || str_starts(v[i], STR("!")) ||
		    str_find(v[i], STR(":/")) != STR_NPOS) {
			say(k, TAKEOVER_CANNOT, STR_NONE,
			    "files, tables and exceptions: write the networks into mynetworks",
			    "파일, 테이블, 예외는 mynetworks에 직접 적으세요");
			continue;
		}
		buf_clear(&out);
		for (size_t c = 0; c < v[i].n; c++) {
			if (v[i].p[c] != '[' && v[i].p[c] != ']')
				buf_byte(&out, v[i].p[c]);
		}
		v[kept++] = arena_str(k->t->arena, buf_str(&out));
	}
	takeover_set_list(k->t, k->section, k->setting, v, kept);
	taken(k, STR_NONE);
}

static void take_interfaces(struct take *k)
{
	static const struct str loopback[] = {{"127.0.0.1", 9}, {"::1", 3}};
	if (str_eq(k->value, STR("all"))) {
		say(k, TAKEOVER_BUILTIN, STR_NONE, "all addresses", "모든 주소");
	} else if (str_eq(k->value, STR("loopback-only")) || str_eq(k->value, STR("localhost"))) {
		takeover_set_list(k->t, k->section, k->setting, loopback, 2);
		taken(k, STR_NONE);
	} else if (k->value.n && ascii_is((unsigned char)k->value.p[0], ASCII_DIGIT)) {
		take_list(k);
	} else {
		say(k, TAKEOVER_CANNOT, STR_NONE,
		    "names are not looked up: write the addresses into inet_interfaces",
		    "이름은 찾지 않습니다. 주소를 inet_interfaces에 적으세요");
	}
}

static void take_delimiter(struct take *k)
{
	takeover_set_str(k->t, k->section, k->setting, str_sub(k->value, 0, 1));
	taken(k, STR_NONE);
}

static void take_number(struct take *k)
{
	uint64_t n;
	if (!str_u64(k->value, 100000, &n) || n < 100) {
		not_a_value(k);
		return;
	}
	takeover_set_word(k->t, k->section, k->setting, k->value);
	taken(k, STR_NONE);
}

/* 0 is "no limit" there; a quota of 0 is the same here, for a message the largest is 2 GiB. */
static void take_size(struct take *k)
{
	uint64_t n;
	if (!str_u64(k->value, INT64_MAX, &n)) {
		not_a_value(k);
		return;
	}
	bool message = strcmp(k->setting, "max_message_size") == 0;
	if (message && (n == 0 || n > 2147483648u))
		n = 2147483648u;
	if (message && n < 1024)
		n = 1024;
	takeover_set_word(k->t, k->section, k->setting,
			  arena_fmt(k->t->arena, "%llu", (unsigned long long)n));
	taken(k, STR_NONE);
}

/* postconf(5): a number with s, m, h, d, w; without: the setting's own unit. */
static void duration(struct take *k, char unit)
{
	struct str digits = k->value;
	uint64_t n;
	if (digits.n && !ascii_is((unsigned char)digits.p[digits.n - 1], ASCII_DIGIT)) {
		unit = digits.p[digits.n - 1];
		digits.n--;
	}
	if (!str_u64(digits, 1000000, &n) || !strchr("smhdw", unit)) {
		not_a_value(k);
		return;
	}
	if (unit == 'w') {
		n *= 7;
		unit = 'd';
	}
	takeover_set_word(k->t, k->section, k->setting,
			  arena_fmt(k->t->arena, "%llu%c", (unsigned long long)n, unit));
	taken(k, STR_NONE);
}

static void take_time(struct take *k)
{
	duration(k, 's');
}

static void take_days(struct take *k)
{
	duration(k, 'd');
}

static void take_relayhost(struct take *k)
{
	if (k->value.n == 0) {
		say(k, TAKEOVER_BUILTIN, STR_NONE, "mail goes to the servers of the domains (MX)",
		    "메일은 각 도메인의 서버(MX)로 갑니다");
		return;
	}
	struct str route = arena_fmt(k->t->arena, "* %.*s", STR_ARG(k->value));
	takeover_set_list(k->t, k->section, k->setting, &route, 1);
	taken(k, STR_NONE);
}

static void take_relay_tls(struct take *k)
{
	static const char *const same[] = {"none", "may", "encrypt", "verify"};
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		if (str_eq(k->value, str_of(same[i]))) {
			takeover_set_word(k->t, k->section, k->setting, k->value);
			taken(k, STR_NONE);
			return;
		}
	}
	bool dane = str_eq(k->value, STR("dane")) || str_eq(k->value, STR("dane-only"));
	takeover_set_word(k->t, k->section, k->setting, dane ? STR("may") : STR("verify"));
	say(k, TAKEOVER_WARN, takeover_value(k->t, k->section, k->setting), "the nearest that pabal has",
	    "pabal에서 가장 가까운 값");
}

static void take_smtp_tls(struct take *k)
{
	struct str v = str_eq(k->value, STR("encrypt")) ? STR("required") : k->value;
	if (!str_eq(v, STR("none")) && !str_eq(v, STR("may")) && !str_eq(v, STR("required"))) {
		not_a_value(k);
		return;
	}
	takeover_set_word(k->t, k->section, k->setting, v);
	taken(k, STR_NONE);
}

static void take_certificate(struct take *k)
{
	if (k->value.n == 0)
		say(k, TAKEOVER_BUILTIN, STR_NONE, "without a certificate a self-signed one is used",
		    "인증서가 없으면 자체 서명 인증서를 씁니다");
	else
		take_list(k);
}

static void take_maps(struct take *k)
{
	struct str *v;
	size_t n = takeover_words(k->t, k->value, &v), kept = 0;
	for (size_t i = 0; i < n; i++) {
		struct str name = str_starts(v[i], STR("proxy:")) ? str_from(v[i], 6) : v[i];
		if (str_starts(name, STR("mysql:")))
			v[kept++] = name;
		else
			say(k, TAKEOVER_CANNOT, arena_str(k->t->arena, v[i]),
			    "only mysql: tables are used in place; add the rest with pabal domain, "
			    "account, alias add",
			    "mysql: 테이블만 그대로 쓸 수 있습니다. 나머지는 pabal domain, account, "
			    "alias add로 넣으세요");
	}
	if (kept == 0)
		return;
	takeover_set_list(k->t, k->section, k->setting, v, kept);
	if (strcmp(k->setting, "classic_domains") == 0)
		k->t->domain_maps = v[0];
	else if (strcmp(k->setting, "classic_accounts") == 0)
		k->t->account_maps = v[0];
	else
		k->t->alias_maps = v[0];
	taken(k, STR_NONE);
}

/* Those that only say what pabal does anyway; every other word is a rule that would be lost. */
static void take_restrictions(struct take *k)
{
	static const char *const known[] = {
		"permit",
		"permit_mynetworks",
		"permit_sasl_authenticated",
		"reject",
		"reject_unauth_destination",
		"defer_unauth_destination",
		"reject_unlisted_recipient",
		"reject_non_fqdn_recipient",
		"reject_non_fqdn_sender",
		"reject_unauth_pipelining",
		"reject_invalid_helo_hostname",
		"permit_auth_destination",
	};
	BUF_SCOPED lost = {0};
	struct str *v;
	size_t n = takeover_words(k->t, k->value, &v);
	for (size_t i = 0; i < n; i++) {
		bool is_known = false;
		for (size_t j = 0; j < sizeof known / sizeof *known; j++)
			is_known |= str_eq(v[i], str_of(known[j]));
		if (is_known)
			continue;
		buf_add(&lost, lost.n ? STR(" ") : STR(""));
		buf_add(&lost, v[i]);
	}
	if (lost.n)
		say(k, TAKEOVER_CANNOT, arena_str(k->t->arena, buf_str(&lost)),
		    "rules that pabal does not have", "pabal에 없는 규칙입니다");
	else
		say(k, TAKEOVER_BUILTIN, STR_NONE, "relaying is for mynetworks and logins only",
		    "릴레이는 mynetworks와 로그인한 사용자만 할 수 있습니다");
}

static const struct row {
	const char *name;
	take_function *take;
	const char *section, *setting;
	enum takeover_kind kind;
	const char *en, *ko;
} rows[] = {
#define MAP(name, function, section, setting) {#name, function, section, setting, TAKEOVER_TAKEN, "", ""},
#define BUILTIN(name, en, ko) {#name, NULL, "", "", TAKEOVER_BUILTIN, en, ko},
#define CANNOT(name, en, ko) {#name, NULL, "", "", TAKEOVER_CANNOT, en, ko},
#include "import/takeover.def"
#undef MAP
#undef BUILTIN
#undef CANNOT
};

static const struct row *find_row(struct str name)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (str_eq(name, str_of(rows[i].name)))
			return &rows[i];
	}
	return NULL;
}

static void take_line(struct takeover *t, const struct postfix_line *line)
{
	struct take k = {.t = t, .line = line, .section = "", .setting = ""};
	const struct row *row = find_row(line->name);
	struct err err = {0};
	if (!row) {
		say(&k, TAKEOVER_CANNOT, STR_NONE, "not known here: pabal goes without it",
		    "알지 못하는 설정입니다. 쓰지 않습니다");
		return;
	}
	k.section = row->section;
	k.setting = row->setting;
	if (!postfix_config_expand(&t->postfix, t->arena, line->value, &k.value, &err)) {
		const char *why = arena_cstr(t->arena, str_of(err.text));
		say(&k, TAKEOVER_CANNOT, STR_NONE, why, why);
	} else if (row->take) {
		row->take(&k);
	} else if (row->kind == TAKEOVER_CANNOT && k.value.n == 0) {
		say(&k, TAKEOVER_BUILTIN, STR_NONE, "not set", "설정되지 않음");
	} else {
		say(&k, row->kind, STR_NONE, row->en, row->ko);
	}
}

/* Of two lines with one name the last counts, as with Postfix. */
static bool is_last(const struct postfix_config *c, size_t at)
{
	for (size_t i = at + 1; i < c->n; i++) {
		if (str_eq(c->v[i].name, c->v[at].name))
			return false;
	}
	return true;
}

static bool read_main(struct takeover *t, struct err *err)
{
	BUF_SCOPED text = {0};
	if (!file_read_whole(AT_FDCWD, t->main_cf, FILE_MAX, &text, err) ||
	    !postfix_config_parse(t->arena, arena_str(t->arena, buf_str(&text)), &t->postfix, err))
		return err_while(err, "reading %s", t->main_cf);
	for (size_t i = 0; i < t->postfix.n; i++) {
		if (is_last(&t->postfix, i))
			take_line(t, &t->postfix.v[i]);
	}
	return true;
}

/* ---- master.cf ------------------------------------------------------------------------------------ */

static void say_service(struct takeover *t, const struct postfix_service *s, enum takeover_kind kind,
			struct str becomes, const char *en, const char *ko)
{
	struct str rest = s->command, command = str_cut(&rest, ' ');
	struct str what = arena_fmt(t->arena, "%.*s %.*s %.*s", STR_ARG(s->name), STR_ARG(s->type),
				    STR_ARG(command));
	takeover_say(t, kind, t->master_cf, s->line, what, becomes, en, ko);
}

static struct str option_or_main(struct takeover *t, const struct postfix_service *s, const char *name)
{
	struct str v = postfix_service_option(s, str_of(name));
	return v.p ? v : postfix_config_get(&t->postfix, str_of(name));
}

static void take_submission(struct takeover *t, const struct postfix_service *s)
{
	bool required = str_eq(option_or_main(t, s, "smtpd_tls_security_level"), STR("encrypt"));
	if (required)
		takeover_set_word(t, "listener submission", "tls", STR("required"));
	if (str_eq(postfix_service_option(s, STR("smtpd_reject_unlisted_recipient")), STR("no")))
		takeover_set_word(t, "smtp", "reject_unlisted_submission", STR("no"));
	say_service(t, s, TAKEOVER_TAKEN, required ? STR("listener submission (587), tls = required") :
						     STR("listener submission (587)"), "", "");
}

/* A port with a number or another name: a listener of its own. */
static void take_other_port(struct takeover *t, const struct postfix_service *s)
{
	struct str port = s->name, host = STR_NONE;
	size_t colon = str_find_last_byte(port, ':');
	uint64_t n;
	if (colon != STR_NPOS) {
		host = str_sub(port, 0, colon);
		port = str_from(port, colon + 1);
	}
	if (!str_u64(port, 65535, &n)) {
		say_service(t, s, TAKEOVER_CANNOT, STR_NONE, "the name of its port is not known",
			    "포트 이름을 알지 못합니다");
		return;
	}
	if (n == 465 || n == 587 || n == 25) {
		say_service(t, s, TAKEOVER_BUILTIN, STR_NONE, "listens already", "이미 열려 있습니다");
		return;
	}
	const char *section =
		arena_cstr(t->arena, arena_fmt(t->arena, "listener port%llu", (unsigned long long)n));
	bool login = str_eq(option_or_main(t, s, "smtpd_sasl_auth_enable"), STR("yes"));
	bool implicit = str_eq(postfix_service_option(s, STR("smtpd_tls_wrappermode")), STR("yes"));
	takeover_set_word(t, section, "service",
			  implicit ? STR("submissions")
			  : login  ? STR("submission")
				   : STR("smtp"));
	takeover_set_word(t, section, "port", port);
	if (host.n)
		takeover_set_list(t, section, "address", &host, 1);
	say_service(t, s, TAKEOVER_WARN, str_of(section), "look whether it is still needed", "계속 필요한지 확인하세요");
}

static void take_smtpd(struct takeover *t, const struct postfix_service *s)
{
	if (str_eq(s->name, STR("smtp")))
		say_service(t, s, TAKEOVER_TAKEN, STR("listener smtp (25)"), "", "");
	else if (str_eq(s->name, STR("submission")))
		take_submission(t, s);
	else if (str_eq(s->name, STR("smtps")) || str_eq(s->name, STR("submissions")))
		say_service(t, s, TAKEOVER_TAKEN, STR("listener submissions (465)"), "", "");
	else
		take_other_port(t, s);
}

static void take_service(struct takeover *t, const struct postfix_service *s)
{
	struct str command = s->command;
	command = str_cut(&command, ' ');
	if (str_eq(s->type, STR("inet")) && str_eq(command, STR("smtpd"))) {
		take_smtpd(t, s);
	} else if (str_eq(s->type, STR("inet"))) {
		say_service(t, s, TAKEOVER_CANNOT, STR_NONE, "pabal has no such service", "pabal에 없는 서비스입니다");
	} else if (str_eq(command, STR("pipe"))) {
		bool lda = str_find(s->command, STR("deliver")) != STR_NPOS ||
			   str_find(s->command, STR("dovecot-lda")) != STR_NPOS;
		say_service(t, s, lda ? TAKEOVER_BUILTIN : TAKEOVER_CANNOT, STR_NONE,
			    lda ? "pabal delivers by itself" : "mail to programs is not delivered",
			    lda ? "pabal이 직접 배달합니다" : "프로그램으로의 배달은 없습니다");
	}
}

static bool read_master(struct takeover *t, struct err *err)
{
	BUF_SCOPED text = {0};
	const struct postfix_service *v;
	size_t n;
	if (!file_read_whole(AT_FDCWD, t->master_cf, FILE_MAX, &text, err)) {
		if (err->kind != ERR_NOT_FOUND)
			return err_while(err, "reading %s", t->master_cf);
		takeover_say(t, TAKEOVER_WARN, t->master_cf, 0, STR("master.cf"), STR_NONE, "there is none",
			     "파일이 없습니다");
		return true;
	}
	if (!postfix_master_parse(t->arena, arena_str(t->arena, buf_str(&text)), &v, &n, err))
		return err_while(err, "reading %s", t->master_cf);
	for (size_t i = 0; i < n; i++)
		take_service(t, &v[i]);
	return true;
}

bool takeover_read_postfix(struct takeover *t, const char *dir, struct err *err)
{
	t->main_cf = arena_cstr(t->arena, arena_fmt(t->arena, "%s/main.cf", dir));
	t->master_cf = arena_cstr(t->arena, arena_fmt(t->arena, "%s/master.cf", dir));
	takeover_set_word(t, "relay", "enabled", STR("yes"));
	return read_main(t, err) && read_master(t, err);
}
