/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* Base subject (RFC 5256 2.1), on decoded text. Steps are numbered as there. */
#include "base/arena.h"
#include "base/scan.h"
#include "mime/summary.h"

static bool blob_char(unsigned char c)
{
	return c != '[' && c != ']' && c != 0;
}

/* subj-blob = "[" *BLOBCHAR "]" *WSP */
static bool scan_blob(struct scan *s)
{
	struct scan t = *s;
	if (!scan_byte(&t, '[')) return false;
	scan_while(&t, blob_char);
	if (!scan_byte(&t, ']')) return false;
	scan_blanks(&t);
	*s = t;
	return true;
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool scan_refwd(struct scan *s)
{
	struct scan t = *s;
	if (!scan_lit_nocase(&t, STR("re")) && !scan_lit_nocase(&t, STR("fwd")) &&
		!scan_lit_nocase(&t, STR("fw")))
		return false;
	scan_blanks(&t);
	scan_blob(&t);
	if (!scan_byte(&t, ':')) return false;
	*s = t;
	return true;
}

/* subj-leader = (*subj-blob subj-refwd) / WSP */
static bool scan_leader(struct scan *s, bool *out_refwd)
{
	struct scan t = *s;
	if (scan_byte(s, ' ') || scan_byte(s, '\t')) return true;
	while (scan_blob(&t)) {}
	if (!scan_refwd(&t)) return false;
	*out_refwd = true;
	*s = t;
	return true;
}

/* (2) subj-trailer = "(fwd)" / WSP */
static struct str without_trailers(struct str s, bool *out_refwd)
{
	for (;;) {
		if (str_ends_nocase(s, STR("(fwd)"))) {
			s.n -= 5;
			*out_refwd = true;
		} else if (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
			s.n--;
		} else {
			return s;
		}
	}
}

/* (3)-(5): leaders, and blobs as long as something is left behind them */
static struct str without_leaders(struct str s, bool *out_refwd)
{
	struct scan sc = scan_of(s);
	for (;;) {
		if (scan_leader(&sc, out_refwd)) continue;
		struct scan t = sc;
		if (!scan_blob(&t) || scan_end(&t)) break;
		sc = t;
	}
	return scan_rest(&sc);
}

/* (1): runs of blanks are one; then (2)-(6) */
struct str subject_base(struct arena *a, struct str subject, bool *out_refwd)
{
	char *p = arena_alloc(a, subject.n + 1);
	size_t n = 0;
	*out_refwd = false;
	for (size_t i = 0; i < subject.n; i++) {
		char c = subject.p[i] == '\t' ? ' ' : subject.p[i];
		if (c != ' ' || n == 0 || p[n - 1] != ' ') p[n++] = c;
	}
	struct str s = {p, n};
	for (;;) {
		s = without_leaders(without_trailers(s, out_refwd), out_refwd);
		/* (6) "[fwd:" ... "]" */
		if (!str_starts_nocase(s, STR("[fwd:")) || !str_ends(s, STR("]"))) return s;
		s = str_sub(s, 5, s.n - 6);
		*out_refwd = true;
	}
}
