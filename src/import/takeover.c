/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "import/takeover.h"
#include "base/map.h"
#include "base/scan.h"
#include "directory/account.h"
#include "directory/alias.h"
#include "directory/domain.h"
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void takeover_say(struct takeover *t, enum takeover_kind kind, const char *file, unsigned line,
		  struct str what, struct str becomes, const char *en, const char *ko)
{
	t->lines = arena_grow(t->arena, t->lines, t->lines_n, &t->lines_cap, sizeof *t->lines);
	t->lines[t->lines_n++] = (struct takeover_line){kind, file, line, what, becomes, en, ko};
}

/* ---- settings ------------------------------------------------------------------------------------- */

void takeover_set_word(struct takeover *t, const char *section, const char *name, struct str value)
{
	for (size_t i = 0; i < t->settings_n; i++) {
		if (strcmp(t->settings[i].section, section) == 0 && strcmp(t->settings[i].name, name) == 0) {
			t->settings[i].value = value;
			return;
		}
	}
	t->settings = arena_grow(t->arena, t->settings, t->settings_n, &t->settings_cap, sizeof *t->settings);
	t->settings[t->settings_n++] = (struct takeover_setting){section, name, value};
}

static void quote(struct buf *out, struct str s)
{
	buf_byte(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_byte(out, '\\');
		buf_byte(out, s.p[i]);
	}
	buf_byte(out, '"');
}

void takeover_set_str(struct takeover *t, const char *section, const char *name, struct str value)
{
	BUF_SCOPED out = {0};
	quote(&out, value);
	takeover_set_word(t, section, name, arena_str(t->arena, buf_str(&out)));
}

void takeover_set_list(struct takeover *t, const char *section, const char *name, const struct str *v,
		       size_t n)
{
	BUF_SCOPED out = {0};
	buf_byte(&out, '{');
	for (size_t i = 0; i < n; i++) {
		buf_add(&out, i ? STR(", ") : STR(""));
		quote(&out, v[i]);
	}
	buf_byte(&out, '}');
	takeover_set_word(t, section, name, arena_str(t->arena, buf_str(&out)));
}

struct str takeover_value(const struct takeover *t, const char *section, const char *name)
{
	for (size_t i = 0; i < t->settings_n; i++) {
		if (strcmp(t->settings[i].section, section) == 0 && strcmp(t->settings[i].name, name) == 0)
			return t->settings[i].value;
	}
	return STR_NONE;
}

size_t takeover_words(struct takeover *t, struct str list, struct str **out)
{
	size_t n = 0, cap = 0;
	*out = NULL;
	for (struct scan s = scan_of(list); !scan_end(&s);) {
		const char *begin = s.p;
		while (!scan_end(&s) && *s.p != ',' && !ascii_is((unsigned char)*s.p, ASCII_SPACE))
			s.p++;
		if (s.p == begin) {
			s.p++;
			continue;
		}
		*out = arena_grow(t->arena, *out, n, &cap, sizeof **out);
		(*out)[n++] = (struct str){begin, (size_t)(s.p - begin)};
	}
	return n;
}

static void write_section(const struct takeover *t, const char *section, struct buf *out)
{
	bool any = false;
	for (size_t i = 0; i < t->settings_n; i++) {
		const struct takeover_setting *s = &t->settings[i];
		if (strcmp(s->section, section) != 0)
			continue;
		if (!any && *section)
			buf_fmt(out, "\n%s {\n", section);
		any = true;
		buf_fmt(out, "%s%s = %.*s\n", *section ? "\t" : "", s->name, STR_ARG(s->value));
	}
	if (any && *section)
		buf_add(out, STR("}\n"));
}

void takeover_config(const struct takeover *t, struct buf *out)
{
	buf_add(out, STR("# Made by pabal import classic. pabal config explain NAME says what a setting "
			 "does.\n"));
	write_section(t, "", out);
	for (size_t i = 0; i < t->settings_n; i++) {
		bool before = !*t->settings[i].section;
		for (size_t k = 0; k < i && !before; k++)
			before = strcmp(t->settings[k].section, t->settings[i].section) == 0;
		if (!before)
			write_section(t, t->settings[i].section, out);
	}
}

/* ---- the directory -------------------------------------------------------------------------------- */

void takeover_choose_directory(struct takeover *t, bool copy)
{
	static const char *const classic[] = {"classic_domains", "classic_accounts", "classic_aliases",
					      "classic_dovecot"};
	if (!copy) {
		takeover_set_word(t, "directory", "backend", STR("classic"));
		if (t->dovecot_sql)
			takeover_set_str(t, "directory", "classic_dovecot", str_of(t->dovecot_sql));
		return;
	}
	size_t n = 0;
	for (size_t i = 0; i < t->settings_n; i++) {
		bool drop = false;
		for (size_t k = 0; k < sizeof classic / sizeof *classic; k++)
			drop |= strcmp(t->settings[i].name, classic[k]) == 0;
		if (!drop)
			t->settings[n++] = t->settings[i];
	}
	t->settings_n = n;
}

static void refuse(struct takeover *t, struct str what, const struct err *err)
{
	const char *why = arena_cstr(t->arena, str_of(err->text));
	takeover_say(t, TAKEOVER_CANNOT, "database", 0, what, STR_NONE, why, why);
}

/* A failure of the disk ends it; a row that cannot be had here does not. */
static bool went(struct takeover *t, bool ok, struct str what, struct err *err)
{
	if (ok)
		return true;
	if (err->kind == ERR_EXISTS) {
		takeover_say(t, TAKEOVER_WARN, "database", 0, what, STR_NONE,
			     "is there already: it stays as it is", "이미 있으므로 그대로 둡니다");
		return true;
	}
	if (err->kind == ERR_IO || err->kind == ERR_TEMP || err->kind == ERR_CORRUPT)
		return false;
	refuse(t, what, err);
	return true;
}

bool takeover_copy(struct takeover *t, struct directory *d, struct err *err)
{
	for (size_t i = 0; i < t->domains_n; i++) {
		if (!went(t, domain_add(d, t->domains[i], STR(""), err), t->domains[i], err))
			return false;
	}
	for (size_t i = 0; i < t->accounts_n; i++) {
		struct account v;
		account_init(&v);
		v.address = t->accounts[i].address;
		v.password = t->accounts[i].hash;
		if (!went(t, account_add(d, &v, err), v.address, err))
			return false;
	}
	for (size_t i = 0; i < t->aliases_n; i++) {
		const struct takeover_alias *x = &t->aliases[i];
		struct str *to;
		size_t n = takeover_words(t, x->destination, &to);
		if (n > 0 && !went(t, alias_add(d, x->source, to, n, err), x->source, err))
			return false;
	}
	return true;
}

/* ---- the mail ------------------------------------------------------------------------------------- */

bool takeover_has_account(const struct takeover *t, struct str address)
{
	return t->account_names && map_get(t->account_names, arena_lower(t->arena, address));
}

void takeover_free(struct takeover *t)
{
	map_free(t->account_names);
	map_free(t->alias_names);
}

struct mail_count {
	size_t with, without;
	struct str example; /* of those without an account */
};

static void count_domain(struct takeover *t, struct str domain, struct mail_count *m)
{
	const char *path = arena_cstr(
		t->arena, arena_fmt(t->arena, "%.*s/%.*s", STR_ARG(t->mail_dir), STR_ARG(domain)));
	DIR *dir = opendir(path);
	for (const struct dirent *e; dir && (e = readdir(dir));) {
		struct stat st;
		const char *maildir =
			arena_cstr(t->arena, arena_fmt(t->arena, "%s/%s/Maildir/cur", path, e->d_name));
		if (e->d_name[0] == '.' || stat(maildir, &st) != 0)
			continue;
		struct str address = arena_fmt(t->arena, "%s@%.*s", e->d_name, STR_ARG(domain));
		if (!t->rows_known || takeover_has_account(t, address)) {
			m->with++;
		} else {
			m->without++;
			m->example = address;
		}
	}
	if (dir)
		closedir(dir);
}

/* Whose the mail is: those who deliver and read must be the same user. */
static void look_at_owner(struct takeover *t, const char *path, const struct stat *st)
{
	struct str now = arena_fmt(t->arena, "%u:%u", (unsigned)st->st_uid, (unsigned)st->st_gid);
	if (st->st_uid == 0) {
		takeover_say(t, TAKEOVER_WARN, path, 0, STR("owner root"), STR_NONE,
			     "the directory belongs to root: pabal check perms shows what to change",
			     "디렉터리의 소유자가 root입니다. pabal check perms가 고칠 것을 알려 줍니다");
		return;
	}
	takeover_set_str(t, "process", "user_vmail", now);
	takeover_say(t, TAKEOVER_TAKEN, path, 0, STR("owner"),
		     arena_fmt(t->arena, "process.user_vmail = %.*s", STR_ARG(now)), "", "");
}

void takeover_look_at_mail(struct takeover *t)
{
	struct mail_count m = {0};
	struct stat st;
	if (!t->mail_dir.p)
		return;
	const char *path = arena_cstr(t->arena, t->mail_dir);
	DIR *dir = opendir(path);
	if (!dir || stat(path, &st) != 0) {
		takeover_say(t, TAKEOVER_WARN, path, 0, STR("mail"), STR_NONE, "the directory cannot be read",
			     "디렉터리를 읽을 수 없습니다");
		if (dir)
			closedir(dir);
		return;
	}
	look_at_owner(t, path, &st);
	for (const struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] != '.')
			count_domain(t, str_of(e->d_name), &m);
	}
	closedir(dir);
	takeover_say(t, TAKEOVER_TAKEN, path, 0, arena_fmt(t->arena, "%zu Maildir", m.with),
		     STR("used in place"), "UIDs, flags and folders stay",
		     "UID, 플래그, 메일함이 그대로 유지됩니다");
	if (m.without)
		takeover_say(t, TAKEOVER_WARN, path, 0,
			     arena_fmt(t->arena, "%zu Maildir (%.*s)", m.without, STR_ARG(m.example)),
			     STR_NONE, "mail without an account: it stays where it is",
			     "계정이 없는 메일입니다. 그대로 둡니다");
}
