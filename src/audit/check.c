/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Each line is compared with what the next says of it, so one changed line is one fault, and the chain is
 * taken up again behind it.
 */
#include "audit/audit_int.h"
#include "crypto/hash.h"

#include <string.h>

void audit_hash(struct str line, char out[AUDIT_HASH_HEX])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char sum[SHA256_SIZE];
	sha256(line, sum);
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		out[2 * i] = hex[sum[i] >> 4];
		out[2 * i + 1] = hex[sum[i] & 15];
	}
}

static bool is_hash(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	return s.n == AUDIT_HASH_HEX;
}

bool audit_line_read(struct str line, struct audit_line *out)
{
	struct str rest = line, number = str_cut(&rest, ' ');
	out->hash = str_cut(&rest, ' ');
	out->text = rest;
	return str_u64(number, UINT64_MAX - 1, &out->number) && out->number > 0 && is_hash(out->hash) &&
	       rest.n && !str_has_ctl(line);
}

bool audit_head_read(struct str text, struct audit_head *out)
{
	struct str rest = str_trim(text), number = str_cut(&rest, ' ');
	if (!rest.p || !str_u64(number, UINT64_MAX - 1, &out->number) || !is_hash(rest))
		return false;
	memcpy(out->hash, rest.p, AUDIT_HASH_HEX);
	return true;
}

static void found(struct audit_check *c, enum audit_fault fault, uint64_t number, uint64_t last)
{
	c->faults++;
	if (c->fault)
		c->fault(c->ctx, fault, number, last);
}

static bool says(struct str hash, const char *of)
{
	return hash.n == AUDIT_HASH_HEX && memcmp(hash.p, of, AUDIT_HASH_HEX) == 0;
}

void audit_check_line(struct audit_check *c, struct str line)
{
	struct audit_line l;
	if (!audit_line_read(line, &l)) {
		found(c, AUDIT_UNREADABLE, c->last, c->last);
		return;
	}
	if (c->lines == 0)
		c->first = l.number;
	else if (l.number > c->last + 1)
		found(c, AUDIT_MISSING, c->last + 1, l.number - 1);
	else if (l.number <= c->last || !says(l.hash, c->hash))
		found(c, AUDIT_CHANGED, l.number <= c->last ? l.number : c->last, c->last);
	if (c->lines == 0 && l.number == 1) {
		char zeros[AUDIT_HASH_HEX];
		memset(zeros, '0', sizeof zeros);
		if (!says(l.hash, zeros))
			found(c, AUDIT_CHANGED, 1, 1);
	}
	c->lines++;
	c->last = l.number;
	audit_hash(line, c->hash);
}

bool audit_check_head(struct audit_check *c, struct str head)
{
	struct audit_head h;
	if (!audit_head_read(head, &h)) {
		found(c, AUDIT_UNREADABLE, c->last, c->last);
		return false;
	}
	if (h.number > c->last)
		found(c, AUDIT_MISSING, c->last + 1, h.number);
	else if (h.number == c->last && memcmp(h.hash, c->hash, AUDIT_HASH_HEX) != 0)
		found(c, AUDIT_CHANGED, c->last, c->last);
	else if (h.number < c->last)
		return true; /* a crash between a line and its head */
	return h.number == c->last && memcmp(h.hash, c->hash, AUDIT_HASH_HEX) == 0;
}
