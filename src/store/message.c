/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/message.c: content and details of one message.
 *
 * A file is found by the name that the index knows. When it is not there, another program renamed
 * or removed it, and the directory is looked at. Content is given out with CRLF line ends: files of
 * ours have them; those of others are converted (RFC822.SIZE counts so, too).
 */
#include "base/codec.h"
#include "crypto/hash.h"
#include "mime/summary.h"
#include "store/store_int.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static bool gone(struct err *err)
{
	return err_set(err, ERR_GONE, "the message was expunged");
}

/* Messages are asked for one after the other: the block stays taken apart until something changes. */
static struct index_reader *kept_reader(struct hot_account *h, const struct dir *d, int64_t row)
{
	if (h->reader.row != row || h->reader_slot != d->state.slot || d->state.marked) {
		index_reader_end(&h->reader);
		h->reader.row = row;
		h->reader_slot = d->state.slot;
	}
	h->reader.ix = h->index;
	return &h->reader;
}

static bool find_row(struct account *a, struct dir *d, uint32_t uid, struct arena *ar, struct opened *out,
		     bool *out_found, struct err *err)
{
	struct index_mailbox m;

	if (!account_index(a, err) || !dir_sync(a, d, SYNC_IF_BROKEN, &m, err))
		return false;
	struct index_reader *r = kept_reader(a->hot, d, m.row);
	bool ok = index_find(r, uid, &out->hot, &out->cold, out_found, err);
	if (ok && *out_found)
		out->cold.base = arena_str(ar, out->cold.base);
	out->row = m.row;
	if (!ok)
		account_index_failed(a, err);
	return ok;
}

/* Other size or mtime: another program wrote into it; that is a new message. */
static bool is_same(int fd, const struct opened *o)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_size == o->hot.size &&
	       st.st_mtim.tv_sec == o->hot.date && (uint32_t)st.st_mtim.tv_nsec == o->cold.mtime_ns;
}

bool message_try_open(struct account *a, struct dir *d, uint32_t uid, struct arena *ar, struct opened *out,
		      bool *out_again, struct err *err)
{
	char path[CUR_PATH_MAX];
	bool found;

	*out_again = false;
	if (!find_row(a, d, uid, ar, out, &found, err))
		return false;
	if (!found || !cur_path(d, &out->hot, &out->cold, path))
		return gone(err);
	out->fd = file_openat(d->fd, path, O_RDONLY | O_NOFOLLOW, 0);
	if (out->fd < 0 && errno != ENOENT)
		return err_sys(err, "open %s", path);
	*out_again = out->fd < 0 || !is_same(out->fd, out);
	if (*out_again)
		fd_close(&out->fd);
	return true;
}

static bool open_locked(struct view *v, uint32_t uid, struct arena *ar, struct opened *out,
			struct err *err)
{
	struct dir *d;
	struct index_mailbox m;
	bool again;

	struct account *a = v->account;
	if (!view_dir(v, &d, err) || !message_try_open(a, d, uid, ar, out, &again, err))
		return false;
	if (!again)
		return true;
	if (!dir_sync(a, d, SYNC_FORCE, &m, err) || !message_try_open(a, d, uid, ar, out, &again, err))
		return false;
	return !again || gone(err);
}

static bool open_message(struct view *v, uint32_t uid, struct arena *ar, struct opened *out,
			 struct err *err)
{
	*out = (struct opened){.fd = -1};
	if (!account_lock(v->account, USE_READ, err))
		return false;
	bool ok = open_locked(v, uid, ar, out, err);
	account_unlock(v->account);
	return ok;
}

/* ---- content ---------------------------------------------------------------------------- */
static struct str with_crlf(struct arena *ar, struct str in, size_t wire_size)
{
	char *out = arena_alloc(ar, wire_size + 1);
	size_t n = 0;

	for (size_t i = 0; i < in.n && n < wire_size; i++) {
		if (in.p[i] == '\n' && (i == 0 || in.p[i - 1] != '\r') && n + 1 < wire_size)
			out[n++] = '\r';
		out[n++] = in.p[i];
	}
	return (struct str){out, n};
}

bool message_read(struct opened *o, struct arena *ar, struct str *out, struct err *err)
{
	char *content = arena_alloc(ar, o->hot.size + 1);

	if (!file_pread_all(o->fd, content, o->hot.size, 0, err))
		return false;
	*out = (struct str){content, o->hot.size};
	if (o->hot.wire_size != o->hot.size)
		*out = with_crlf(ar, *out, o->hot.wire_size);
	return true;
}

bool view_message(struct view *v, uint32_t uid, struct arena *ar, struct str *out, struct err *err)
{
	struct opened o;

	if (!open_message(v, uid, ar, &o, err))
		return false;
	bool ok = message_read(&o, ar, out, err);
	fd_close(&o.fd);
	return ok;
}

static bool converted(struct opened *o, int *out_fd, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str content;

	if (!message_read(o, ar, &content, err))
		return false;
	FD_SCOPED fd = memfd_create("message", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(err, "memfd_create");
	if (!file_write_all(fd, content.p, content.n, err))
		return false;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, "lseek");
	*out_fd = fd_take(&fd);
	return true;
}

bool view_message_fd(struct view *v, uint32_t uid, int *out_fd, uint64_t *out_size, struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct opened o;

	if (!open_message(v, uid, ar, &o, err))
		return false;
	*out_size = o.hot.wire_size;
	if (o.hot.wire_size == o.hot.size) {
		*out_fd = o.fd;
		return true;
	}
	bool ok = converted(&o, out_fd, err);
	fd_close(&o.fd);
	return ok;
}

/* ---- details ---------------------------------------------------------------------------- */
/* EMAILID (RFC 8474 5.1): of the base name, which COPY, MOVE and a new index keep. */
static void make_email_id(struct str base, char out[33])
{
	unsigned char digest[SHA256_SIZE];
	BUF_SCOPED hex = {0};

	sha256(base, digest);
	hex_encode(&hex, (struct str){(const char *)digest, 16});
	memcpy(out, hex.p, 32);
	out[32] = 0;
}

static bool find_details(struct view *v, uint32_t uid, struct arena *ar, struct opened *o,
			 struct str *out_summary, bool *out_found, struct err *err)
{
	struct account *a = v->account;
	struct dir *d;
	bool found;

	*out_found = false;
	if (!view_dir(v, &d, err) || !find_row(a, d, uid, ar, o, &found, err))
		return false;
	if (!found)
		return gone(err);
	if (summary_held(a->hot, o->row, uid, ar, out_summary)) {
		*out_found = true;
		return true;
	}
	if (index_summary(a->hot->index, o->row, uid, ar, out_summary, out_found, err))
		return true;
	account_index_failed(a, err);
	return false;
}

static bool usable(struct str summary)
{
	struct summary s;
	struct err err;

	return summary_decode(summary, &s, &err);
}

/* Parsing runs without the account's lock. */
static bool make_summary(struct view *v, uint32_t uid, struct arena *ar, struct opened *o,
			 struct str *out, struct err *err)
{
	if (!open_message(v, uid, ar, o, err))
		return false;
	bool ok = summary_of_opened(o, ar, out, err);
	fd_close(&o->fd);
	struct err ignored;
	if (ok && account_lock(v->account, USE_READ, &ignored)) {
		if (v->account->hot->index)
			summary_hold(v->account, o->row, uid, *out);
		account_unlock(v->account);
	}
	return ok;
}

bool view_details(struct view *v, uint32_t uid, struct arena *ar, struct msg_details *out,
		  struct err *err)
{
	struct opened o = {.fd = -1};
	struct str summary;
	bool found;

	if (!account_lock(v->account, USE_READ, err))
		return false;
	bool ok = find_details(v, uid, ar, &o, &summary, &found, err);
	account_unlock(v->account);
	if (!ok)
		return false;
	if ((!found || !usable(summary)) && !make_summary(v, uid, ar, &o, &summary, err))
		return false;
	*out = (struct msg_details){
		.internaldate = o.hot.date, .savedate = o.cold.savedate, .summary = summary};
	make_email_id(cold_base(&o.cold), out->email_id);
	return true;
}
