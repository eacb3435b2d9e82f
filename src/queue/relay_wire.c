/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "queue/relay_wire.h"

#include "base/scan.h"

enum { JOB_STR_MAX = 16 * 1024, RCPT_MAX = 1000, TEXT_MAX = 4096 };
enum { JOB_LMTP = 1, JOB_MX_SECURE = 2 };
enum { REPLY_SURE = 1, REPLY_DSN = 2 };

void relay_job_encode(struct buf *out, const struct relay_job *job)
{
	struct envelope e = *job->envelope;
	BUF_SCOPED b = {0};
	e.id = job->id;
	e.rcpt = (struct recipient *)(uintptr_t)job->rcpt;
	e.rcpt_n = job->rcpt_n;
	envelope_encode(&b, &e);
	buf_le_str(out, buf_str(&b));
	const struct str *strings[] = {&job->destination, &job->domain,        &job->hosts,
				       &job->auth_user,   &job->auth_password, &job->helo,
				       &job->source_address};
	for (size_t k = 0; k < sizeof strings / sizeof strings[0]; k++)
		buf_le_str(out, *strings[k]);
	buf_le32(out, job->port);
	buf_le32(out, (job->lmtp ? JOB_LMTP : 0) | (job->mx_secure ? JOB_MX_SECURE : 0));
	buf_le32(out, job->tls);
	buf_le32(out, job->tls_else);
	buf_le32(out, job->messages_per_connection);
	buf_le32(out, job->rcpts_per_message);
}

bool relay_job_decode(struct str in, struct arena *a, struct relay_job *out, struct err *err)
{
	struct scan s = scan_of(in);
	struct str envelope;
	struct relay_job j = {.content_fd = -1};
	struct envelope *e = arena_new_of(a, struct envelope);
	if (!scan_le_str(&s, ENVELOPE_BYTES_MAX, &envelope) || !envelope_decode(envelope, a, e, err))
		return err->kind != ERR_NONE ? false : err_set(err, ERR_CORRUPT, "a relay job is damaged");
	struct str *strings[] = {&j.destination,   &j.domain, &j.hosts, &j.auth_user,
				 &j.auth_password, &j.helo,   &j.source_address};
	bool ok = e->rcpt_n > 0 && e->rcpt_n <= RCPT_MAX;
	for (size_t k = 0; ok && k < sizeof strings / sizeof strings[0]; k++)
		ok = scan_le_str(&s, JOB_STR_MAX, strings[k]);
	uint32_t port, flags, tls, tls_else;
	if (!ok || !scan_le32(&s, &port) || port > UINT16_MAX || !scan_le32(&s, &flags) ||
	    !scan_le32(&s, &tls) || tls > RELAY_TLS_DANE || !scan_le32(&s, &tls_else) ||
	    tls_else >= RELAY_TLS_DANE || !scan_le32(&s, &j.messages_per_connection) ||
	    !scan_le32(&s, &j.rcpts_per_message) || !scan_end(&s))
		return err_set(err, ERR_CORRUPT, "a relay job is damaged");
	j.id = e->id;
	j.port = (uint16_t)port;
	j.lmtp = flags & JOB_LMTP;
	j.mx_secure = flags & JOB_MX_SECURE;
	j.tls = (enum relay_tls)tls;
	j.tls_else = (enum relay_tls)tls_else;
	j.envelope = e;
	j.rcpt = e->rcpt;
	j.rcpt_n = e->rcpt_n;
	*out = j;
	return true;
}

void relay_result_encode(struct buf *out, const struct relay_result *r)
{
	buf_le_str(out, str_sub(r->mta, 0, TEXT_MAX));
	buf_le_str(out, str_sub(r->mta_address, 0, TEXT_MAX));
	buf_le_str(out, str_sub(r->tls, 0, TEXT_MAX));
	buf_le32(out, r->reused);
	buf_le32(out, r->ms);
	buf_le32(out, (uint32_t)r->rcpt_n);
	for (size_t k = 0; k < r->rcpt_n; k++) {
		const struct relay_reply *p = &r->rcpt[k];
		buf_le32(out, p->scope);
		buf_le32(out, (uint32_t)p->code);
		buf_le32(out, p->status.class);
		buf_le32(out, (uint32_t)p->status.subject << 16 | p->status.detail);
		buf_le32(out, p->outcome);
		buf_le32(out, (p->sure ? REPLY_SURE : 0) | (p->relayed_dsn ? REPLY_DSN : 0));
		buf_le_str(out, str_sub(p->text, 0, r->rcpt_n > 50 ? 200 : TEXT_MAX));
	}
}

static bool get_reply(struct scan *s, struct relay_reply *out)
{
	uint32_t scope, code, class, detail, outcome, flags;
	if (!scan_le32(s, &scope) || scope > RELAY_HOSTS || !scan_le32(s, &code) || code > 599 ||
	    !scan_le32(s, &class) || class > 5 || !scan_le32(s, &detail) || !scan_le32(s, &outcome) ||
	    outcome >= OUTCOME_COUNT || !scan_le32(s, &flags) || !scan_le_str(s, TEXT_MAX, &out->text))
		return false;
	out->scope = (enum relay_scope)scope;
	out->code = (int)code;
	out->status = (struct status){(uint8_t)class, (uint16_t)(detail >> 16), (uint16_t)detail};
	out->outcome = (enum outcome)outcome;
	out->sure = flags & REPLY_SURE;
	out->relayed_dsn = flags & REPLY_DSN;
	return true;
}

bool relay_result_decode(struct str in, struct arena *a, struct relay_result *out, struct err *err)
{
	struct scan s = scan_of(in);
	struct relay_result r = {0};
	uint32_t reused, n;
	bool ok = scan_le_str(&s, TEXT_MAX, &r.mta) && scan_le_str(&s, TEXT_MAX, &r.mta_address) &&
		  scan_le_str(&s, TEXT_MAX, &r.tls) && scan_le32(&s, &reused) && scan_le32(&s, &r.ms) &&
		  scan_le32(&s, &n) && n <= RCPT_MAX;
	struct relay_reply *replies = ok ? arena_zalloc(a, (n ? n : 1) * sizeof *replies) : NULL;
	for (r.rcpt_n = 0; ok && r.rcpt_n < n; r.rcpt_n++)
		ok = get_reply(&s, &replies[r.rcpt_n]);
	if (!ok || !scan_end(&s))
		return err_set(err, ERR_CORRUPT, "a relay result is damaged");
	r.reused = reused;
	r.rcpt = replies;
	*out = r;
	return true;
}
