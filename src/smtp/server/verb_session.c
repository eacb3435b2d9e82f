/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* EHLO, HELO, LHLO, RSET, NOOP, QUIT, HELP, STARTTLS, and finding a verb's row. */
#include "base/log.h"
#include "smtp/server/server_int.h"

#define VERB(name, function, flags, syntax) {{name, sizeof name - 1}, function, flags, syntax},
static const struct smtp_verb verbs[] = {
#include "smtp/server/verbs.def"
};
#undef VERB

const struct smtp_verb *smtp_verb_at(size_t i)
{
	return i < sizeof verbs / sizeof *verbs ? &verbs[i] : NULL;
}

const struct smtp_verb *smtp_verb_find(struct str name)
{
	for (size_t i = 0; smtp_verb_at(i); i++)
		if (str_eq_nocase(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}

static bool introduce(struct smtp_session *s, struct str args, bool esmtp)
{
	struct str name;
	if (!smtp_helo_parse(args, &name)) {
		smtp_error(s, 501, "5.5.4", "a domain or an address literal is wanted");
		return false;
	}
	smtp_forget(s); /* RFC 5321 4.1.4: EHLO is a RSET too */
	buf_clear(&s->helo);
	buf_add(&s->helo, name);
	s->greeted = true;
	s->esmtp = esmtp;
	return true;
}

void verb_ehlo(struct smtp_session *s, struct str args)
{
	if (!introduce(s, args, true))
		return;
	smtp_reply_line(smtp_out(s), 250, SMTP_REPLY_MORE, "%.*s", STR_ARG(smtp_hostname(s)));
	smtp_ehlo_lines(s);
}

void verb_helo(struct smtp_session *s, struct str args)
{
	if (introduce(s, args, false))
		smtp_reply(smtp_out(s), 250, NULL, "%.*s", STR_ARG(smtp_hostname(s)));
}

void verb_rset(struct smtp_session *s, struct str args)
{
	(void)args;
	smtp_forget(s);
	smtp_reply(smtp_out(s), 250, "2.0.0", "ok");
}

void verb_noop(struct smtp_session *s, struct str args)
{
	(void)args;
	smtp_reply(smtp_out(s), 250, "2.0.0", "ok");
}

void verb_quit(struct smtp_session *s, struct str args)
{
	(void)args;
	smtp_reply(smtp_out(s), 221, "2.0.0", "%.*s closing connection", STR_ARG(smtp_hostname(s)));
	s->state = SMTP_STATE_CLOSE;
}

void verb_help(struct smtp_session *s, struct str args)
{
	const struct smtp_verb *v = smtp_verb_find(args);
	if (v)
		smtp_reply(smtp_out(s), 214, "2.0.0", "%s", v->syntax);
	else
		smtp_reply(smtp_out(s), 214, "2.0.0", "RFC 5321; HELP with a command shows its syntax");
}

/* RFC 3207 4 */
void verb_starttls(struct smtp_session *s, struct str args)
{
	(void)args;
	if (conn_tls(s->conn)) {
		smtp_error(s, 503, "5.5.1", "TLS is active already");
		return;
	}
	if (s->listener->tls == SMTP_TLS_NONE) {
		smtp_error(s, 502, "5.5.1", "STARTTLS is not offered");
		return;
	}
	struct tls_context *ctx = s->server->tls(s->server->ctx);
	if (!ctx) {
		smtp_reply(smtp_out(s), 454, "4.7.0", "TLS is not available just now");
		return;
	}
	smtp_forget(s);
	smtp_reply(smtp_out(s), 220, "2.0.0", "go ahead");
	conn_start_tls(s->conn, ctx);
	s->state = SMTP_STATE_STARTTLS;
}
