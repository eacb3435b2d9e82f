/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * proc/boot.c: files of the master in data_dir. "boot" holds the kernel's boot id and whether the
 * server ended cleanly: another boot id and no clean end means power loss, and recovery is cold
 * (DESIGN 3). The mark of a cold start is written only after recovery, so that a crash in the
 * middle of it is followed by a cold start again.
 */
#include "base/buf.h"
#include "base/file.h"
#include "base/ids.h"
#include "proc/master_int.h"
#include "store/mailbox.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MARK_MAX = 200, KEY_SIZE = 32 };

static bool open_data(const struct config *c, int *out, struct err *err)
{
	*out = open(config_path(c, SETTING_DATA_DIR), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out >= 0 || err_sys(err, "open %s", config_path(c, SETTING_DATA_DIR));
}

static bool boot_id(struct buf *out, struct err *err)
{
#ifdef PABAL_FAULTS
	/* Tests make a power loss without one. */
	const char *given = getenv("PABAL_BOOT_ID");
	if (given) {
		buf_add(out, str_of(given));
		return true;
	}
#endif
	if (!file_read_whole(AT_FDCWD, "/proc/sys/kernel/random/boot_id", MARK_MAX, out, err))
		return false;
	out->n = str_trim(buf_str(out)).n;
	return true;
}

/* A role marked that what it wrote may not have reached the disk, or somebody asked for it. */
static bool disk_failed(const struct config *c)
{
	FD_SCOPED mail = open(config_path(c, SETTING_MAIL_DIR), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return mail >= 0 && store_is_forced_cold(mail);
}

bool boot_is_cold(const struct config *c, bool *out, struct err *err)
{
	BUF_SCOPED id = {0};
	BUF_SCOPED mark = {0};
	FD_SCOPED dir = -1;

	if (!open_data(c, &dir, err) || !boot_id(&id, err))
		return false;
	*out = false;
	if (!file_read_whole(dir, "boot", MARK_MAX, &mark, err)) {
		bool first = err->kind == ERR_NOT_FOUND;
		if (first)
			err_clear(err);
		return first;
	}
	struct str rest = buf_str(&mark);
	struct str before = str_cut(&rest, ' ');
	*out = (!str_eq(before, buf_str(&id)) && !str_eq(str_trim(rest), STR("clean"))) || disk_failed(c);
	return true;
}

bool boot_mark(const struct config *c, bool clean, struct err *err)
{
	BUF_SCOPED mark = {0};
	FD_SCOPED dir = -1;

	if (!open_data(c, &dir, err) || !boot_id(&mark, err))
		return false;
	FD_SCOPED mail = open(config_path(c, SETTING_MAIL_DIR), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (clean && (file_syncfs(dir) < 0 || (mail >= 0 && file_syncfs(mail) < 0)))
		return err_sys(err, "syncfs");
	buf_add(&mark, clean ? STR(" clean\n") : STR(" running\n"));
	return file_replace_whole(dir, "boot", buf_str(&mark), 0600, err);
}

bool mac_key_get(const struct config *c, char key[KEY_SIZE], struct err *err)
{
	BUF_SCOPED content = {0};
	FD_SCOPED dir = -1;

	if (!open_data(c, &dir, err))
		return false;
	if (file_read_whole(dir, "mac.key", KEY_SIZE, &content, err)) {
		if (content.n != KEY_SIZE)
			return err_set(err, ERR_CORRUPT, "mac.key has %zu bytes", content.n);
		memcpy(key, content.p, KEY_SIZE);
		return true;
	}
	if (err->kind != ERR_NOT_FOUND)
		return false;
	err_clear(err);
	random_bytes(key, KEY_SIZE);
	return file_replace_whole(dir, "mac.key", (struct str){key, KEY_SIZE}, 0600, err);
}
