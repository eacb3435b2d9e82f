/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_notify.c: the arguments of NOTIFY (RFC 5465 8). */
#include "imap/notify.h"

static const struct {
	const char *word;
	unsigned event;
} events[] = {
	{"MessageNew", NOTIFY_NEW},   {"MessageExpunge", NOTIFY_EXPUNGE},
	{"FlagChange", NOTIFY_FLAGS}, {"MailboxName", NOTIFY_NAME},
	{"SubscriptionChange", NOTIFY_SUBSCRIPTION},
};

static const struct {
	const char *word;
	enum notify_filter filter;
} filters[] = {
	{"SELECTED", NOTIFY_SELECTED},     {"SELECTED-DELAYED", NOTIFY_SELECTED_DELAYED},
	{"INBOXES", NOTIFY_INBOXES},       {"PERSONAL", NOTIFY_PERSONAL},
	{"SUBSCRIBED", NOTIFY_SUBSCRIBED}, {"SUBTREE", NOTIFY_SUBTREE},
	{"MAILBOXES", NOTIFY_MAILBOXES},
};

static bool is_selected(const struct notify_group *g)
{
	return g->filter == NOTIFY_SELECTED || g->filter == NOTIFY_SELECTED_DELAYED;
}

/* event = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / ... */
static bool one_event(struct parse *p, struct notify_args *out, struct notify_group *g)
{
	unsigned event = 0;

	for (size_t i = 0; i < sizeof(events) / sizeof(*events) && !event; i++)
		if (parse_word(p, str_of(events[i].word)))
			event = events[i].event;
	if (!event) {
		out->bad_event = true;
		return parse_fail(p, "Unknown event");
	}
	g->events |= event;
	if (event != NOTIFY_NEW || !scan_lit(&p->s, STR(" (")))
		return true;
	p->s.p--;
	g->has_fetch = true;
	if (!is_selected(g))
		return parse_fail(p, "Items are told of the selected mailbox only");
	return parse_fetch_items(p, &g->fetch);
}

/* RFC 5465 5: these go together. */
static bool together(struct parse *p, const struct notify_group *g)
{
	bool new = g->events & NOTIFY_NEW, expunge = g->events & NOTIFY_EXPUNGE;

	if (new != expunge || (g->events & NOTIFY_FLAGS && !new))
		return parse_fail(p, "MessageNew and MessageExpunge go together, FlagChange with both");
	if (is_selected(g) && g->events & (NOTIFY_NAME | NOTIFY_SUBSCRIPTION))
		return parse_fail(p, "The selected mailbox has events of messages only");
	return true;
}

/* events = ("(" event *(SP event) ")") / "NONE" */
static bool parse_events(struct parse *p, struct notify_args *out, struct notify_group *g)
{
	if (parse_word(p, STR("NONE")))
		return true;
	if (!parse_char(p, '('))
		return false;
	do {
		if (!one_event(p, out, g))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')') && together(p, g);
}

/* one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")" */
static bool names(struct parse *p, struct notify_group *g)
{
	bool list = scan_byte(&p->s, '(');
	size_t cap = 0;

	do {
		if (g->names_n == NOTIFY_NAMES_MAX)
			return parse_fail(p, "Too many mailboxes");
		g->names = arena_grow(p->a, g->names, g->names_n, &cap, sizeof(*g->names));
		if (!parse_mailbox(p, &g->names[g->names_n]))
			return false;
		g->names_n++;
	} while (list && scan_byte(&p->s, ' '));
	return !list || parse_char(p, ')');
}

/* event-group = "(" filter-mailboxes SP events ")" */
static bool group(struct parse *p, struct notify_args *out, struct notify_group *g)
{
	size_t i = 0, n = sizeof(filters) / sizeof(*filters);

	*g = (struct notify_group){};
	if (!parse_char(p, '('))
		return false;
	while (i < n && !parse_word(p, str_of(filters[i].word)))
		i++;
	if (i == n)
		return parse_fail(p, "Unknown mailbox filter");
	g->filter = filters[i].filter;
	if ((g->filter == NOTIFY_SUBTREE || g->filter == NOTIFY_MAILBOXES) && (!parse_sp(p) || !names(p, g)))
		return false;
	return parse_sp(p) && parse_events(p, out, g) && parse_char(p, ')');
}

/* "NOTIFY" SP ("SET" [SP "STATUS"] SP event-groups / "NONE") */
bool parse_notify(struct parse *p, struct notify_args *out)
{
	bool selected = false;
	size_t cap = 0;

	*out = (struct notify_args){};
	if (parse_word(p, STR("NONE"))) {
		out->none = true;
		return parse_end(p);
	}
	if (!parse_word(p, STR("SET")) || !parse_sp(p))
		return false;
	out->status = parse_word(p, STR("STATUS"));
	if (out->status && !parse_sp(p))
		return false;
	do {
		if (out->groups_n == NOTIFY_GROUPS_MAX)
			return parse_fail(p, "Too many event groups");
		out->groups = arena_grow(p->a, out->groups, out->groups_n, &cap, sizeof(*out->groups));
		struct notify_group *g = &out->groups[out->groups_n++];
		if (!group(p, out, g))
			return false;
		if (selected && is_selected(g))
			return parse_fail(p, "Only one group may be about the selected mailbox");
		selected |= is_selected(g);
	} while (scan_byte(&p->s, ' '));
	return parse_end(p);
}
