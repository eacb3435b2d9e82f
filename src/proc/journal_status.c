/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/journal_status.c: what smtp, mailbox and queue tell of their journal. */
#include "journal/journal.h"
#include "proc/role_int.h"

static void write_sync_times(struct journal *j, struct json_writer *w)
{
	struct journal_sync_times t;

	journal_sync_times(j, &t);
	json_write_name(w, STR("journal_sync"));
	json_write_object_begin(w);
	json_write_name(w, STR("bounds_us"));
	json_write_array_begin(w);
	for (size_t i = 0; i < JOURNAL_SYNC_BOUNDS; i++)
		json_write_int(w, t.bounds_us[i]);
	json_write_array_end(w);
	json_write_name(w, STR("counts"));
	json_write_array_begin(w);
	for (size_t i = 0; i <= JOURNAL_SYNC_BOUNDS; i++)
		json_write_u64(w, t.counts[i]);
	json_write_array_end(w);
	json_write_member_int(w, "sum_us", (int64_t)t.sum_us);
	json_write_object_end(w);
}

void role_journal_status(struct journal *j, struct json_writer *w)
{
	json_write_member_int(w, "journal_fill_percent", journal_fill(j));
	json_write_member_int(w, "journal_committed", (int64_t)journal_committed(j));
	json_write_member_int(w, "journal_watermark", (int64_t)journal_watermark(j));
	write_sync_times(j, w);
}
