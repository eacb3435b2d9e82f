/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "auth/ticket.h"
#include "base/buf.h"
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static const struct ticket good = {.account_id = 7,
				   .address = {"test1@example.org", 17},
				   .domain = {"example.org", 11},
				   .session = {"7f3a", 4},
				   .time_s = 1000000};

static void test_verify(void **state)
{
	struct ticket_key key, other;
	unsigned char mac[TICKET_MAC_SIZE];
	struct str m = {(const char *)mac, sizeof mac};
	ticket_key_new(&key);
	ticket_key_new(&other);
	ticket_make(&key, &good, mac);
	assert_true(ticket_verify(&key, &good, m, 1000000, 60));
	assert_true(ticket_verify(&key, &good, m, 1000060, 60));
	assert_false(ticket_verify(&key, &good, m, 1000061, 60));
	assert_true(ticket_verify(&key, &good, m, 900000000, 0));
	assert_true(ticket_verify(&key, &good, m, 1000000 - 300, 60)); /* a clock set back */
	assert_false(ticket_verify(&key, &good, m, 1000000 - 301, 60));
	assert_false(ticket_verify(&other, &good, m, 1000000, 60));
	assert_false(ticket_verify(&key, &good, str_sub(m, 0, 31), 1000000, 60));
	assert_false(ticket_verify(&key, &good, STR_NONE, 1000000, 60));
	mac[31] ^= 1;
	assert_false(ticket_verify(&key, &good, m, 1000000, 60));
}

/* What a door keeps: all but the address, and nothing can be cut off or put behind it. */
static void test_packed(void **state)
{
	struct ticket_key key;
	struct ticket t;
	struct str mac;
	BUF_SCOPED b = {0};
	ticket_key_new(&key);
	ticket_pack(&b, &key, &good);
	assert_true(b.n <= TICKET_PACKED_MAX);
	assert_true(ticket_unpack(buf_str(&b), &t, &mac));
	assert_true(str_eq(t.domain, good.domain) && str_eq(t.session, good.session) && !t.address.n);
	assert_false(ticket_verify(&key, &t, mac, 1000000, 0));
	t.address = good.address;
	assert_true(ticket_verify(&key, &t, mac, 1000000, 0));
	for (size_t n = 0; n < b.n; n++)
		assert_false(ticket_unpack((struct str){b.p, n}, &t, &mac));
	buf_byte(&b, 0);
	assert_false(ticket_unpack(buf_str(&b), &t, &mac));
}

/* Any field changed, and bytes moved from one field to the next. */
static void test_fields(void **state)
{
	struct ticket_key key;
	unsigned char mac[TICKET_MAC_SIZE];
	struct ticket changed[7];
	ticket_key_new(&key);
	ticket_make(&key, &good, mac);
	for (size_t i = 0; i < 7; i++)
		changed[i] = good;
	changed[0].account_id = 8;
	changed[1].address = STR("test2@example.org");
	changed[2].domain = STR("example.net");
	changed[3].session = STR("7f3b");
	changed[4].time_s++;
	changed[5].address = STR("test1@example.orge");
	changed[5].domain = STR("xample.org");
	changed[6].session = STR_NONE;
	for (size_t i = 0; i < 7; i++)
		assert_false(ticket_verify(&key, &changed[i], (struct str){(const char *)mac, sizeof mac},
					   1000000, 60));
}

static void test_login(void **state)
{
	unsigned char a[LOGIN_TICKET_SIZE], b[LOGIN_TICKET_SIZE];
	login_ticket_new(a);
	login_ticket_new(b);
	assert_memory_not_equal(a, b, sizeof a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verify), cmocka_unit_test(test_packed),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_login),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
