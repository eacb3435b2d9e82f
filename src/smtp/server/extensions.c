/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* The reply to EHLO, and the parameters that extensions give to MAIL and RCPT. */
#include "smtp/server/server_int.h"

/* ---- what is offered ---- */

static bool under_tls(const struct smtp_session *s)
{
	return conn_tls(s->conn);
}

static bool is_local(const struct smtp_session *s)
{
	return smtp_is(s, SMTP_LOCAL);
}

static bool xclient_offered(const struct smtp_session *s)
{
	return s->xclient;
}

bool smtp_starttls_offered(const struct smtp_session *s)
{
	return !conn_tls(s->conn) && s->listener->tls != SMTP_TLS_NONE &&
	       s->server->tls(s->server->ctx) != NULL;
}

/* R56: nothing that carries a password goes in the clear, but from networks that were named. */
bool smtp_auth_offered(const struct smtp_session *s)
{
	return smtp_is(s, SMTP_SUBMISSION) && s->account.n == 0 && (conn_tls(s->conn) || s->plain_auth);
}

/* The mechanisms of auth, under TLS also those with channel binding (RFC 5802 6). */
static bool next_mechanism(struct str *rest, struct str *out)
{
	while (rest->p) {
		*out = str_cut(rest, ' ');
		if (out->n)
			return true;
	}
	return false;
}

static bool is_scram(struct str name)
{
	return str_starts_nocase(name, STR("SCRAM-")) && !str_ends_nocase(name, STR("-PLUS"));
}

bool smtp_mechanism_offered(const struct smtp_session *s, struct str name)
{
	struct str rest = s->server->services.auth.mechanisms(s->server->services.auth.ctx), mechanism;
	while (next_mechanism(&rest, &mechanism)) {
		if (str_eq_nocase(mechanism, name))
			return true;
		if (conn_tls(s->conn) && is_scram(mechanism) && str_starts_nocase(name, mechanism) &&
		    str_eq_nocase(str_from(name, mechanism.n), STR("-PLUS")))
			return true;
	}
	return false;
}

static void size_arguments(const struct smtp_session *s, struct buf *out)
{
	buf_u64(out, config_size(s->config, SETTING_SMTP_MAX_MESSAGE_SIZE));
}

static void limits_arguments(const struct smtp_session *s, struct buf *out)
{
	buf_fmt(out, "MAILMAX=%lld RCPTMAX=%lld",
		(long long)config_int(s->config, SETTING_SMTP_MAX_TRANSACTIONS),
		(long long)config_int(s->config, SETTING_SMTP_MAX_RECIPIENTS));
}

static void auth_arguments(const struct smtp_session *s, struct buf *out)
{
	struct str all = s->server->services.auth.mechanisms(s->server->services.auth.ctx), rest = all,
		   mechanism;
	const char *sep = "";
	while (conn_tls(s->conn) && next_mechanism(&rest, &mechanism)) {
		if (!is_scram(mechanism))
			continue;
		buf_fmt(out, "%s%.*s-PLUS", sep, STR_ARG(mechanism));
		sep = " ";
	}
	buf_fmt(out, "%s%.*s", sep, STR_ARG(all));
}

static void local_arguments(const struct smtp_session *s, struct buf *out)
{
	buf_add(out, config_str(s->config, SETTING_MYORIGIN));
}

static void xclient_arguments(const struct smtp_session *s, struct buf *out)
{
	(void)s;
	buf_add(out, STR("NAME ADDR PORT PROTO HELO DESTADDR DESTPORT"));
}

struct extension {
	const char *keyword;
	bool (*offered)(const struct smtp_session *s);
	void (*arguments)(const struct smtp_session *s, struct buf *out);
};
#define EXTENSION(keyword, offered, arguments) {keyword, offered, arguments},
#define MAIL_PARAM(keyword, function)
#define RCPT_PARAM(keyword, function)
static const struct extension extensions[] = {
#include "smtp/server/extensions.def"
};
#undef EXTENSION
#undef MAIL_PARAM
#undef RCPT_PARAM

void smtp_ehlo_lines(struct smtp_session *s)
{
	size_t n = sizeof extensions / sizeof *extensions, last = n;
	while (last > 0 && extensions[last - 1].offered && !extensions[last - 1].offered(s))
		last--;
	for (size_t i = 0; i < last; i++) {
		BUF_SCOPED args = {0};
		const struct extension *e = &extensions[i];
		if (e->offered && !e->offered(s))
			continue;
		if (e->arguments)
			e->arguments(s, &args);
		smtp_reply_line(smtp_out(s), 250, i + 1 < last ? SMTP_REPLY_MORE : SMTP_REPLY_LAST,
				"%s%s%.*s", e->keyword, args.n ? " " : "", STR_ARG(buf_str(&args)));
	}
}

/* ---- parameters ---- */

static bool bad(struct smtp_session *s, const struct smtp_param *p)
{
	smtp_error(s, 501, "5.5.4", "bad value of %.*s", STR_ARG(p->keyword));
	return false;
}

/* RFC 1870 6.1 */
static bool mail_size(const struct smtp_param_use *u, const struct smtp_param *p)
{
	if (!p->has_value || !str_u64(p->value, UINT64_MAX, &u->tx->size_told))
		return bad(u->s, p);
	if (u->tx->size_told > config_size(u->s->config, SETTING_SMTP_MAX_MESSAGE_SIZE)) {
		smtp_refuse(u->s, OUTCOME_TOO_BIG, STR_NONE);
		return false;
	}
	return true;
}

static bool mail_body(const struct smtp_param_use *u, const struct smtp_param *p)
{
	if (str_eq_nocase(p->value, STR("7BIT")))
		u->tx->envelope.body = ENVELOPE_7BIT;
	else if (str_eq_nocase(p->value, STR("8BITMIME")))
		u->tx->envelope.body = ENVELOPE_8BITMIME;
	else if (str_eq_nocase(p->value, STR("BINARYMIME")))
		u->tx->envelope.body = ENVELOPE_BINARYMIME;
	else
		return bad(u->s, p);
	return true;
}

static bool mail_smtputf8(const struct smtp_param_use *u, const struct smtp_param *p)
{
	if (p->has_value)
		return bad(u->s, p);
	u->tx->envelope.smtputf8 = true;
	return true;
}

/* RFC 8689 2: only where it was offered. */
static bool mail_requiretls(const struct smtp_param_use *u, const struct smtp_param *p)
{
	if (p->has_value)
		return bad(u->s, p);
	if (!conn_tls(u->s->conn)) {
		smtp_error(u->s, 550, "5.7.30", "REQUIRETLS without TLS");
		return false;
	}
	u->tx->envelope.requiretls = true;
	return true;
}

static bool mail_ret(const struct smtp_param_use *u, const struct smtp_param *p)
{
	return (p->has_value && ret_parse(p->value, &u->tx->envelope.ret)) || bad(u->s, p);
}

/* RFC 3461 4.4: at most 100 octets of xtext, printable when decoded. */
static bool mail_envid(const struct smtp_param_use *u, const struct smtp_param *p)
{
	struct err err;
	struct str id;
	if (!p->has_value || p->value.n > 100 || !xtext_decode(u->tx->arena, p->value, &id, &err) ||
	    str_has_ctl(id) || !str_is_ascii(id))
		return bad(u->s, p);
	u->tx->envelope.envid = id;
	return true;
}

/* RFC 4954 5: who is not trusted to say it is taken as "<>", that is: it is passed over. */
static bool mail_auth(const struct smtp_param_use *u, const struct smtp_param *p)
{
	return p->has_value || bad(u->s, p);
}

static bool rcpt_notify(const struct smtp_param_use *u, const struct smtp_param *p)
{
	return (p->has_value && notify_parse(p->value, &u->rcpt->notify)) || bad(u->s, p);
}

static bool rcpt_orcpt(const struct smtp_param_use *u, const struct smtp_param *p)
{
	struct err err;
	if (!p->has_value || p->value.n > 500)
		return bad(u->s, p);
	return orcpt_parse(u->tx->arena, p->value, u->tx->envelope.smtputf8, &u->rcpt->orcpt, &err) ||
	       bad(u->s, p);
}

struct param_row {
	struct str keyword;
	bool (*apply)(const struct smtp_param_use *u, const struct smtp_param *p);
	bool rcpt;
};
#define EXTENSION(keyword, offered, arguments)
#define MAIL_PARAM(keyword, function) {{keyword, sizeof keyword - 1}, function, false},
#define RCPT_PARAM(keyword, function) {{keyword, sizeof keyword - 1}, function, true},
static const struct param_row param_rows[] = {
#include "smtp/server/extensions.def"
};
#undef EXTENSION
#undef MAIL_PARAM
#undef RCPT_PARAM

static const struct param_row *row_of(struct str keyword, bool rcpt)
{
	for (size_t i = 0; i < sizeof param_rows / sizeof *param_rows; i++)
		if (param_rows[i].rcpt == rcpt && str_eq_nocase(param_rows[i].keyword, keyword))
			return &param_rows[i];
	return NULL;
}

static bool seen_before(const struct smtp_params *params, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (str_eq_nocase(params->v[i].keyword, params->v[at].keyword))
			return true;
	return false;
}

bool smtp_params_apply(struct smtp_session *s, struct smtp_tx *tx, struct recipient *rcpt,
		       const struct smtp_params *params)
{
	struct smtp_param_use u = {s, tx, rcpt};
	for (size_t i = 0; i < params->n; i++) {
		const struct smtp_param *p = &params->v[i];
		const struct param_row *row = s->esmtp ? row_of(p->keyword, rcpt != NULL) : NULL;
		if (!row) {
			smtp_error(s, 555, "5.5.4", "parameter %.*s not recognised",
				   STR_ARG(str_sub(p->keyword, 0, 60)));
			return false;
		}
		if (seen_before(params, i))
			return bad(s, p);
		if (!row->apply(&u, p))
			return false;
	}
	return true;
}
