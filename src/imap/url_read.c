/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/url_read.c: see imap/url_read.h. The view of one URL is kept for the next one. */
#include "imap/url_read.h"
#include "base/buf.h"
#include "base/file.h"

void url_reader_init(struct url_reader *r, struct imap *s, uint64_t cost_max)
{
	*r = (struct url_reader){.s = s, .cost_max = cost_max};
}

void url_reader_fini(struct url_reader *r)
{
	view_close(r->own);
	r->own = r->view = NULL;
}

bool url_is_ours(const struct imap *s, const struct imap_url *u)
{
	struct str address = s->served->address;

	if (!u->user.p)
		return !u->host.p;
	return str_eq_nocase(u->user, address) ||
	       str_eq_nocase(u->user, str_sub(address, 0, str_find_byte(address, '@')));
}

static bool no_such(struct err *err)
{
	return err_set(err, ERR_NOT_FOUND, "the URL names nothing that is here");
}

static bool open_mailbox(struct url_reader *r, struct str name, struct err *err)
{
	struct imap *s = r->s;

	if (!name.p || (s->view && str_eq(view_name(s->view), name))) {
		r->view = s->view;
		return r->view || no_such(err);
	}
	if (!r->own || !str_eq(view_name(r->own), name)) {
		view_close(r->own);
		if (!view_open(imap_account(s), name, true, &r->own, err)) {
			r->own = NULL;
			return err->kind == ERR_IO || err->kind == ERR_TEMP ? false : no_such(err);
		}
	}
	r->view = r->own;
	return true;
}

bool url_open(struct url_reader *r, const struct imap_url *u, struct content *out, struct err *err)
{
	struct view_facts f;
	struct msg m;

	if (!open_mailbox(r, u->mailbox, err))
		return false;
	view_facts(r->view, &f);
	if (u->uidvalidity && u->uidvalidity != f.uidvalidity)
		return no_such(err);
	if (!view_msg(r->view, view_seq(r->view, u->uid), &m))
		return no_such(err);
	r->cost += m.size;
	if (r->cost_max && r->cost > r->cost_max)
		return err_set(err, ERR_LIMIT, "the URLs are too much work together");
	content_init(out, r->view, &m, r->s->scratch);
	return true;
}

static bool section_octets(struct imap *s, struct content *c, const struct imap_url *u, struct str *out,
			   struct err *err)
{
	BUF_SCOPED fields = {};
	const struct mime_message *m;

	if (!u->section.path_n && u->section.kind == SECTION_WHOLE)
		return content_all(c, out, err);
	if (!content_mime(c, &m, err))
		return false;
	if (!mime_section(m, &u->section, &fields, out))
		return no_such(err);
	if (fields.n && out->p == fields.p)
		*out = arena_str(s->scratch, *out);
	return true;
}

bool url_octets(struct url_reader *r, const struct imap_url *u, struct str *out, struct err *err)
{
	struct content c;
	struct str all;

	if (!url_open(r, u, &c, err))
		return false;
	bool ok = section_octets(r->s, &c, u, &all, err);
	content_fini(&c);
	if (!ok)
		return err->kind == ERR_GONE ? no_such(err) : false;
	if (u->partial)
		all = str_sub(all, (size_t)u->at, u->n ? (size_t)u->n : all.n);
	*out = all;
	return true;
}
