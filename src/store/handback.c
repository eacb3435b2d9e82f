/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/handback.c: the way back to Dovecot: its lists of UIDs and keywords as they are now, in each
 * mailbox. Names of files may stay as they are: Dovecot takes all up to ':' as a name. Subscriptions
 * are in its own file in any case. And POP3 UIDLs, which the same lists keep.
 */
#include "base/codec.h"
#include "crypto/hash.h"
#include "store/store_int.h"
#include <stdlib.h>

/* ---- POP3 UIDLs that another server gave ------------------------------------------------- */
enum { UIDL_MAX = 70 }; /* RFC 1939 7 */

static bool uidl_valid(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x21 || s.p[i] > 0x7e)
			return false;
	return s.n && s.n <= UIDL_MAX;
}

static int by_uid(const void *x, const void *y)
{
	const struct pop3_uidl *a = x, *b = y;

	return (a->uid > b->uid) - (a->uid < b->uid);
}

static void take_uidls(const struct uidlist *l, struct arena *ar, struct pop3_uidl **out, size_t *out_n)
{
	size_t cap = 0;

	*out = NULL;
	*out_n = 0;
	for (size_t i = 0; i < l->n; i++) {
		if (!uidl_valid(l->at[i].pop3_uidl))
			continue;
		*out = arena_grow(ar, *out, *out_n, &cap, sizeof(**out));
		(*out)[(*out_n)++] = (struct pop3_uidl){l->at[i].uid, arena_str(ar, l->at[i].pop3_uidl)};
	}
	if (*out_n)
		qsort(*out, *out_n, sizeof(**out), by_uid);
}

bool view_pop3_uidls(struct view *v, struct arena *ar, struct pop3_uidl **out, size_t *out_n, struct err *err)
{
	ARENA_SCOPED scratch = arena_new();
	struct uidlist l = {0};
	struct dir *d;

	if (!account_lock(v->account, USE_READ, err))
		return false;
	bool ok = view_dir(v, &d, err) && uidlist_read(d->fd, UIDS_FILE, scratch, &l, err);
	if (ok && l.uidvalidity && l.uidvalidity != d->state.uidvalidity)
		l.n = 0;
	account_unlock(v->account);
	if (!ok)
		return false;
	take_uidls(&l, ar, out, out_n);
	uidlist_fini(&l);
	return true;
}

/* ---- Dovecot's lists --------------------------------------------------------------------- */
struct handback {
	struct account *a;
	struct dir *d;
	struct arena *ar; /* of one mailbox */
	struct pop3_uidl *uidls;
	size_t uidls_n;
};

/* 128 bits in hexadecimal, as Dovecot makes them; ours name the mailbox too. */
static struct str guid_of(const struct handback *h)
{
	unsigned char digest[SHA256_SIZE];
	BUF_SCOPED hex = {0};

	sha256((struct str){h->d->state.mailbox_id, MAILBOX_ID_LEN}, digest);
	hex_encode(&hex, (struct str){(const char *)digest, 16});
	return arena_str(h->ar, buf_str(&hex));
}

static void put_message(struct buf *out, const struct handback *h, const struct hot *hot,
			const struct cold *c)
{
	char path[CUR_PATH_MAX];
	struct pop3_uidl key = {.uid = hot->uid};

	if (!cur_path(h->d, hot, c, path))
		return;
	const struct pop3_uidl *uidl =
		h->uidls_n ? bsearch(&key, h->uidls, h->uidls_n, sizeof(key), by_uid) : NULL;
	struct uidlist_entry e = {.uid = hot->uid,
				  .has_size = true,
				  .size = hot->size,
				  .has_wire_size = true,
				  .wire_size = hot->wire_size,
				  .pop3_uidl = uidl ? uidl->text : STR_NONE,
				  .name = uidlist_name(str_from(str_of(path), 4))};
	uidlist_write_entry(out, &e);
}

static bool write_uids(const struct handback *h, const struct index_mailbox *m, struct err *err)
{
	struct index_reader r = {.ix = h->a->hot->index, .row = m->row};
	BUF_SCOPED text = {0};
	struct hot hot;
	struct cold cold;
	bool ok, found;

	uidlist_write_head(&text, h->d->state.uidvalidity, h->d->state.uidnext, guid_of(h));
	for (uint32_t uid = 1; (ok = index_find_next(&r, uid, &hot, &cold, &found, err)) && found;
	     uid = hot.uid + 1)
		put_message(&text, h, &hot, &cold);
	index_reader_end(&r);
	return ok && file_replace_whole(h->d->fd, DOVECOT_UIDS_FILE, buf_str(&text), 0600, err);
}

static bool write_keywords(const struct handback *h, struct err *err)
{
	BUF_SCOPED text = {0};

	if (!dir_keywords(h->a, h->d, err))
		return false;
	for (unsigned i = 0; i < h->d->keywords.n; i++)
		buf_fmt(&text, "%u %.*s\n", i, STR_ARG(h->d->keywords.name[i]));
	return !text.n || file_replace_whole(h->d->fd, "dovecot-keywords", buf_str(&text), 0600, err);
}

static bool one_mailbox(struct account *a, struct str dir, bool *out_done, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct handback h = {.a = a, .ar = ar};
	struct uidlist l = {0};
	struct index_mailbox m;

	*out_done = false;
	if (!dir_open(a, dir, &h.d, err))
		return false;
	if (!h.d)
		return true;
	if (!dir_sync(a, h.d, SYNC_IF_NEEDED, &m, err) || !uidlist_read(h.d->fd, UIDS_FILE, ar, &l, err))
		return false;
	take_uidls(&l, ar, &h.uidls, &h.uidls_n);
	uidlist_fini(&l);
	*out_done = true;
	return write_uids(&h, &m, err) && write_keywords(&h, err);
}

bool account_hand_back(struct account *a, size_t *out_mailboxes, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct mailbox_dir *list;
	size_t n = 0;

	*out_mailboxes = 0;
	if (!account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = account_index(a, err) && dirs_list(a, ar, &list, &n, err);
	for (size_t i = 0; ok && i < n; i++) {
		bool done;
		ok = one_mailbox(a, list[i].dir, &done, err);
		*out_mailboxes += ok && done;
	}
	account_unlock(a);
	return ok || err_while(err, "writing Dovecot's lists of %.*s", STR_ARG(a->address));
}
