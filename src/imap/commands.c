/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* imap/commands.c: the table of commands and what CAPABILITY makes of it. */
#include "imap/imap_int.h"

static const struct command_row rows[] = {
#define IMAP_COMMAND(name, wire, flags, capability, rfc) {wire, cmd_##name, flags, capability, rfc},
#define IMAP_CAPABILITY(...)
#include "imap/commands.def"
#undef IMAP_COMMAND
#undef IMAP_CAPABILITY
};

static const struct {
	const char *word;
	unsigned halves; /* enum capability_half */
} words[] = {
#define IMAP_COMMAND(name, wire, flags, capability, rfc) {capability, CAPABILITY_SESSION},
#define IMAP_CAPABILITY(word, halves, rfc) {word, halves},
#include "imap/commands.def"
#undef IMAP_COMMAND
#undef IMAP_CAPABILITY
};

const struct command_row *command_find(struct str name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (str_eq_nocase(name, str_of(rows[i].name)))
			return &rows[i];
	return NULL;
}

static bool said_before(size_t i, enum capability_half half)
{
	for (size_t k = 0; k < i; k++)
		if (words[k].halves & half && str_eq(str_of(words[k].word), str_of(words[i].word)))
			return true;
	return false;
}

void capability_write(struct buf *b, enum capability_half half, uint64_t append_limit)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (!*words[i].word || !(words[i].halves & half) || said_before(i, half))
			continue;
		if (i)
			buf_byte(b, ' ');
		buf_add(b, str_of(words[i].word));
	}
	if (half == CAPABILITY_SESSION) {
		buf_add(b, STR(" APPENDLIMIT="));
		buf_u64(b, append_limit);
	}
}
