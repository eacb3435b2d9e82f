/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* MAIL: checks, then the transaction begins. */
#include "base/log.h"
#include "smtp/server/server_int.h"

/* R86: which users of this host may. */
static bool user_allowed(const struct smtp_session *s)
{
	const struct conn_facts *f = conn_facts(s->conn);
	const struct smtp_users *users = s->listener->users;
	if (!smtp_is(s, SMTP_LOCAL) || !users)
		return true;
	for (size_t i = 0; f->has_user && i < users->n; i++)
		if (f->peer_uid >= users->v[i].first && f->peer_uid <= users->v[i].last)
			return true;
	log_event(LOG_WARN, "smtp.local.refuse", K_INT(user_id, f->peer_uid), K_INT(pid, f->peer_pid),
		  K_STR(command, buf_str(&s->local_command)));
	return false;
}

/* Who may send at all. */
static bool sender_allowed(struct smtp_session *s)
{
	const struct smtp_services *v = &s->server->services;
	if (smtp_is(s, SMTP_SUBMISSION) && s->account.n == 0) { /* R32: from mynetworks too */
		smtp_refuse(s, OUTCOME_AUTH_REQUIRED, STR_NONE);
		return false;
	}
	if (s->tx) {
		smtp_error(s, 503, "5.5.1", "a transaction is under way already");
		return false;
	}
	if (s->draining) {
		smtp_close(s, "4.3.2", "shutting down, closing connection");
		return false;
	}
	if (s->transactions >= config_int(s->config, SETTING_SMTP_MAX_TRANSACTIONS)) {
		smtp_close(s, "4.7.0", "too many messages in one session, come again");
		return false;
	}
	if (v->pressure && v->pressure(v->ctx) >= 2) {
		smtp_refuse(s, OUTCOME_SYSTEM_FULL, STR_NONE);
		return false;
	}
	if (!user_allowed(s)) {
		smtp_error(s, 550, "5.7.1", "this user may not hand in mail (sendmail.allow)");
		return false;
	}
	if (!smtp_rate_take(s, SMTP_RATE_MESSAGES_SOURCE) || !smtp_rate_take(s, SMTP_RATE_MESSAGES_USER)) {
		smtp_refuse(s, OUTCOME_TOO_MANY_MESSAGES, STR_NONE);
		return false;
	}
	return true;
}

/* R43: a sender without domain gets ours, if it is one of ours who says it. */
static bool qualify(struct smtp_session *s, struct smtp_tx *tx, struct path *path)
{
	if (path->null || path->address.domain.n)
		return true;
	if (!s->trusted && s->account.n == 0) {
		smtp_refuse(s, OUTCOME_BAD_SENDER, STR("the sender's address has no domain"));
		return false;
	}
	path->address.domain = config_str(s->config, SETTING_MYORIGIN);
	path->text = address_str(tx->arena, path->address);
	return true;
}

/* R79. The empty sender is looked at together with the header. */
static bool check_owner(struct smtp_session *s, struct smtp_tx *tx, const struct path *path)
{
	if (s->account.n == 0 || path->null || !config_bool(s->config, SETTING_SMTP_CHECK_SENDER))
		return true;
	switch (smtp_tx_sender(s, tx, path->text, true)) {
	case 1: return true;
	case 2: smtp_refuse(s, OUTCOME_SYSTEM_TEMP, STR_NONE); return false;
	default: break;
	}
	log_event(LOG_INFO, "smtp.sender.refuse", K_STR(account, buf_str(&s->account)),
		  K_STR(from, path->text));
	smtp_refuse(s, OUTCOME_SENDER_NOT_YOURS, STR_NONE);
	return false;
}

static bool begin(struct smtp_session *s, struct smtp_tx *tx, struct str args)
{
	struct path path;
	struct smtp_params params;
	struct err err;
	int flags = ADDRESS_NULL | ADDRESS_UTF8 | ADDRESS_NO_DOMAIN;
	if (!smtp_parse_path(args, STR("FROM"), tx->arena, flags, &path, &params, &err)) {
		smtp_error(s, err.kind == ERR_LIMIT ? 553 : 501, "5.1.7", "%s", err.text);
		return false;
	}
	if (!smtp_params_apply(s, tx, NULL, &params))
		return false;
	if (path.utf8 && !tx->envelope.smtputf8) { /* RFC 6531 3.4 */
		smtp_error(s, 553, "5.6.7", "the address needs SMTPUTF8");
		return false;
	}
	if (!qualify(s, tx, &path) || !check_owner(s, tx, &path))
		return false;
	tx->envelope.reverse_path = path.address;
	if (!path.null && !address_canonical(tx->arena, path.address, 0, &tx->envelope.reverse_path, &err)) {
		smtp_refuse(s, OUTCOME_BAD_SENDER, STR_NONE);
		return false;
	}
	tx->envelope.reverse_path_text = path.null ? STR_NONE : arena_str(tx->arena, path.text);
	tx->envelope.reverse_path.local = arena_str(tx->arena, tx->envelope.reverse_path.local);
	tx->envelope.reverse_path.domain = arena_str(tx->arena, tx->envelope.reverse_path.domain);
	return true;
}

void verb_mail(struct smtp_session *s, struct str args)
{
	if (!sender_allowed(s))
		return;
	if (!begin(s, smtp_tx_new(s), args)) {
		smtp_forget(s);
		return;
	}
	s->transactions++;
	smtp_reply(smtp_out(s), 250, "2.1.0", "ok");
}
