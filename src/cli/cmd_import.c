/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal import classic: a Postfix/Dovecot/MariaDB host becomes a pabal. First everything is read and told,
 * line by line; then, unless it is a dry run, one file is written (pabal.conf), with --copy also the
 * embedded directory. The host's own files, its database and its mail stay as they are.
 */
#include "base/file.h"
#include "cli/cli_int.h"
#include "cli/table.h"
#include "config/config.h"
#include "directory/directory.h"
#include "import/takeover.h"
#include "json/json.h"
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_name(const struct cli *cli, enum takeover_kind kind)
{
	switch (kind) {
	case TAKEOVER_TAKEN: return cli_text(cli, "taken", "가져옴");
	case TAKEOVER_BUILTIN: return cli_text(cli, "built in", "기본 제공");
	case TAKEOVER_CANNOT: return cli_text(cli, "CANNOT", "불가");
	case TAKEOVER_WARN: return cli_text(cli, "LOOK", "확인");
	}
	return "";
}

static struct str place_of(struct cli *cli, const struct takeover_line *l)
{
	return l->line ? arena_fmt(cli->arena, "%s:%u", l->file, l->line) : str_of(l->file);
}

static void print_lines(struct cli *cli, const struct takeover *t)
{
	size_t counts[4] = {0};
	for (size_t i = 0; i < t->lines_n; i++) {
		const struct takeover_line *l = &t->lines[i];
		const char *why = cli_text(cli, l->en, l->ko);
		counts[l->kind]++;
		cli_print(cli, "%.*s\n  %s: %.*s", STR_ARG(place_of(cli, l)), kind_name(cli, l->kind),
			  STR_ARG(l->what));
		if (l->becomes.n)
			cli_print(cli, "\n    -> %.*s", STR_ARG(l->becomes));
		cli_print(cli, "%s%s\n", *why ? "\n    " : "", why);
	}
	cli_print(cli,
		  cli_text(cli,
			   "\n%zu taken over, %zu built in, %zu to look at, %zu that pabal cannot do\n",
			   "\n가져옴 %zu, 기본 제공 %zu, 확인 필요 %zu, 불가 %zu\n"),
		  counts[TAKEOVER_TAKEN], counts[TAKEOVER_BUILTIN], counts[TAKEOVER_WARN],
		  counts[TAKEOVER_CANNOT]);
}

static void print_json(struct cli *cli, const struct takeover *t, const char *written, struct str config)
{
	static const char *const kinds[] = {"taken", "builtin", "cannot", "warning"};
	struct json_writer w;
	json_write_init(&w, &cli->out);
	json_write_object_begin(&w);
	json_write_name(&w, STR("lines"));
	json_write_array_begin(&w);
	for (size_t i = 0; i < t->lines_n; i++) {
		const struct takeover_line *l = &t->lines[i];
		json_write_object_begin(&w);
		json_write_member_cstr(&w, "kind", kinds[l->kind]);
		json_write_member_cstr(&w, "file", l->file);
		json_write_member_int(&w, "line", l->line);
		json_write_member_str(&w, "what", l->what);
		json_write_member_str(&w, "becomes", l->becomes);
		json_write_member_cstr(&w, "en", l->en);
		json_write_member_cstr(&w, "ko", l->ko);
		json_write_object_end(&w);
	}
	json_write_array_end(&w);
	json_write_member_int(&w, "domains", (int64_t)t->domains_n);
	json_write_member_int(&w, "accounts", (int64_t)t->accounts_n);
	json_write_member_int(&w, "aliases", (int64_t)t->aliases_n);
	json_write_member_int(&w, "weak", (int64_t)t->weak);
	json_write_member_cstr(&w, "written", written ? written : "");
	json_write_member_str(&w, "config", config);
	json_write_object_end(&w);
	cli_print(cli, "\n");
}

/* ---- writing -------------------------------------------------------------------------------------- */

/* The query files hold a password and belong to root and Postfix's group (R38); auth runs as a user of
 * its own. Where it may not read them it gets copies beside pabal.conf. */
static bool copy_for_auth(struct cli *cli, const char *from, const char *dir, const struct passwd *auth,
			  struct str *out, struct err *err)
{
	BUF_SCOPED text = {0};
	const char *base = from;
	for (const char *p = from; *p; p++)
		base = *p == '/' ? p + 1 : base;
	const char *to = arena_cstr(cli->arena, arena_fmt(cli->arena, "%s/%s", dir, base));
	if (!file_read_whole(AT_FDCWD, from, POSTFIX_MAP_FILE_MAX, &text, err) ||
	    !file_replace_whole(AT_FDCWD, to, buf_str(&text), 0600, err))
		return false;
	if (chown(to, auth->pw_uid, auth->pw_gid) != 0)
		return err_sys(err, "chown %s", to);
	*out = str_of(to);
	return true;
}

/* A value of ours: {"mysql:/a", "mysql:/b"} or "/a": each path in it is copied. */
static bool copy_paths(struct cli *cli, struct takeover *t, const char *name, const char *dir,
		       const struct passwd *auth, struct err *err)
{
	struct str value = takeover_value(t, "directory", name);
	struct str *v, rest = value;
	size_t n = 0, cap = 0;
	bool list = str_starts(value, STR("{"));
	for (v = NULL; rest.p;) {
		(void)str_cut(&rest, '"');
		if (!rest.p)
			break;
		struct str item = str_cut(&rest, '"'),
			   path = str_starts(item, STR("mysql:")) ? str_from(item, 6) : item;
		if (!copy_for_auth(cli, arena_cstr(cli->arena, path), dir, auth, &path, err))
			return false;
		v = arena_grow(cli->arena, v, n, &cap, sizeof *v);
		v[n++] = list ? arena_cat(cli->arena, STR("mysql:"), path) : path;
	}
	if (list)
		takeover_set_list(t, "directory", name, v, n);
	else if (n > 0)
		takeover_set_str(t, "directory", name, v[0]);
	return true;
}

static bool copy_query_files(struct cli *cli, struct takeover *t, const char *config, struct err *err)
{
	static const char *const names[] = {"classic_domains", "classic_accounts", "classic_aliases",
					    "classic_dovecot"};
	const struct passwd *auth = geteuid() == 0 ? getpwnam("pabal-auth") : NULL;
	if (!auth)
		return true;
	const char *dir = arena_cstr(cli->arena, arena_fmt(cli->arena, "%s.classic", config));
	if (mkdir(dir, 0755) != 0 && errno != EEXIST)
		return err_sys(err, "mkdir %s", dir);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (takeover_value(t, "directory", names[i]).p &&
		    !copy_paths(cli, t, names[i], dir, auth, err))
			return false;
	}
	return true;
}

/* The directory's own, for the user who will run auth: the database then gets its owner. */
static bool make_directory_dir(const struct config *c, struct err *err)
{
	const struct passwd *auth = geteuid() == 0 ? getpwnam("pabal-auth") : NULL;
	const char *data = config_path(c, SETTING_DATA_DIR), *dir = config_path(c, SETTING_DIRECTORY_DIR);
	if (mkdir(data, 0755) != 0 && errno != EEXIST)
		return err_sys(err, "mkdir %s", data);
	if (mkdir(dir, 0700) != 0)
		return errno == EEXIST || err_sys(err, "mkdir %s", dir);
	return !auth || chown(dir, auth->pw_uid, auth->pw_gid) == 0 || err_sys(err, "chown %s", dir);
}

static int write_all(struct cli *cli, struct takeover *t, const char *path, bool copy, struct buf *text)
{
	BUF_SCOPED problems = {0};
	struct err err = {0};
	struct directory *d = NULL;
	CONFIG_SCOPED c = NULL;
	if (access(path, F_OK) == 0 && !cli_has(cli, "--yes"))
		return cli_fail(cli, CLI_DATA,
				cli_text(cli, "%s exists: --output names another file, --yes replaces it",
					 "%s 파일이 이미 있습니다. --output으로 다른 파일을 정하거나 --yes로 바꾸세요"),
				path);
	if (!copy && !copy_query_files(cli, t, path, &err))
		return cli_fail(cli, CLI_IO, "%s", err.cause);
	buf_clear(text);
	takeover_config(t, text);
	if (!config_parse(path, buf_str(text), &problems, &c, &err))
		return cli_fail(cli, CLI_SOFTWARE, "%.*s", STR_ARG(buf_str(&problems)));
	if (!file_replace_whole(AT_FDCWD, path, buf_str(text), 0644, &err))
		return cli_fail(cli, CLI_IO, "%s", err.cause[0] ? err.cause : err.text);
	if (!copy)
		return CLI_OK;
	if (!make_directory_dir(c, &err) || !directory_open(c, &d, &err))
		return cli_fail_err(cli, &err);
	bool ok = takeover_copy(t, d, &err);
	directory_close(d);
	return ok ? CLI_OK : cli_fail_err(cli, &err);
}

static int read_all(struct cli *cli, struct takeover *t, bool copy)
{
	struct err err = {0};
	const char *postfix = arena_cstr(cli->arena, cli_option(cli, "--postfix"));
	const char *dovecot = arena_cstr(cli->arena, cli_option(cli, "--dovecot"));
	struct str dump = cli_option(cli, "--dump");
	if (!takeover_read_postfix(t, postfix, &err) || !takeover_read_dovecot(t, dovecot, &err) ||
	    !takeover_read_rows(t, dump.p ? arena_cstr(cli->arena, dump) : NULL, &err))
		return cli_fail(cli, cli_exit_of(&err), "%s", err.cause[0] ? err.cause : err.text);
	takeover_look_at_mail(t);
	if (copy && !t->rows_known)
		return cli_fail(cli, CLI_DATA, "%s",
				cli_text(cli, "--copy needs queries whose rows can be listed",
					 "--copy는 행 목록을 만들 수 있는 쿼리가 필요합니다"));
	takeover_choose_directory(t, copy);
	if (cli_has(cli, "--data-dir"))
		takeover_set_str(t, "", "data_dir", cli_option(cli, "--data-dir"));
	return CLI_OK;
}

static int import(struct cli *cli, struct takeover *t)
{
	struct str output = cli_option(cli, "--output");
	const char *path = output.p ? arena_cstr(cli->arena, output) : cli->config_path;
	bool copy = cli_has(cli, "--copy"), dry = cli_has(cli, "--dry-run");
	BUF_SCOPED text = {0};
	if (!cli_has(cli, "--postfix") || !cli_has(cli, "--dovecot"))
		return cli_usage(cli, "%s",
				 cli_text(cli, "--postfix DIR and --dovecot DIR say where the files are",
					  "--postfix 디렉터리와 --dovecot 디렉터리가 필요합니다"));
	int rc = read_all(cli, t, copy);
	if (rc != CLI_OK)
		return rc;
	takeover_config(t, &text);
	if (!dry)
		rc = write_all(cli, t, path, copy, &text);
	if (rc != CLI_OK)
		return rc;
	if (cli->json) {
		print_json(cli, t, dry ? NULL : path, buf_str(&text));
		return CLI_OK;
	}
	print_lines(cli, t);
	if (dry)
		cli_print(cli, cli_text(cli, "\nNothing was written. pabal.conf would be:\n\n%.*s",
					"\n아무것도 쓰지 않았습니다. pabal.conf는 다음과 같이 됩니다:\n\n%.*s"),
			  STR_ARG(buf_str(&text)));
	else
		cli_print(cli, cli_text(cli, "\nWritten: %s\n", "\n작성함: %s\n"), path);
	return CLI_OK;
}

int cmd_import_classic(struct cli *cli)
{
	struct takeover t = {.arena = cli->arena};
	int rc = import(cli, &t);
	takeover_free(&t);
	return rc;
}
