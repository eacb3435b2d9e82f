/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Segment files: encoding, and the walk that tells good records from left-overs. */
#include "base/crc32c.h"
#include "base/file.h"
#include "base/mem.h"
#include "journal/journal_int.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char magic[8] = "PABALJ1\n";
enum { HEADER_BYTES = 36, WINDOW_FIRST = 16 * 1024, WINDOW_MAX = 256 * 1024 };

static void put32(char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (char)(v >> (8 * i));
}

static void put64(char *p, uint64_t v)
{
	put32(p, (uint32_t)v);
	put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const char *p)
{
	uint32_t v = 0;
	for (int i = 3; i >= 0; i--)
		v = v << 8 | (unsigned char)p[i];
	return v;
}

static uint64_t get64(const char *p)
{
	return get32(p) | (uint64_t)get32(p + 4) << 32;
}

void segment_header_encode(const struct segment_header *h, char block[SEGMENT_BLOCK])
{
	memset(block, 0, SEGMENT_BLOCK);
	memcpy(block, magic, sizeof magic);
	put64(block + 8, h->nonce);
	put64(block + 16, h->generation);
	put64(block + 24, h->first_seq);
	put32(block + 32, crc32c(0, block, 32));
}

bool segment_header_decode(struct str block, struct segment_header *out)
{
	if (block.n < HEADER_BYTES || memcmp(block.p, magic, sizeof magic) ||
	    get32(block.p + 32) != crc32c(0, block.p, 32))
		return false;
	*out = (struct segment_header){get64(block.p + 8), get64(block.p + 16), get64(block.p + 24)};
	return out->first_seq > 0;
}

void segment_name(char out[SEGMENT_NAME_MAX], uint32_t number)
{
	snprintf(out, SEGMENT_NAME_MAX, "seg-%08x", number);
}

bool segment_name_parse(const char *name, uint32_t *out_number)
{
	if (strncmp(name, "seg-", 4) || strlen(name) != 12)
		return false;
	uint32_t v = 0;
	for (const char *p = name + 4; *p; p++) {
		if (!ascii_is((unsigned char)*p, ASCII_XDIGIT) ||
		    ascii_is((unsigned char)*p, ASCII_UPPER))
			return false;
		v = v << 4 | (uint32_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
	}
	*out_number = v;
	return true;
}

void record_head_encode(char out[RECORD_HEAD], uint64_t nonce, uint64_t seq, enum journal_type type,
			unsigned flags, uint32_t content_crc, uint32_t length)
{
	put32(out + 4, content_crc);
	put32(out + 8, length);
	put32(out + 12, (uint32_t)type | flags << 8);
	put64(out + 16, seq);
	put64(out + 24, nonce);
	put32(out, crc32c(0, out + 4, RECORD_HEAD - 4));
}

bool segment_walk_begin(struct segment_walk *w, int fd, uint64_t size, struct err *err)
{
	*w = (struct segment_walk){.fd = fd, .size = size, .at = SEGMENT_BLOCK, .window_want = WINDOW_FIRST};
	char head[HEADER_BYTES];
	ssize_t n = pread(fd, head, sizeof head, 0);
	if (n < 0)
		return err_sys(err, "cannot read a journal segment");
	if (!segment_header_decode((struct str){head, (size_t)n}, &w->h))
		return false;
	w->last_seq = w->h.first_seq - 1;
	return true;
}

void segment_walk_refresh(struct segment_walk *w)
{
	buf_clear(&w->window);
	w->window_want = WINDOW_FIRST;
}

void segment_walk_end(struct segment_walk *w)
{
	buf_free(&w->window);
}

/* Makes n bytes at w->at readable through *out; fewer are there at the end of the file. */
static bool window_view(struct segment_walk *w, uint64_t n, struct str *out, struct err *err)
{
	uint64_t in_window = w->at - w->window_at;
	if (w->at < w->window_at || in_window > w->window.n || w->window.n - in_window < n) {
		uint64_t want = n > w->window_want ? n : w->window_want;
		if (w->window_want < WINDOW_MAX)
			w->window_want *= 2;
		if (want > w->size - w->at)
			want = w->size - w->at;
		buf_clear(&w->window);
		char *p = buf_room(&w->window, want);
		ssize_t got = pread(w->fd, p, want, (off_t)w->at);
		if (got < 0)
			return err_sys(err, "cannot read a journal segment");
		w->window.n = (size_t)got;
		w->window_at = w->at;
		in_window = 0;
	}
	*out = str_sub(buf_str(&w->window), in_window, n);
	return true;
}

enum found { FOUND_RECORD, FOUND_NOTHING, FOUND_BAD_CONTENT, FOUND_ERROR };

static enum found record_at(struct segment_walk *w, uint32_t *out_length, struct journal_record *out,
			    struct err *err)
{
	struct str head;
	if (!window_view(w, RECORD_HEAD, &head, err))
		return FOUND_ERROR;
	if (head.n < RECORD_HEAD || get64(head.p + 24) != w->h.nonce ||
	    get32(head.p) != crc32c(0, head.p + 4, RECORD_HEAD - 4))
		return FOUND_NOTHING;
	uint32_t length = get32(head.p + 8), content_crc = get32(head.p + 4);
	unsigned type = (unsigned char)head.p[12], flags = (unsigned char)head.p[13];
	uint64_t seq = get64(head.p + 16);
	if (length > w->size - w->at - RECORD_HEAD || seq < w->last_seq || type < JOURNAL_VOID ||
	    type > JOURNAL_TYPE_LAST)
		return FOUND_NOTHING;
	*out_length = length;
	struct str all;
	if (!window_view(w, RECORD_HEAD + (uint64_t)length, &all, err))
		return FOUND_ERROR;
	struct str content = str_from(all, RECORD_HEAD);
	if (content.n != length || crc32c(0, content.p, length) != content_crc)
		return FOUND_BAD_CONTENT;
	*out = (struct journal_record){.seq = seq, .type = (enum journal_type)type, .content = content};
	if (flags & RECORD_SIDE) {
		if (length < JOURNAL_SIDE_NAME || !memchr(content.p, 0, JOURNAL_SIDE_NAME))
			return FOUND_BAD_CONTENT;
		memcpy(w->side, content.p, JOURNAL_SIDE_NAME);
		out->side = w->side;
		out->content = str_from(content, JOURNAL_SIDE_NAME);
	}
	return FOUND_RECORD;
}

bool segment_walk_next(struct segment_walk *w, bool probe, struct journal_record *out, struct err *err)
{
	while (w->at + RECORD_HEAD <= w->size) {
		uint32_t length = 0;
		switch (record_at(w, &length, out, err)) {
		case FOUND_RECORD:
			w->damage += w->gap;
			w->gap = false;
			w->last_seq = out->seq;
			w->at += record_room(length);
			return true;
		case FOUND_BAD_CONTENT: /* the head is good, so its length is: go on behind it */
			if (probe)
				return false;
			w->gap = true;
			w->at += record_room(length);
			break;
		case FOUND_NOTHING:
			if (w->at % SEGMENT_BLOCK) { /* padding behind a batch, or a bad head */
				struct str head;
				if (!window_view(w, RECORD_HEAD, &head, err))
					return false;
				w->gap |= head.n >= 8 && get64(head.p) != 0;
				w->at = block_room(w->at);
			} else if (probe) {
				return false;
			} else { /* the end, or a damaged batch: only a good record behind it tells */
				w->gap = true;
				w->at += SEGMENT_BLOCK;
			}
			break;
		case FOUND_ERROR:
			return false;
		}
	}
	return false;
}

bool void_ranges_add(struct void_ranges *v, struct str content)
{
	struct scan s = scan_of(content);
	uint64_t first, last;
	if (!scan_le64(&s, &first) || !scan_le64(&s, &last) || first > last)
		return false;
	v->r = mem_resize(v->r, (v->n + 1) * sizeof *v->r);
	v->r[v->n].first = first;
	v->r[v->n++].last = last;
	return true;
}

bool void_ranges_have(const struct void_ranges *v, uint64_t seq)
{
	for (size_t i = 0; i < v->n; i++) {
		if (seq >= v->r[i].first && seq <= v->r[i].last)
			return true;
	}
	return false;
}

void void_ranges_free(struct void_ranges *v)
{
	free(v->r);
	*v = (struct void_ranges){0};
}

bool checkpoint_decode(struct str content, uint64_t *out_p, struct str *out_extra)
{
	struct scan s = scan_of(content);
	if (!scan_le64(&s, out_p))
		return false;
	*out_extra = scan_rest(&s);
	return true;
}
