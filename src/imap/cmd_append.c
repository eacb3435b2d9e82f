/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * imap/cmd_append.c: APPEND with MULTIAPPEND and CATENATE, and REPLACE (imap/append.h). The octets
 * have come (append_take.c); here messages are put together from them and from what URLs name, and
 * OK follows when the store says that all is durable: one message through the journal, several at
 * once, all or none.
 */
#include "imap/append_take.h"
#include "base/clock.h"
#include "imap/url_read.h"
#include "base/mem.h"
#include "net/pending.h"

enum { COST_IN_LIMITS = 8 }; /* octets of messages that URLs may refer to, in units of imap.max_append */

struct append_run {
	struct append_args args;
	struct append *a;
	uint32_t replaced;         /* UID */
	struct new_message *messages;
	struct str *contents;
	uint32_t uidvalidity;
	struct str bad_url;
};

/* ---- putting messages together ----------------------------------------------------------- */

static bool url_part(struct append_run *r, struct url_reader *urls, struct str url, struct octets *to,
		     struct err *err)
{
	struct imap *s = urls->s;
	struct imap_url u;
	struct str octets;

	r->bad_url = url;
	if (!imap_url_parse(url, s->scratch, &u) || u.access.p || !url_is_ours(s, &u))
		return err_set(err, ERR_NOT_FOUND, "not a URL of this account");
	if (!url_octets(urls, &u, &octets, err))
		return false;
	r->bad_url = STR_NONE;
	if (octets.n > append_limit(s) - to->size)
		return err_set(err, ERR_LIMIT, "the message is larger than APPENDLIMIT");
	octets_add(to, octets);
	arena_reset(s->scratch);
	return true;
}

static bool catenate(struct append_run *r, struct url_reader *urls, const struct append_item *item,
		     struct octets *from, const struct append_text *text, struct err *err)
{
	struct octets to;
	bool ok = true;

	octets_init(&to, urls->s->served->store);
	for (size_t i = 0; ok && i < item->parts_n; i++) {
		if (item->parts[i].url.p) {
			ok = url_part(r, urls, item->parts[i].url, &to, err);
			continue;
		}
		if (text->n > append_limit(urls->s) - to.size)
			ok = err_set(err, ERR_LIMIT, "the message is larger than APPENDLIMIT");
		else
			ok = octets_add_from(&to, from, text->at, text->n, err);
		text++;
	}
	octets_fini(from);
	*from = to;
	return ok;
}

static size_t urls_of(const struct append_item *item)
{
	size_t n = 0;

	for (size_t i = 0; i < item->parts_n; i++)
		n += item->parts[i].url.p != NULL;
	return n;
}

static bool all_contents(struct imap *s, struct append_run *r, struct err *err)
{
	struct append *a = r->a;
	struct url_reader urls;
	size_t text = 0; /* the next one */
	uint64_t total = 0, limit = append_limit(s);
	bool ok = true;

	while (a->messages_n < r->args.items_n) {
		a->messages = mem_resize_array(a->messages, a->messages_n + 1, sizeof(*a->messages));
		octets_init(&a->messages[a->messages_n++], s->served->store);
	}
	url_reader_init(&urls, s, COST_IN_LIMITS * limit);
	for (size_t i = 0; ok && i < r->args.items_n; i++) {
		const struct append_item *item = &r->args.items[i];
		size_t n = urls_of(item);
		/* Looked at first: of what could not be written, catenate() would take what there is. */
		bool failed = a->messages[i].failed;
		if (n && !failed)
			ok = catenate(r, &urls, item, &a->messages[i],
				      text < a->texts_n ? &a->texts[text] : NULL, err);
		if (ok && (failed || a->messages[i].failed))
			ok = err_set(err, ERR_TEMP, "no room for the message now");
		if (ok && !a->messages[i].size)
			ok = err_set(err, ERR_SYNTAX, "a message is empty");
		total += a->messages[i].size;
		if (ok && total > COST_IN_LIMITS * limit)
			ok = err_set(err, ERR_LIMIT, "the messages are too large together");
		text += item->parts_n - n;
	}
	url_reader_fini(&urls);
	return ok;
}

static void new_messages(struct imap *s, struct append_run *r)
{
	size_t n = r->args.items_n;

	r->messages = arena_array(s->arena, n, sizeof(*r->messages));
	r->contents = arena_array(s->arena, n, sizeof(*r->contents));
	for (size_t i = 0; i < n; i++) {
		const struct append_item *item = &r->args.items[i];
		const struct octets *o = &r->a->messages[i];
		r->contents[i] = buf_str(&o->memory);
		r->messages[i] = (struct new_message){
			.id = id_new(),
			.parts = &r->contents[i],
			.parts_n = o->fd < 0,
			.file_fd = o->fd,
			.file_size = o->fd < 0 ? 0 : o->size,
			.flags = item->flags.flags,
			.keywords = item->flags.keywords,
			.keywords_n = item->flags.keywords_n,
			.internaldate = item->has_date ? item->date : clock_wall_s(),
		};
	}
}

/* ---- answers ------------------------------------------------------------------------------ */

static enum step append_failed(struct imap *s, const struct append_run *r, const struct err *err)
{
	BUF_SCOPED code = {};

	if (err->kind == ERR_NOT_FOUND && r->bad_url.p) { /* RFC 4469 4 */
		buf_add(&code, STR("BADURL "));
		write_astring(&code, r->bad_url, false);
		bool one_line = !str_has_ctl(buf_str(&code));
		return imap_no(s, one_line ? arena_cstr(s->arena, buf_str(&code)) : "BADURL",
			       "The URL names nothing here");
	}
	if (err->kind == ERR_NOT_FOUND)
		return imap_no(s, "TRYCREATE", "No such mailbox");
	if (err->kind == ERR_LIMIT && !r->messages)
		return imap_no(s, "TOOBIG", *err->text ? err->text : "Too large");
	return imap_fail(s, err);
}

/* "APPENDUID 38505 3955:3957" */
static struct str appenduid(struct arena *a, const struct append_run *r)
{
	BUF_SCOPED b = {};
	struct uid_set uids = {};
	size_t cap = 0;

	for (size_t i = 0; i < r->args.items_n; i++)
		uid_set_add(a, &uids, &cap, r->messages[i].uid);
	buf_add(&b, STR("APPENDUID "));
	buf_u64(&b, r->uidvalidity);
	buf_byte(&b, ' ');
	write_uid_set(&b, uids);
	return arena_str(a, buf_str(&b));
}

/* RFC 8508 3.3: the new message is durable; now the old one goes. */
static enum step replaced(struct imap *s, const struct append_run *r)
{
	struct uid_range one = {r->replaced, r->replaced};
	struct buf *b = imap_out(s);
	uint64_t modseq;
	struct err err;

	buf_add(b, STR("* OK ["));
	buf_add(b, appenduid(s->arena, r));
	buf_add(b, STR("] Replacement message ready\r\n"));
	if (!view_expunge(s->view, (struct uid_set){&one, 1}, false, &modseq, &err))
		return imap_fail(s, &err);
	return imap_ok(s, "REPLACE completed");
}

static enum step appended(struct imap *s, const struct append_run *r)
{
	if (r->args.replace)
		return replaced(s, r);
	return imap_ok_code(s, appenduid(s->arena, r), "APPEND completed");
}

/* ---- the command --------------------------------------------------------------------------- */

static bool texts_are_right(const struct append *a, const char **out_why)
{
	for (size_t i = 0; i < a->texts_n; i++)
		if (a->texts[i].has_nul && !a->texts[i].binary) {
			*out_why = "NUL octets need a literal8";
			return false;
		}
	return true;
}

/* false: the tagged reply was written. */
static bool find_replaced(struct imap *s, const struct command *c, struct append_run *r)
{
	struct uid_set seqs;
	struct msg m;

	if (!imap_resolve(s, &r->args.set, c->uid, &seqs))
		return false;
	if (uid_set_count(seqs) != 1 || !view_msg(s->view, seqs.r[0].first, &m)) {
		imap_no(s, "", "REPLACE takes one message that exists");
		return false;
	}
	if (s->read_only) {
		imap_no(s, "READ-ONLY", "The mailbox is selected read-only");
		return false;
	}
	r->replaced = m.uid;
	return true;
}

static void release(void *append) { append_free(append); }

static enum step append_one(struct imap *s, struct command *c, struct append_run *r)
{
	struct err err;

	/* The journal may refer to the content until it is durable, even when the client goes away. */
	s->pending = pending_new(s->conn);
	pending_release(s->pending, release, r->a);
	s->append = NULL;
	if (!mailbox_append(imap_account(s), r->args.mailbox, &r->messages[0], &r->uidvalidity, pending_done,
			    s->pending, &err)) {
		pending_unasked(s->pending);
		s->pending = NULL;
		return append_failed(s, r, &err);
	}
	c->state = r;
	return STEP_EVENT;
}

static enum step begin(struct imap *s, struct command *c, bool replace)
{
	struct append_run *r = arena_new_of(s->arena, struct append_run);
	const char *why = NULL;
	struct err err;

	if (!parse_append(&c->p, replace, &r->args))
		return imap_bad_syntax(s, &c->p);
	if (!s->append) /* URLs alone */
		s->append = mem_new(struct append);
	r->a = s->append;
	if (r->args.literals != r->a->texts_n)
		return imap_bad(s, "Missing message");
	if (!texts_are_right(r->a, &why))
		return imap_bad(s, why);
	if (replace && !find_replaced(s, c, r))
		return STEP_DONE;
	if (r->args.urls && append_mailbox_missing(s, r->args.mailbox))
		return imap_no(s, "TRYCREATE", "No such mailbox");
	if (!all_contents(s, r, &err))
		return append_failed(s, r, &err);
	new_messages(s, r);
	if (r->args.items_n == 1)
		return append_one(s, c, r);
	if (!mailbox_append_all(imap_account(s), r->args.mailbox, r->messages, r->args.items_n,
				&r->uidvalidity, &err))
		return append_failed(s, r, &err);
	return appended(s, r);
}

static enum step go_on(struct imap *s, struct command *c)
{
	const struct append_run *r = c->state;
	struct err outcome;

	if (!pending_ready(s->pending, &outcome))
		return STEP_EVENT;
	pending_drop(s->pending);
	s->pending = NULL;
	return outcome.kind == ERR_NONE ? appended(s, r) : imap_fail(s, &outcome);
}

enum step cmd_append(struct imap *s, struct command *c)
{
	return c->state ? go_on(s, c) : begin(s, c, false);
}

enum step cmd_replace(struct imap *s, struct command *c)
{
	return c->state ? go_on(s, c) : begin(s, c, true);
}
