/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/cmd_session.c: commands that concern the session alone: CAPABILITY, NOOP, CHECK, LOGOUT, ID,
 * ENABLE, NAMESPACE. */
#include "config/config.h"
#include "imap/imap_int.h"

enum step cmd_capability(struct imap *s, struct command *c)
{
	struct buf *b = imap_out(s);

	(void)c;
	buf_add(b, STR("* CAPABILITY "));
	capability_write(b, CAPABILITY_SESSION, config_size(s->served->config, SETTING_IMAP_MAX_APPEND));
	buf_add(b, STR("\r\n"));
	return imap_ok(s, "CAPABILITY completed");
}

enum step cmd_noop(struct imap *s, struct command *c)
{
	(void)c;
	return imap_ok(s, "NOOP completed");
}

/* Flags are renamed at once and synced soon (DESIGN 3.5): there is nothing to check. */
enum step cmd_check(struct imap *s, struct command *c)
{
	(void)c;
	return imap_ok(s, "CHECK completed");
}

enum step cmd_logout(struct imap *s, struct command *c)
{
	(void)c;
	imap_untagged(s, "BYE Logging out");
	imap_ok(s, "LOGOUT completed");
	s->closing = true;
	return STEP_DONE;
}

/* id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil (RFC 2971) */
static bool id_params(struct parse *p)
{
	struct str field, value;
	unsigned n = 0;

	if (parse_word(p, STR("NIL")))
		return true;
	if (!parse_char(p, '('))
		return false;
	if (scan_byte(&p->s, ')'))
		return true;
	do {
		if (++n > 30)
			return parse_fail(p, "Too many ID fields");
		if (!parse_string(p, &field) || !parse_sp(p) || !parse_nstring(p, &value))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')');
}

enum step cmd_id(struct imap *s, struct command *c)
{
	if (!id_params(&c->p) || !parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	imap_untagged(s, "ID (\"name\" \"pabal\")");
	return imap_ok(s, "ID completed");
}

static const struct {
	const char *word;
	unsigned on;
} enables[] = {
	{"CONDSTORE", ENABLED_CONDSTORE},
	{"QRESYNC", ENABLED_QRESYNC},
	{"IMAP4rev2", ENABLED_REV2},
	{"UTF8=ACCEPT", ENABLED_UTF8},
	{"UIDONLY", ENABLED_UIDONLY},
};

/* "ENABLE" 1*(SP capability) */
enum step cmd_enable(struct imap *s, struct command *c)
{
	struct str word;
	unsigned on = 0;

	do {
		if (!parse_atom(&c->p, &word))
			return imap_bad_syntax(s, &c->p);
		for (size_t i = 0; i < sizeof(enables) / sizeof(*enables); i++)
			if (str_eq_nocase(word, str_of(enables[i].word)))
				on |= enables[i].on;
	} while (scan_byte(&c->p.s, ' '));
	if (!parse_end(&c->p))
		return imap_bad_syntax(s, &c->p);
	struct buf *b = imap_out(s);
	buf_add(b, STR("* ENABLED"));
	for (size_t i = 0; i < sizeof(enables) / sizeof(*enables); i++)
		if (on & enables[i].on & ~s->enabled) {
			buf_byte(b, ' ');
			buf_add(b, str_of(enables[i].word));
		}
	buf_add(b, STR("\r\n"));
	s->enabled |= on;
	if (on & ENABLED_QRESYNC) /* RFC 7162 3.2.3 */
		s->enabled |= ENABLED_CONDSTORE;
	return imap_ok(s, "ENABLE completed");
}

enum step cmd_namespace(struct imap *s, struct command *c)
{
	(void)c;
	imap_untagged(s, "NAMESPACE ((\"\" \"/\")) NIL NIL");
	return imap_ok(s, "NAMESPACE completed");
}
