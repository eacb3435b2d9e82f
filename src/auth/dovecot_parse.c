/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/dovecot.h"
#include "auth/auth_int.h"
#include "auth/sasl.h"
#include "base/codec.h"
#include <string.h>

void dovecot_escape(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		switch (s.p[i]) {
		case '\001': buf_add(out, STR("\0011")); break;
		case '\t': buf_add(out, STR("\001t")); break;
		case '\n': buf_add(out, STR("\001n")); break;
		case '\r': buf_add(out, STR("\001r")); break;
		case '\0': buf_add(out, STR("\0010")); break;
		default: buf_byte(out, s.p[i]);
		}
	}
}

void dovecot_request_free(struct dovecot_request *r)
{
	buf_wipe(&r->response);
}

static bool take_response(struct dovecot_request *out, struct str text, struct err *err)
{
	out->has_response = true;
	out->response.max = SASL_MESSAGE_MAX;
	(void)!buf_room(&out->response, SASL_MESSAGE_MAX); /* it never moves: nothing is left unwiped */
	return (base64_decode(&out->response, text) && !out->response.failed) ||
	       err_set(err, ERR_SYNTAX, "the response is no base64, or too long");
}

static bool read_id(struct str *rest, uint32_t *out, struct err *err)
{
	uint64_t id;
	if (!rest->p || !str_u64(str_cut(rest, '\t'), UINT32_MAX, &id))
		return err_set(err, ERR_SYNTAX, "no request id");
	*out = (uint32_t)id;
	return true;
}

/* AUTH id mechanism *parameter; resp= is the last: what follows belongs to it (there is nothing). */
static bool read_auth(struct str rest, struct dovecot_request *out, struct err *err)
{
	if (!read_id(&rest, &out->id, err))
		return false;
	out->mechanism = rest.p ? str_cut(&rest, '\t') : STR_NONE;
	if (out->mechanism.n == 0 || out->mechanism.n > 32)
		return err_set(err, ERR_SYNTAX, "no mechanism");
	while (rest.p) {
		if (str_starts(rest, STR("resp=")))
			return take_response(out, str_from(rest, 5), err);
		struct str field = str_cut(&rest, '\t');
		if (str_starts(field, STR("rip=")))
			out->peer = str_from(field, 4);
		else if (str_eq(field, STR("secured")) || str_starts(field, STR("secured=")))
			out->secured = true;
	}
	return true;
}

bool dovecot_request_parse(struct str line, struct dovecot_request *out, struct err *err)
{
	struct str rest = line, verb = str_cut(&rest, '\t');
	uint64_t major;
	*out = (struct dovecot_request){.verb = DOVECOT_OTHER};
	if (str_eq(verb, STR("AUTH"))) {
		out->verb = DOVECOT_AUTH;
		return read_auth(rest, out, err);
	}
	if (str_eq(verb, STR("CONT"))) {
		out->verb = DOVECOT_CONT;
		return read_id(&rest, &out->id, err) && take_response(out, rest, err);
	}
	if (str_eq(verb, STR("CANCEL"))) {
		out->verb = DOVECOT_CANCEL;
		return read_id(&rest, &out->id, err);
	}
	if (str_eq(verb, STR("CPID")))
		out->verb = DOVECOT_CPID;
	if (str_eq(verb, STR("VERSION"))) {
		out->verb = DOVECOT_VERSION;
		if (!rest.p || !str_u64(str_cut(&rest, '\t'), 1000, &major))
			return err_set(err, ERR_SYNTAX, "VERSION without a number");
		out->major = (uint32_t)major;
	}
	return true;
}
