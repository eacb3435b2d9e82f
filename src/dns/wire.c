/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Records are read in the order in which they stand; the CNAME chain is then followed from the name asked. */
#include "dns/wire.h"
#include "base/arena.h"

enum {
	HEADER_SIZE = 12, FLAG_QR = 0x8000, FLAG_TC = 0x0200, FLAG_AD = 0x0020,
	RCODE_MASK = 15, RCODE_FORMERR = 1, RCODE_NXDOMAIN = 3, RCODE_NOTIMP = 4, CLASS_IN = 1, TYPE_OPT = 41,
	NEGATIVE_TTL = 60, /* where a server sends no SOA */
};

static void be16(struct buf *b, unsigned v)
{
	buf_byte(b, (char)(v >> 8));
	buf_byte(b, (char)v);
}

void dns_wire_query(struct buf *out, uint16_t id, struct str name, enum dns_type type, bool edns)
{
	be16(out, id);
	be16(out, 0x0120); /* RD, AD: RFC 6840 5.7 */
	be16(out, 1);
	be16(out, 0);
	be16(out, 0);
	be16(out, edns);
	for (struct str rest = name; rest.p;) {
		struct str label = str_cut(&rest, '.');
		buf_byte(out, (char)label.n);
		buf_add(out, label);
	}
	buf_byte(out, 0);
	be16(out, type);
	be16(out, CLASS_IN);
	if (!edns)
		return;
	buf_byte(out, 0); /* OPT: the root's name */
	be16(out, TYPE_OPT);
	be16(out, DNS_UDP_SIZE);
	be16(out, 0);
	be16(out, 0);
	be16(out, 0);
}

/* A place in the packet; reads fail at its end. */
struct cursor {
	const unsigned char *base;
	size_t at, end;
};

static bool read_u16(struct cursor *c, uint16_t *out)
{
	if (c->end - c->at < 2)
		return false;
	*out = (uint16_t)(c->base[c->at] << 8 | c->base[c->at + 1]);
	c->at += 2;
	return true;
}

static bool read_u32(struct cursor *c, uint32_t *out)
{
	uint16_t high, low;
	if (c->end - c->at < 4 || !read_u16(c, &high) || !read_u16(c, &low))
		return false;
	*out = (uint32_t)high << 16 | low;
	return true;
}

static bool read_u8(struct cursor *c, uint8_t *out)
{
	if (c->at == c->end)
		return false;
	*out = c->base[c->at++];
	return true;
}

static void put_label(struct buf *text, const unsigned char *p, size_t n)
{
	if (text->n > 0)
		buf_byte(text, '.');
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '.' || p[i] == '\\' || p[i] == 0)
			buf_fmt(text, "\\%03u", p[i]);
		else
			buf_byte(text, ascii_lower((char)p[i]));
	}
}

/* domain-name of RFC 1035 3.1 and 4.1.4. Pointers lead backwards only, so there is no loop. */
static bool read_name(struct arena *a, struct cursor *c, struct str *out)
{
	BUF_SCOPED text = {0};
	size_t at = c->at, end = c->end, wire = 1, lowest = at, after = 0;
	for (;;) {
		if (at >= end)
			return false;
		size_t n = c->base[at];
		if (n >= 0xc0) {
			if (at + 1 >= end)
				return false;
			size_t to = (n & 0x3f) << 8 | c->base[at + 1];
			if (after == 0)
				after = at + 2;
			if (to >= lowest)
				return false;
			end = lowest; /* what is pointed to ends before what points */
			lowest = at = to;
			continue;
		}
		if (n > DNS_LABEL_MAX || end - at - 1 < n || wire + n + 1 > DNS_NAME_MAX + 2)
			return false;
		at++;
		if (n == 0)
			break;
		put_label(&text, c->base + at, n);
		at += n;
		wire += n + 1;
	}
	c->at = after ? after : at;
	*out = arena_str(a, buf_str(&text));
	return true;
}

static bool read_bytes(struct arena *a, struct cursor *c, size_t n, struct str *out)
{
	if (c->end - c->at < n)
		return false;
	*out = arena_str(a, (struct str){(const char *)c->base + c->at, n});
	c->at += n;
	return true;
}

/* RFC 1035 3.3.14: character-strings, joined as RFC 7208 3.3 and RFC 6376 3.6.2.2 want them. */
static bool read_txt(struct arena *a, struct cursor *c, struct str *out)
{
	BUF_SCOPED text = {0};
	while (c->at < c->end) {
		size_t n = c->base[c->at++];
		if (c->end - c->at < n)
			return false;
		buf_add_bytes(&text, c->base + c->at, n);
		c->at += n;
	}
	*out = arena_str(a, buf_str(&text));
	return true;
}

static bool read_data(struct arena *a, struct cursor *c, unsigned type, struct dns_record *out)
{
	switch (type) {
	case DNS_A:
		return read_bytes(a, c, 4, &out->data);
	case DNS_AAAA:
		return read_bytes(a, c, 16, &out->data);
	case DNS_NS:
	case DNS_CNAME:
	case DNS_PTR:
		return read_name(a, c, &out->name);
	case DNS_MX:
		return read_u16(c, &out->preference) && read_name(a, c, &out->name);
	case DNS_SRV:
		return read_u16(c, &out->preference) && read_u16(c, &out->weight) &&
		       read_u16(c, &out->port) && read_name(a, c, &out->name);
	case DNS_TXT:
		return read_txt(a, c, &out->data);
	case DNS_TLSA:
		return read_u8(c, &out->usage) && read_u8(c, &out->selector) && read_u8(c, &out->matching) &&
		       read_bytes(a, c, c->end - c->at, &out->data);
	default:
		c->at = c->end;
		return true;
	}
}

/* One record of the answer section. */
struct resource {
	struct str owner;
	uint16_t type;
	uint32_t ttl;
	struct dns_record record;
};

static bool read_resource(struct arena *a, struct cursor *c, enum dns_type wanted, struct resource *out)
{
	uint16_t class, length;
	*out = (struct resource){0};
	if (!read_name(a, c, &out->owner) || !read_u16(c, &out->type) || !read_u16(c, &class) ||
	    !read_u32(c, &out->ttl) || !read_u16(c, &length) || c->end - c->at < length)
		return false;
	struct cursor data = {c->base, c->at, c->at + length};
	c->at += length;
	if (out->ttl > INT32_MAX) /* RFC 2181 8 */
		out->ttl = 0;
	if (class != CLASS_IN || (out->type != wanted && out->type != DNS_CNAME))
		out->type = 0;
	return !out->type || (read_data(a, &data, out->type, &out->record) && data.at == data.end);
}

/* RFC 2308 5: the lesser of the SOA's TTL and its last field. false: no SOA. */
static bool negative_ttl(struct arena *a, struct cursor *c, unsigned count, uint32_t *out)
{
	for (unsigned i = 0; i < count; i++) {
		struct str owner;
		uint16_t type, class, length;
		uint32_t ttl, minimum;
		if (!read_name(a, c, &owner) || !read_u16(c, &type) || !read_u16(c, &class) ||
		    !read_u32(c, &ttl) || !read_u16(c, &length) || c->end - c->at < length)
			break;
		struct cursor last = {c->base, c->at + (length >= 4 ? length - 4U : 0U), c->at + length};
		c->at += length;
		if (type == DNS_SOA && read_u32(&last, &minimum))
			return *out = ttl < minimum ? ttl : minimum, true;
	}
	return false;
}

/* Goes from the name along the CNAMEs; the number passed, or -1 for a loop. */
static int follow(const struct resource *at, size_t n, struct dns_answer *out, uint32_t *ttl)
{
	int passed = 0;
	for (size_t i = 0; i < n; i++) {
		if (at[i].type != DNS_CNAME || !str_eq(at[i].owner, out->canonical))
			continue;
		if (++passed > DNS_ALIASES_MAX || at[i].record.name.n == 0)
			return -1;
		out->canonical = at[i].record.name;
		*ttl = at[i].ttl < *ttl ? at[i].ttl : *ttl;
		i = (size_t)-1; /* the chain may stand in any order */
	}
	return passed;
}

static void collect(struct arena *a, const struct resource *at, size_t n, enum dns_type type,
		    struct dns_answer *out)
{
	struct dns_record *records = arena_array(a, n, sizeof *records);
	size_t count = 0;
	for (size_t i = 0; i < n; i++) {
		if (at[i].type != type || !str_eq(at[i].owner, out->canonical))
			continue;
		records[count++] = at[i].record;
		out->ttl = at[i].ttl < out->ttl ? at[i].ttl : out->ttl;
	}
	out->at = records;
	out->n = count;
}

struct counts {
	uint16_t question, answer, authority, additional;
};

/* The header and the question, which must be ours. */
static bool read_question(struct arena *a, struct cursor *c, struct str name, enum dns_type type,
			  struct dns_wire_info *info, struct counts *n, unsigned *out_rcode,
			  struct str *out_name)
{
	uint16_t flags, asked, class;
	if (!read_u16(c, &info->id) || !read_u16(c, &flags) || !read_u16(c, &n->question) ||
	    !read_u16(c, &n->answer) || !read_u16(c, &n->authority) || !read_u16(c, &n->additional))
		return false;
	if (!(flags & FLAG_QR) || n->question != 1 || !read_name(a, c, out_name) || !read_u16(c, &asked) ||
	    !read_u16(c, &class))
		return false;
	BUF_SCOPED wanted = {0};
	for (struct str rest = name; rest.p;) {
		struct str label = str_cut(&rest, '.');
		put_label(&wanted, (const unsigned char *)label.p, label.n);
	}
	*out_rcode = flags & RCODE_MASK;
	info->flags = (flags & FLAG_TC ? DNS_WIRE_TRUNCATED : 0) | (flags & FLAG_AD ? DNS_WIRE_AD : 0);
	if (*out_rcode == RCODE_FORMERR || *out_rcode == RCODE_NOTIMP)
		info->flags |= DNS_WIRE_NO_EDNS;
	return asked == type && class == CLASS_IN && str_eq(*out_name, buf_str(&wanted));
}

bool dns_wire_answer(struct arena *a, struct str packet, struct str name, enum dns_type type,
		     struct dns_answer *out, struct dns_wire_info *info, struct err *err)
{
	struct cursor c = {(const unsigned char *)packet.p, 0, packet.n};
	struct counts count;
	unsigned rcode;
	*out = (struct dns_answer){.status = DNS_SERVFAIL, .canonical = name};
	*info = (struct dns_wire_info){0};
	if (packet.n < HEADER_SIZE || !read_question(a, &c, name, type, info, &count, &rcode,
						      &out->canonical))
		return err_set(err, ERR_SYNTAX, "not a DNS answer to this question");
	if (info->flags & DNS_WIRE_TRUNCATED || (rcode != 0 && rcode != RCODE_NXDOMAIN))
		return true;
	if (count.answer > DNS_RECORDS_MAX)
		return err_set(err, ERR_SYNTAX, "more than %d records in a DNS answer", DNS_RECORDS_MAX);
	struct resource *at = arena_array(a, count.answer + 1U, sizeof *at);
	for (size_t i = 0; i < count.answer; i++) {
		if (!read_resource(a, &c, type, &at[i]))
			return err_set(err, ERR_SYNTAX, "a record of a DNS answer is malformed");
	}
	out->ttl = INT32_MAX;
	int aliases = type == DNS_CNAME ? 0 : follow(at, count.answer, out, &out->ttl);
	if (aliases < 0)
		return true; /* a loop: an error of theirs */
	collect(a, at, count.answer, type, out);
	if (out->n > 0) {
		out->status = DNS_FOUND;
		return true;
	}
	uint32_t negative = NEGATIVE_TTL;
	bool soa = negative_ttl(a, &c, count.authority, &negative);
	out->ttl = negative < out->ttl ? negative : out->ttl;
	out->status = rcode == RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
	if (aliases > 0 && rcode == 0 && !soa)
		info->flags |= DNS_WIRE_ALIAS;
	return true;
}
