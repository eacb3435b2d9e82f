/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * dns/unbound.h: the validating resolver, libunbound with one thread of its own. Run by the dns
 * role, which starts many questions at once, and by the command line, which waits for each.
 *
 * All functions, and the done callbacks, belong to one thread of the caller. Files are read by
 * dns_unbound_new; libunbound makes its thread with the first question: enter the sandbox between.
 */
#pragma once
#include "base/err.h"
#include "dns/resolver.h"
#include "dns/server.h"

struct dns_unbound_options {
	const struct dns_server *forwarders; /* recursive servers to ask; none: from the root down */
	size_t forwarder_n;
	/* One zone and the server that has authority for it, both or none: for tests. */
	struct str stub_zone;
	const struct dns_server *stub;
	const char *trust_anchor_file; /* DS or DNSKEY in zone-file form, "" or NULL: nothing is validated */
	int timeout_ms;                /* of one question; 0: 10,000 */
};
/* ERR_IO: the trust anchor file cannot be read. */
bool dns_unbound_new(const struct dns_unbound_options *options, struct dns_resolver **out,
		     struct err *err) MUST_CHECK;

/* The answer lives until the callback returns. It may come before dns_unbound_start returns. */
typedef void dns_done(void *context, const struct dns_answer *answer);
void dns_unbound_start(struct dns_resolver *r, struct str name, enum dns_type type, dns_done *done,
		       void *context);
/* Readable when dns_unbound_process has something to do. */
int dns_unbound_fd(struct dns_resolver *r);
/* Calls back for what has been answered, and for what is too late. */
void dns_unbound_process(struct dns_resolver *r);
/* Until the first question is too late; -1: none is under way. For poll(2). */
int dns_unbound_wait_ms(struct dns_resolver *r);

/* Where Debian keeps the root's key, the first of several that exists; NULL: nowhere. */
const char *dns_unbound_root_key(void);
