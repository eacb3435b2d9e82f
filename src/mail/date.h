/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * mail/date.h: dates of RFC 5322 3.3 and 4.3, written and read, without libc's time zones but
 * for date_now_offset_min. Proleptic Gregorian calendar, years 1-9999.
 */
#pragma once
#include "base/buf.h"

struct date {
	int64_t unix_s;    /* the instant */
	int offset_min;    /* zone as written, minutes east */
};
struct date_civil {
	int year, month, day;     /* month 1-12 */
	int hour, minute, second; /* second may be 60 when read */
	int weekday;              /* 0 Sunday */
};

/* Lenient: comments, obsolete zones and two-digit years (4.3), missing or wrong day name, missing
 * seconds or zone (taken as UTC), "2026-11-24 10:00:00 +0900", ctime() and asctime order, "Nov 24,
 * 2026". false: no date in it. */
bool date_parse(struct str text, struct date *out);
/* "Tue, 24 Nov 2026 19:00:00 +0900" */
void date_format(struct buf *out, struct date d);
/* "24-Nov-2026 19:00:00 +0900" (IMAP date-time without quotes, RFC 9051; day padded with a space) */
void date_format_imap(struct buf *out, struct date d);
/* "2026-11-24T10:00:00Z" in UTC */
void date_format_iso(struct buf *out, int64_t unix_s);
/* Local zone of this machine at that instant (tzset was called before the sandbox). */
int date_local_offset_min(int64_t unix_s);
static inline struct date date_local(int64_t unix_s)
{
	return (struct date){unix_s, date_local_offset_min(unix_s)};
}

void date_to_civil(int64_t unix_s, int offset_min, struct date_civil *out);
int64_t date_of_civil(const struct date_civil *c, int offset_min);
int date_month_of_name(struct str name); /* "Jan" or "January", any case: 1-12, else 0 */
const char *date_month_name(int month);  /* "Jan" */
