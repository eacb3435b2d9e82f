/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "store/maildir/state.h"
#include "base/crc32c.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = {'p', 'a', 'b', 'a', 'l', 's', 't', '1'};

enum { CRC_AT = STATE_SLOT - 4 };

struct cursor {
	unsigned char *p;
};

static void put(struct cursor *c, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*c->p++ = (unsigned char)(v >> 8 * i);
}

static uint64_t get(const unsigned char **p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t) * (*p)++ << 8 * i;
	return v;
}

void state_encode(const struct state *s, unsigned char out[STATE_SLOT])
{
	memset(out, 0, STATE_SLOT);
	memcpy(out, magic, sizeof(magic));
	memcpy(out + sizeof(magic), s->mailbox_id, MAILBOX_ID_LEN);

	struct cursor c = {out + sizeof(magic) + MAILBOX_ID_LEN};
	put(&c, s->slot, 8);
	put(&c, s->uidvalidity, 4);
	put(&c, s->uidnext, 4);
	put(&c, s->ceiling, 4);
	put(&c, s->promise, 4);
	put(&c, s->modseq, 8);
	put(&c, s->epoch, 8);
	put(&c, s->index, 8);
	put(&c, (uint64_t)s->cur_ns, 8);
	put(&c, (uint64_t)s->new_ns, 8);
	put(&c, s->marked, 1);
	put(&c, s->use, 1);
	put(&c, s->keywords_n, 1);
	put(&c, s->last_uidvalidity, 4);

	struct cursor end = {out + CRC_AT};
	put(&end, crc32c(0, out, CRC_AT), 4);
}

bool state_decode(const unsigned char in[STATE_SLOT], struct state *out)
{
	const unsigned char *end = in + CRC_AT;

	if (memcmp(in, magic, sizeof(magic)) || get(&end, 4) != crc32c(0, in, CRC_AT))
		return false;
	memcpy(out->mailbox_id, in + sizeof(magic), MAILBOX_ID_LEN);

	const unsigned char *p = in + sizeof(magic) + MAILBOX_ID_LEN;
	out->slot = get(&p, 8);
	out->uidvalidity = (uint32_t)get(&p, 4);
	out->uidnext = (uint32_t)get(&p, 4);
	out->ceiling = (uint32_t)get(&p, 4);
	out->promise = (uint32_t)get(&p, 4);
	out->modseq = get(&p, 8);
	out->epoch = get(&p, 8);
	out->index = get(&p, 8);
	out->cur_ns = (int64_t)get(&p, 8);
	out->new_ns = (int64_t)get(&p, 8);
	out->marked = get(&p, 1);
	out->use = (uint8_t)get(&p, 1);
	out->keywords_n = (uint8_t)get(&p, 1);
	out->last_uidvalidity = (uint32_t)get(&p, 4);
	return out->uidvalidity && out->uidnext;
}

bool state_read_fd(int fd, struct state *out, struct err *err)
{
	unsigned char both[2 * STATE_SLOT] = {0};
	ssize_t n = pread(fd, both, sizeof(both), 0);

	if (n < 0)
		return err_sys(err, "read " STATE_FILE);

	struct state a, b;
	bool has_a = state_decode(both, &a), has_b = state_decode(both + STATE_SLOT, &b);
	if (!has_a && !has_b)
		return err_set(err, ERR_CORRUPT, STATE_FILE " does not check");
	*out = has_a && (!has_b || a.slot > b.slot) ? a : b;
	return true;
}

bool state_read(int dirfd, struct state *out, struct err *err)
{
	FD_SCOPED fd = file_openat(dirfd, STATE_FILE, O_RDONLY | O_NOFOLLOW, 0);

	if (fd < 0 && errno == ENOENT)
		return err_set(err, ERR_NOT_FOUND, "no " STATE_FILE);
	if (fd < 0)
		return err_sys(err, "open " STATE_FILE);
	return state_read_fd(fd, out, err);
}

bool state_write(int fd, struct state *s, struct err *err)
{
	unsigned char slot[STATE_SLOT];

	s->slot++;
	state_encode(s, slot);
	ssize_t n = file_pwrite(fd, slot, sizeof(slot), s->slot % 2 ? STATE_SLOT : 0);
	if (n < 0)
		return err_sys(err, "write " STATE_FILE);
	if (n != (ssize_t)sizeof(slot))
		return err_set(err, ERR_IO, STATE_FILE " was written in part");
	return true;
}

bool state_create(int dirfd, struct state *s, struct err *err)
{
	unsigned char both[2 * STATE_SLOT];

	s->slot = 2;
	state_encode(s, both);
	s->slot = 1;
	state_encode(s, both + STATE_SLOT);
	s->slot = 2;
	return file_replace_whole(dirfd, STATE_FILE, (struct str){(const char *)both, sizeof(both)}, 0600,
				  err);
}
