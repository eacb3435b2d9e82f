/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* keys signs the mail of submissions that auth let in, for the domain that it said, and nothing else. */
#include "proc/keys_dkim.h"
#include "auth/ticket.h"
#include "base/buf.h"
#include "crypto/key.h"
#include "sender_auth/dkim/keyring.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

enum { NOW = 1790000000 };

struct fixture {
	struct arena *arena;
	struct keys_dkim *keys;
	struct key *one, *two;
	struct ticket_key mac;
};

static struct str id_of(const struct key *k)
{
	return (struct str){(const char *)key_id(k), KEY_ID_SIZE};
}

static void add(struct fixture *f, struct buf *table, const char *domain, struct key *k)
{
	struct dkim_key_file file = {.domain = str_of(domain), .selector = STR("s"), .key = k};
	struct dkim_row row;
	struct err err = {0};

	assert_true(dkim_row_make(f->arena, &file, &row, &err));
	dkim_row_encode(table, &row);
}

static int set_up(void **state)
{
	static struct fixture f;
	BUF_SCOPED table = {0};
	struct err err = {0};

	f = (struct fixture){.arena = arena_new(), .keys = keys_dkim_new()};
	assert_true(key_generate(KEY_ED25519, 0, &f.one, &err) && key_generate(KEY_ED25519, 0, &f.two, &err));
	add(&f, &table, "example.com", f.one);
	add(&f, &table, "example.net", f.two);
	add(&f, &table, "mx.example.com", f.two);
	assert_true(keys_dkim_load(f.keys, buf_str(&table), &err));
	ticket_key_new(&f.mac);
	keys_dkim_mac_key(f.keys, (struct str){(const char *)f.mac.k, sizeof(f.mac.k)});
	keys_dkim_rules(f.keys, &(struct keys_rules){STR("MX.example.com"), STR("example.com"),
						     STR("example.net"), false});
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	keys_dkim_free(f->keys);
	key_free(f->one);
	key_free(f->two);
	arena_free(f->arena);
	return 0;
}

static struct str text_for(struct fixture *f, const char *from, const char *domain)
{
	return arena_fmt(f->arena,
			 "from:%s\r\ndkim-signature:v=1; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=s; "
			 "t=1790000000; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=",
			 from, domain);
}

static struct str ticket_for(struct fixture *f, const struct ticket_key *key, const char *domain)
{
	BUF_SCOPED b = {0};

	ticket_pack(&b, key,
		    &(struct ticket){7, STR("a@example.com"), str_of(domain), STR("7f"), NOW - 90000});
	return arena_str(f->arena, buf_str(&b));
}

static enum err_kind sign(struct fixture *f, const struct key *key, struct str account, struct str ticket,
			  struct str text)
{
	struct msg_dkim_sign m = {.key = id_of(key), .account = account, .ticket = ticket};
	BUF_SCOPED sig = {0};
	struct err err = {0};
	bool good = keys_dkim_sign(f->keys, &m, text, NOW, &sig, &err);

	assert_true(good == (sig.n > 0));
	return err.kind;
}

static void with_a_ticket(void **state)
{
	struct fixture *f = *state;
	struct ticket_key forged;
	struct str a = STR("a@example.com"), good = ticket_for(f, &f->mac, "example.com");
	struct str text = text_for(f, "A <a@example.com>", "example.com");

	ticket_key_new(&forged);
	assert_int_equal(sign(f, f->one, a, good, text), ERR_NONE);
	/* days later still, and by an account's own ticket only */
	assert_int_equal(sign(f, f->one, STR("b@example.com"), good, text), ERR_DENIED);
	assert_int_equal(sign(f, f->one, STR_NONE, good, text), ERR_DENIED);
	assert_int_equal(sign(f, f->one, a, STR_NONE, text), ERR_DENIED);
	assert_int_equal(sign(f, f->one, a, ticket_for(f, &forged, "example.com"), text), ERR_DENIED);
	assert_int_equal(sign(f, f->one, a, str_sub(good, 0, good.n - 1), text), ERR_DENIED);
	assert_int_equal(sign(f, f->one, a, good, STR("whatever")), ERR_DENIED);
	/* another domain: needs its own ticket, and its own key */
	struct str net = text_for(f, "A <a@example.com>", "example.net");
	assert_int_equal(sign(f, f->two, a, good, net), ERR_DENIED);
	assert_int_equal(sign(f, f->two, a, ticket_for(f, &f->mac, "example.net"), net), ERR_NONE);
	assert_int_equal(sign(f, f->one, a, ticket_for(f, &f->mac, "example.net"), net), ERR_NOT_FOUND);
	assert_int_equal(sign(f, f->one, a, good, text_for(f, "a", "example.org")), ERR_NOT_FOUND);
}

static void notices_of_our_own(void **state)
{
	struct fixture *f = *state;
	static const char daemon[] = "Mail Delivery System <MAILER-DAEMON@mx.example.com>";
	static const char *const others[] = {
		"A <a@example.com>", "<MAILER-DAEMON@mx.example.net>", "<x@mx.example.com>",
		"a@example.com, <MAILER-DAEMON@mx.example.com>", "\"b@c\" <MAILER-DAEMON@mx.example.com>",
		"<MAILER-DAEMON@mx.example.com>, <x>", "<MAILER-DAEMON@mx.example.com",
		daemon, /* twice */
	};

	assert_int_equal(sign(f, f->one, STR_NONE, STR_NONE, text_for(f, daemon, "example.com")), ERR_NONE);
	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, text_for(f, daemon, "mx.example.com")),
			 ERR_NONE);
	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, text_for(f, daemon, "example.net")), ERR_DENIED);
	for (size_t i = 0; i + 1 < sizeof(others) / sizeof(others[0]); i++)
		assert_int_equal(sign(f, f->one, STR_NONE, STR_NONE, text_for(f, others[i], "example.com")),
				 ERR_DENIED);
	struct str two = arena_fmt(f->arena,
				   "from:a\r\nfrom:%s\r\ndkim-signature:v=1; a=ed25519-sha256; "
				   "c=relaxed/relaxed; d=example.com; s=s; t=1790000000; h=From:From; "
				   "bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=", daemon);
	assert_int_equal(sign(f, f->one, STR_NONE, STR_NONE, two), ERR_DENIED);
}

static void where_the_setting_says_so(void **state)
{
	struct fixture *f = *state;
	struct str text = text_for(f, "A <a@example.net>", "example.net");

	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, text), ERR_DENIED);
	keys_dkim_rules(f->keys,
			&(struct keys_rules){STR("mx.example.com"), STR("example.com"), STR_NONE, true});
	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, text), ERR_NONE);
	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, STR("a")), ERR_DENIED);
	/* a ticket that is shown must be right all the same */
	assert_int_equal(sign(f, f->two, STR("a@example.com"), ticket_for(f, &f->mac, "example.com"), text),
			 ERR_DENIED);
}

#define ARC "arc-message-signature:a=ed25519-sha256; b=; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; " \
	"c=relaxed/relaxed; d=%s; h=from; i=1; s=s; t=1790000000"
#define SEAL "arc-seal:a=ed25519-sha256; b=; cv=none; d=%s; i=1; s=s; t=1790000000"

/* Sets of one domain, for mail that is handed on; nothing that could stand for an author. */
static void seals(void **state)
{
	struct fixture *f = *state;
	struct str set = arena_fmt(f->arena, "arc-authentication-results:i=1; x; none\r\n" ARC "\r\n",
				   "example.net");
	static const struct {
		const char *text;
		bool one; /* key of example.com, else of example.net */
		enum err_kind want;
	} cases[] = {
		{"from:a@x.example\r\n" ARC, false, ERR_NONE},
		{"from:a@x.example\r\n" ARC, true, ERR_DENIED},
		{"arc-seal:x\r\n" ARC, false, ERR_DENIED},
		{ARC, false, ERR_DENIED},
		{SEAL, false, ERR_DENIED},
		{"from:a@x.example\r\n" SEAL, false, ERR_DENIED},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		struct str text =
			arena_fmt(f->arena, cases[i].text, cases[i].one ? "example.com" : "example.net");
#pragma GCC diagnostic pop
		assert_int_equal(sign(f, cases[i].one ? f->one : f->two, STR_NONE, STR_NONE, text),
				 cases[i].want);
	}
	struct str seal = arena_cat(f->arena, set, arena_fmt(f->arena, SEAL, "example.net"));
	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, seal), ERR_NONE);
	seal = arena_cat(f->arena, set, seal); /* half a set in front */
	assert_int_equal(sign(f, f->two, STR_NONE, STR_NONE, seal), ERR_DENIED);
}

static void before_the_master_has_spoken(void **state)
{
	struct fixture *f = *state;
	struct err err = {0};

	assert_false(keys_dkim_load(f->keys, STR("damaged"), &err)); /* changes nothing */
	struct str text = text_for(f, "a", "example.com");
	struct str ticket = ticket_for(f, &f->mac, "example.com");
	assert_int_equal(sign(f, f->one, STR("a@example.com"), ticket, text), ERR_NONE);
	keys_dkim_mac_key(f->keys, STR_NONE);
	assert_int_equal(sign(f, f->one, STR("a@example.com"), ticket, text), ERR_TEMP);
	assert_true(keys_dkim_load(f->keys, STR_NONE, &err));
	assert_int_equal(sign(f, f->one, STR("a@example.com"), ticket, text), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(with_a_ticket, set_up, tear_down),
		cmocka_unit_test_setup_teardown(notices_of_our_own, set_up, tear_down),
		cmocka_unit_test_setup_teardown(where_the_setting_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(seals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(before_the_master_has_spoken, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("proc/keys_dkim", tests, NULL, NULL);
}
