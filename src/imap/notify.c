/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/notify.c: see imap/notify.h. */
#include "imap/notify.h"
#include "base/lock.h"
#include "base/mem.h"
#include "imap/fetch_run.h"
#include <stdlib.h>
#include <string.h>

enum {
	DIRTY_MAX = 32,      /* names that changed; more of them stand for all */
	NEW_FETCHED_MAX = 1000,
	TOLD_MORE = 1000,
};

/* What was told of a mailbox last. */
struct told {
	struct told *next;
	struct str name;     /* in told_arena */
	uint32_t messages, uidnext, uidvalidity;
	uint64_t modseq;
};

struct notify {
	struct arena *arena; /* as long as this setting holds */
	struct str text;     /* the command's arguments: what the groups point into */
	struct notify_group *groups;
	size_t groups_n;
	struct told *told;
	struct arena *told_arena;
	size_t told_n;
	struct arena *list_arena;
	struct mailbox_entry *list; /* names and subscriptions that the client knows */
	size_t list_n;
	struct account_watch watch;
	struct conn *conn;
	struct lock lock;
	struct str dirty[DIRTY_MAX]; /* heap; guarded by lock */
	size_t dirty_n;              /* guarded by lock */
	bool everything, names;      /* guarded by lock: all mailboxes; the list of them */
};

/* ---- what the store tells ----------------------------------------------------------------- */

/* With the account's shelf: gathers and wakes, nothing else. */
static void on_change(void *ctx, struct str name)
{
	struct notify *n = ctx;

	lock_take(&n->lock);
	bool known = n->everything;
	for (size_t i = 0; i < n->dirty_n && !known; i++)
		known = str_eq(n->dirty[i], name);
	if (!name.n) {
		n->names = true;
	} else if (!known && n->dirty_n == DIRTY_MAX) {
		n->everything = true;
	} else if (!known) {
		char *copy = mem_alloc(name.n);
		memcpy(copy, name.p, name.n);
		n->dirty[n->dirty_n++] = (struct str){copy, name.n};
	}
	lock_drop(&n->lock);
	conn_wake(n->conn);
}

struct gathered {
	struct str names[DIRTY_MAX];
	size_t n;
	bool everything, list;
};

static struct gathered take_dirty(struct notify *n)
{
	LOCK_SCOPED(&n->lock);
	struct gathered g = {.n = n->dirty_n, .everything = n->everything, .list = n->names};

	for (size_t i = 0; i < g.n; i++)
		g.names[i] = n->dirty[i];
	n->dirty_n = 0;
	n->everything = n->names = false;
	return g;
}

static void gathered_free(struct gathered *g)
{
	for (size_t i = 0; i < g->n; i++)
		free((char *)(uintptr_t)g->names[i].p);
}

void notify_free(struct imap *s)
{
	struct notify *n = s->notify;

	if (!n)
		return;
	account_watch_remove(imap_account(s), &n->watch);
	struct gathered g = take_dirty(n);
	gathered_free(&g);
	lock_fini(&n->lock);
	arena_free(n->arena);
	arena_free(n->told_arena);
	arena_free(n->list_arena);
	free(n);
	s->notify = NULL;
}

/* ---- which group ---------------------------------------------------------------------------- */

static const struct mailbox_entry *find_entry(const struct mailbox_entry *list, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i].name, name))
			return &list[i];
	return NULL;
}

static bool below(struct str name, struct str top)
{
	return str_starts(name, top) && (name.n == top.n || name.p[top.n] == '/');
}

static bool group_has(const struct notify *n, const struct notify_group *g, struct str name)
{
	const struct mailbox_entry *e;

	switch (g->filter) {
	case NOTIFY_SELECTED:
	case NOTIFY_SELECTED_DELAYED:
		return false;
	case NOTIFY_INBOXES: /* where mail is delivered to */
		return str_eq(name, STR("INBOX"));
	case NOTIFY_PERSONAL:
		return true;
	case NOTIFY_SUBSCRIBED:
		e = find_entry(n->list, n->list_n, name);
		return e && e->attrs & MAILBOX_SUBSCRIBED;
	case NOTIFY_SUBTREE:
		for (size_t i = 0; i < g->names_n; i++)
			if (below(name, g->names[i]))
				return true;
		return false;
	case NOTIFY_MAILBOXES:
		for (size_t i = 0; i < g->names_n; i++)
			if (str_eq(name, g->names[i]))
				return true;
		return false;
	}
	return false;
}

/* The first group that a mailbox is in decides (RFC 5465 6). */
static unsigned events_of(const struct notify *n, struct str name)
{
	for (size_t i = 0; i < n->groups_n; i++)
		if (group_has(n, &n->groups[i], name))
			return n->groups[i].events;
	return 0;
}

static const struct notify_group *selected_group(const struct notify *n)
{
	for (size_t i = 0; n && i < n->groups_n; i++)
		if (n->groups[i].filter == NOTIFY_SELECTED || n->groups[i].filter == NOTIFY_SELECTED_DELAYED)
			return &n->groups[i];
	return NULL;
}

/* ---- mailboxes that are not selected --------------------------------------------------------- */

static struct told *told_of(struct notify *n, struct str name, bool *out_new)
{
	for (struct told *t = n->told; t; t = t->next)
		if (str_eq(t->name, name)) {
			*out_new = false;
			return t;
		}
	if (n->told_n++ > n->list_n + TOLD_MORE) { /* of mailboxes that are gone, mostly */
		arena_reset(n->told_arena);
		n->told = NULL;
		n->told_n = 1;
	}
	struct told *t = arena_new_of(n->told_arena, struct told);
	t->name = arena_str(n->told_arena, name);
	t->next = n->told;
	n->told = t;
	*out_new = true;
	return t;
}

static unsigned what_happened(const struct told *t, const struct mailbox_status *st)
{
	unsigned events = 0;

	if (t->uidvalidity != st->uidvalidity || st->uidnext > t->uidnext)
		events |= NOTIFY_NEW;
	if (st->messages < t->messages + (st->uidnext - t->uidnext))
		events |= NOTIFY_EXPUNGE;
	if (!events && st->highestmodseq != t->modseq)
		events |= NOTIFY_FLAGS;
	return events;
}

static void tell_status(struct imap *s, struct str name, unsigned events, bool first)
{
	struct notify *n = s->notify;
	struct mailbox_status st;
	struct err err;
	bool new;

	if (!events || (s->view && str_eq(view_name(s->view), name)))
		return;
	if (!mailbox_status(imap_account(s), name, &st, &err))
		return; /* gone meanwhile: the list tells it */
	struct told *t = told_of(n, name, &new);
	unsigned happened = new ? NOTIFY_NEW | NOTIFY_EXPUNGE | NOTIFY_FLAGS : what_happened(t, &st);
	*t = (struct told){t->next, t->name, st.messages, st.uidnext, st.uidvalidity, st.highestmodseq};
	if (!first && !(happened & events))
		return;
	unsigned items = STATUS_MESSAGES | STATUS_UIDNEXT | STATUS_UIDVALIDITY;
	if (events & NOTIFY_FLAGS) /* RFC 5465 5.3 */
		items |= STATUS_UNSEEN | STATUS_HIGHESTMODSEQ;
	if (!imap_write_status(s, name, items, &err))
		return;
}

static bool has_messages(const struct mailbox_entry *e)
{
	return !(e->attrs & (MAILBOX_NOSELECT | MAILBOX_NONEXISTENT));
}

static void tell_all(struct imap *s, bool first)
{
	struct notify *n = s->notify;
	const unsigned of_messages = NOTIFY_NEW | NOTIFY_EXPUNGE | NOTIFY_FLAGS;

	for (size_t i = 0; i < n->list_n; i++)
		if (has_messages(&n->list[i]))
			tell_status(s, n->list[i].name, events_of(n, n->list[i].name) & of_messages, first);
}

/* ---- names and subscriptions ------------------------------------------------------------------ */

static void write_list(struct imap *s, const struct mailbox_entry *e, bool gone, struct str old)
{
	struct buf *b = imap_out(s);

	buf_add(b, STR("* LIST ("));
	if (gone || e->attrs & MAILBOX_NONEXISTENT)
		buf_add(b, STR("\\NonExistent"));
	else
		buf_add(b, e->attrs & MAILBOX_HAS_CHILDREN ? STR("\\HasChildren") : STR("\\HasNoChildren"));
	if (!gone && e->attrs & MAILBOX_SUBSCRIBED)
		buf_add(b, STR(" \\Subscribed"));
	buf_add(b, STR(") \"/\" "));
	write_mailbox(b, e->name, imap_utf8(s));
	if (old.n) {
		buf_add(b, STR(" (\"OLDNAME\" ("));
		write_mailbox(b, old, imap_utf8(s));
		buf_add(b, STR("))"));
	}
	buf_add(b, STR("\r\n"));
}

static const struct mailbox_entry *find_id(const struct mailbox_entry *list, size_t n,
					   const struct mailbox_entry *e)
{
	for (size_t i = 0; i < n && *e->mailbox_id; i++)
		if (str_eq(str_of(list[i].mailbox_id), str_of(e->mailbox_id)))
			return &list[i];
	return NULL;
}

static bool exists(const struct mailbox_entry *e) { return e && !(e->attrs & MAILBOX_NONEXISTENT); }

static void compare_entry(struct imap *s, const struct mailbox_entry *e)
{
	struct notify *n = s->notify;
	unsigned events = events_of(n, e->name);
	const struct mailbox_entry *old = find_entry(n->list, n->list_n, e->name);

	if (exists(e) && !exists(old)) {
		const struct mailbox_entry *renamed = find_id(n->list, n->list_n, e);
		if (events & NOTIFY_NAME)
			write_list(s, e, false, renamed ? renamed->name : STR_NONE);
		return;
	}
	unsigned was = old ? old->attrs & MAILBOX_SUBSCRIBED : 0;
	if ((e->attrs & MAILBOX_SUBSCRIBED) != was && events & NOTIFY_SUBSCRIPTION)
		write_list(s, e, false, STR_NONE);
}

static void compare_list(struct imap *s, const struct mailbox_entry *now, size_t now_n)
{
	struct notify *n = s->notify;

	for (size_t i = 0; i < now_n; i++)
		compare_entry(s, &now[i]);
	for (size_t i = 0; i < n->list_n; i++) {
		const struct mailbox_entry *old = &n->list[i];
		if (!exists(old) || exists(find_entry(now, now_n, old->name)) || find_id(now, now_n, old))
			continue;
		if (events_of(n, old->name) & NOTIFY_NAME)
			write_list(s, old, true, STR_NONE);
	}
}

static void take_list(struct imap *s, bool tell)
{
	struct notify *n = s->notify;
	struct arena *a = arena_new();
	struct mailbox_entry *now;
	size_t now_n;
	struct err err;

	if (!mailbox_list(imap_account(s), a, &now, &now_n, &err)) {
		arena_free(a);
		return;
	}
	if (tell)
		compare_list(s, now, now_n);
	arena_free(n->list_arena);
	n->list_arena = a;
	n->list = now;
	n->list_n = now_n;
}

/* ---- the selected mailbox ----------------------------------------------------------------------- */

void notify_new(struct imap *s, uint32_t above_uid)
{
	const struct notify_group *g = selected_group(s->notify);
	uint32_t first, count = view_count(s->view);

	if (!g || !g->has_fetch || above_uid == UINT32_MAX)
		return;
	first = view_seq_at_least(s->view, above_uid + 1);
	if (first > count)
		return;
	struct uid_range new = {first, count - first < NEW_FETCHED_MAX ? count : first + NEW_FETCHED_MAX - 1};
	struct fetch_args args = g->fetch;
	args.items |= FETCH_UID; /* RFC 5465 5.2 */
	struct uid_set seqs = {arena_array(s->arena, 1, sizeof(new)), 1};
	seqs.r[0] = new;
	struct fetch_run *r = fetch_run_new(s, &args, seqs);
	while (fetch_run_step(s, r) != STEP_DONE)
		continue;
}

static void wake(void *conn) { conn_wake(conn); }

static bool tell_selected(struct imap *s)
{
	const struct notify_group *g = selected_group(s->notify);

	if (!s->view || !g || !g->events)
		return true;
	view_watch(s->view, wake, s->conn);
	return imap_update(s, g->filter == NOTIFY_SELECTED_DELAYED);
}

bool notify_tell(struct imap *s)
{
	struct notify *n = s->notify;

	if (!n)
		return true;
	struct gathered g = take_dirty(n);
	if (g.list || g.everything)
		take_list(s, true);
	if (g.everything)
		tell_all(s, false);
	for (size_t i = 0; i < g.n && !g.everything; i++)
		tell_status(s, g.names[i],
			    events_of(n, g.names[i]) & (NOTIFY_NEW | NOTIFY_EXPUNGE | NOTIFY_FLAGS), false);
	gathered_free(&g);
	return tell_selected(s);
}

/* ---- the command ---------------------------------------------------------------------------------- */

static void begin(struct imap *s, const struct parse *p)
{
	struct notify *n = mem_new(struct notify);
	struct notify_args own = {};

	n->arena = arena_new();
	n->told_arena = arena_new();
	n->text = arena_str(n->arena, scan_rest(&p->s));
	struct parse again = parse_of(n->text, n->arena, p->utf8);
	if (parse_notify(&again, &own)) { /* it did before */
		n->groups = own.groups;
		n->groups_n = own.groups_n;
	}
	lock_init(&n->lock, LOCK_LEAF);
	n->conn = s->conn;
	n->watch = (struct account_watch){.fn = on_change, .ctx = n};
	s->notify = n;
	account_watch_add(imap_account(s), &n->watch);
	take_list(s, false);
	if (own.status)
		tell_all(s, true);
}

enum step cmd_notify(struct imap *s, struct command *c)
{
	struct notify_args args;
	struct parse at = c->p;

	if (!parse_notify(&c->p, &args)) {
		if (args.bad_event) /* RFC 5465 5 */
			return imap_no(s, "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName "
					  "SubscriptionChange)", "Event is not known");
		return imap_bad_syntax(s, &c->p);
	}
	notify_free(s);
	if (s->view)
		view_watch(s->view, NULL, NULL);
	if (!args.none)
		begin(s, &at);
	return imap_ok(s, "NOTIFY completed");
}
