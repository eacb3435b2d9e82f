/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal testmail: the three test senders that administrators write when they set up mail (R94):
 * --plain, a body without any header to port 25 (R92); --attach, multipart with test.txt to port 25
 * (R91); --auth, STARTTLS and login on the submission port (R90). Prints the whole dialogue.
 */
#include "base/codec.h"
#include "base/ids.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/talk.h"
#include "config/config.h"
#include "crypto/tls.h"
#include "mail/trace.h"

#include "base/clock.h"
#include <string.h>

enum kind { PLAIN, ATTACH, AUTH };

static uint16_t port_of(struct cli *cli, enum listener_service service)
{
	size_t n;
	const struct listener *l = config_listeners(cli->config, &n);
	for (size_t i = 0; i < n; i++) {
		if (l[i].service == service && l[i].port)
			return l[i].port;
	}
	return config_service_port(service);
}

static void write_message(struct buf *b, enum kind kind, struct str from, struct str to)
{
	if (kind == PLAIN) {
		buf_add(b, STR("aaaaaaaaaaaaaaaaaa\r\n"));
		return;
	}
	BUF_SCOPED date = {0};
	date_format(&date, (struct date){.unix_s = clock_wall_s()});
	buf_fmt(b,
		"From: %.*s\r\nTo: %.*s\r\nDate: %.*s\r\nSubject: pabal testmail\r\nMIME-Version: "
		"1.0\r\n",
		STR_ARG(from), STR_ARG(to), STR_ARG(buf_str(&date)));
	buf_add(b, STR("Message-ID: "));
	message_id_new(b, str_from(from, str_find_byte(from, '@') + 1));
	buf_add(b, STR("\r\n"));
	if (kind == AUTH) {
		buf_add(b, STR("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
			       "8bit\r\n\r\n"
			       "It works. \xec\x9e\x98 \xeb\x90\xa9\xeb\x8b\x88\xeb\x8b\xa4.\r\n"));
		return;
	}
	BUF_SCOPED text = {0};
	base64_encode(&text, STR("pabal attachment test\n"));
	buf_fmt(b,
		"Content-Type: multipart/mixed; boundary=\"pabal-test\"\r\n\r\n--pabal-test\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n\r\nA file is attached.\r\n--pabal-test\r\n"
		"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
		"Content-Disposition: attachment; filename= test.txt\r\n\r\n%.*s\r\n--pabal-test--\r\n",
		STR_ARG(buf_str(&text)));
}

static bool say(struct talk *t, const char *line, struct str arg, const char *end, int want,
		struct talk_reply *r, struct err *err)
{
	BUF_SCOPED b = {0};
	buf_add(&b, str_of(line));
	buf_add(&b, arg);
	buf_add(&b, str_of(end));
	return talk_say(t, buf_str(&b), STR_NONE, r, err) && r->code / 100 == want;
}

static bool say_secret(struct talk *t, struct str text, int want, struct talk_reply *r, struct err *err)
{
	BUF_SCOPED b = {0};
	base64_encode(&b, text);
	bool ok = talk_say(t, buf_str(&b), STR("********"), r, err) && r->code / 100 == want;
	secret_wipe(b.p, b.n);
	return ok;
}

static bool log_in(struct talk *t, struct str user, struct str password, struct talk_reply *r,
		   struct err *err)
{
	return say(t, "STARTTLS", STR_NONE, "", 2, r, err) && talk_starttls(t, err) &&
	       say(t, "EHLO testmail.localhost", STR_NONE, "", 2, r, err) &&
	       say(t, "AUTH LOGIN", STR_NONE, "", 3, r, err) && say_secret(t, user, 3, r, err) &&
	       say_secret(t, password, 2, r, err);
}

static bool dialogue(struct talk *t, enum kind kind, struct str from, struct str to, struct str password,
		     struct talk_reply *r, struct err *err)
{
	BUF_SCOPED message = {0};
	write_message(&message, kind, from, to);
	return talk_read(t, r, err) && r->code == 220 &&
	       say(t, "EHLO testmail.localhost", STR_NONE, "", 2, r, err) &&
	       (kind != AUTH || log_in(t, from, password, r, err)) &&
	       say(t, "MAIL FROM:<", from, ">", 2, r, err) && say(t, "RCPT TO:<", to, ">", 2, r, err) &&
	       say(t, "DATA", STR_NONE, "", 3, r, err) && talk_data(t, buf_str(&message), err) &&
	       talk_read(t, r, err) && r->code / 100 == 2 && say(t, "QUIT", STR_NONE, "", 2, r, err);
}

int cmd_testmail(struct cli *cli);
int cmd_testmail(struct cli *cli)
{
	int kinds = cli_has(cli, "--plain") + cli_has(cli, "--attach") + cli_has(cli, "--auth");
	struct str from = cli_option(cli, "--from"), to = cli_arg(cli, 0),
		   host = cli_option(cli, "--host");
	int code = cli_config(cli);
	if (code)
		return code;
	if (kinds != 1)
		return cli_usage(cli, "%s",
				 cli_text(cli, "say one of --plain, --attach, --auth",
					  "--plain, --attach, --auth 가운데 하나를 쓰십시오"));
	enum kind kind = cli_has(cli, "--plain") ? PLAIN : cli_has(cli, "--attach") ? ATTACH : AUTH;
	if (!from.n)
		from = to;
	if (str_has_ctl(from) || str_has_ctl(to))
		return cli_fail(cli, CLI_DATA, "an address holds control characters");
	SECRET_SCOPED password = {0};
	if (kind == AUTH && (code = cli_password(cli, false, &password)))
		return code;
	uint64_t port = port_of(cli, kind == AUTH ? SERVICE_SUBMISSION : SERVICE_SMTP);
	if (cli_has(cli, "--port") && !str_u64(cli_option(cli, "--port"), 65535, &port))
		return cli_usage(cli, "--port wants a number");
	struct talk *t = NULL;
	struct talk_reply r = {0};
	struct err err = {0};
	tls_init();
	bool ok = talk_connect_tcp(host.n ? host : STR("127.0.0.1"), (uint16_t)port,
				   &(struct talk_options){.transcript = &cli->out}, &t, &err) &&
		  dialogue(t, kind, from, to, (struct str){password.p, password.n}, &r, &err);
	cli_flush(cli);
	if (ok)
		code = CLI_OK;
	else if (err.kind != ERR_NONE)
		code = cli_fail(cli,
				err.kind == ERR_GONE || err.kind == ERR_NOT_FOUND ? CLI_UNAVAILABLE
										  : CLI_TEMP,
				"%s", err.text);
	else
		code = cli_fail(cli, r.code / 100 == 4 ? CLI_TEMP : CLI_UNAVAILABLE, "%s: %.*s",
				cli_text(cli, "the server refused", "서버가 거절했습니다"), STR_ARG(r.lines));
	talk_close(t); /* the reply was its */
	return code;
}
