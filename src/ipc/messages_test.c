/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "ipc/messages_int.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* Fills every field; strings get n bytes, descriptors numbers from 100. */
static void fill(struct message *m, enum message_type t, char *text, size_t n)
{
	int fd = 100;

	memset(m, 0, sizeof(*m));
	m->type = t;
	for (const struct message_field *f = message_fields(t); f->kind != MESSAGE_FIELD_END; f++) {
		char *at = (char *)message_body(m) + f->offset;
		switch (f->kind) {
		case MESSAGE_FIELD_U32: *(uint32_t *)(void *)at = 0xfedcba98u + (uint32_t)f->offset; break;
		case MESSAGE_FIELD_U64: *(uint64_t *)(void *)at = 0xfedcba9876543210u + f->offset; break;
		case MESSAGE_FIELD_I64: *(int64_t *)(void *)at = -5 - (int64_t)f->offset; break;
		case MESSAGE_FIELD_BOOL: *(bool *)at = true; break;
		case MESSAGE_FIELD_STRING:
			*(struct str *)(void *)at = (struct str){text, n < f->max ? n : f->max};
			break;
		case MESSAGE_FIELD_FD: *(int *)(void *)at = fd++; break;
		case MESSAGE_FIELD_END: break;
		}
	}
}

static void assert_same(const struct message *a, const struct message *b)
{
	const char *pa = (const char *)&a->role_config, *pb = (const char *)&b->role_config;

	assert_int_equal(a->type, b->type);
	for (const struct message_field *f = message_fields(a->type); f->kind != MESSAGE_FIELD_END; f++) {
		const void *x = pa + f->offset, *y = pb + f->offset;
		switch (f->kind) {
		case MESSAGE_FIELD_U32:
		case MESSAGE_FIELD_FD: assert_memory_equal(x, y, 4); break;
		case MESSAGE_FIELD_U64:
		case MESSAGE_FIELD_I64: assert_memory_equal(x, y, 8); break;
		case MESSAGE_FIELD_BOOL: assert_memory_equal(x, y, 1); break;
		case MESSAGE_FIELD_STRING:
			assert_true(str_eq(*(const struct str *)x, *(const struct str *)y));
			break;
		case MESSAGE_FIELD_END: break;
		}
	}
}

static void every_row_there_and_back(void **state)
{
	char text[70000];

	memset(text, 'x', sizeof(text));
	for (int t = MSG_NONE + 1; t < MSG_TYPE_COUNT; t++)
		for (size_t n = 0; n <= 66000; n = n * 7 + 1) {
			ARENA_SCOPED a = arena_new();
			BUF_SCOPED out = {0};
			struct message m, back;
			int fds[MESSAGE_FDS_MAX], nfds;
			fill(&m, (enum message_type)t, text, n);
			assert_true(message_encode(&m, &out, fds, &nfds));
			assert_true(message_decode(buf_str(&out), fds, nfds, a, &back));
			assert_same(&m, &back);
		}
}

/* No prefix of a message is one, nothing may follow, descriptors are exact. */
static void nothing_but_the_whole(void **state)
{
	char text[] = "0123456789";

	for (int t = MSG_NONE + 1; t < MSG_TYPE_COUNT; t++) {
		ARENA_SCOPED a = arena_new();
		BUF_SCOPED out = {0};
		struct message m, back;
		int fds[MESSAGE_FDS_MAX + 1] = {0}, nfds;
		fill(&m, (enum message_type)t, text, 10);
		assert_true(message_encode(&m, &out, fds, &nfds));
		for (size_t n = 0; n < out.n; n++)
			assert_false(message_decode((struct str){out.p, n}, fds, nfds, a, &back));
		assert_false(message_decode(buf_str(&out), fds, nfds + 1, a, &back));
		if (nfds)
			assert_false(message_decode(buf_str(&out), fds, nfds - 1, a, &back));
		buf_byte(&out, 0);
		assert_false(message_decode(buf_str(&out), fds, nfds, a, &back));
	}
}

static void limits_hold(void **state)
{
	static char text[70000];

	for (int t = MSG_NONE + 1; t < MSG_TYPE_COUNT; t++) {
		struct message m;
		fill(&m, (enum message_type)t, text, 1);
		for (const struct message_field *f = message_fields(m.type); f->kind != MESSAGE_FIELD_END;
		     f++) {
			BUF_SCOPED out = {0};
			int fds[MESSAGE_FDS_MAX], nfds;
			if (f->kind != MESSAGE_FIELD_STRING)
				continue;
			assert_true(f->max <= 61440);
			struct str *s = (struct str *)(void *)((char *)message_body(&m) + f->offset);
			*s = (struct str){text, f->max + 1};
			assert_false(message_encode(&m, &out, fds, &nfds));
			*s = STR("x");
		}
	}
}

static void unknown_types(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct message back;

	for (int t = 0; t < 65536; t++) {
		char bytes[2] = {(char)t, (char)(t >> 8)};
		if (t > MSG_NONE && t < MSG_TYPE_COUNT)
			continue;
		assert_false(message_decode((struct str){bytes, 2}, NULL, 0, a, &back));
		assert_false(message_legal(CHANNEL_MASTER, (enum message_type)t, true));
		assert_string_equal(message_name((enum message_type)t), "none");
	}
}

static void replies_follow_requests(void **state)
{
	for (int t = MSG_NONE + 1; t < MSG_TYPE_COUNT; t++) {
		enum message_type m = (enum message_type)t;
		if (message_dir(m) == REQUEST) {
			enum message_type r = message_reply(m);
			struct message x;
			char none[] = "";
			fill(&x, r, none, 0);
			assert_int_equal(message_dir(r), REPLY);
			for (int on = 0; on < CHANNEL_KIND_COUNT; on++) /* back on the same channel */
				if (message_legal((enum channel_kind)on, m, true))
					assert_true(message_legal((enum channel_kind)on, r, false));
		}
		if (message_repeatable(m)) { /* their bytes are kept, descriptors could not be */
			struct message x;
			int fds[MESSAGE_FDS_MAX], nfds;
			char text[] = "x";
			BUF_SCOPED out = {0};
			fill(&x, m, text, 1);
			assert_true(message_encode(&x, &out, fds, &nfds));
			assert_int_equal(nfds, 0);
			assert_int_equal(message_dir(m), REQUEST);
		}
	}
}

static void legality(void **state)
{
	static const struct {
		enum channel_kind on;
		enum message_type t;
		bool from_client, legal;
	} cases[] = {
		{CHANNEL_LOGIN, MSG_auth_begin, true, true},
		{CHANNEL_LOGIN, MSG_auth_begin, false, false},
		{CHANNEL_LOGIN, MSG_auth_result, true, false},
		{CHANNEL_LOGIN, MSG_ticket, true, false},
		{CHANNEL_HANDOVER, MSG_ticket, true, false},
		{CHANNEL_TICKET, MSG_ticket, true, true},
		{CHANNEL_MASTER, MSG_role_ready, true, true},
		{CHANNEL_MASTER, MSG_role_keys, true, false},
		{CHANNEL_STORE, MSG_settle, true, true},
		{CHANNEL_STORE, MSG_settle, false, true},
		{CHANNEL_STORE, MSG_handover, true, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(message_legal(cases[i].on, cases[i].t, cases[i].from_client),
				 cases[i].legal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_there_and_back), cmocka_unit_test(nothing_but_the_whole),
		cmocka_unit_test(limits_hold),              cmocka_unit_test(unknown_types),
		cmocka_unit_test(replies_follow_requests),  cmocka_unit_test(legality),
	};
	return cmocka_run_group_tests_name("ipc/messages", tests, NULL, NULL);
}
