/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* pabal quickstart: everything in one directory, then the server in the foreground. */
#include "cli/cli.h"
#include "config/config.h"
#include "proc/proc.h"
#include "proc/quickstart.h"
#include <stdio.h>
#include <unistd.h>

struct shown {
	struct cli *cli;
	struct quickstart_made made;
};

static unsigned port_of(const struct config *c, enum listener_service service)
{
	size_t n;
	const struct listener *l = config_listeners(c, &n);

	for (size_t i = 0; i < n; i++)
		if (l[i].service == service && l[i].port)
			return l[i].port;
	return 0;
}

static void print_accounts(struct cli *cli, const struct quickstart_made *m)
{
	cli_print(cli, "%s\n", cli_text(cli, "Accounts:", "계정:"));
	for (size_t i = 0; i < m->accounts_n; i++)
		cli_print(cli, "  %-32.*s %.*s\n", STR_ARG(m->accounts[i].address),
			  STR_ARG(m->accounts[i].password));
}

static void print_ports(struct cli *cli, const struct config *c)
{
	size_t n;
	const struct listener *l = config_listeners(c, &n);

	cli_print(cli, "%s\n", cli_text(cli, "Listening on:", "주소:"));
	for (size_t i = 0; i < n; i++) {
		struct str host = l[i].address.n ? l[i].address.v[0] : STR("-");
		if (l[i].port)
			cli_print(cli, "  %-12.*s %.*s:%u\n", STR_ARG(l[i].name), STR_ARG(host), l[i].port);
	}
}

static void print_to_try(struct cli *cli, const struct shown *s, const struct config *c)
{
	const struct quickstart_account *a = s->made.accounts;

	if (s->made.accounts_n == 0)
		return;
	cli_print(cli, "\n%s\n",
		  cli_text(cli,
			   "Three things to try in another terminal:", "다른 터미널에서 해 볼 세 가지:"));
	cli_print(cli, "  1. swaks --server 127.0.0.1:%u --to %.*s --header 'Subject: 안녕하세요'\n",
		  port_of(c, SERVICE_SMTP), STR_ARG(a[0].address));
	cli_print(cli, "  2. curl --insecure --user '%.*s:%.*s' 'imaps://127.0.0.1:%u/INBOX;MAILINDEX=1'\n",
		  STR_ARG(a[0].address), STR_ARG(a[0].password), port_of(c, SERVICE_IMAPS));
	cli_print(cli, "  3. %s status --config %s\n", cli->argv[0], s->made.config_path);
	cli_print(cli, "\n%s\n", cli_text(cli, "Stop with Ctrl-C.", "Ctrl-C로 멈춥니다."));
}

/* In the master, once every role is ready. */
static void on_ready(void *ctx, const struct config *c, enum serve_news news)
{
	struct shown *s = ctx;
	struct err err;

	if (!quickstart_write_ready(&s->made, c, &err))
		fprintf(stderr, "pabal: %s\n", err.cause);
	if (news != SERVE_STARTED)
		return;
	cli_print(s->cli, "\n%s %s\n\n",
		  cli_text(s->cli, "pabal is ready. Files:", "pabal이 준비되었습니다. 파일:"),
		  s->made.dir);
	print_ports(s->cli, c);
	cli_print(s->cli, "\n");
	print_accounts(s->cli, &s->made);
	print_to_try(s->cli, s, c);
	cli_flush(s->cli);
}

static void on_ended(void *ctx)
{
	struct shown *s = ctx;

	(void)unlink(arena_cstr(s->cli->arena, arena_fmt(s->cli->arena, "%s/ready.json", s->made.dir)));
}

/* Options that describe a new server do nothing to one that is there: not without a word. */
static void note_ignored(struct cli *cli, const struct quickstart *q, const struct quickstart_made *made)
{
	BUF_SCOPED problems = {0};
	CONFIG_SCOPED c = NULL;
	struct err err;

	if (made->fresh || !config_load(made->config_path, &problems, &c, &err))
		return;
	bool other = (q->domain.n && !str_eq(q->domain, config_str(c, SETTING_MYDOMAIN))) ||
		     (q->port_base && q->port_base != (unsigned)config_int(c, SETTING_PORT_BASE));
	if (other)
		fprintf(stderr,
			cli_text(cli,
				 "pabal: %s has a server already, for %.*s: it stays as it is (--domain, "
				 "--port-base and the like are for a new directory; edit %s)\n",
				 "pabal: %s에 이미 %.*s 서버가 있어 그대로 둡니다(--domain, --port-base "
				 "등은 새 디렉터리에만 "
				 "쓰입니다. %s를 고치십시오)\n"),
			made->dir, STR_ARG(config_str(c, SETTING_MYDOMAIN)), made->config_path);
}

static size_t all_of(struct cli *cli, const char *name, struct str *out, size_t max)
{
	size_t n = 0;

	for (; n < max; n++) {
		out[n] = cli_option_at(cli, name, n);
		if (!out[n].p)
			break;
	}
	return n;
}

int cmd_quickstart(struct cli *cli)
{
	enum { MANY = 1000, HIGHEST_BASE = 50000 };
	struct str accounts[MANY], aliases[MANY];
	struct shown shown = {.cli = cli};
	struct err err = {0};
	uint64_t base = 0;
	struct quickstart q = {
		.dir = cli_option(cli, "--dir"),
		.domain = cli_option(cli, "--domain"),
		.host = cli_option(cli, "--host"),
		.accounts = accounts,
		.aliases = aliases,
	};

	if (cli_has(cli, "--port-base") && !str_u64(cli_option(cli, "--port-base"), HIGHEST_BASE, &base))
		return cli_usage(cli, "%s",
				 cli_text(cli, "--port-base is a number up to 50000",
					  "--port-base는 50000까지의 수입니다"));
	q.port_base = (unsigned)base;
	q.accounts_n = all_of(cli, "--account", accounts, MANY);
	q.aliases_n = all_of(cli, "--alias", aliases, MANY);
	if (!quickstart_make(&q, cli->arena, &shown.made, &err))
		return cli_fail_err(cli, &err);
	note_ignored(cli, &q, &shown.made);
	if (cli_has(cli, "--no-start")) {
		cli_print(cli, "%s %s\n", cli_text(cli, "Made:", "만들었습니다:"), shown.made.config_path);
		print_accounts(cli, &shown.made);
		return CLI_OK;
	}
	struct serve_options o = {.config_path = shown.made.config_path,
				  .ready = on_ready,
				  .ended = on_ended,
				  .ctx = &shown,
				  .argv = cli->argv};
	return proc_serve(&o);
}
