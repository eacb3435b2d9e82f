/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "mail/status.h"
#include <assert.h>
#include <errno.h>

static const struct outcome_row rows[] = {
#define OUTCOME(name, code, class, subject, detail, turn, en, ko)                              \
	[OUTCOME_##name] = {#name, code, {class, subject, detail}, TURN_##turn, en, ko},
#include "mail/outcomes.def"
#undef OUTCOME
};

const struct outcome_row *outcome_row(enum outcome o)
{
	assert((unsigned)o < OUTCOME_COUNT);
	return &rows[o];
}

/* subject = detail = 1*3DIGIT, no leading zeros wanted but seen (RFC 3463 2) */
static bool scan_3digit(struct scan *s, uint16_t *out)
{
	struct scan t = *s;
	uint32_t v;
	if (!scan_u32(&t, 999, &v) || t.p - s->p > 3) return false;
	*out = (uint16_t)v;
	*s = t;
	return true;
}

bool status_scan(struct scan *s, struct status *out)
{
	struct scan t = *s;
	struct status st = {0};
	int c = scan_peek(&t);
	if (c != '2' && c != '4' && c != '5') return false;
	st.class = (uint8_t)(c - '0');
	if (!scan_skip(&t, 1) || !scan_byte(&t, '.') || !scan_3digit(&t, &st.subject) ||
		!scan_byte(&t, '.') ||
	    !scan_3digit(&t, &st.detail))
		return false;
	c = scan_peek(&t);
	if (c >= 0 && c != ' ' && c != '\r' && c != '\n') return false;
	*s = t;
	*out = st;
	return true;
}

bool status_of_reply(struct str reply, struct status *out)
{
	struct scan s = scan_of(reply);
	if (status_scan(&s, out)) return true;
	uint32_t code;
	if (!scan_u32(&s, 599, &code) || s.p - reply.p != 3 || code < 200 || code / 100 == 3) return false;
	if (!scan_byte(&s, ' ') && !scan_byte(&s, '-') && !scan_end(&s)) return false;
	/* A code of another class than the reply's is not to be believed. */
	if (status_scan(&s, out) && out->class == code / 100) return true;
	*out = (struct status){.class = (uint8_t)(code / 100)};
	return true;
}

void status_format(struct buf *out, struct status st)
{
	buf_fmt(out, "%u.%u.%u", st.class, st.subject, st.detail);
}

enum outcome outcome_of_status(struct status st)
{
	for (int i = 0; i < OUTCOME_COUNT; i++)
		if (status_eq(rows[i].status, st)) return (enum outcome)i;
	if (st.class == 2) return OUTCOME_OK;
	if (st.class == 4) return st.subject == 4 ? OUTCOME_DELAYED : OUTCOME_SYSTEM_TEMP;
	switch (st.subject) {
	case 1: return OUTCOME_BAD_RECIPIENT;
	case 2: return OUTCOME_MAILBOX_DISABLED;
	case 3: return OUTCOME_SYSTEM_FAIL;
	case 4: return OUTCOME_NO_ROUTE;
	case 5: return OUTCOME_PROTOCOL;
	case 6: return OUTCOME_MEDIA;
	}
	return OUTCOME_REFUSED;
}

enum outcome outcome_of_err(const struct err *err)
{
	switch (err->kind) {
	case ERR_NONE: break;
	case ERR_SYNTAX: return OUTCOME_BAD_SYNTAX;
	case ERR_LIMIT: return OUTCOME_SYSTEM_BUSY;
	case ERR_DENIED: return OUTCOME_REFUSED;
	case ERR_NOT_FOUND: return OUTCOME_NO_SUCH_USER;
	case ERR_EXISTS: break;
	case ERR_CONFLICT: return OUTCOME_BAD_COMMAND;
	case ERR_QUOTA: return OUTCOME_OVER_QUOTA_TEMP;
	case ERR_TEMP: break;
	case ERR_IO:
		if (err->sys == ENOSPC || err->sys == EDQUOT)
			return OUTCOME_SYSTEM_FULL;
		break;
	case ERR_CORRUPT: break;
	case ERR_GONE: break;
	}
	return OUTCOME_SYSTEM_TEMP;
}

void outcome_reply(struct buf *out, enum outcome o, struct str extra)
{
	const struct outcome_row *row = outcome_row(o);
	buf_fmt(out, "%u ", row->reply_code);
	status_format(out, row->status);
	buf_byte(out, ' ');
	if (extra.n == 0) extra = str_of(row->en);
	for (size_t i = 0; i < extra.n; i++) {
		unsigned char c = (unsigned char)extra.p[i];
		buf_byte(out, c < 32 || c > 126 ? '?' : (char)c);
	}
}

const char *status_turn_en(enum status_turn turn)
{
	switch (turn) {
	case TURN_NOBODY: return "Nothing needs to be done.";
	case TURN_SENDER: return "You can mend this: check the address and the message, then send it again.";
	case TURN_RECIPIENT: return "The recipient has to act: please reach them in another way, then "
		"send it again.";
	case TURN_THEIR_ADMIN:
		return "The recipient's mail administrator has to act: please pass this notice on to the "
			"recipient.";
	case TURN_OUR_ADMIN: return "Our mail administrator has to act: please pass this notice on to them.";
	}
	return "";
}

const char *status_turn_ko(enum status_turn turn)
{
	switch (turn) {
	case TURN_NOBODY: return "따로 하실 일은 없습니다.";
	case TURN_SENDER: return "보내신 분이 해결할 수 있습니다. 주소와 내용을 확인하고 다시 보내십시오.";
	case TURN_RECIPIENT:
		return "받는 분이 조치해야 합니다. 다른 방법으로 연락하신 뒤 다시 보내십시오.";
	case TURN_THEIR_ADMIN:
		return "받는 쪽 메일 관리자가 조치해야 합니다. 이 안내를 받는 분께 전달하십시오.";
	case TURN_OUR_ADMIN: return "보내는 쪽 메일 관리자가 조치해야 합니다. 이 안내를 관리자에게 전달하십시오.";
	}
	return "";
}
