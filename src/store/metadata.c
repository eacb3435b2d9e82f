/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/metadata.c: annotations of mailboxes and of the account (RFC 5464). They lie beside the
 * mailbox's state, so they go where it goes, with RENAME, DELETE and copies of the Maildir.
 */
#include "store/maildir/annotations.h"
#include "store/store_int.h"

/* Where they lie. The account is locked. */
static bool find_place(struct account *a, struct str name, int *out_fd, const char **out_file,
		       struct err *err)
{
	struct dir *d;

	if (!name.n) {
		*out_fd = a->hot->fd;
		*out_file = ANNOTATIONS_ACCOUNT_FILE;
		return true;
	}
	if (!dir_find(a, name, &d, err))
		return false;
	if (!d)
		return err_set(err, ERR_NOT_FOUND, "no such mailbox");
	*out_fd = d->fd;
	*out_file = ANNOTATIONS_FILE;
	return true;
}

bool mailbox_metadata(struct account *a, struct str mailbox, struct arena *ar, struct metadata_entry **out,
		      size_t *out_n, struct err *err)
{
	struct str name = STR_NONE;
	struct annotation *list = NULL;
	size_t n = 0;
	const char *file;
	int fd;

	if ((mailbox.n && !mailbox_name_normal(ar, mailbox, &name, err)) || !account_lock(a, USE_READ, err))
		return false;
	bool ok = find_place(a, name, &fd, &file, err) && annotations_read(fd, file, ar, &list, &n, err);
	account_unlock(a);
	if (!ok)
		return err_while(err, "reading metadata of %.*s", STR_ARG(a->address));
	*out = arena_array(ar, n + 1, sizeof(**out));
	*out_n = n;
	for (size_t i = 0; i < n; i++)
		(*out)[i] = (struct metadata_entry){list[i].name, list[i].value};
	return true;
}

static struct annotation *find(struct annotation *list, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq_nocase(list[i].name, name))
			return &list[i];
	return NULL;
}

static bool within_limits(const struct annotation *list, size_t n, struct err *err)
{
	size_t entries = 0, octets = 0;

	for (size_t i = 0; i < n; i++) {
		if (!list[i].value.p)
			continue;
		entries++;
		octets += list[i].name.n + list[i].value.n;
	}
	if (entries > METADATA_ENTRIES_MAX || octets > METADATA_OCTETS_MAX)
		return err_set(err, ERR_LIMIT, "there are too many annotations");
	return true;
}

static bool change(int fd, const char *file, struct arena *ar, const struct metadata_entry *e, size_t n,
		   struct err *err)
{
	struct annotation *old, *list;
	size_t old_n, all;

	if (!annotations_read(fd, file, ar, &old, &old_n, err))
		return false;
	list = arena_array(ar, old_n + n + 1, sizeof(*list));
	for (all = 0; all < old_n; all++)
		list[all] = old[all];
	for (size_t i = 0; i < n; i++) {
		struct annotation *there = find(list, all, e[i].name);
		if (!there)
			there = &list[all++];
		*there = (struct annotation){e[i].name, e[i].value};
	}
	return within_limits(list, all, err) && annotations_write(fd, file, list, all, err);
}

bool mailbox_metadata_set(struct account *a, struct str mailbox, const struct metadata_entry *e, size_t n,
			  struct err *err)
{
	ARENA_SCOPED ar = arena_new();
	struct str name = STR_NONE;
	const char *file;
	int fd;

	if ((mailbox.n && !mailbox_name_normal(ar, mailbox, &name, err)) || !account_lock(a, USE_CHANGE, err))
		return false;
	bool ok = find_place(a, name, &fd, &file, err) && change(fd, file, ar, e, n, err);
	account_unlock(a);
	return ok || err_while(err, "changing metadata of %.*s", STR_ARG(a->address));
}
