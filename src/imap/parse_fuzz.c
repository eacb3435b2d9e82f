/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Every grammar over the same octets; the first one chooses the encoding of mailbox names. */
#include "imap/esearch.h"
#include "imap/fetch.h"
#include "imap/list.h"
#include "imap/notify.h"
#include "imap/search.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 65536)
		return 0;
	struct str text = {(const char *)data + 1, size - 1};
	bool utf8 = data[0] & 1;
	ARENA_SCOPED a = arena_new();
	struct parse p = parse_of(text, a, utf8);
	struct fetch_args fetch;
	struct list_args list;
	struct esearch_args esearch;
	struct notify_args notify;
	struct metadata_args metadata;
	struct search_args search;
	enum search_problem problem;
	struct flag_list flags;
	struct uid_set known;
	struct literal literal;
	struct str s;
	size_t at;
	int64_t t;

	if (parse_fetch(&p, &fetch))
		sequence_set_resolve(&fetch.set, 7, a);
	p = parse_of(text, a, utf8);
	if (!parse_search(&p, &search, &problem) && !p.why)
		abort();
	p = parse_of(text, a, utf8);
	if (parse_sort(&p, &search, &problem) && (!search.sort_n || search.sort_n > SORT_KEYS))
		abort();
	p = parse_of(text, a, utf8);
	if (parse_thread(&p, &search, &problem) && !search.root)
		abort();
	p = parse_of(text, a, utf8);
	if (!parse_mailbox(&p, &s) && p.s.p != text.p)
		abort();
	p = parse_of(text, a, utf8);
	if (!parse_store_flags(&p, &flags) && p.s.p != text.p)
		abort();
	p = parse_of(text, a, utf8);
	if (!parse_known_set(&p, &known) && p.s.p != text.p)
		abort();
	p = parse_of(text, a, utf8);
	if (!parse_date_time(&p, &t) && p.s.p != text.p)
		abort();
	p = parse_of(text, a, utf8);
	if (parse_getmetadata(&p, &metadata) && !metadata.n)
		abort();
	p = parse_of(text, a, utf8);
	if (parse_setmetadata(&p, &metadata) && !metadata.n)
		abort();
	p = parse_of(text, a, utf8);
	if (parse_list(&p, &list) && list.patterns_n > LIST_PATTERNS_MAX)
		abort();
	p = parse_of(text, a, utf8);
	if (parse_notify(&p, &notify) && !notify.none && !notify.groups_n)
		abort();
	p = parse_of(text, a, utf8);
	if (parse_esearch(&p, &esearch, &problem) && !esearch.search.root)
		abort();
	literal_at_end(text, &literal, &at);
	return 0;
}
