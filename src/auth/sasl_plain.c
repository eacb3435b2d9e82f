/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* PLAIN (RFC 4616) and LOGIN: the password comes as it is. */
#include "auth/sasl_int.h"

static enum sasl_step failed(struct sasl *s)
{
	s->state = SASL_STATE_DONE;
	return SASL_FAILURE;
}

static enum sasl_step ask_verdict(struct sasl *s, struct str password, struct err *err)
{
	if (password.n == 0 || password.n > SASL_PASSWORD_MAX || str_has_byte(password, '\0'))
		return sasl_fail(s, err, ERR_SYNTAX, "the password is empty or too long");
	s->password = secret_of(password);
	s->state = SASL_STATE_VERDICT;
	return SASL_NEED_VERDICT;
}

/* RFC 4616 2: message = [authzid] UTF8NUL authcid UTF8NUL passwd */
enum sasl_step sasl_plain_message(struct sasl *s, struct str message, struct err *err)
{
	struct str authzid = str_cut(&message, '\0');
	struct str user = str_cut(&message, '\0');
	if (!message.p)
		return sasl_fail(s, err, ERR_SYNTAX, "this is no message of PLAIN");
	if (!sasl_take_user(s, user, err) || !sasl_check_authzid(s, authzid, err))
		return failed(s);
	return ask_verdict(s, message, err);
}

enum sasl_step sasl_login_user(struct sasl *s, struct str message, struct err *err)
{
	/* Some clients send the C string with its end. */
	if (message.n && message.p[message.n - 1] == '\0')
		message.n--;
	if (!sasl_take_user(s, message, err))
		return failed(s);
	return sasl_send(s, STR("Password:"), SASL_STATE_LOGIN_PASSWORD);
}

enum sasl_step sasl_login_password(struct sasl *s, struct str message, struct err *err)
{
	return ask_verdict(s, message, err);
}
