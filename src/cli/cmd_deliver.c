/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal deliver -f SENDER -d RECIPIENT < message: the LDA that other mail servers call (R35). It
 * hands the message to the running server by LMTP, so it is durable when we say 0; every failure
 * is an exit code of sysexits(3): EX_TEMPFAIL makes the caller try again.
 */
#include "cli/cli.h"
#include "cli/talk.h"
#include "config/config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool read_message(struct buf *out, size_t max)
{
	for (;;) {
		char *p = buf_room(out, 64 * 1024);
		ssize_t n = read(STDIN_FILENO, p, 64 * 1024);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		out->n += (size_t)n;
		if (out->n > max)
			return false;
	}
}

static bool lmtp_connect(struct cli *cli, struct talk **out, struct err *err)
{
	size_t n;
	const struct listener *l = config_listeners(cli->config, &n);
	struct talk_options o = {.timeout_ms = 120000};
	for (size_t i = 0; i < n; i++) {
		if (l[i].service != SERVICE_LMTP)
			continue;
		if (l[i].unix_path.n && talk_connect_unix(l[i].unix_path.p, &o, out, err))
			return true;
		if (l[i].port && talk_connect_tcp(STR("127.0.0.1"), l[i].port, &o, out, err))
			return true;
	}
	if (err->kind == ERR_NONE)
		err_set(err, ERR_NOT_FOUND, "no lmtp listener is configured");
	return false;
}

/* "5.1.1" among others means no such user: EX_NOUSER. */
static int exit_of(struct cli *cli, const struct talk_reply *r)
{
	if (r->code / 100 == 2)
		return CLI_OK;
	int code = r->code / 100 != 5                              ? CLI_TEMP
		   : str_find(r->lines, STR(" 5.1.1")) != STR_NPOS ? CLI_NO_USER
								   : CLI_UNAVAILABLE;
	return cli_fail(cli, code, "%.*s", STR_ARG(r->lines));
}

static bool step(struct talk *t, struct str line, int want, struct talk_reply *r, struct err *err,
		 bool *refused)
{
	if (!talk_say(t, line, STR_NONE, r, err))
		return false;
	*refused = r->code / 100 != want;
	return !*refused;
}

int cmd_deliver(struct cli *cli);
int cmd_deliver(struct cli *cli)
{
	struct str from = cli_option(cli, "-f"), to = cli_option(cli, "-d");
	int code = cli_config(cli);
	if (code)
		return code;
	if (!to.n)
		return cli_usage(cli, "%s",
				 cli_text(cli, "deliver needs -d RECIPIENT",
					  "deliver에는 -d 수신자가 필요합니다"));
	if (str_has_ctl(from) || str_has_ctl(to))
		return cli_fail(cli, CLI_DATA, "an address holds control characters");
	BUF_SCOPED message = {0};
	if (!read_message(&message, config_size(cli->config, SETTING_SMTP_MAX_MESSAGE_SIZE)))
		return cli_fail(cli, CLI_DATA, "the message cannot be read or is too large");
	struct talk *t = NULL;
	struct err err = {0};
	struct talk_reply r = {0};
	bool refused = false;
	BUF_SCOPED mail = {0};
	BUF_SCOPED rcpt = {0};
	buf_fmt(&mail, "MAIL FROM:<%.*s>", STR_ARG(from));
	buf_fmt(&rcpt, "RCPT TO:<%.*s>", STR_ARG(to));
	bool ok = lmtp_connect(cli, &t, &err) && talk_read(t, &r, &err);
	if (ok && r.code != 220)
		refused = true, ok = false;
	ok = ok && step(t, STR("LHLO localhost"), 2, &r, &err, &refused) &&
	     step(t, buf_str(&mail), 2, &r, &err, &refused) &&
	     step(t, buf_str(&rcpt), 2, &r, &err, &refused) &&
	     step(t, STR("DATA"), 3, &r, &err, &refused) && talk_data(t, buf_str(&message), &err) &&
	     talk_read(t, &r, &err);
	code = ok || refused
		       ? exit_of(cli, &r)
		       : cli_fail(cli, CLI_TEMP, "%s", err.text); /* not delivered: the caller keeps it */
	talk_close(t);
	return code;
}
