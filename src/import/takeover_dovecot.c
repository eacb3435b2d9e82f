/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* dovecot.conf and what it includes. */
#include "import/takeover.h"
#include <string.h>

static void say(struct takeover *t, const struct dovecot_setting *s, enum takeover_kind kind,
		struct str becomes, const char *en, const char *ko)
{
	struct str what = arena_fmt(t->arena, "%.*s = %.*s", STR_ARG(s->path), STR_ARG(s->value));
	takeover_say(t, kind, s->file, s->line, what, becomes, en, ko);
}

/* ---- where the mail is ---------------------------------------------------------------------------- */

/* ".../%d/%n/Maildir" is mail_dir and mail_home; pabal's Maildir is home/Maildir. */
static bool split_home(struct takeover *t, struct str path, struct str *out_dir, struct str *out_home)
{
	size_t percent = str_find_byte(path, '%');
	if (!str_starts(path, STR("/")) || percent == STR_NPOS || !str_ends(path, STR("/Maildir")))
		return false;
	size_t slash = str_find_last_byte(str_sub(path, 0, percent), '/');
	if (slash == 0 || slash == STR_NPOS)
		return false;
	*out_dir = str_sub(path, 0, slash);
	*out_home = str_sub(path, slash + 1, path.n - slash - 1 - strlen("/Maildir"));
	for (size_t i = 0; i < out_home->n; i++) {
		if (out_home->p[i] == '%' && (i + 1 == out_home->n || !strchr("dnu", out_home->p[i + 1])))
			return false;
	}
	(void)t;
	return out_home->n > 0;
}

static struct str static_home(const struct dovecot_config *c)
{
	struct str args = dovecot_config_get(c, STR("userdb/args"));
	while (args.p) {
		struct str word = str_cut(&args, ' ');
		if (str_starts(word, STR("home=")))
			return str_from(word, 5);
	}
	return STR_NONE;
}

static void take_location(struct takeover *t, const struct dovecot_setting *s)
{
	struct str rest = s->value, kind = str_cut(&rest, ':'), dir, home;
	struct str path = rest.p ? str_cut(&rest, ':') : STR_NONE; /* options follow: INDEX=, LAYOUT= */
	struct str user_home = static_home(&t->dovecot);
	if (str_starts(path, STR("~/")))
		path = arena_fmt(t->arena, "%.*s/%.*s", STR_ARG(user_home), STR_ARG(str_from(path, 2)));
	if (!str_eq_nocase(kind, STR("maildir")) || str_find(rest, STR("LAYOUT=")) != STR_NPOS ||
	    !split_home(t, path, &dir, &home)) {
		say(t, s, TAKEOVER_CANNOT, STR_NONE, "only Maildir++ at .../Maildir can be used in place",
		    "…/Maildir에 있는 Maildir++만 그대로 쓸 수 있습니다");
		return;
	}
	t->mail_dir = dir;
	takeover_set_str(t, "", "mail_dir", dir);
	takeover_set_str(t, "", "mail_home", home);
	say(t, s, TAKEOVER_TAKEN,
	    arena_fmt(t->arena, "mail_dir = %.*s, mail_home = %.*s", STR_ARG(dir), STR_ARG(home)), "", "");
}

/* ---- single settings ------------------------------------------------------------------------------ */

static void take_protocols(struct takeover *t, const struct dovecot_setting *s)
{
	static const char *const ours[] = {"imap", "pop3", "lmtp"};
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
		struct str *v;
		size_t n = takeover_words(t, s->value, &v);
		bool on = false;
		for (size_t k = 0; k < n; k++)
			on |= str_eq(v[k], str_of(ours[i]));
		if (on)
			continue;
		takeover_set_word(t, arena_cstr(t->arena, arena_fmt(t->arena, "listener %s", ours[i])),
				  "enabled", STR("no"));
		if (i < 2)
			takeover_set_word(
				t, arena_cstr(t->arena, arena_fmt(t->arena, "listener %ss", ours[i])),
				"enabled", STR("no"));
	}
	say(t, s, TAKEOVER_TAKEN, STR("listener imap, imaps, pop3, pop3s, lmtp"), "", "");
}

static void take_ssl(struct takeover *t, const struct dovecot_setting *s)
{
	if (str_eq(s->value, STR("required"))) {
		takeover_set_word(t, "listener imap", "tls", STR("required"));
		takeover_set_word(t, "listener pop3", "tls", STR("required"));
		say(t, s, TAKEOVER_TAKEN, STR("listener imap, pop3: tls = required"), "", "");
	} else if (str_eq(s->value, STR("no"))) {
		say(t, s, TAKEOVER_WARN, STR_NONE,
		    "pabal offers TLS all the same, self-signed without a certificate",
		    "pabal은 TLS를 제공합니다. 인증서가 없으면 자체 서명을 씁니다");
	} else {
		say(t, s, TAKEOVER_BUILTIN, STR_NONE, "TLS is offered", "TLS를 제공합니다");
	}
}

/* ssl_cert = </path: of the same files as Postfix's, if those are not said there. */
static void take_certificate(struct takeover *t, const struct dovecot_setting *s)
{
	bool key = str_eq(s->path, STR("ssl_key"));
	struct str path = str_trim(str_from(s->value, 1));
	if (!str_starts(s->value, STR("<")) || !str_starts(path, STR("/"))) {
		say(t, s, TAKEOVER_CANNOT, STR_NONE, "only a file: </path", "파일(</경로)만 쓸 수 있습니다");
		return;
	}
	const char *name = key ? "key_files" : "certificate_files";
	if (!takeover_value(t, "tls", name).p)
		takeover_set_list(t, "tls", name, &path, 1);
	say(t, s, TAKEOVER_TAKEN,
	    arena_fmt(t->arena, "tls.%s = %.*s", name, STR_ARG(takeover_value(t, "tls", name))), "", "");
}

static void take_plaintext(struct takeover *t, const struct dovecot_setting *s)
{
	static const struct str everywhere[] = {{"0.0.0.0/0", 9}, {"::/0", 4}};
	bool allowed =
		str_eq(s->value, str_eq(s->path, STR("disable_plaintext_auth")) ? STR("no") : STR("yes"));
	if (!allowed) {
		say(t, s, TAKEOVER_BUILTIN, STR_NONE, "passwords are taken under TLS only",
		    "TLS에서만 암호를 받습니다");
		return;
	}
	takeover_set_list(t, "auth", "plaintext_networks", everywhere, 2);
	say(t, s, TAKEOVER_WARN, STR("auth.plaintext_networks = 0.0.0.0/0, ::/0"),
	    "passwords pass without TLS from everywhere: name your own networks instead",
	    "어디서나 TLS 없이 암호를 보냅니다. 내부 네트워크만 적으세요");
}

static void take_mechanisms(struct takeover *t, const struct dovecot_setting *s)
{
	static const char *const known[] = {"plain", "login", "scram-sha-1", "scram-sha-256"};
	struct str *v;
	size_t n = takeover_words(t, s->value, &v), kept = 0;
	for (size_t i = 0; i < n; i++) {
		bool is_known = false;
		for (size_t k = 0; k < sizeof known / sizeof *known; k++)
			is_known |= str_eq_nocase(v[i], str_of(known[k]));
		if (is_known)
			v[kept++] = v[i];
		else
			say(t, s, TAKEOVER_CANNOT, v[i], "pabal has no such mechanism", "pabal에 없는 방식입니다");
	}
	if (kept == 0)
		return;
	takeover_set_list(t, "auth", "mechanisms", v, kept);
	say(t, s, TAKEOVER_TAKEN,
	    arena_fmt(t->arena, "auth.mechanisms = %.*s",
		      STR_ARG(takeover_value(t, "auth", "mechanisms"))),
	    "", "");
}

/* The drivers of passdb and userdb stand before or behind their args, in one section. */
static struct str driver_of(const struct takeover *t, const struct dovecot_setting *s, struct str path)
{
	for (size_t i = 0; i < t->dovecot.n; i++) {
		const struct dovecot_setting *x = &t->dovecot.v[i];
		if (x->section == s->section && str_eq(x->path, path))
			return x->value;
	}
	return STR_NONE;
}

static void take_passdb(struct takeover *t, const struct dovecot_setting *s)
{
	struct str driver = driver_of(t, s, STR("passdb/driver"));
	if (str_eq(driver, STR("sql")) && str_starts(s->value, STR("/"))) {
		t->dovecot_sql = arena_cstr(t->arena, s->value);
		say(t, s, TAKEOVER_TAKEN,
		    arena_fmt(t->arena, "directory.classic_dovecot = %.*s", STR_ARG(s->value)), "", "");
	} else if (!str_eq(driver, STR("sql"))) {
		say(t, s, TAKEOVER_CANNOT, STR_NONE, "only passwords in SQL are used in place",
		    "SQL에 있는 암호만 그대로 쓸 수 있습니다");
	}
}

static void take_quota(struct takeover *t, const struct dovecot_setting *s)
{
	struct str rule = s->value, value;
	size_t at = str_find(rule, STR("storage="));
	if (at == STR_NPOS || !str_starts(rule, STR("*:"))) {
		say(t, s, TAKEOVER_CANNOT, STR_NONE, "this value is not understood", "이 값을 이해하지 못합니다");
		return;
	}
	value = str_from(rule, at + 8);
	value = str_cut(&value, ':');
	takeover_set_word(t, "store", "quota", value);
	say(t, s, TAKEOVER_TAKEN, arena_fmt(t->arena, "store.quota = %.*s", STR_ARG(value)), "", "");
}

static void take_listener(struct takeover *t, const struct dovecot_setting *s)
{
	bool lmtp = str_starts(s->path, STR("service lmtp/"));
	say(t, s, TAKEOVER_BUILTIN, STR_NONE,
	    lmtp ? "pabal takes mail itself; for a Postfix that stays: listener lmtp { unix_path, "
		   "unix_mode, unix_owner }"
		 : "pabal checks passwords itself; for a Postfix that stays: listener auth { unix_path "
		   "... }",
	    lmtp ? "pabal이 메일을 직접 받습니다. Postfix를 계속 쓰려면 listener lmtp { unix_path, "
		   "unix_mode, unix_owner }"
		 : "pabal이 암호를 직접 확인합니다. Postfix를 계속 쓰려면 listener auth { unix_path ... "
		   "}");
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static const struct {
	const char *path;
	void (*take)(struct takeover *t, const struct dovecot_setting *s);
} maps[] = {
	{"protocols", take_protocols},
	{"ssl", take_ssl},
	{"ssl_cert", take_certificate},
	{"ssl_key", take_certificate},
	{"disable_plaintext_auth", take_plaintext},
	{"auth_allow_cleartext", take_plaintext},
	{"auth_mechanisms", take_mechanisms},
	{"mail_location", take_location},
	{"passdb/args", take_passdb},
	{"plugin/quota_rule", take_quota},
};

static const struct {
	const char *path; /* or the beginning of one, with "/" at its end */
	const char *en, *ko;
} builtin[] = {
	{"listen", "IPv4 and IPv6 (inet_interfaces)", "IPv4와 IPv6(inet_interfaces)"},
	{"log_path", "log.path; pabal makes it with the right owner", "log.path. 소유자는 pabal이 맞춥니다"},
	{"info_log_path", "one log", "로그는 하나입니다"},
	{"debug_log_path", "one log", "로그는 하나입니다"},
	{"base_dir", "pabal has directories of its own", "pabal의 디렉터리를 씁니다"},
	{"mail_privileged_group", "not needed", "필요 없습니다"},
	{"mbox_write_locks", "not needed", "필요 없습니다"},
	{"first_valid_uid", "not needed", "필요 없습니다"},
	{"last_valid_uid", "not needed", "필요 없습니다"},
	{"mail_uid", "the owner of the mail", "메일의 소유자를 따릅니다"},
	{"mail_gid", "the owner of the mail", "메일의 소유자를 따릅니다"},
	{"auth_username_format", "names are folded", "이름은 소문자로 봅니다"},
	{"ssl_dh", "not needed", "필요 없습니다"},
	{"ssl_protocols", "TLS 1.2 and newer (tls.min_version)", "TLS 1.2 이상(tls.min_version)"},
	{"ssl_min_protocol", "TLS 1.2 and newer (tls.min_version)", "TLS 1.2 이상(tls.min_version)"},
	{"ssl_cipher_list", "pabal's choice", "pabal이 고릅니다"},
	{"ssl_prefer_server_ciphers", "pabal's choice", "pabal이 고릅니다"},
	{"dict/", "not needed", "필요 없습니다"},
	{"passdb/", "passwords: see args", "암호: args를 보세요"},
	{"userdb/", "the owner of the mail and mail_home say it", "메일의 소유자와 mail_home을 따릅니다"},
	{"namespace ", "INBOX, Drafts, Sent, Junk, Trash and Archive are there", "INBOX와 특수 메일함이 있습니다"},
	{"service ", "pabal has processes and ports of its own", "pabal의 프로세스와 포트를 씁니다"},
	{"protocol ", "not needed", "필요 없습니다"},
};

static void take(struct takeover *t, const struct dovecot_setting *s)
{
	for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
		if (str_eq(s->path, str_of(maps[i].path))) {
			maps[i].take(t, s);
			return;
		}
	}
	if (str_find(s->path, STR("/unix_listener ")) != STR_NPOS && str_ends(s->path, STR("/mode")) &&
	    (str_starts(s->path, STR("service lmtp/")) || str_starts(s->path, STR("service auth/")))) {
		take_listener(t, s);
		return;
	}
	for (size_t i = 0; i < sizeof builtin / sizeof *builtin; i++) {
		struct str p = str_of(builtin[i].path);
		bool prefix = str_ends(p, STR("/")) || str_ends(p, STR(" "));
		if (prefix ? str_starts(s->path, p) : str_eq(s->path, p)) {
			say(t, s, TAKEOVER_BUILTIN, STR_NONE, builtin[i].en, builtin[i].ko);
			return;
		}
	}
	say(t, s, TAKEOVER_CANNOT, STR_NONE, "not known here: pabal goes without it",
	    "알지 못하는 설정입니다. 쓰지 않습니다");
}

bool takeover_read_dovecot(struct takeover *t, const char *dir, struct err *err)
{
	const char *path = arena_cstr(t->arena, arena_fmt(t->arena, "%s/dovecot.conf", dir));
	if (!dovecot_config_read(t->arena, path, &t->dovecot, err))
		return false;
	for (size_t i = 0; i < t->dovecot.n; i++)
		take(t, &t->dovecot.v[i]);
	if (!t->mail_dir.p)
		takeover_say(t, TAKEOVER_WARN, path, 0, STR("mail_location"), STR_NONE,
			     "not set: mail_dir is pabal's own", "설정되지 않음. mail_dir은 pabal의 기본값입니다");
	if (!t->dovecot_sql)
		takeover_say(t, TAKEOVER_CANNOT, path, 0, STR("passdb"), STR_NONE,
			     "no passwords in SQL: nobody can log in", "SQL 암호가 없어 아무도 로그인할 수 없습니다");
	return true;
}
