/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* RCPT: who may reach whom (R32, R33, R44), and VRFY, EXPN, which tell nothing of it. */
#include "base/log.h"
#include "smtp/server/server_int.h"

/* Of the connection: may it hand in mail that leaves this server? The rule's name goes into the log (R81). */
static const char *relay_rule(const struct smtp_session *s)
{
	if (smtp_is(s, SMTP_LMTP))
		return NULL;
	if (s->account.n)
		return "login";
	if (smtp_is(s, SMTP_LOCAL))
		return "local";
	return s->trusted ? "mynetworks" : NULL;
}

/* Routes hidden in the local-part, which some servers behind us might follow: a%b@us, b!a@us, "a@b"@us. */
static bool is_routed(struct address a)
{
	return str_has_byte(a.local, '%') || str_has_byte(a.local, '!') || str_has_byte(a.local, '@') ||
	       str_has_byte(a.local, ':');
}

static void log_rcpt(const struct smtp_session *s, const char *event, struct str rcpt, const char *rule)
{
	log_event(LOG_INFO, event, K_STR(qid, id_str(&s->tx->envelope.id)),
		  K_STR(peer, buf_str(&s->peer_text)), K_STR(account, buf_str(&s->account)),
		  K_STR(from, s->tx->envelope.reverse_path_text), K_STR(rcpt, rcpt), K_CSTR(rule, rule));
}

static void refuse_rcpt(struct smtp_session *s, struct str rcpt, enum outcome o, const char *rule)
{
	s->tx->rcpt_refused++;
	log_rcpt(s, "smtp.rcpt.refuse", rcpt, rule);
	smtp_refuse(s, o, STR_NONE);
}

static bool accepts_unlisted(const struct smtp_session *s)
{
	if (smtp_is(s, SMTP_LOCAL))
		return s->unlisted;
	if (smtp_is(s, SMTP_SUBMISSION))
		return !config_bool(s->config, SETTING_SMTP_REJECT_UNLISTED_SUBMISSION);
	return smtp_is(s, SMTP_MX) && !config_bool(s->config, SETTING_REJECT_UNLISTED);
}

static enum outcome over_quota(const struct smtp_session *s)
{
	return config_enum(s->config, SETTING_STORE_OVER_QUOTA) == CONFIG_OVER_QUOTA_PERM
		       ? OUTCOME_OVER_QUOTA
		       : OUTCOME_OVER_QUOTA_TEMP;
}

/* Nothing is accepted that cannot be delivered: without remote delivery, 451. */
static bool may_leave(struct smtp_session *s, struct str rcpt, const char *rule)
{
	if (config_bool(s->config, SETTING_RELAY_ENABLED)) {
		log_rcpt(s, "smtp.rcpt.relay", rcpt, rule);
		return true;
	}
	refuse_rcpt(s, rcpt, OUTCOME_NOT_CONFIGURED, rule);
	return false;
}

/* True: it is taken. */
static bool judge(struct smtp_session *s, struct str rcpt, enum rcpt_verdict verdict)
{
	const char *rule = relay_rule(s);
	switch (verdict) {
	case RCPT_LOCAL: return true;
	case RCPT_UNKNOWN:
		if (accepts_unlisted(s))
			return true;
		refuse_rcpt(s, rcpt, OUTCOME_NO_SUCH_USER, "unlisted");
		return false;
	case RCPT_REMOTE:
		if (!rule) {
			refuse_rcpt(s, rcpt, OUTCOME_RELAY_DENIED, "no_relay");
			return false;
		}
		return may_leave(s, rcpt, rule);
	case RCPT_FORWARD: return may_leave(s, rcpt, "forward");
	case RCPT_TEMP: refuse_rcpt(s, rcpt, OUTCOME_SYSTEM_TEMP, "lookup"); return false;
	case RCPT_DISABLED: refuse_rcpt(s, rcpt, OUTCOME_MAILBOX_DISABLED, "disabled"); return false;
	case RCPT_OVER_QUOTA: refuse_rcpt(s, rcpt, over_quota(s), "quota"); return false;
	}
	return false;
}

/* R43: without domain only from ours, and postmaster (RFC 5321 4.5.1). */
static bool may_be_unqualified(const struct smtp_session *s, struct address a)
{
	return a.domain.n || s->trusted || s->account.n || str_eq_nocase(a.local, STR("postmaster"));
}

static bool rates_ok(struct smtp_session *s)
{
	/* A program that hands in a message cannot be asked to split it. */
	int64_t max = smtp_is(s, SMTP_LOCAL) ? ENVELOPE_RCPT_MAX
					     : config_int(s->config, SETTING_SMTP_MAX_RECIPIENTS);
	if ((int64_t)s->tx->envelope.rcpt_n >= max || s->tx->envelope.rcpt_n >= ENVELOPE_RCPT_MAX) {
		smtp_refuse(s, OUTCOME_TOO_MANY_RECIPIENTS, STR_NONE);
		return false;
	}
	if (smtp_rate_take(s, SMTP_RATE_RCPTS_SOURCE) && smtp_rate_take(s, SMTP_RATE_RCPTS_ACCOUNT) &&
	    smtp_rate_take(s, SMTP_RATE_RCPTS_USER))
		return true;
	smtp_refuse(s, OUTCOME_TOO_MANY_MESSAGES, STR("too many recipients in a short time"));
	return false;
}

/* The directory's form of it; without one, ours. */
static bool canonical_of(struct smtp_tx *tx, struct str told, struct address given, struct address *out)
{
	struct err err;
	if (told.n && address_parse(tx->arena, told, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, out, &err)) {
		out->local = arena_str(tx->arena, out->local);
		out->domain = arena_str(tx->arena, out->domain);
		return true;
	}
	if (given.domain.n == 0)
		*out = (struct address){arena_lower(tx->arena, given.local), STR_NONE};
	else if (!address_canonical(tx->arena, given, 0, out, &err))
		return false;
	out->local = arena_str(tx->arena, out->local);
	out->domain = arena_str(tx->arena, out->domain);
	return true;
}

static void add(struct smtp_session *s, const struct path *path, struct str told, struct recipient *r)
{
	struct smtp_tx *tx = s->tx;
	struct envelope *e = &tx->envelope;
	if (!canonical_of(tx, told, path->address, &r->address)) {
		refuse_rcpt(s, path->text, OUTCOME_BAD_RECIPIENT, "syntax");
		return;
	}
	r->forward_path = arena_str(tx->arena, path->text);
	e->rcpt = arena_grow(tx->arena, e->rcpt, e->rcpt_n, &tx->rcpt_cap, sizeof *e->rcpt);
	e->rcpt[e->rcpt_n++] = *r;
	smtp_reply(smtp_out(s), 250, "2.1.5", "ok");
}

void verb_rcpt(struct smtp_session *s, struct str args)
{
	struct path path;
	struct smtp_params params;
	struct recipient r = {0};
	struct err err;
	struct str told = STR_NONE;
	struct smtp_services *v = &s->server->services;
	struct smtp_tx *tx = s->tx;
	if (!tx && smtp_is(s, SMTP_SUBMISSION) && s->account.n == 0) {
		smtp_refuse(s, OUTCOME_AUTH_REQUIRED, STR_NONE);
		return;
	}
	if (!tx || tx->started) {
		smtp_error(s, 503, "5.5.1", "say MAIL first");
		return;
	}
	int flags = ADDRESS_UTF8 | ADDRESS_NO_DOMAIN | ADDRESS_POSTMASTER;
	if (!smtp_parse_path(args, STR("TO"), tx->arena, flags, &path, &params, &err)) {
		tx->rcpt_refused++;
		smtp_error(s, err.kind == ERR_LIMIT ? 553 : 501, "5.1.3", "%s", err.text);
		return;
	}
	if (path.utf8 && !tx->envelope.smtputf8) {
		tx->rcpt_refused++;
		smtp_error(s, 553, "5.6.7", "the address needs SMTPUTF8");
		return;
	}
	if (!smtp_params_apply(s, tx, &r, &params) || !rates_ok(s)) {
		tx->rcpt_refused++;
		return;
	}
	if (!may_be_unqualified(s, path.address)) {
		refuse_rcpt(s, path.text, OUTCOME_BAD_RECIPIENT, "unqualified");
		return;
	}
	if (!relay_rule(s) && !smtp_is(s, SMTP_LMTP) && is_routed(path.address)) {
		refuse_rcpt(s, path.text, OUTCOME_RELAY_DENIED, "routed");
		return;
	}
	struct str asked = path.address.domain.n ? address_str(tx->arena, path.address) : path.address.local;
	if (judge(s, path.text, v->rcpt(v->ctx, asked, tx->arena, &told)))
		add(s, &path, told, &r);
}

/* RFC 5321 3.5.3: 252 tells nothing. The truth is for those who log in, where the administrator wants it. */
void verb_vrfy(struct smtp_session *s, struct str args)
{
	struct smtp_services *v = &s->server->services;
	ARENA_SCOPED a = arena_new();
	struct address address;
	struct str told = STR_NONE;
	struct err err;
	if (args.n == 0) {
		smtp_error(s, 501, "5.5.4", "an address is wanted");
		return;
	}
	if (s->account.n == 0 || !config_bool(s->config, SETTING_SMTP_VRFY)) {
		smtp_reply(smtp_out(s), 252, "2.5.2", "not told; try to send to it");
		return;
	}
	if (args.n > 2 && args.p[0] == '<' && args.p[args.n - 1] == '>')
		args = str_sub(args, 1, args.n - 2);
	if (!address_parse(a, args, ADDRESS_UTF8 | ADDRESS_NO_DOMAIN, &address, &err)) {
		smtp_error(s, 501, "5.1.3", "%s", err.text);
		return;
	}
	switch (v->rcpt(v->ctx, address_str(a, address), a, &told)) {
	case RCPT_LOCAL:
	case RCPT_OVER_QUOTA:
		smtp_reply(smtp_out(s), 250, "2.1.5", "<%.*s>", STR_ARG(told.n ? told : args));
		break;
	case RCPT_UNKNOWN: smtp_refuse(s, OUTCOME_NO_SUCH_USER, STR_NONE); break;
	case RCPT_DISABLED: smtp_refuse(s, OUTCOME_MAILBOX_DISABLED, STR_NONE); break;
	case RCPT_TEMP: smtp_refuse(s, OUTCOME_SYSTEM_TEMP, STR_NONE); break;
	case RCPT_FORWARD:
	case RCPT_REMOTE: smtp_reply(smtp_out(s), 252, "2.5.2", "not ours; try to send to it"); break;
	}
}

void verb_expn(struct smtp_session *s, struct str args)
{
	(void)args;
	smtp_error(s, 502, "5.5.1", "lists are not told");
}
