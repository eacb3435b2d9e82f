/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>
#include "net/proxy.h"

#define SIG "\r\n\r\n\0\r\nQUIT\n"

static const struct {
	const char *name;
	struct str in;
	enum proxy_result result;
	const char *peer; /* "address port" */
	size_t length;
} cases[] = {
	{"v1 tcp4",
	 {"PROXY TCP4 192.0.2.1 192.0.2.2 1234 25\r\nEHLO", 44},
	 PROXY_DONE,
	 "192.0.2.1 1234",
	 40},
	{"v1 tcp6", {"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", 32}, PROXY_DONE, "2001:db8::1 1", 32},
	{"v1 unknown", {"PROXY UNKNOWN\r\n", 15}, PROXY_DONE, NULL, 15},
	{"v1 unknown with addresses", {"PROXY UNKNOWN ff::1 ff::2 1 2\r\n", 31}, PROXY_DONE, NULL, 31},
	{"v1 begins", {"PRO", 3}, PROXY_MORE, NULL, 0},
	{"v1 no end yet", {"PROXY TCP4 192.0.2.1", 20}, PROXY_MORE, NULL, 0},
	{"v1 port too large", {"PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n", 41}, PROXY_BAD, NULL, 0},
	{"v1 wrong family", {"PROXY TCP4 ::1 ::1 1 2\r\n", 24}, PROXY_BAD, NULL, 0},
	{"v1 bare LF", {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n", 37}, PROXY_BAD, NULL, 0},
	{"v1 two blanks", {"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", 37}, PROXY_BAD, NULL, 0},
	{"v1 too long",
	 {"PROXY UNKNOWN aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
	  121},
	 PROXY_BAD,
	 NULL,
	 0},
	{"other protocol", {"EHLO x\r\n", 8}, PROXY_BAD, NULL, 0},
	{"nothing", {"", 0}, PROXY_MORE, NULL, 0},
	{"v2 begins", {"\r\n\r", 3}, PROXY_MORE, NULL, 0},
	{"v2 tcp4",
	 {SIG "\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x04\xd2\0\x19", 28},
	 PROXY_DONE,
	 "192.0.2.1 1234",
	 28},
	{"v2 tcp4 with tlv",
	 {SIG "\x21\x11\0\x0f\xc0\0\2\1\xc0\0\2\2\x04\xd2\0\x19\4\0\0", 31},
	 PROXY_DONE,
	 "192.0.2.1 1234",
	 31},
	{"v2 tcp6",
	 {SIG
	  "\x21\x21\0\x24\x20\1\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2",
	  52},
	 PROXY_DONE,
	 "2001:db8::1 1",
	 52},
	{"v2 local", {SIG "\x20\0\0\0", 16}, PROXY_DONE, NULL, 16},
	{"v2 unix", {SIG "\x21\x31\0\0", 16}, PROXY_DONE, NULL, 16},
	{"v2 cut", {SIG "\x21\x11\0\x0c\xc0", 17}, PROXY_MORE, NULL, 0},
	{"v2 short addresses", {SIG "\x21\x11\0\x04\xc0\0\2\1", 20}, PROXY_BAD, NULL, 0},
	{"v2 version 3", {SIG "\x31\x11\0\x0c", 16}, PROXY_BAD, NULL, 0},
	{"v2 unknown command", {SIG "\x22\x11\0\x0c", 16}, PROXY_BAD, NULL, 0},
	{"v2 endless", {SIG "\x21\x11\xff\xff", 16}, PROXY_BAD, NULL, 0},
};

static void headers(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct proxy_header h;
		size_t need;
		enum proxy_result r = proxy_parse(cases[i].in, &h, &need);
		if (r != cases[i].result)
			fail_msg("%s: result %d", cases[i].name, r);
		if (r == PROXY_MORE && need <= cases[i].in.n)
			fail_msg("%s: needs %zu", cases[i].name, need);
		if (r != PROXY_DONE)
			continue;
		char text[INET6_ADDRSTRLEN], all[80] = "";
		bool v6 = h.peer.addr.sa.sa_family == AF_INET6;
		if (h.told) {
			const void *ip =
				v6 ? (const void *)&h.peer.addr.v6.sin6_addr : &h.peer.addr.v4.sin_addr;
			inet_ntop(v6 ? AF_INET6 : AF_INET, ip, text, sizeof text);
			snprintf(all, sizeof all, "%s %d", text, ntohs(h.peer.addr.v4.sin_port));
		}
		if (h.length != cases[i].length || strcmp(all, cases[i].peer ? cases[i].peer : "") != 0)
			fail_msg("%s: length %zu peer '%s'", cases[i].name, h.length, all);
	}
}

/* Every prefix of a good header asks for more. */
static void prefixes(void **state)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (size_t n = 0; cases[i].result == PROXY_DONE && n < cases[i].length; n++) {
			struct proxy_header h;
			size_t need;
			if (proxy_parse((struct str){cases[i].in.p, n}, &h, &need) != PROXY_MORE ||
			    need > cases[i].length)
				fail_msg("%s: first %zu bytes, needs %zu", cases[i].name, n, need);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(headers), cmocka_unit_test(prefixes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
