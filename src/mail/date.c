/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Reading goes word by word: names, numbers, times and zones say themselves what they are, so the
 * many orders in use need no grammar each. The first reading of a field wins.
 */
#include "mail/date.h"
#include "base/scan.h"
#include <time.h>

static const char months[12][10] = {
	"January", "February", "March", "April", "May", "June", "July",
	"August", "September", "October", "November", "December",
};
static const char weekdays[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

int date_month_of_name(struct str name)
{
	for (int m = 0; m < 12; m++)
		if (name.n >= 3 && str_starts_nocase(str_of(months[m]), name)) return m + 1;
	return str_eq_nocase(name, STR("Sept")) ? 9 : 0;
}

const char *date_month_name(int month)
{
	static const char names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	return month >= 1 && month <= 12 ? names[month - 1] : "?";
}

static bool is_leap(int y)
{
	return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int days_in_month(int y, int m)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	return m == 2 && is_leap(y) ? 29 : days[m - 1];
}

/* Days before 1 January of year y, counted from 1 January of year 1. */
static int64_t days_before_year(int64_t y)
{
	int64_t past = y - 1;
	return past * 365 + past / 4 - past / 100 + past / 400;
}

enum { DAYS_TO_1970 = 719162, DAY_S = 86400 };

int64_t date_of_civil(const struct date_civil *c, int offset_min)
{
	int64_t days = days_before_year(c->year) - DAYS_TO_1970 + c->day - 1;
	for (int m = 1; m < c->month; m++) days += days_in_month(c->year, m);
	return days * DAY_S + c->hour * 3600 + c->minute * 60 + c->second - (int64_t)offset_min * 60;
}

void date_to_civil(int64_t unix_s, int offset_min, struct date_civil *out)
{
	/* Outside of years 1 to 9999 nothing can be written that anybody reads. */
	const int64_t least = -(int64_t)DAYS_TO_1970 * DAY_S, most = 253402300799;
	int64_t t = unix_s < least ? least : unix_s > most ? most : unix_s;
	t += (int64_t)offset_min * 60;
	t = t < least ? least : t > most ? most : t;
	int64_t days = (t - least) / DAY_S, s = (t - least) % DAY_S;
	int64_t y = days / 366 + 1;
	while (days_before_year(y + 1) <= days) y++;
	int64_t day = days - days_before_year(y);
	int m = 1;
	while (day >= days_in_month((int)y, m)) day -= days_in_month((int)y, m++);
	*out = (struct date_civil){
		.year = (int)y, .month = m, .day = (int)day + 1,
		.hour = (int)(s / 3600), .minute = (int)(s / 60 % 60), .second = (int)(s % 60),
		.weekday = (int)((days + 1) % 7), /* 1 January of year 1 was a Monday */
	};
}

static void put_zone(struct buf *out, int offset_min)
{
	int abs = offset_min < 0 ? -offset_min : offset_min;
	buf_fmt(out, "%c%02d%02d", offset_min < 0 ? '-' : '+', abs / 60 % 100, abs % 60);
}

void date_format(struct buf *out, struct date d)
{
	struct date_civil c;
	date_to_civil(d.unix_s, d.offset_min, &c);
	buf_fmt(out, "%s, %d %s %04d %02d:%02d:%02d ", weekdays[c.weekday], c.day, date_month_name(c.month),
		c.year, c.hour, c.minute, c.second);
	put_zone(out, d.offset_min);
}

void date_format_imap(struct buf *out, struct date d)
{
	struct date_civil c;
	date_to_civil(d.unix_s, d.offset_min, &c);
	buf_fmt(out, "%2d-%s-%04d %02d:%02d:%02d ", c.day, date_month_name(c.month), c.year, c.hour, c.minute,
		c.second);
	put_zone(out, d.offset_min);
}

void date_format_iso(struct buf *out, int64_t unix_s)
{
	struct date_civil c;
	date_to_civil(unix_s, 0, &c);
	buf_fmt(out, "%04d-%02d-%02dT%02d:%02d:%02dZ", c.year, c.month, c.day, c.hour, c.minute, c.second);
}

int date_local_offset_min(int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;
	return localtime_r(&t, &tm) ? (int)(tm.tm_gmtoff / 60) : 0;
}

struct reading {
	int year, month, day, hour, minute, second; /* -1: not read */
	int zone;
	bool has_zone, year_first, pm, am;
};

/* obs-zone (RFC 5322 4.3) and a few that are seen; single letters and unknown names count as UTC. */
static bool zone_of_name(struct str word, int *out_min)
{
	static const struct {
		char name[5];
		int hours;
	} zones[] = {
		{"UT", 0}, {"UTC", 0}, {"GMT", 0}, {"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
		{"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7}, {"KST", 9}, {"JST", 9}, {"CET", 1},
		{"CEST", 2}, {"MET", 1}, {"MEST", 2}, {"EET", 2}, {"EEST", 3}, {"WET", 0}, {"WEST", 1},
		{"BST", 1}, {"MSK", 3}, {"HKT", 8}, {"SGT", 8}, {"AEST", 10}, {"AEDT", 11},
	};
	for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
		if (!str_eq_nocase(word, str_of(zones[i].name))) continue;
		*out_min = zones[i].hours * 60;
		return true;
	}
	*out_min = 0;
	return word.n == 1;
}

/* "(" ... ")" nested, with quoted-pairs */
static void skip_comment(struct scan *s)
{
	int depth = 0;
	while (!scan_end(s)) {
		char c = *s->p++;
		if (c == '\\' && !scan_end(s)) s->p++;
		else if (c == '(') depth++;
		else if (c == ')' && --depth == 0) return;
	}
}

static void read_word(struct str word, struct reading *r)
{
	int month = date_month_of_name(word), zone;
	if (month > 0 && r->month < 0) r->month = month;
	else if (str_eq_nocase(word, STR("PM"))) r->pm = true;
	else if (str_eq_nocase(word, STR("AM"))) r->am = true;
	else if (r->hour >= 0 && !r->has_zone && zone_of_name(word, &zone)) {
		r->zone = zone;
		r->has_zone = true;
	}
}

/* hour ":" minute [":" second ["." fraction]]; the hour was read. obs: "." as separator. */
static bool read_time(struct scan *s, uint32_t hour, char sep, struct reading *r)
{
	struct scan t = *s;
	uint32_t minute, second = 0;
	if (!scan_byte(&t, sep) || !scan_u32(&t, 59, &minute)) return false;
	struct scan before = t;
	if (scan_byte(&t, sep) && !scan_u32(&t, 60, &second)) t = before;
	if (sep == ':' && (scan_peek(&t) == '.' || scan_peek(&t) == ',')) {
		before = t;
		t.p++;
		if (scan_while_class(&t, ASCII_DIGIT).n == 0) t = before;
	}
	if (hour > 24 || (hour == 24 && minute + second > 0)) return false;
	r->hour = (int)hour;
	r->minute = (int)minute;
	r->second = (int)second;
	*s = t;
	return true;
}

/* ("+" / "-") 4DIGIT, also 2DIGIT [":" 2DIGIT]; the sign stands at the scan */
static bool read_zone(struct scan *s, struct reading *r)
{
	struct scan t = *s;
	int sign = scan_peek(&t) == '-' ? -1 : 1;
	t.p++;
	struct str digits = scan_while_class(&t, ASCII_DIGIT);
	uint64_t v;
	uint32_t minutes;
	if (digits.n < 1 || digits.n > 4 || !str_u64(digits, 9999, &v)) return false;
	if (digits.n <= 2) {
		v *= 100;
		struct scan u = t;
		if (scan_byte(&u, ':') && scan_u32(&u, 59, &minutes)) {
			v += minutes;
			t = u;
		}
	}
	r->has_zone = true;
	r->zone = v / 100 < 24 && v % 100 < 60 ? sign * (int)(v / 100 * 60 + v % 100) : 0;
	*s = t;
	return true;
}

static int full_year(uint32_t v, size_t digits)
{
	/* RFC 5322 4.3: 00-49 are 2000 on, 50-99 and three digits are 1900 on. */
	if (digits <= 2) return (int)(v < 50 ? 2000 + v : 1900 + v);
	return (int)(digits == 3 ? 1900 + v : v);
}

/* "11/24/2026" or "24/11/2026"; the first number was read */
static bool read_slashes(struct scan *s, uint32_t first, struct reading *r)
{
	struct scan t = *s;
	uint32_t second, year;
	if (!scan_byte(&t, '/') || !scan_u32(&t, 31, &second) || !scan_byte(&t, '/')) return false;
	const char *from = t.p;
	if (!scan_u32(&t, 9999, &year)) return false;
	bool day_first = first > 12;
	r->month = (int)(day_first ? second : first);
	r->day = (int)(day_first ? first : second);
	r->year = full_year(year, (size_t)(t.p - from));
	*s = t;
	return true;
}

static void read_number(struct scan *s, struct reading *r)
{
	struct str digits = scan_while_class(s, ASCII_DIGIT);
	uint64_t v;
	if (digits.n > 4 || !str_u64(digits, 9999, &v)) return;
	uint32_t n = (uint32_t)v;
	bool dated = r->day >= 0 && r->month >= 0 && r->year >= 0;
	if (r->hour < 0 && digits.n <= 2 && read_time(s, n, ':', r)) return;
	if (r->hour < 0 && dated && digits.n <= 2 && read_time(s, n, '.', r)) return;
	if (r->day < 0 && r->month < 0 && r->year < 0 && digits.n <= 2 && read_slashes(s, n, r)) return;
	if (r->year < 0 && r->day < 0 && r->month < 0 && digits.n == 4) {
		r->year = (int)n;
		r->year_first = true;
	} else if (r->year_first && r->month < 0 && n >= 1 && n <= 12) {
		r->month = (int)n;
	} else if (r->day < 0 && n >= 1 && n <= 31 && digits.n <= 2) {
		r->day = (int)n;
	} else if (r->year < 0 && digits.n >= 2) {
		r->year = full_year(n, digits.n);
	} else if (r->hour >= 0 && !r->has_zone && digits.n == 4) {
		r->has_zone = true; /* the sign was forgotten */
		r->zone = n / 100 < 24 && n % 100 < 60 ? (int)(n / 100 * 60 + n % 100) : 0;
	}
}

static void read_all(struct scan *s, struct reading *r)
{
	while (!scan_end(s)) {
		int c = scan_peek(s);
		if (c == '(') {
			skip_comment(s);
		} else if (ascii_is((unsigned char)c, ASCII_DIGIT)) {
			read_number(s, r);
		} else if ((c == '+' || c == '-') && r->hour >= 0 && !r->has_zone && read_zone(s, r)) {
			continue;
		} else if (ascii_is((unsigned char)c, ASCII_UPPER | ASCII_LOWER)) {
			read_word(scan_while_class(s, ASCII_UPPER | ASCII_LOWER), r);
		} else if (scan_lit(s, STR("오후"))) {
			r->pm = true;
		} else if (scan_lit(s, STR("오전"))) {
			r->am = true;
		} else {
			s->p++;
		}
	}
}

bool date_parse(struct str text, struct date *out)
{
	/* Longer ones are an attack or garbage; the date stands at the front of what people write. */
	struct scan s = scan_of(str_sub(text, 0, 1000));
	struct reading r = {-1, -1, -1, -1, -1, -1, 0, false, false, false, false};
	read_all(&s, &r);
	if (r.year < 1 || r.year > 9999 || r.month < 1 || r.month > 12 || r.day < 1) return false;
	if (r.day > days_in_month(r.year, r.month)) return false;
	if (r.pm && r.hour >= 0 && r.hour < 12) r.hour += 12;
	if (r.am && r.hour == 12) r.hour = 0;
	struct date_civil c = {r.year, r.month, r.day, 0, 0, 0, 0};
	if (r.hour >= 0) {
		c.hour = r.hour;
		c.minute = r.minute;
		c.second = r.second;
	}
	*out = (struct date){date_of_civil(&c, r.zone), r.zone};
	return true;
}
