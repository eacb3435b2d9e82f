/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Nothing is served without a ticket: once, in time, for its account only. */
#include "proc/mailbox_int.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct msg_ticket announced(const char *ticket)
{
	return (struct msg_ticket){.ticket = str_of(ticket), .account_id = 7, .account = STR("a@example.org"),
				   .language = STR("ko"), .quota_bytes = 1000};
}

static void good_once(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct ticket_table *t = ticket_table_new();
	struct msg_ticket m = announced("0123456789abcdef");
	struct ticket_facts f;

	assert_false(ticket_take(t, m.ticket, m.account, a, &f));
	assert_true(ticket_add(t, &m));
	assert_true(ticket_take(t, m.ticket, m.account, a, &f));
	assert_int_equal(f.account_id, 7);
	assert_int_equal(f.quota_bytes, 1000);
	assert_true(str_eq(f.language, STR("ko")));
	assert_false(ticket_take(t, m.ticket, m.account, a, &f));
	ticket_table_free(t);
}

static void of_its_account(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct ticket_table *t = ticket_table_new();
	struct msg_ticket m = announced("0123456789abcdef");
	struct ticket_facts f;

	assert_true(ticket_add(t, &m));
	assert_false(ticket_take(t, m.ticket, STR("b@example.org"), a, &f));
	assert_false(ticket_take(t, m.ticket, m.account, a, &f)); /* spent by the attempt */
	ticket_table_free(t);
}

static void of_the_right_size(void **state)
{
	struct ticket_table *t = ticket_table_new();
	struct msg_ticket m = announced("short");

	assert_false(ticket_add(t, &m));
	m = announced("");
	assert_false(ticket_add(t, &m));
	ticket_table_free(t);
}

static void as_many_as_there_is_room(void **state)
{
	ARENA_SCOPED a = arena_new();
	struct ticket_table *t = ticket_table_new();
	size_t n = 0;

	for (; n < 30000; n++) {
		struct str name = arena_fmt(a, "%016zu", n);
		struct msg_ticket m = announced("");
		m.ticket = name;
		if (!ticket_add(t, &m))
			break;
	}
	assert_int_equal(n, 20000);
	ticket_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_once),
		cmocka_unit_test(of_its_account),
		cmocka_unit_test(of_the_right_size),
		cmocka_unit_test(as_many_as_there_is_room),
	};
	return cmocka_run_group_tests_name("proc/ticket", tests, NULL, NULL);
}
