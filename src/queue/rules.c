/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * Mail to other servers that is held when its turn comes: by rules that an administrator has given, and by
 * the brake for accounts whose password somebody else has.
 *
 * The brake compares what an account sends in an hour with the busiest hour that it has had: recipients
 * beyond BRAKE_TIMES that (but never less than the setting), or many recipients of which a tenth does not
 * exist, make a rule for the account. Its owner and postmaster are told. A busiest hour is forgotten slowly,
 * half of it in a month.
 *
 * spool/hold-rules has a line for each: kind TAB value TAB since TAB why; spool/habits: account TAB hour TAB
 * recipients TAB busiest. Both are replaced whole. Rules are guarded by queue.lock; habits are the remote
 * thread's own.
 */
#include "queue/remote_int.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	RULES_MAX = 10000, RULES_BYTES_MAX = 8 << 20, HABITS_BYTES_MAX = 64 << 20, BRAKE_TIMES = 5,
	UNKNOWN_OF = 100, /* recipients, before a tenth unknown says anything */
};
static const char *const kinds[] = {"account", "sender", "recipient", "domain"};
enum rule_kind { RULE_ACCOUNT, RULE_SENDER, RULE_RECIPIENT, RULE_DOMAIN, RULE_KINDS };

struct rule {
	struct rule *next;
	enum rule_kind kind;
	int64_t since_s;
	char *value, *why;
};
struct habit {
	int64_t hour;
	uint32_t rcpts;          /* this hour */
	uint32_t tried, unknown; /* answers this hour */
	double busiest;
};
struct rules {
	struct rule *first;   /* guarded by queue.lock */
	struct map *habits;   /* account -> struct habit */
	bool habits_changed;
	int64_t saved_us;
};

static char *text_of(struct str s)
{
	char *p = mem_zalloc(s.n + 1);
	memcpy(p, s.p ? s.p : "", s.n);
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)p[i] < 32)
			p[i] = ' ';
	return p;
}

static bool kind_of(struct str name, enum rule_kind *out)
{
	for (int k = 0; k < RULE_KINDS; k++) {
		if (str_eq(name, str_of(kinds[k]))) {
			*out = (enum rule_kind)k;
			return true;
		}
	}
	return false;
}

static void rule_free(struct rule *r)
{
	free(r->value);
	free(r->why);
	free(r);
}

/* ---- files ------------------------------------------------------------------------------- */

static void load_rules(struct rules *v, struct str text)
{
	struct rule **tail = &v->first;
	while (text.p) {
		struct str rest = str_cut(&text, '\n');
		enum rule_kind kind;
		uint64_t since;
		struct str name = str_cut(&rest, '\t'), value = str_cut(&rest, '\t');
		if (!kind_of(name, &kind) || !value.n || !str_u64(str_cut(&rest, '\t'), INT64_MAX, &since))
			continue;
		struct rule *r = mem_new(struct rule);
		*r = (struct rule){.kind = kind, .since_s = (int64_t)since, .value = text_of(value),
				   .why = text_of(rest)};
		*tail = r;
		tail = &r->next;
	}
}

static void load_habits(struct rules *v, struct str text)
{
	while (text.p) {
		struct str rest = str_cut(&text, '\n');
		struct str account = str_cut(&rest, '\t');
		uint64_t hour, rcpts, busiest;
		if (!account.n || !str_u64(str_cut(&rest, '\t'), INT64_MAX, &hour) ||
		    !str_u64(str_cut(&rest, '\t'), UINT32_MAX, &rcpts) ||
		    !str_u64(rest, UINT32_MAX, &busiest))
			continue;
		struct habit *h = mem_new(struct habit);
		*h = (struct habit){
			.hour = (int64_t)hour, .rcpts = (uint32_t)rcpts, .busiest = (double)busiest};
		free(map_put(v->habits, account, h));
	}
}

bool rules_open(struct queue *q, struct err *err)
{
	BUF_SCOPED rules = {0};
	BUF_SCOPED habits = {0};
	struct err ignored = {0};
	q->rules = mem_new(struct rules);
	q->rules->habits = map_new();
	if (file_read_whole(q->o.spool_fd, "hold-rules", RULES_BYTES_MAX, &rules, err))
		load_rules(q->rules, buf_str(&rules));
	else if (err->kind != ERR_NOT_FOUND) /* mail that is to be held would go out */
		return false;
	err_clear(err);
	if (file_read_whole(q->o.spool_fd, "habits", HABITS_BYTES_MAX, &habits, &ignored))
		load_habits(q->rules, buf_str(&habits));
	return true;
}

void rules_free(struct queue *q)
{
	struct map_iter it = {0};
	if (!q->rules)
		return;
	for (struct rule *r = q->rules->first, *next; r; r = next) {
		next = r->next;
		rule_free(r);
	}
	while (map_next(q->rules->habits, &it))
		free(it.value);
	map_free(q->rules->habits);
	free(q->rules);
}

/* With the lock: durable when it returns. */
static bool rules_write(struct queue *q, struct err *err)
{
	BUF_SCOPED b = {0};
	lock_held(&q->lock);
	for (const struct rule *r = q->rules->first; r; r = r->next)
		buf_fmt(&b, "%s\t%s\t%lld\t%s\n", kinds[r->kind], r->value, (long long)r->since_s, r->why);
	return file_replace_whole(q->o.spool_fd, "hold-rules", buf_str(&b), 0600, err);
}

void habits_save(struct queue *q)
{
	struct rules *v = q->rules;
	struct map_iter it = {0};
	struct err err = {0};
	BUF_SCOPED b = {0};
	if (!v->habits_changed || clock_mono_us() - v->saved_us < 60 * 1000000LL)
		return;
	v->habits_changed = false;
	v->saved_us = clock_mono_us();
	while (map_next(v->habits, &it)) {
		const struct habit *h = it.value;
		buf_fmt(&b, "%.*s\t%lld\t%u\t%u\n", STR_ARG(it.key), (long long)h->hour, h->rcpts,
			(unsigned)h->busiest);
	}
	FD_SCOPED fd = file_openat(q->tmp_fd, "habits", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || !file_write_all(fd, b.p, b.n, &err) ||
	    file_renameat(q->tmp_fd, "habits", q->o.spool_fd, "habits") != 0)
		log_event(LOG_WARN, "queue.habits.failed", K_CSTR(cause, err.cause));
}

/* ---- rules ------------------------------------------------------------------------------- */

bool rule_add(struct queue *q, struct str kind, struct str value, struct str why, struct err *err)
{
	enum rule_kind k;
	size_t n = 0;
	if (!kind_of(kind, &k) || !value.n || value.n > 320 || str_has_ctl(value))
		return err_set(err, ERR_SYNTAX, "a rule is for an account, sender, recipient or domain");
	LOCK_SCOPED(&q->lock);
	struct rule **at = &q->rules->first;
	for (; *at; at = &(*at)->next, n++) {
		if ((*at)->kind == k && str_eq_nocase(str_of((*at)->value), value))
			return true;
	}
	if (n >= RULES_MAX)
		return err_set(err, ERR_LIMIT, "there are %d rules already", RULES_MAX);
	struct rule *r = mem_new(struct rule);
	*r = (struct rule){.kind = k, .since_s = clock_wall_s(), .value = text_of(value),
			   .why = text_of(str_sub(why, 0, 200))};
	*at = r;
	if (rules_write(q, err))
		return true;
	*at = NULL;
	rule_free(r);
	return false;
}

bool rule_remove(struct queue *q, struct str kind, struct str value, bool *out_found, struct err *err)
{
	LOCK_SCOPED(&q->lock);
	*out_found = false;
	for (struct rule **at = &q->rules->first; *at; at = &(*at)->next) {
		struct rule *r = *at;
		if (!str_eq(kind, str_of(kinds[r->kind])) || !str_eq_nocase(str_of(r->value), value))
			continue;
		*at = r->next;
		if (!rules_write(q, err)) {
			*at = r;
			return false;
		}
		rule_free(r);
		*out_found = true;
		return true;
	}
	return true;
}

void rules_list(struct queue *q, struct json_writer *w)
{
	LOCK_SCOPED(&q->lock);
	json_write_name(w, STR("rules"));
	json_write_array_begin(w);
	for (const struct rule *r = q->rules->first; r; r = r->next) {
		json_write_object_begin(w);
		json_write_member_cstr(w, "kind", kinds[r->kind]);
		json_write_member_cstr(w, "value", r->value);
		json_write_member_int(w, "since", r->since_s);
		json_write_member_cstr(w, "why", r->why);
		json_write_object_end(w);
	}
	json_write_array_end(w);
}

static bool rule_fits(const struct rule *r, const struct envelope *e, const struct action *a)
{
	struct str value = str_of(r->value);
	switch (r->kind) {
	case RULE_ACCOUNT: return str_eq_nocase(value, e->account);
	case RULE_SENDER: return address_fits(value, e->reverse_path_text);
	case RULE_RECIPIENT: return address_fits(value, a->account);
	case RULE_DOMAIN: return str_eq_nocase(value, domain_of(a->account));
	case RULE_KINDS: break;
	}
	return false;
}

bool rules_hold(struct queue *q, const struct item *i, const struct action *a, char why[RULE_WHY_MAX])
{
	if (a->generated.n)
		return false;
	LOCK_SCOPED(&q->lock);
	for (const struct rule *r = q->rules->first; r; r = r->next) {
		if (!rule_fits(r, &i->envelope, a))
			continue;
		snprintf(why, RULE_WHY_MAX, "held: %s %s: %s", kinds[r->kind], r->value, r->why);
		return true;
	}
	return false;
}

/* ---- the brake --------------------------------------------------------------------------- */

static struct habit *habit_of(struct rules *v, struct str account)
{
	int64_t hour = clock_wall_s() / 3600;
	struct habit *h = map_get(v->habits, account);
	if (!h) {
		h = mem_new(struct habit);
		map_put(v->habits, account, h);
	}
	if (h->hour == hour)
		return h;
	if (h->rcpts > h->busiest)
		h->busiest = h->rcpts;
	for (int64_t k = h->hour; h->hour && k < hour && k < h->hour + 2000; k++)
		h->busiest *= 0.999;
	*h = (struct habit){.hour = hour, .busiest = h->busiest};
	return h;
}

static void tell(struct queue *q, struct str account, const char *why)
{
	struct err err = {0};
	BUF_SCOPED owner = {0};
	BUF_SCOPED admin = {0};
	buf_fmt(&owner,
		"%.*s 계정에서 평소와 다르게 많은 메일이 나가 발송을 멈췄습니다.\r\n"
		"직접 보낸 것이 아니라면 누군가 암호를 알고 있습니다. 암호를 바로 바꾸고 관리자에게 "
		"알리십시오.\r\n\r\n"
		"Far more mail than usual was sent by %.*s, so sending is held.\r\n"
		"If it was not you, somebody else has your password: change it now and tell the "
		"administrator.\r\n\r\n"
		"  %s\r\n",
		STR_ARG(account), STR_ARG(account), why);
	buf_fmt(&admin,
		"%.*s\r\n\r\n  %s\r\n\r\n"
		"이 계정이 다른 서버로 보내는 메일은 모두 보류됩니다. All its mail to other servers is held.\r\n\r\n"
		"    pabal queue list --reply \"account %.*s\"\r\n"
		"    pabal queue brake release %.*s   (정상 / it is all right)\r\n"
		"    pabal queue brake revoke %.*s    (도용: 보류한 메일을 버림 / stolen: drop what is held)\r\n",
		STR_ARG(account), why, STR_ARG(account), STR_ARG(account), STR_ARG(account));
	if (!queue_tell(q, account, STR("메일 발송을 멈췄습니다"), STR("Sending is held"), buf_str(&owner), &err) ||
	    !queue_tell(q, STR_NONE, STR("계정의 메일 발송을 멈췄습니다"), STR("An account's sending is held"),
			buf_str(&admin), &err))
		log_err(LOG_WARN, "queue.notice.failed", &err);
}

static void brake(struct queue *q, struct str account, const char *why)
{
	struct err err = {0};
	if (!rule_add(q, STR("account"), account, str_of(why), &err)) {
		log_err(LOG_ERROR, "queue.brake.failed", &err);
		return;
	}
	log_event(LOG_ERROR, "queue.brake", K_STR(account, account), K_CSTR(why, why));
	tell(q, account, why);
}

void habit_sends(struct queue *q, struct str account, size_t rcpts)
{
	char why[120];
	if (!account.n || !q->o.brake_recipients)
		return;
	struct habit *h = habit_of(q->rules, account);
	double limit = h->busiest * BRAKE_TIMES;
	if (limit < q->o.brake_recipients)
		limit = q->o.brake_recipients;
	bool was_over = h->rcpts > limit;
	h->rcpts += (uint32_t)rcpts;
	q->rules->habits_changed = true;
	if (was_over || h->rcpts <= limit)
		return;
	snprintf(why, sizeof why, "%u recipients within this hour, %u in its busiest one before", h->rcpts,
		 (unsigned)h->busiest);
	brake(q, account, why);
}

void habit_answered(struct queue *q, struct str account, bool unknown)
{
	char why[120];
	if (!account.n || !q->o.brake_recipients)
		return;
	struct habit *h = habit_of(q->rules, account);
	bool was_bad = h->tried >= UNKNOWN_OF && h->unknown * 10 > h->tried;
	h->tried++;
	h->unknown += unknown;
	if (was_bad || h->tried < UNKNOWN_OF || h->unknown * 10 <= h->tried)
		return;
	snprintf(why, sizeof why, "%u of %u recipients within this hour do not exist", h->unknown, h->tried);
	brake(q, account, why);
}
