/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* RFC 4978, with a client that packs and unpacks. */
#include "imap/imap.h"
#include "imap/served_fake.h"
#include <zlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct fake_server *server;

struct client {
	struct conn *conn;
	z_stream out, in;
	struct buf got; /* unpacked */
};

static int setup(void **state)
{
	server = fake_server_new("");
	return 0;
}
static int teardown(void **state)
{
	fake_server_free(server);
	return 0;
}

static void unpack(struct client *c, struct str packed)
{
	c->in.next_in = (Bytef *)(uintptr_t)packed.p;
	c->in.avail_in = (uInt)packed.n;
	while (c->in.avail_in) {
		c->in.next_out = (Bytef *)buf_room(&c->got, 65536);
		c->in.avail_out = 65536;
		assert_int_equal(inflate(&c->in, Z_SYNC_FLUSH), Z_OK);
		c->got.n += 65536 - c->in.avail_out;
	}
}

static void pack(struct client *c, struct str octets, struct buf *to)
{
	c->out.next_in = (Bytef *)(uintptr_t)octets.p;
	c->out.avail_in = (uInt)octets.n;
	do {
		c->out.next_out = (Bytef *)buf_room(to, 65536);
		c->out.avail_out = 65536;
		deflate(&c->out, Z_SYNC_FLUSH);
		to->n += 65536 - c->out.avail_out;
	} while (!c->out.avail_out);
}

/* piece: how many packed octets come at once. */
static void say(struct client *c, struct str octets, size_t piece)
{
	BUF_SCOPED packed = {};
	BUF_SCOPED answer = {};

	pack(c, octets, &packed);
	for (size_t at = 0; at < packed.n; at += piece) {
		buf_add(&c->conn->in, str_sub(buf_str(&packed), at, piece));
		fake_settle(c->conn, &answer, 5000);
	}
	unpack(c, buf_str(&answer));
}

static void begin(struct client *c)
{
	BUF_SCOPED got = {};

	*c = (struct client){.conn = fake_login(server, &imap_protocol, "user@example.org", "t")};
	buf_add(&c->conn->in, STR("a COMPRESS LZW\r\nb COMPRESS DEFLATE\r\n"));
	fake_settle(c->conn, &got, 5000);
	assert_true(str_find(buf_str(&got), STR("a NO ")) != STR_NPOS);
	assert_true(str_ends(buf_str(&got), STR("b OK DEFLATE from here on\r\n")));
	assert_int_equal(deflateInit2(&c->out, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(inflateInit2(&c->in, -15), Z_OK);
}

static void end(struct client *c)
{
	fake_free(c->conn);
	deflateEnd(&c->out);
	inflateEnd(&c->in);
	buf_free(&c->got);
}

static bool has(const struct client *c, const char *text)
{
	return str_find(buf_str(&c->got), str_of(text)) != STR_NPOS;
}

static void commands(void **state)
{
	static const size_t pieces[] = {1, 7, 100000};

	for (size_t i = 0; i < 3; i++) {
		struct client c;
		begin(&c);
		say(&c, STR("c NOOP\r\nd COMPRESS DEFLATE\r\ne CREATE x\r\nf DELETE x\r\n"), pieces[i]);
		assert_true(has(&c, "c OK") && has(&c, "d NO [COMPRESSIONACTIVE]") && has(&c, "f OK"));
		say(&c, STR("g SELECT INBOX\r\nh IDLE\r\n"), pieces[i]);
		assert_true(has(&c, "+ idling"));
		say(&c, STR("DONE\r\ni LOGOUT\r\n"), pieces[i]);
		assert_true(has(&c, "h OK") && has(&c, "* BYE") && has(&c, "i OK") && c.conn->closed);
		end(&c);
	}
}

/* In and out again: more than is packed in memory. */
static void large(void **state)
{
	BUF_SCOPED text = {};
	BUF_SCOPED message = {};
	struct client c;

	buf_add(&message, STR("Subject: x\r\n\r\n"));
	for (unsigned i = 0; i < 400000; i++)
		buf_fmt(&message, "%u ", i * 2654435761U);
	begin(&c);
	buf_fmt(&text, "a APPEND INBOX {%zu+}\r\n", message.n);
	buf_add(&text, buf_str(&message));
	buf_add(&text, STR("\r\nb SELECT INBOX\r\nc FETCH * BODY.PEEK[]\r\nd FETCH * "
			   "BODY.PEEK[TEXT]<5.70000>\r\n"));
	say(&c, buf_str(&text), 60000);
	assert_true(has(&c, "a OK [APPENDUID") && has(&c, "c OK") && has(&c, "d OK"));
	assert_true(str_find(buf_str(&c.got), buf_str(&message)) != STR_NPOS);
	end(&c);
}

/* A little that stands for much: the message limit, the line limit, the number of errors hold. */
static void bombs(void **state)
{
	BUF_SCOPED text = {};
	struct client c;

	begin(&c);
	buf_add(&text, STR("a APPEND INBOX {40000000+}\r\n"));
	while (text.n < 40000028)
		buf_add(&text, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
	text.n = 40000028;
	buf_add(&text, STR("\r\nb NOOP\r\n"));
	say(&c, buf_str(&text), 1 << 20);
	assert_true(has(&c, "a OK") && has(&c, "b OK"));
	buf_clear(&text);
	buf_add(&text, STR("c NOOP"));
	while (text.n < 20000000)
		buf_add(&text, STR("                                "));
	buf_add(&text, STR("\r\nd NOOP\r\n"));
	say(&c, buf_str(&text), 1 << 20);
	assert_true(has(&c, "c BAD [TOOBIG]") && has(&c, "d OK"));
	buf_clear(&text);
	while (text.n < 10000000)
		buf_add(&text, STR("\r\n\r\n\r\n\r\n\r\n\r\n"));
	say(&c, buf_str(&text), 1 << 20);
	assert_true(has(&c, "* BYE Too many errors") && c.conn->closed);
	end(&c);
}

static void broken(void **state)
{
	struct client c;

	begin(&c);
	buf_add(&c.conn->in, STR("this is not packed at all\r\n"));
	fake_settle(c.conn, NULL, 1000);
	assert_true(c.conn->closed);
	end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands), cmocka_unit_test(large), cmocka_unit_test(bombs),
		cmocka_unit_test(broken),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
