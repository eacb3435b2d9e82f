/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * XCLIENT: a trusted proxy or filter says whom it speaks for (Postfix's XCLIENT_README). From named
 * networks only. LOGIN is not offered: a login counts here only with auth's own proof.
 */
#include "base/log.h"
#include "smtp/server/server_int.h"
#include <arpa/inet.h>
#include <string.h>

struct told {
	struct conn_addr peer;
	bool has_addr, has_port, has_name, has_helo, has_proto, esmtp;
	uint16_t port;
	struct str addr_text, name, helo;
};

static bool is_unknown(struct str value)
{
	return str_eq_nocase(value, STR("[UNAVAILABLE]")) || str_eq_nocase(value, STR("[TEMPUNAVAIL]"));
}

static bool read_addr(struct arena *a, struct str value, struct told *out)
{
	out->has_addr = true;
	if (is_unknown(value))
		return true;
	bool six = str_starts_nocase(value, STR("IPV6:"));
	const char *text = arena_cstr(a, six ? str_from(value, 5) : value);
	if (!text)
		return false;
	if (six && inet_pton(AF_INET6, text, &out->peer.addr.v6.sin6_addr) == 1) {
		out->peer.addr.v6.sin6_family = AF_INET6;
		out->peer.len = sizeof out->peer.addr.v6;
	} else if (!six && inet_pton(AF_INET, text, &out->peer.addr.v4.sin_addr) == 1) {
		out->peer.addr.v4.sin_family = AF_INET;
		out->peer.len = sizeof out->peer.addr.v4;
	} else {
		return false;
	}
	out->addr_text = str_of(text);
	return true;
}

static bool read_attribute(struct arena *a, struct str name, struct str value, struct told *out)
{
	uint64_t port;
	if (str_eq_nocase(name, STR("ADDR")))
		return read_addr(a, value, out);
	if (str_eq_nocase(name, STR("NAME"))) {
		out->has_name = true;
		out->name = is_unknown(value) ? STR_NONE : value;
		return is_unknown(value) || domain_valid(value, false);
	}
	if (str_eq_nocase(name, STR("PORT")) || str_eq_nocase(name, STR("DESTPORT"))) {
		if (!is_unknown(value) && !str_u64(value, 65535, &port))
			return false;
		if (str_eq_nocase(name, STR("PORT"))) {
			out->has_port = true;
			out->port = is_unknown(value) ? 0 : (uint16_t)port;
		}
		return true;
	}
	if (str_eq_nocase(name, STR("PROTO"))) {
		out->has_proto = true;
		out->esmtp = str_eq_nocase(value, STR("ESMTP"));
		return out->esmtp || str_eq_nocase(value, STR("SMTP"));
	}
	if (str_eq_nocase(name, STR("HELO"))) {
		out->has_helo = true;
		return is_unknown(value) || smtp_helo_parse(value, &out->helo);
	}
	return str_eq_nocase(name, STR("DESTADDR"));
}

/* attribute = name "=" xtext, parted by blanks */
static bool read_all(struct arena *a, struct str args, struct told *out)
{
	struct smtp_params params;
	struct scan s = scan_of(args);
	struct err err;
	struct str value;
	if (!smtp_scan_params(&s, &params) || params.n == 0)
		return false;
	for (size_t i = 0; i < params.n; i++) {
		const struct smtp_param *p = &params.v[i];
		if (!p->has_value || !xtext_decode(a, p->value, &value, &err) || str_has_ctl(value) ||
		    !read_attribute(a, p->keyword, value, out))
			return false;
	}
	return true;
}

static void set(struct buf *b, struct str s)
{
	buf_clear(b);
	buf_add(b, s);
}

void verb_xclient(struct smtp_session *s, struct str args)
{
	ARENA_SCOPED a = arena_new();
	struct told told = {0};
	if (!s->xclient) {
		smtp_error(s, 550, "5.7.0", "XCLIENT is not for you");
		return;
	}
	if (s->tx) {
		smtp_error(s, 503, "5.5.1", "not within a transaction");
		return;
	}
	if (!read_all(a, args, &told)) {
		smtp_error(s, 501, "5.5.4", "bad attribute");
		return;
	}
	if (told.has_addr) {
		s->peer = told.peer;
		set(&s->peer_text, told.addr_text);
		buf_clear(&s->peer_name);
		s->peer_port = 0;
	}
	if (told.has_name)
		set(&s->peer_name, told.name);
	if (told.has_port)
		s->peer_port = told.port;
	log_event(LOG_INFO, "smtp.xclient", K_STR(by, conn_facts(s->conn)->peer_text),
		  K_STR(peer, buf_str(&s->peer_text)));
	s->greeted = false;
	s->esmtp = told.has_proto && told.esmtp;
	set(&s->helo, told.helo);
	buf_clear(&s->account);
	smtp_peer_changed(s);
	smtp_greet(s);
}
