/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * pabal sendmail: how programs of this host hand in mail (cron, mailx, PHP, scripts).
 *
 * It reads all of standard input, then speaks SMTP with the running server over the local listener's
 * socket, which every user may open; who it is says the kernel (R86). 0 means the message is durable.
 * Recipients that do not exist: if all are, EX_NOUSER and nothing was sent; if some are, the message
 * goes to all, and the sender gets a bounce for those. The configuration is read for the socket's path
 * only; a user who may not read it finds the socket where the default is.
 */
#include "cli/cli.h"
#include "cli/cli_int.h"
#include "cli/sendmail.h"
#include "cli/talk.h"
#include "config/config.h"
#include "mail/envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_DEFAULT "/run/pabal/sendmail.sock"
enum {
	INPUT_MAX = 1 << 30, CONNECT_TRIES = 40, CONNECT_PAUSE_MS = 250, /* a server that is started again */
	REPLY_TIME_MS = 300000,
};

struct sending {
	struct cli *cli;
	struct sendmail_options options;
	struct talk *talk;
	struct talk_reply reply;
	struct buf transcript;
	struct str origin;
	struct err err;
};

/* ---- where the server is ---- */

/* PABAL_SENDMAIL_SOCKET, the configured listener's, or the default. */
static const char *socket_path(struct cli *cli)
{
	const char *told = getenv("PABAL_SENDMAIL_SOCKET");
	struct err err = {0};
	BUF_SCOPED problems = {0};
	size_t n;
	if (told && *told)
		return told;
	if (access(cli->config_path, R_OK) != 0 ||
	    (!cli->config && !config_load(cli->config_path, &problems, &cli->config, &err)))
		return SOCKET_DEFAULT;
	const struct listener *l = config_listeners(cli->config, &n);
	for (size_t i = 0; i < n; i++)
		if (l[i].service == SERVICE_LOCAL && l[i].unix_path.n)
			return arena_cstr(cli->arena, l[i].unix_path);
	return SOCKET_DEFAULT;
}

static bool connect_server(struct sending *s, const char *path)
{
	struct talk_options o = {.timeout_ms = REPLY_TIME_MS,
				 .transcript = s->options.verbose ? &s->transcript : NULL};
	for (int i = 0; i < CONNECT_TRIES; i++) {
		s->err = (struct err){0};
		if (talk_connect_unix(path, &o, &s->talk, &s->err))
			return true;
		if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN)
			return false;
		poll(NULL, 0, CONNECT_PAUSE_MS);
	}
	return false;
}

/* ---- the dialogue ---- */

static int fail_reply(struct sending *s)
{
	const struct talk_reply *r = &s->reply;
	int code = CLI_UNAVAILABLE;
	if (r->code / 100 == 4)
		code = CLI_TEMP;
	else if (str_find(r->lines, STR(" 5.1.1")) != STR_NPOS)
		code = CLI_NO_USER;
	else if (str_find(r->lines, STR(" 5.7.")) != STR_NPOS)
		code = CLI_DENIED;
	else if (r->code == 501 || r->code == 553)
		code = CLI_DATA;
	return cli_fail(s->cli, code, "sendmail: %.*s", STR_ARG(r->lines));
}

/* Not accepted, as far as we know: the caller keeps it. */
static int fail_talk(struct sending *s)
{
	return cli_fail(s->cli, CLI_TEMP, "sendmail: %s", s->err.cause[0] ? s->err.cause : s->err.text);
}

/* 0, or the exit code after a message. */
static int say(struct sending *s, struct str line, int want)
{
	if (!talk_say(s->talk, line, STR_NONE, &s->reply, &s->err))
		return fail_talk(s);
	return s->reply.code / 100 == want ? 0 : fail_reply(s);
}

/* "250-XLOCAL example.com" */
static void read_origin(struct sending *s)
{
	struct str rest = s->reply.lines;
	s->origin = STR("localhost");
	while (rest.p) {
		struct str line = str_trim(str_cut(&rest, '\n'));
		if (str_starts_nocase(str_from(line, 4), STR("XLOCAL ")))
			s->origin = arena_str(s->cli->arena, str_trim(str_from(line, 11)));
	}
}

/* Up to the arguments' 200 octets, NULs as blanks. */
static struct str parent_command(struct arena *a)
{
	char path[64], text[200];
	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)getppid());
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = ' ';
	return arena_str(a, str_trim((struct str){text, n < 0 ? 0 : (size_t)n}));
}

static int tell_who(struct sending *s, bool unlisted)
{
	char directory[256];
	BUF_SCOPED line = {0};
	struct str parent = parent_command(s->cli->arena);
	buf_add(&line, STR("XLOCAL UNLISTED="));
	buf_add(&line, unlisted ? STR("YES") : STR("NO"));
	if (parent.n) {
		buf_add(&line, STR(" COMMAND="));
		xtext_encode(&line, parent);
	}
	if (getcwd(directory, sizeof directory)) {
		buf_add(&line, STR(" DIRECTORY="));
		xtext_encode(&line, str_of(directory));
	}
	return say(s, buf_str(&line), 2);
}

/* Greeting, EHLO, who we are. */
static int greet(struct sending *s)
{
	if (!talk_read(s->talk, &s->reply, &s->err))
		return fail_talk(s);
	if (s->reply.code != 220)
		return fail_reply(s);
	int code = say(s, STR("EHLO localhost"), 2);
	if (code)
		return code;
	read_origin(s);
	return tell_who(s, false);
}

static int open_server(struct sending *s)
{
	const char *path = socket_path(s->cli);
	if (!connect_server(s, path))
		return cli_fail(s->cli, errno == EACCES ? CLI_DENIED : CLI_TEMP,
				"sendmail: the mail server does not answer at %s: %s", path, strerror(errno));
	return greet(s);
}

static int say_mail(struct sending *s, struct str sender, const struct sendmail_message *m)
{
	const struct sendmail_options *o = &s->options;
	BUF_SCOPED line = {0};
	buf_fmt(&line, "MAIL FROM:<%.*s>%s%s", STR_ARG(sender), m->eight_bit ? " BODY=8BITMIME" : "",
		m->utf8_address || !str_is_ascii(sender) ? " SMTPUTF8" : "");
	if (o->ret.n)
		buf_fmt(&line, " RET=%.*s", STR_ARG(o->ret));
	if (o->envid.n) {
		buf_add(&line, STR(" ENVID="));
		xtext_encode(&line, o->envid);
	}
	return say(s, buf_str(&line), 2);
}

static bool say_rcpt(struct sending *s, struct str recipient)
{
	BUF_SCOPED line = {0};
	buf_fmt(&line, "RCPT TO:<%.*s>", STR_ARG(recipient));
	if (s->options.notify) {
		buf_add(&line, STR(" NOTIFY="));
		notify_format(&line, s->options.notify);
	}
	return talk_say(s->talk, buf_str(&line), STR_NONE, &s->reply, &s->err);
}

/* All recipients; *out_refused: those that were not taken. */
static int envelope(struct sending *s, struct str sender, const struct sendmail_message *m,
		    size_t *out_refused)
{
	int code = say_mail(s, sender, m);
	*out_refused = 0;
	for (size_t i = 0; !code && i < m->recipients_n; i++) {
		if (!say_rcpt(s, m->recipients[i]))
			return fail_talk(s);
		bool unknown = s->reply.code == 550 && str_find(s->reply.lines, STR(" 5.1.1")) != STR_NPOS;
		if (unknown && m->recipients_n > 1)
			++*out_refused;
		else if (s->reply.code / 100 != 2)
			code = fail_reply(s);
	}
	return code;
}

/* Some do not exist: taken all the same, and bounced to the sender. */
static int again_unlisted(struct sending *s, struct str sender, const struct sendmail_message *m,
			  size_t refused)
{
	int code;
	if (refused == m->recipients_n)
		return cli_fail(s->cli, CLI_NO_USER, "sendmail: no such users: nothing was sent");
	(void)((code = say(s, STR("RSET"), 2)) || (code = tell_who(s, true)) ||
	       (code = envelope(s, sender, m, &refused)));
	if (!code && refused)
		return cli_fail(s->cli, CLI_TEMP,
				"sendmail: the server still refuses %zu recipients: nothing was sent",
				refused);
	return code;
}

static int send_message(struct sending *s, struct str sender, const struct sendmail_message *m)
{
	size_t refused;
	int code = envelope(s, sender, m, &refused);
	if (!code && refused)
		code = again_unlisted(s, sender, m, refused);
	if (!code)
		code = say(s, STR("DATA"), 3);
	if (code)
		return code;
	if (!talk_data(s->talk, buf_str(&m->text), &s->err) || !talk_read(s->talk, &s->reply, &s->err))
		return fail_talk(s);
	if (s->reply.code / 100 != 2)
		return fail_reply(s);
	(void)!talk_say(s->talk, STR("QUIT"), STR_NONE, &s->reply, &s->err);
	return CLI_OK;
}

/* ---- modes ---- */

static int read_input(struct cli *cli, struct buf *out)
{
	for (;;) {
		char *p = buf_room(out, 65536);
		ssize_t n = p ? read(STDIN_FILENO, p, 65536) : -1;
		if (n < 0 && p && errno == EINTR)
			continue;
		if (n < 0)
			return cli_fail(cli, CLI_IO, "sendmail: standard input cannot be read");
		if (n == 0)
			return 0;
		out->n += (size_t)n;
		if (out->n > INPUT_MAX)
			return cli_fail(cli, CLI_DATA, "sendmail: the message is too large");
	}
}

/* -f, or the user's name; as an address. */
static bool sender_of(struct sending *s, struct str *out)
{
	struct arena *a = s->cli->arena;
	struct str given = s->options.sender;
	if (s->options.has_sender && (!given.n || str_eq(given, STR("<>")))) {
		*out = STR_NONE;
		return true;
	}
	if (s->options.has_sender)
		return sendmail_address(a, given, s->origin, out);
	struct passwd *pw = getpwuid(getuid());
	struct str name = pw ? str_of(pw->pw_name) : arena_fmt(a, "uid%u", (unsigned)getuid());
	return sendmail_address(a, name, s->origin, out);
}

static int mode_send(struct sending *s)
{
	BUF_SCOPED in = {0};
	struct sendmail_message m = {0};
	struct str sender;
	int code = read_input(s->cli, &in);
	if (!code)
		code = open_server(s);
	if (code)
		return code;
	if (!sender_of(s, &sender))
		return cli_fail(s->cli, CLI_DATA, "sendmail: \"%.*s\" is not an address",
				STR_ARG(s->options.sender));
	struct str text = s->options.dots ? buf_str(&in) : sendmail_until_dot(buf_str(&in));
	if (sendmail_message_make(s->cli->arena, text, &s->options, s->origin, sender, &m, &s->err))
		code = send_message(s, sender, &m);
	else
		code = cli_fail(s->cli, s->err.kind == ERR_NOT_FOUND ? CLI_USAGE : CLI_DATA, "sendmail: %s",
				s->err.text);
	buf_free(&m.text);
	return code;
}

/* -bv: what the server says of each; nothing is sent. */
static int mode_verify(struct sending *s)
{
	struct sendmail_message m = {0};
	struct str sender;
	int code = open_server(s), worst = CLI_OK;
	if (code)
		return code;
	if (!sender_of(s, &sender))
		return cli_fail(s->cli, CLI_DATA, "sendmail: no sender");
	if (!sendmail_message_make(s->cli->arena, STR(""), &s->options, s->origin, sender, &m, &s->err))
		code = cli_fail(s->cli, CLI_USAGE, "sendmail: %s", s->err.text);
	buf_free(&m.text);
	if (!code)
		code = say_mail(s, sender, &m);
	for (size_t i = 0; !code && i < m.recipients_n; i++) {
		if (!say_rcpt(s, m.recipients[i]))
			return fail_talk(s);
		bool good = s->reply.code / 100 == 2;
		if (!good)
			worst = s->reply.code / 100 == 4 ? CLI_TEMP : CLI_NO_USER;
		cli_print(s->cli, "%.*s... %s: %.*s\n", STR_ARG(m.recipients[i]),
			  good ? cli_text(s->cli, "deliverable", "배달 가능")
			       : cli_text(s->cli, "not deliverable", "배달 불가"),
			  STR_ARG(s->reply.lines));
	}
	return code ? code : worst;
}

static bool pass_on(int from, int to)
{
	char chunk[16384];
	ssize_t n = read(from, chunk, sizeof chunk);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	for (ssize_t at = 0; at < n;) {
		ssize_t w = write(to, chunk + at, (size_t)(n - at));
		if (w < 0 && errno != EINTR)
			return false;
		at += w > 0 ? w : 0;
	}
	return n > 0;
}

/* -bs: the server speaks for itself. */
static int mode_smtp(struct sending *s)
{
	const char *path = socket_path(s->cli);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (snprintf(a.sun_path, sizeof a.sun_path, "%s", path) >= (int)sizeof a.sun_path)
		return cli_fail(s->cli, CLI_CONFIG, "sendmail: the socket's path is too long");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof a) < 0)
		return cli_fail(s->cli, CLI_TEMP, "sendmail: %s: %s", path, strerror(errno));
	struct pollfd p[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[1].revents && !pass_on(fd, STDOUT_FILENO))
			break;
		if (p[0].fd >= 0 && p[0].revents && !pass_on(STDIN_FILENO, fd)) {
			shutdown(fd, SHUT_WR);
			p[0].fd = -1; /* poll passes over it; what is answered still comes */
		}
	}
	close(fd);
	return CLI_OK;
}

/* `pabal queue ...` in our place. */
static int as_verb(struct cli *cli, const char *noun, const char *verb, const char *option)
{
	char *argv[] = {cli->argv[0], (char *)(uintptr_t) "--config", (char *)(uintptr_t)cli->config_path,
			(char *)(uintptr_t)noun, (char *)(uintptr_t)verb, (char *)(uintptr_t)option,
			(char *)(uintptr_t) "--yes", NULL};
	argv[0] = (char *)(uintptr_t) "pabal";
	return cli_main(option ? 7 : 5, argv);
}

static int run(struct sending *s)
{
	switch (s->options.mode) {
	case SENDMAIL_SEND: return mode_send(s);
	case SENDMAIL_SMTP: return mode_smtp(s);
	case SENDMAIL_VERIFY: return mode_verify(s);
	case SENDMAIL_LIST: return as_verb(s->cli, "queue", "list", NULL);
	case SENDMAIL_FLUSH: {
		int code = as_verb(s->cli, "queue", "retry", "--all");
		return code == CLI_NOT_FOUND ? CLI_OK : code; /* an empty queue is no failure */
	}
	case SENDMAIL_ALIASES: break;
	}
	return CLI_OK; /* aliases are in the directory, and work at once */
}

int cli_sendmail(struct cli *cli, int first)
{
	struct sending s = {.cli = cli};
	struct str name = str_of(cli->argv[0]);
	if (str_ends(name, STR("newaliases")))
		return CLI_OK;
	if (!sendmail_options_read(cli->arena, cli->argc - first, cli->argv + first, &s.options, &s.err))
		return cli_fail(cli, CLI_USAGE, "sendmail: %s", s.err.text);
	if (s.options.config)
		cli->config_path = s.options.config;
	int code = run(&s);
	buf_add(&cli->out, buf_str(&s.transcript));
	buf_free(&s.transcript);
	talk_close(s.talk);
	return code;
}

int cmd_sendmail(struct cli *cli);
int cmd_sendmail(struct cli *cli)
{
	return cli_sendmail(cli, cli->argc); /* only for help: cli.c calls cli_sendmail */
}
