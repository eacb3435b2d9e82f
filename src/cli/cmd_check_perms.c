/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal check perms: who owns, and who may read, every path that pabal uses (R38, R71); --repair makes it so.
 *
 * What a role owns may have been made by a captured role: no link is followed, all is done on open
 * descriptors, and a file with several names whose owner is somebody else is never given away.
 */
#include "base/file.h"
#include "cli/findings.h"
#include "config/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 16, NAMES_SHOWN = 3 };

struct owner {
	bool known;
	uid_t uid;
	struct str name;
};
struct rule {
	const char *what;   /* the setting, or what it is */
	const char *path;
	struct owner owner;
	mode_t forbidden;   /* bits that may not be set */
	bool tree, optional;
};
struct walk {
	struct findings *f;
	const struct rule *rule;
	bool repair;
	size_t seen, wrong, repaired;
	struct str names;
};

/* ---- one file ---- */

static bool is_right(const struct walk *w, const struct stat *st)
{
	return (!w->rule->owner.known || st->st_uid == w->rule->owner.uid) &&
	       !(st->st_mode & w->rule->forbidden);
}

static bool repair(const struct walk *w, int fd, const struct stat *st)
{
	const struct owner *o = &w->rule->owner;
	bool give = o->known && st->st_uid != o->uid;
	if (give && !S_ISDIR(st->st_mode) && st->st_nlink > 1)
		return false;
	if (give && fchown(fd, o->uid, (gid_t)-1) < 0)
		return false;
	return !(st->st_mode & w->rule->forbidden) ||
	       fchmod(fd, (st->st_mode & 07777) & ~w->rule->forbidden) == 0;
}

static void look_at(struct walk *w, int fd, const struct stat *st, const char *path)
{
	w->seen++;
	if (is_right(w, st))
		return;
	if (w->repair && repair(w, fd, st)) {
		w->repaired++;
		return;
	}
	if (++w->wrong <= NAMES_SHOWN)
		w->names = arena_fmt(w->f->cli->arena, "%.*s%s%s (uid %u, %04o)", STR_ARG(w->names),
				     w->wrong > 1 ? ", " : "", path, (unsigned)st->st_uid,
				     (unsigned)(st->st_mode & 07777));
}

static void walk_dir(struct walk *w, int dir, const char *path, int depth);

/* Sockets and links have no content to protect, and are not opened. */
static void walk_entry(struct walk *w, int dir, const char *name, const char *parent, int depth)
{
	struct stat st;
	char path[4096];
	FD_SCOPED fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	snprintf(path, sizeof path, "%s/%s", parent, name);
	look_at(w, fd, &st, path);
	if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
		walk_dir(w, fd, path, depth + 1);
}

static void walk_dir(struct walk *w, int dir, const char *path, int depth)
{
	int own = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = own < 0 ? NULL : fdopendir(own);
	struct dirent *e;
	if (!d) {
		fd_close(&own);
		return;
	}
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			walk_entry(w, dir, e->d_name, path, depth);
	closedir(d);
}

/* ---- a rule ---- */

static void conclude(struct walk *w)
{
	struct cli *cli = w->f->cli;
	const struct rule *r = w->rule;
	struct str what = arena_fmt(cli->arena, "%s, %s", r->what, r->path);
	struct str next = STR("pabal check perms --repair");
	if (w->wrong)
		finding_add(w->f, FINDING_FAIL, what, w->repair ? STR("chown, chmod") : next,
			    cli_text(cli, "%zu of %zu have another owner than %.*s or too open a mode: %.*s",
				     "%zu개(전체 %zu개)의 소유자가 %.*s이(가) 아니거나 권한이 너무 넓습니다: %.*s"),
			    w->wrong, w->seen, STR_ARG(r->owner.name), STR_ARG(w->names));
	else if (w->repaired)
		finding_add(w->f, FINDING_OK, what, STR_NONE,
			    cli_text(cli, "%zu of %zu put right", "%zu / %zu개를 바로잡았습니다"),
			    w->repaired, w->seen);
	else
		finding_add(w->f, FINDING_OK, what, STR_NONE,
			    cli_text(cli, "%zu right, owner %.*s", "%zu개 이상 없음, 소유자 %.*s"), w->seen,
			    STR_ARG(r->owner.name));
}

static void check(struct findings *f, const struct rule *r, bool want_repair)
{
	struct walk w = {.f = f, .rule = r, .repair = want_repair};
	struct cli *cli = f->cli;
	struct stat st;
	FD_SCOPED fd = open(r->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		struct str what = arena_fmt(cli->arena, "%s, %s", r->what, r->path);
		if (errno == ENOENT && r->optional)
			return;
		finding_add(f, errno == ENOENT ? FINDING_WARN : FINDING_FAIL, what,
			    errno == EACCES ? STR("sudo pabal check perms") : STR_NONE, "%s",
			    errno == ENOENT
				    ? cli_text(cli, "not there yet: the server makes it at its start",
					       "아직 없습니다: 서버가 시작할 때 만듭니다")
				    : strerror(errno));
		return;
	}
	look_at(&w, fd, &st, r->path);
	if (r->tree && S_ISDIR(st.st_mode))
		walk_dir(&w, fd, r->path, 0);
	conclude(&w);
}

/* ---- who should own what ---- */

/* As the server does: the user's name, "uid:gid", or, where empty or not started by root, who owns
 * data_dir. */
static struct owner owner_of(struct cli *cli, enum setting user, uid_t base)
{
	struct str name = config_str(cli->config, user), rest = name, uid = str_cut(&rest, ':');
	uint64_t n;
	if (base != 0 || name.n == 0) {
		struct passwd *pw = getpwuid(base);
		return (struct owner){true, base, arena_fmt(cli->arena, "%s", pw ? pw->pw_name : "?")};
	}
	if (rest.p && str_u64(uid, UINT32_MAX - 1, &n))
		return (struct owner){true, (uid_t)n, name};
	struct passwd *pw = getpwnam(arena_cstr(cli->arena, name));
	return (struct owner){pw != NULL, pw ? pw->pw_uid : 0, name};
}

static const char *join(struct cli *cli, const char *dir, const char *name)
{
	return arena_cstr(cli->arena, arena_fmt(cli->arena, "%s/%s", dir, name));
}

static void check_journals(struct findings *f, struct owner vmail, struct owner smtp, bool want_repair)
{
	struct cli *cli = f->cli;
	const char *top = config_path(cli->config, SETTING_JOURNAL_DIR);
	DIR *d = opendir(top);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		struct rule r = {"journal", join(cli, top, e->d_name),
				 strncmp(e->d_name, "smtp-", 5) == 0 ? smtp : vmail, 07, true, false};
		check(f, &r, want_repair);
	}
	if (d)
		closedir(d);
}

static void check_keys(struct findings *f, struct owner base, bool want_repair)
{
	struct config_list keys = config_list(f->cli->config, SETTING_TLS_KEY_FILES);
	for (size_t i = 0; i < keys.n; i++) {
		struct rule r = {"tls.key_files", keys.v[i].p, base, 037, false, false};
		check(f, &r, want_repair);
	}
}

int cmd_check_perms(struct cli *cli)
{
	struct findings f = {.cli = cli};
	bool want_repair = cli_has(cli, "--repair");
	struct stat st;
	int code = cli_config(cli);
	if (code)
		return code;
	const struct config *c = cli->config;
	const char *data = config_path(c, SETTING_DATA_DIR), *run = config_path(c, SETTING_RUN_DIR);
	uid_t uid = stat(data, &st) == 0 ? st.st_uid : geteuid();
	struct owner base = {true, uid,
			     uid ? owner_of(cli, SETTING_PROCESS_USER_LOG, uid).name : STR("root")};
	struct owner vmail = owner_of(cli, SETTING_PROCESS_USER_VMAIL, uid);
	struct owner smtp = owner_of(cli, SETTING_PROCESS_USER_SMTP, uid);
	struct owner log = owner_of(cli, SETTING_PROCESS_USER_LOG, uid);
	const struct rule rules[] = {
		{"configuration", cli->config_path, {false, 0, STR("any")}, 022, false, false},
		{"data_dir", data, base, 022, false, false},
		{"mail_dir", config_path(c, SETTING_MAIL_DIR), vmail, 07, true, false},
		{"spool_dir", config_path(c, SETTING_SPOOL_DIR), vmail, 07, true, false},
		{"directory_dir", config_path(c, SETTING_DIRECTORY_DIR),
		 owner_of(cli, SETTING_PROCESS_USER_AUTH, uid), 07, true, false},
		{"journal_dir", config_path(c, SETTING_JOURNAL_DIR), base, 022, false, false},
		{"dkim.dir", config_path(c, SETTING_DKIM_DIR), base, 077, true, true},
		{"mac.key", join(cli, data, "mac.key"), base, 077, false, true},
		{"run_dir", run, base, 022, false, true},
		{"control sockets", join(cli, run, "control"), base, 027, false, true},
		{"log.path", config_path(c, SETTING_LOG_PATH), log, 07, false, true},
		{"audit.path", config_path(c, SETTING_AUDIT_PATH), log, 07, false, true},
	};
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (rules[i].path[0])
			check(&f, &rules[i], want_repair);
	check_journals(&f, vmail, smtp, want_repair);
	check_keys(&f, base, want_repair);
	return findings_print(&f);
}
