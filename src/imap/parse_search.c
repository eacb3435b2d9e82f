/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/parse_search.c: the arguments of SEARCH, SORT, THREAD and their UID forms (imap/search.h). */
#include "base/buf.h"
#include "imap/search.h"
#include "mime/charset.h"
#include "mime/text.h"

struct state {
	struct parse *p;
	struct search_args *out;
	struct str charset;
	unsigned depth, keys;
	bool bad_charset;
};

static bool one_key(struct state *st, struct search_key **out);

/* astring in the program's charset, in normal form */
static bool key_text(struct state *st, struct str *out)
{
	struct parse *p = st->p;
	struct str raw;
	BUF_SCOPED utf8 = {};

	if (!parse_astring(p, &raw))
		return false;
	if (!charset_decode_strict(&utf8, st->charset, raw)) {
		/* RFC 9051 6.4.4: without CHARSET the text is UTF-8 (RFC 3501: US-ASCII, which it holds). */
		return parse_fail(p, "Search text is not valid in its charset");
	}
	*out = text_normalised(p->a, buf_str(&utf8));
	return true;
}

enum argument {
	ARG_NONE,
	ARG_TEXT,
	ARG_DATE,
	ARG_NUMBER,
	ARG_KEYWORD,
	ARG_HEADER,
	ARG_KEY,
	ARG_TWO_KEYS,
	ARG_UIDS,
	ARG_MODSEQ,
	ARG_SECONDS,
	ARG_ID,
};
static const struct key_word {
	const char *word;
	enum search_kind kind;
	enum argument argument;
	unsigned mask, want; /* of SEARCH_FLAG and SEARCH_KEYWORD */
} words[] = {
	{"ALL", SEARCH_ALL, ARG_NONE},
	{"ANSWERED", SEARCH_FLAG, ARG_NONE, FLAG_ANSWERED, FLAG_ANSWERED},
	{"BCC", SEARCH_BCC, ARG_TEXT},
	{"BEFORE", SEARCH_BEFORE, ARG_DATE},
	{"BODY", SEARCH_BODY, ARG_TEXT},
	{"CC", SEARCH_CC, ARG_TEXT},
	{"DELETED", SEARCH_FLAG, ARG_NONE, FLAG_DELETED, FLAG_DELETED},
	{"DRAFT", SEARCH_FLAG, ARG_NONE, FLAG_DRAFT, FLAG_DRAFT},
	{"EMAILID", SEARCH_EMAILID, ARG_ID},
	{"FLAGGED", SEARCH_FLAG, ARG_NONE, FLAG_FLAGGED, FLAG_FLAGGED},
	{"FROM", SEARCH_FROM, ARG_TEXT},
	{"FUZZY", SEARCH_AND, ARG_KEY}, /* RFC 6203: exact is as near as it gets */
	{"HEADER", SEARCH_HEADER, ARG_HEADER},
	{"KEYWORD", SEARCH_KEYWORD, ARG_KEYWORD},
	{"LARGER", SEARCH_LARGER, ARG_NUMBER},
	{"MODSEQ", SEARCH_MODSEQ, ARG_MODSEQ},
	{"NEW", SEARCH_FLAG, ARG_NONE, FLAG_RECENT | FLAG_SEEN, FLAG_RECENT},
	{"NOT", SEARCH_NOT, ARG_KEY},
	{"OLD", SEARCH_FLAG, ARG_NONE, FLAG_RECENT, 0},
	{"OLDER", SEARCH_OLDER, ARG_SECONDS},
	{"ON", SEARCH_ON, ARG_DATE},
	{"OR", SEARCH_OR, ARG_TWO_KEYS},
	{"RECENT", SEARCH_FLAG, ARG_NONE, FLAG_RECENT, FLAG_RECENT},
	{"SAVEDATESUPPORTED", SEARCH_ALL, ARG_NONE},
	{"SAVEDBEFORE", SEARCH_SAVED_BEFORE, ARG_DATE},
	{"SAVEDON", SEARCH_SAVED_ON, ARG_DATE},
	{"SAVEDSINCE", SEARCH_SAVED_SINCE, ARG_DATE},
	{"SEEN", SEARCH_FLAG, ARG_NONE, FLAG_SEEN, FLAG_SEEN},
	{"SENTBEFORE", SEARCH_SENT_BEFORE, ARG_DATE},
	{"SENTON", SEARCH_SENT_ON, ARG_DATE},
	{"SENTSINCE", SEARCH_SENT_SINCE, ARG_DATE},
	{"SINCE", SEARCH_SINCE, ARG_DATE},
	{"SMALLER", SEARCH_SMALLER, ARG_NUMBER},
	{"SUBJECT", SEARCH_SUBJECT, ARG_TEXT},
	{"TEXT", SEARCH_TEXT, ARG_TEXT},
	{"THREADID", SEARCH_THREADID, ARG_ID},
	{"TO", SEARCH_TO, ARG_TEXT},
	{"UID", SEARCH_UID, ARG_UIDS},
	{"UNANSWERED", SEARCH_FLAG, ARG_NONE, FLAG_ANSWERED, 0},
	{"UNDELETED", SEARCH_FLAG, ARG_NONE, FLAG_DELETED, 0},
	{"UNDRAFT", SEARCH_FLAG, ARG_NONE, FLAG_DRAFT, 0},
	{"UNFLAGGED", SEARCH_FLAG, ARG_NONE, FLAG_FLAGGED, 0},
	{"UNKEYWORD", SEARCH_KEYWORD, ARG_KEYWORD, 1},
	{"UNSEEN", SEARCH_FLAG, ARG_NONE, FLAG_SEEN, 0},
	{"YOUNGER", SEARCH_YOUNGER, ARG_SECONDS},
};

static struct search_key *new_key(struct state *st, enum search_kind kind)
{
	if (st->keys++ == SEARCH_KEYS_MAX) {
		parse_fail(st->p, "Too many search keys");
		return NULL;
	}
	struct search_key *k = arena_new_of(st->p->a, struct search_key);
	k->kind = kind;
	return k;
}

/* KEYWORD is a flag when it names one ("$Forwarded"); mask says NOT. */
static bool keyword_argument(struct state *st, const struct key_word *w, struct search_key *k)
{
	if (!parse_keyword(st->p, &k->name))
		return false;
	unsigned flag = flag_of_name(k->name);
	if (flag) {
		k->kind = SEARCH_FLAG;
		k->mask = flag;
		k->want = w->mask ? 0 : flag;
		k->name = STR_NONE;
	} else if (w->mask) {
		struct search_key *inner = new_key(st, SEARCH_KEYWORD);
		if (!inner)
			return false;
		inner->name = k->name;
		k->name = STR_NONE;
		k->kind = SEARCH_NOT;
		k->a = inner;
	}
	return true;
}

/* "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer (RFC 7162 7). Flags have one MODSEQ
 * per message, so the entry makes no difference. */
static bool modseq_argument(struct state *st, struct search_key *k)
{
	struct parse *p = st->p;
	struct str entry;

	st->out->modseq = true;
	if (scan_peek(&p->s) == '"') {
		if (!parse_string(p, &entry) || !parse_sp(p))
			return false;
		if (!parse_word(p, STR("all")) && !parse_word(p, STR("priv")) &&
		    !parse_word(p, STR("shared")))
			return parse_fail(p, "Invalid MODSEQ entry");
		if (!parse_sp(p))
			return false;
	}
	return parse_number64(p, &k->number);
}

static bool sub_key(struct state *st, struct search_key **out)
{
	if (st->depth == PARSE_DEPTH_MAX)
		return parse_fail(st->p, "Search keys are nested too deep");
	st->depth++;
	bool ok = one_key(st, out);
	st->depth--;
	return ok;
}

static bool argument(struct state *st, const struct key_word *w, struct search_key *k)
{
	struct parse *p = st->p;
	uint32_t n;

	switch (w->argument) {
	case ARG_NONE:
		return true;
	case ARG_TEXT:
		return key_text(st, &k->text);
	case ARG_DATE:
		return parse_date(p, &k->day);
	case ARG_NUMBER:
		return parse_number64(p, &k->number);
	case ARG_SECONDS:
		if (!parse_nz_number(p, &n))
			return false;
		k->number = n;
		return true;
	case ARG_KEYWORD:
		return keyword_argument(st, w, k);
	case ARG_HEADER:
		return parse_astring(p, &k->name) && parse_sp(p) && key_text(st, &k->text);
	case ARG_KEY:
		return sub_key(st, &k->a);
	case ARG_TWO_KEYS:
		return sub_key(st, &k->a) && parse_sp(p) && sub_key(st, &k->b);
	case ARG_UIDS:
		return parse_sequence_set(p, &k->set);
	case ARG_MODSEQ:
		return modseq_argument(st, k);
	case ARG_ID:
		return parse_astring(p, &k->name);
	}
	return false;
}

static bool key_list(struct state *st, struct search_key **out)
{
	struct search_key *list = NULL, **last = &list;
	struct search_key *and = new_key(st, SEARCH_AND);

	if (!and)
		return false;
	do {
		if (!one_key(st, last))
			return false;
		last = &(*last)->next;
	} while (scan_byte(&st->p->s, ' '));
	and->a = list;
	*out = list->next ? and : list;
	return true;
}

static bool word_char(unsigned char c) { return ascii_is(c, ASCII_UPPER | ASCII_LOWER); }

static const struct key_word *find_word(struct str w)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (str_eq_nocase(w, str_of(words[i].word)))
			return &words[i];
	return NULL;
}

/* search-key = ... / sequence-set / "(" search-key *(SP search-key) ")" */
static bool one_key(struct state *st, struct search_key **out)
{
	struct parse *p = st->p;
	int c = scan_peek(&p->s);

	if (c == '(') {
		if (st->depth == PARSE_DEPTH_MAX)
			return parse_fail(p, "Search keys are nested too deep");
		st->depth++;
		bool ok = scan_byte(&p->s, '(') && key_list(st, out) && parse_char(p, ')');
		st->depth--;
		return ok;
	}
	if (c == '*' || c == '$' || (c >= '0' && c <= '9')) {
		*out = new_key(st, SEARCH_SEQ);
		return *out && parse_sequence_set(p, &(*out)->set);
	}
	const struct key_word *w = find_word(scan_while(&p->s, word_char));
	if (!w)
		return parse_fail(p, "Unknown search key");
	struct search_key *k = *out = new_key(st, w->kind);
	if (!k)
		return false;
	k->mask = w->mask;
	k->want = w->want;
	return (w->argument == ARG_NONE || parse_sp(p)) && argument(st, w, k);
}

/* ---- RETURN ------------------------------------------------------------------------------ */

static const struct {
	const char *word;
	unsigned bit;
} returns[] = {
	{"MIN", SEARCH_MIN},         {"MAX", SEARCH_MAX},   {"ALL", SEARCH_RETURN_ALL},
	{"COUNT", SEARCH_COUNT},     {"SAVE", SEARCH_SAVE}, {"RELEVANCY", SEARCH_RELEVANCY},
	{"PARTIAL", SEARCH_PARTIAL}, {"UPDATE", SEARCH_UPDATE}, {"CONTEXT", SEARCH_CONTEXT},
};

bool parse_partial(struct parse *p, struct partial *out)
{
	uint32_t x, y;

	out->negative = scan_byte(&p->s, '-');
	if (!parse_nz_number(p, &x) || !parse_char(p, ':') || (out->negative && !parse_char(p, '-')) ||
	    !parse_nz_number(p, &y))
		return false;
	out->first = x < y ? x : y;
	out->last = x < y ? y : x;
	return true;
}

static bool return_option(struct parse *p, struct search_args *out)
{
	unsigned bit = 0;

	for (size_t i = 0; i < sizeof(returns) / sizeof(*returns) && !bit; i++)
		if (parse_word(p, str_of(returns[i].word)))
			bit = returns[i].bit;
	if (!bit)
		return parse_fail(p, "Unknown return option");
	if (bit == SEARCH_PARTIAL &&
	    (out->returns & SEARCH_PARTIAL || !parse_sp(p) || !parse_partial(p, &out->partial)))
		return parse_fail(p, "Invalid PARTIAL");
	out->returns |= bit;
	return true;
}

/* search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" */
static bool return_options(struct parse *p, struct search_args *out)
{
	out->has_return = true;
	if (!parse_sp(p) || !parse_char(p, '('))
		return false;
	if (scan_byte(&p->s, ')')) {
		out->returns = SEARCH_RETURN_ALL;
		return true;
	}
	do {
		if (!return_option(p, out))
			return false;
	} while (scan_byte(&p->s, ' '));
	/* RFC 9394 3.1 */
	if (out->returns & SEARCH_PARTIAL && out->returns & SEARCH_RETURN_ALL)
		return parse_fail(p, "PARTIAL and ALL exclude each other");
	/* RFC 6203 4: of what ALL or PARTIAL list */
	if (out->returns == SEARCH_RELEVANCY || out->returns == SEARCH_CONTEXT)
		out->returns |= SEARCH_RETURN_ALL;
	return parse_char(p, ')');
}

/* ---- whole commands ---------------------------------------------------------------------- */

static bool charset(struct state *st, enum search_problem *out_problem)
{
	struct parse *p = st->p;

	if (!parse_astring(p, &st->charset) || !parse_sp(p))
		return false;
	if (charset_known(st->charset))
		return true;
	*out_problem = SEARCH_BAD_CHARSET;
	return parse_fail(p, "Unknown charset");
}

bool parse_search(struct parse *p, struct search_args *out, enum search_problem *out_problem)
{
	struct state st = {.p = p, .out = out, .charset = STR("UTF-8")};

	*out = (struct search_args){};
	*out_problem = SEARCH_BAD;
	if (parse_word(p, STR("RETURN")) && (!return_options(p, out) || !parse_sp(p)))
		return false;
	if (parse_word(p, STR("CHARSET")) && (!parse_sp(p) || !charset(&st, out_problem)))
		return false;
	return key_list(&st, &out->root) && parse_end(p);
}

static const char *const sort_words[SORT_KEYS] = {
	[SORT_ARRIVAL] = "ARRIVAL", [SORT_CC] = "CC",
	[SORT_DATE] = "DATE",       [SORT_FROM] = "FROM",
	[SORT_SIZE] = "SIZE",       [SORT_SUBJECT] = "SUBJECT",
	[SORT_TO] = "TO",           [SORT_DISPLAYFROM] = "DISPLAYFROM",
	[SORT_DISPLAYTO] = "DISPLAYTO", [SORT_RELEVANCY] = "RELEVANCY",
};

/* sort-criterion = ["REVERSE" SP] sort-key */
static bool sort_criterion(struct parse *p, struct search_args *out)
{
	struct sort_criterion c = {.reverse = parse_word(p, STR("REVERSE"))};
	unsigned key = 0;

	if (c.reverse && !parse_sp(p))
		return false;
	while (key < SORT_KEYS && !parse_word(p, str_of(sort_words[key])))
		key++;
	if (key == SORT_KEYS)
		return parse_fail(p, "Unknown sort key");
	c.key = (enum sort_key)key;
	for (size_t i = 0; i < out->sort_n; i++)
		if (out->sort[i].key == c.key)
			return true;
	out->sort[out->sort_n++] = c;
	return true;
}

bool parse_sort(struct parse *p, struct search_args *out, enum search_problem *out_problem)
{
	struct state st = {.p = p, .out = out};

	*out = (struct search_args){};
	*out_problem = SEARCH_BAD;
	if (parse_word(p, STR("RETURN")) && (!return_options(p, out) || !parse_sp(p)))
		return false;
	if (!parse_char(p, '('))
		return false;
	do {
		if (!sort_criterion(p, out))
			return false;
	} while (scan_byte(&p->s, ' '));
	return parse_char(p, ')') && parse_sp(p) && charset(&st, out_problem) && key_list(&st, &out->root) &&
	       parse_end(p);
}

bool parse_thread(struct parse *p, struct search_args *out, enum search_problem *out_problem)
{
	struct state st = {.p = p, .out = out};

	*out = (struct search_args){};
	*out_problem = SEARCH_BAD;
	if (parse_word(p, STR("REFERENCES")))
		out->thread = THREAD_REFERENCES;
	else if (parse_word(p, STR("REFS")))
		out->thread = THREAD_REFS;
	else if (parse_word(p, STR("ORDEREDSUBJECT")))
		out->thread = THREAD_ORDEREDSUBJECT;
	else
		return parse_fail(p, "Unknown threading algorithm");
	return parse_sp(p) && charset(&st, out_problem) && key_list(&st, &out->root) && parse_end(p);
}

/* ---- parts of results -------------------------------------------------------------------- */

void partial_indexes(struct partial p, uint64_t n, uint64_t *out_first, uint64_t *out_end)
{
	uint64_t first = p.first - 1, end = p.last;

	if (end > n)
		end = n;
	if (first > end)
		first = end;
	*out_first = p.negative ? n - end : first;
	*out_end = p.negative ? n - first : end;
}

struct uid_set partial_of(struct uid_set s, struct partial p, struct arena *a)
{
	struct uid_range *r = arena_array(a, s.n ? s.n : 1, sizeof(*r));
	uint64_t first, end, at = 0;
	size_t n = 0;

	partial_indexes(p, uid_set_count(s), &first, &end);
	for (size_t i = 0; i < s.n && at < end; i++) {
		uint64_t count = (uint64_t)s.r[i].last - s.r[i].first + 1;
		uint64_t from = first > at ? first - at : 0, to = end - at < count ? end - at : count;
		if (from < to)
			r[n++] = (struct uid_range){s.r[i].first + (uint32_t)from,
						    s.r[i].first + (uint32_t)(to - 1)};
		at += count;
	}
	return (struct uid_set){r, n};
}
