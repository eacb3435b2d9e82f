/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * store/special.c: names of special-use mailboxes (RFC 6154): ours in the account's language, and
 * those that other programs made (facts/korean-mail.md section 3).
 */
#include "store/store_int.h"

static const struct {
	enum special_use use;
	const char *en, *ko;
} ours[] = {
	{USE_ARCHIVE, "Archive", "보관함"}, {USE_DRAFTS, "Drafts", "임시보관함"},
	{USE_JUNK, "Junk", "스팸메일함"},   {USE_SENT, "Sent", "보낸편지함"},
	{USE_TRASH, "Trash", "휴지통"},
};

static const struct {
	enum special_use use;
	const char *name;
} known[] = {
	{USE_SENT, "보낸 편지함"},       {USE_SENT, "보낸메일함"},     {USE_SENT, "보낸 메일함"},
	{USE_SENT, "보낸 항목"},         {USE_SENT, "보낸 메시지"},    {USE_SENT, "Sent Messages"},
	{USE_SENT, "Sent Items"},        {USE_SENT, "Sent Mail"},      {USE_DRAFTS, "임시 보관함"},
	{USE_DRAFTS, "임시 보관 메일"},  {USE_DRAFTS, "초안"},         {USE_DRAFTS, "Draft"},
	{USE_TRASH, "지운 편지함"},      {USE_TRASH, "지운편지함"},    {USE_TRASH, "삭제된 항목"},
	{USE_TRASH, "Deleted Messages"}, {USE_TRASH, "Deleted Items"}, {USE_JUNK, "스팸 편지함"},
	{USE_JUNK, "스팸편지함"},        {USE_JUNK, "스팸함"},         {USE_JUNK, "정크 메일"},
	{USE_JUNK, "정크메일"},          {USE_JUNK, "Spam"},           {USE_JUNK, "Junk E-mail"},
	{USE_JUNK, "Junk Email"},        {USE_ARCHIVE, "보관"},        {USE_ARCHIVE, "보존"},
	{USE_ARCHIVE, "Archives"},       {USE_ALL, "전체보관함"},      {USE_ALL, "All Mail"},
	{USE_FLAGGED, "중요 편지함"},    {USE_FLAGGED, "Starred"},
};

struct str special_name(enum special_use use, struct str language)
{
	bool korean = str_eq(language, STR("ko"));

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (ours[i].use == use)
			return str_of(korean ? ours[i].ko : ours[i].en);
	return STR_NONE; /* \All and \Flagged are views of other mailboxes: none is made */
}

enum special_use special_of_name(struct str name)
{
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (str_eq_nocase(name, str_of(ours[i].en)) || str_eq(name, str_of(ours[i].ko)))
			return ours[i].use;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_nocase(name, str_of(known[i].name)))
			return known[i].use;
	return USE_NONE;
}
