/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal serve, role, status, reload, stop, log tail: the server as a whole. */
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "cli/control.h"
#include "cli/table.h"
#include "config/config.h"
#include "json/json.h"
#include "json/log_json.h"
#include "proc/proc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPLY_MAX = 4 << 20 };

int cmd_server_run(struct cli *cli)
{
	struct serve_options o = {.config_path = cli->config_path, .argv = cli->argv};

	if (access(cli->config_path, F_OK) < 0)
		return cli_config(cli); /* says what to do */
	return proc_serve(&o);
}

int cmd_prepare(struct cli *cli)
{
	struct err err = {0};
	int code = cli_config(cli);

	umask(027);
	if (code)
		return code;
	return proc_prepare(cli->config, &err) ? CLI_OK : cli_fail_err(cli, &err);
}

int cmd_role(struct cli *cli)
{
	uint64_t index;

	if (cli->nargs != 2 || !str_u64(cli_arg(cli, 1), 1000, &index))
		return CLI_USAGE;
	return role_main(cli_arg(cli, 0), (unsigned)index);
}

int cmd_probe(struct cli *cli)
{
	struct err err = {0};
	int code = cli_config(cli);

	if (code)
		return code;
	if (!proc_probe(cli->config, cli_arg(cli, 0), &cli->out, &err))
		return cli_fail_err(cli, &err);
	cli_print(cli, "\n");
	return CLI_OK;
}

/* By the configuration; status and stop also work while it is wrong. */
static int find_run_dir(struct cli *cli, char request, const char **out)
{
	int code = cli_config(cli);

	if (code == 0) {
		*out = config_path(cli->config, SETTING_RUN_DIR);
		return CLI_OK;
	}
	*out = request == 's' || request == 'q' ? find_server(cli->arena, cli->config_path) : NULL;
	if (request == 'r' || request == 'u')
		fprintf(stderr, "pabal: %s\n",
			cli_text(cli, "nothing was changed: mend the file and try again",
				 "아무것도 바꾸지 않았습니다. 파일을 고치고 다시 하십시오"));
	if (*out)
		fprintf(stderr, "pabal: %s\n",
			cli_text(cli, "the server goes on with the configuration that it read before",
				 "서버는 이전에 읽은 설정으로 계속 실행 중입니다"));
	return *out ? CLI_OK : code;
}

/* One request to the master; 0, or the exit code after a message. */
static int ask(struct cli *cli, char request, struct json_doc **out)
{
	BUF_SCOPED reply = {0};
	struct err err = {0};
	const char *run_dir;
	int code = find_run_dir(cli, request, &run_dir);

	if (code)
		return code;
	if (!proc_ask_master(run_dir, request, &reply, &err)) {
		if (err.kind != ERR_NOT_FOUND)
			return cli_fail_err(cli, &err);
		return cli_no_server(cli);
	}
	if (!json_doc_parse(str_trim(buf_str(&reply)), REPLY_MAX, out, &err))
		return cli_fail_err(cli, &err);
	return CLI_OK;
}

/* ---- status -------------------------------------------------------------------------------------- */

static int64_t number(const struct json_value *v, const char *name)
{
	return json_value_int_or(json_value_member(v, name), 0);
}

static struct str text(const struct json_value *v, const char *name)
{
	return json_value_str_or(json_value_member(v, name), STR_NONE);
}

static struct str duration(struct cli *cli, int64_t s)
{
	if (s < 60)
		return arena_fmt(cli->arena, "%llds", (long long)s);
	if (s < 3600)
		return arena_fmt(cli->arena, "%lldm %llds", (long long)s / 60, (long long)s % 60);
	if (s < 86400)
		return arena_fmt(cli->arena, "%lldh %lldm", (long long)s / 3600, (long long)s / 60 % 60);
	return arena_fmt(cli->arena, "%lldd %lldh", (long long)s / 86400, (long long)s / 3600 % 24);
}

static void print_roles(struct cli *cli, const struct json_value *root)
{
	const struct json_value *roles = json_value_member(root, "roles");
	struct table *t = table_new(
		cli->arena,
		cli_text(cli, "ROLE|>PID|STATE|UPTIME|>RESTARTS|>CONNECTIONS|>MEMORY|USER|SANDBOX",
			 "역할|>PID|상태|가동 시간|>재시작|>연결|>메모리|사용자|샌드박스"));
	int64_t memory = 0;

	for (size_t i = 0; i < json_value_count(roles); i++) {
		const struct json_value *r = json_value_item(roles, i), *d = json_value_member(r, "detail");
		memory += number(d, "pss_kib");
		table_cell(t, text(r, "name"));
		table_cell_fmt(t, "%lld", (long long)number(r, "pid"));
		table_cell(t, text(r, "state"));
		table_cell(t, duration(cli, number(r, "uptime_s")));
		table_cell_fmt(t, "%lld", (long long)number(r, "restarts"));
		table_cell_fmt(t, "%lld", (long long)number(d, "connections"));
		table_cell_fmt(t, "%.1f MB", (double)number(d, "pss_kib") / 1024);
		table_cell(t, text(r, "user"));
		table_cell(t, text(r, "sandbox"));
	}
	table_print(t, &cli->out);
	cli_print(cli, "%s %.1f MB\n",
		  cli_text(cli, "Memory of the roles (PSS):", "역할들의 메모리(PSS):"),
		  (double)memory / 1024);
}

static void print_journals(struct cli *cli, const struct json_value *root)
{
	const struct json_value *roles = json_value_member(root, "roles");
	struct table *t = table_new(cli->arena, cli_text(cli, "JOURNAL|>COMMITTED|>SETTLED BELOW|>FULL",
							 "저널|>기록|>확정|>사용률"));

	for (size_t i = 0; i < json_value_count(roles); i++) {
		const struct json_value *r = json_value_item(roles, i), *d = json_value_member(r, "detail");
		if (json_value_type(json_value_member(d, "journal_committed")) != JSON_TYPE_INT)
			continue;
		table_cell(t, text(r, "name"));
		table_cell_fmt(t, "%lld", (long long)number(d, "journal_committed"));
		table_cell_fmt(t, "%lld", (long long)number(d, "journal_watermark"));
		table_cell_fmt(t, "%lld %%", (long long)number(d, "journal_fill_percent"));
	}
	cli_print(cli, "\n");
	table_print(t, &cli->out);
}

static void print_alarms(struct cli *cli, const struct json_value *root)
{
	const struct json_value *roles = json_value_member(root, "roles");

	for (size_t i = 0; i < json_value_count(roles); i++) {
		const struct json_value *detail = json_value_member(json_value_item(roles, i), "detail");
		const struct json_value *list = json_value_member(detail, "alarms");
		for (size_t k = 0; k < json_value_count(list); k++)
			cli_print(cli, cli_text(cli, "ALARM: %.*s, since %.*s\n", "경보: %.*s, %.*s부터\n"),
				  STR_ARG(text(json_value_item(list, k), "alarm")),
				  STR_ARG(cli_time(cli->arena, number(json_value_item(list, k), "since"))));
	}
}

static void print_notes(struct cli *cli, const struct json_value *root)
{
	print_alarms(cli, root);
	if (!json_value_bool_or(json_value_member(root, "separate_users"), true))
		cli_print(
			cli, "%s\n",
			cli_text(cli, "Note: all roles run as one user (see process.user_* settings).",
				 "참고: 모든 역할이 한 사용자로 실행됩니다(process.user_* 설정 참고)."));
	if (!json_value_bool_or(json_value_member(root, "certificate"), true))
		cli_print(
			cli, "%s\n",
			cli_text(
				cli,
				"Note: there is no certificate, so no TLS (see tls.certificate_files).",
				"참고: 인증서가 없어 TLS를 쓸 수 없습니다(tls.certificate_files 참고)."));
}

int cmd_server_status(struct cli *cli)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = ask(cli, 's', &doc);

	if (code)
		return code;
	const struct json_value *root = json_doc_root(doc);
	if (cli->json) {
		json_value_print(root, &cli->out);
		return CLI_OK;
	}
	cli_print(cli, "pabal %.*s %.*s, pid %lld, %s %.*s (%.*s), %.*s\n", STR_ARG(text(root, "version")),
		  STR_ARG(text(root, "state")), (long long)number(root, "pid"),
		  cli_text(cli, "started", "시작"), STR_ARG(cli_time(cli->arena, number(root, "started_unix"))),
		  STR_ARG(duration(cli, number(root, "uptime_s"))), STR_ARG(text(root, "config")));
	if (text(root, "upgraded_from").n)
		cli_print(cli, cli_text(cli, "Upgraded from %.*s.\n", "%.*s에서 바꾸었습니다.\n"),
			  STR_ARG(text(root, "upgraded_from")));
	cli_print(cli, "\n");
	print_roles(cli, root);
	print_journals(cli, root);
	print_notes(cli, root);
	return CLI_OK;
}

/* ---- reload, stop ---------------------------------------------------------------------------------- */

int cmd_server_reload(struct cli *cli)
{
	JSON_DOC_SCOPED doc = NULL;
	/* A wrong file is refused here already, with file:line: the server is not even asked. */
	int code = ask(cli, 'r', &doc);

	if (!code)
		code = cli_master_did(cli, json_doc_root(doc),
				  cli_text(cli, "refused; the old configuration stays",
					   "거절되었습니다. 이전 설정을 그대로 씁니다"));
	if (!code)
		cli_print(cli, "%s\n", cli_text(cli, "Reloaded.", "다시 읽었습니다."));
	return code;
}

int cmd_server_upgrade(struct cli *cli)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = ask(cli, 'u', &doc);

	const struct json_value *root = code ? NULL : json_doc_root(doc);
	if (!code)
		code = cli_master_did(cli, root,
				  cli_text(cli, "not upgraded; the old program goes on",
					   "바꾸지 않았습니다. 이전 프로그램이 계속 실행됩니다"));
	if (code)
		return code;
	if (cli->json)
		json_value_print(root, &cli->out);
	else
		cli_print(cli,
			  cli_text(cli, "Upgraded from %.*s to %.*s, pid %lld.\n",
				   "%.*s에서 %.*s(으)로 바꾸었습니다. pid %lld.\n"),
			  STR_ARG(text(root, "upgraded_from")), STR_ARG(text(root, "version")),
			  (long long)number(root, "pid"));
	return CLI_OK;
}

/* Started by the master of another version: may it run us with these words, and leave us what it has? */
int cmd_adopt(struct cli *cli)
{
	struct err err = {0};
	int words = 1;

	while (words < cli->argc && strcmp(cli->argv[words], "--") != 0)
		words++;
	if (!cli_could_run(cli->argc - words, cli->argv + words))
		return CLI_USAGE;
	if (!proc_adopt_check(cli->config_path, &err))
		return cli_fail_err(cli, &err);
	cli_print(cli, "%s\n", PROC_ADOPTS);
	return CLI_OK;
}

int cmd_server_stop(struct cli *cli)
{
	JSON_DOC_SCOPED doc = NULL;
	int code = ask(cli, 'q', &doc);

	if (code == CLI_OK)
		cli_print(cli, "%s\n", cli_text(cli, "Stopped.", "정지했습니다."));
	return code;
}

/* ---- log tail --------------------------------------------------------------------------------------- */

/* Where the last n lines begin. */
static off_t tail_start(int fd, uint64_t lines)
{
	off_t at = lseek(fd, 0, SEEK_END);
	char c;

	for (off_t i = at - 1; i > 0 && lines; i--)
		if (pread(fd, &c, 1, i - 1) == 1 && c == '\n' && --lines == 0)
			return i;
	return 0;
}

/* Objects, one a line, whichever form the log has; part: a line that is not all there yet. */
static void add_json(struct cli *cli, struct buf *part, struct str bytes)
{
	buf_add(part, bytes);
	size_t whole = str_find_last_byte(buf_str(part), '\n') + 1; /* none: 0 */
	for (struct str rest = str_sub(buf_str(part), 0, whole); rest.n;) {
		struct str line = str_cut(&rest, '\n');
		if (str_starts(line, STR("{")))
			buf_add(&cli->out, line);
		else
			json_log_line(&cli->out, line, JSON_LOG_PLAIN);
		buf_byte(&cli->out, '\n');
	}
	buf_consume(part, whole);
}

static bool copy_rest(struct cli *cli, int fd, struct buf *part)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		if (cli->json)
			add_json(cli, part, (struct str){chunk, (size_t)n});
		else
			buf_add_bytes(&cli->out, chunk, (size_t)n);
		cli_flush(cli);
	}
	return n == 0;
}

/* Follows the name: after rotation the new file is read from its beginning. */
static int follow(struct cli *cli, const char *path, int fd, struct buf *part)
{
	enum { LOOK_MS = 500 };

	for (;;) {
		struct stat open_file, named;
		if (!copy_rest(cli, fd, part))
			return cli_fail(cli, CLI_IO, "%s: %s", path, strerror(errno));
		poll(NULL, 0, LOOK_MS);
		if (stat(path, &named) < 0 || fstat(fd, &open_file) < 0 || named.st_ino == open_file.st_ino)
			continue;
		int fresh = open(path, O_RDONLY | O_CLOEXEC);
		if (fresh < 0)
			continue;
		(void)copy_rest(cli, fd, part);
		close(fd);
		fd = fresh;
	}
}

int cmd_log_tail(struct cli *cli)
{
	BUF_SCOPED part = {0};
	uint64_t lines = 20;
	int code = cli_config(cli);

	if (code)
		return code;
	const char *path = config_path(cli->config, SETTING_LOG_PATH);
	if (cli_has(cli, "--lines") && !str_u64(cli_option(cli, "--lines"), 1000000, &lines))
		return cli_usage(cli, "%s", cli_text(cli, "--lines needs a number", "--lines는 수여야 합니다"));
	if (!path[0])
		return cli_fail(cli, CLI_CONFIG, "%s",
				cli_text(cli, "the log goes to standard error (log.path is not set)",
					 "로그가 표준 오류로 나갑니다(log.path가 없음)"));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cli_fail(cli, errno == EACCES ? CLI_DENIED : CLI_IO, "%s: %s", path, strerror(errno));
	if (lseek(fd, tail_start(fd, lines), SEEK_SET) < 0)
		return cli_fail(cli, CLI_IO, "%s: %s", path, strerror(errno));
	if (cli_has(cli, "--follow"))
		return follow(cli, path, fd, &part);
	code = copy_rest(cli, fd, &part) ? CLI_OK : CLI_IO;
	close(fd);
	return code;
}
