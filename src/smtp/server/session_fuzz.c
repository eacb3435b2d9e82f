/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * A whole session. The first octet chooses the listener, the second how the input is cut; then the
 * octets of the client. Octet 0xff in the stream: an event instead (time is up, the client goes, what
 * becomes of commits).
 */
#include "smtp/server/fake.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <assert.h>

static const struct config *config;

/* Every reply line is one: code, then blank or "-", clean, ended. */
static void check_output(struct conn *c)
{
	struct str out = buf_str(&c->out);
	while (out.n) {
		size_t end = str_find(out, STR("\r\n"));
		assert(end != STR_NPOS && end >= 4);
		struct str line = str_sub(out, 0, end);
		assert(line.p[0] >= '2' && line.p[0] <= '5' && (line.p[3] == ' ' || line.p[3] == '-'));
		assert(!str_has_ctl(line) && str_is_ascii(line));
		out = str_from(out, end + 2);
	}
	c->out.n = 0;
}

/* What was taken is text with whole lines only, unless it was declared to be binary. */
static void check_content(const struct fake *f)
{
	struct str s = buf_str(&f->content);
	if (f->accepted == 0 || str_find(buf_str(&f->envelope), STR("BINARYMIME")) != STR_NPOS)
		return;
	assert(str_starts(s, STR("Received: ")));
	for (size_t i = 0; i < s.n; i++) {
		assert(s.p[i] != 0);
		assert(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
		assert(s.p[i] != '\r' || (i + 1 < s.n && s.p[i + 1] == '\n'));
	}
}

static void happen(struct conn *c, struct fake *f, unsigned what)
{
	if (c->closed)
		return;
	switch (what % 5) {
	case 0: fake_run(c, WAKE_DEADLINE); break;
	case 1: fake_run(c, WAKE_GONE); break;
	case 2: fake_run(c, WAKE_DRAIN); break;
	case 3:
		c->eof = true;
		fake_run(c, WAKE_INPUT);
		break;
	case 4: f->accept = what / 5 % 4; break;
	}
}

static void commit(struct conn *c, struct fake *f)
{
	if (!f->done)
		return;
	f->done(f->done_ctx, NULL);
	f->done = NULL;
	if (!c->closed)
		fake_run(c, WAKE_EVENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake f;
	struct conn c;
	struct conn_addr peer = {.addr.v4 = {.sin_family = AF_INET}, .len = sizeof peer.addr.v4};
	struct net_network me;
	if (size < 2)
		return 0;
	if (!config) {
		BUF_SCOPED problems = {0};
		struct err err = {0};
		struct config *parsed;
		log_init("fuzz", LOG_ERROR);
		log_to_fd(-1);
		if (!config_parse("/x",
				  STR("hostname = \"mx.example.org\"\nsmtp { max_errors = "
				      "1000\nmax_header_size = 8k }\n"
				      "journal { side_file_size = 70k }\n"),
				  &problems, &parsed, &err))
			abort();
		config = parsed;
	}
	fake_init(&f, config);
	inet_pton(AF_INET, data[0] & 16 ? "127.0.0.1" : "192.0.2.9", &peer.addr.v4.sin_addr);
	me = (struct net_network){peer, 32};
	f.listener.kind = data[0] & 128 ? SMTP_LOCAL : (enum smtp_kind)(data[0] % 3);
	f.listener.tls = data[0] & 64 ? SMTP_TLS_REQUIRED : SMTP_TLS_MAY;
	f.listener.xclient_from = (struct net_networks){&me, data[0] & 8 ? 1 : 0};
	fake_open(&c, &f, &peer, data[0] & 16 ? "127.0.0.1" : "192.0.2.9", data[0] & 32);
	size_t piece = data[1] + 1u;
	struct str rest = {(const char *)data + 2, size - 2};
	while (rest.n) {
		struct str part = str_sub(rest, 0, piece);
		size_t event = str_find_byte(part, (char)0xff);
		if (event == 0 && rest.n > 1) {
			happen(&c, &f, (unsigned char)rest.p[1]);
			rest = str_from(rest, 2);
		} else {
			part = event == STR_NPOS ? part : str_sub(part, 0, event ? event : 1);
			fake_feed(&c, part);
			rest = str_from(rest, part.n);
		}
		commit(&c, &f);
		check_output(&c);
		check_content(&f);
	}
	fake_close(&c);
	commit(&c, &f);
	assert(c.refs == 1 && f.sides_open == 0);
	fake_fini(&f);
	return 0;
}
