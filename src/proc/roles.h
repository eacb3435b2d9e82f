/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* proc/roles.h: the rows of roles.def and wires.def as data; for the master and the roles. */
#pragma once
#include "config/config.h"
#include "ipc/messages.h"

enum role_id {
#define ROLE(id, name, user, count, phase) ROLE_##id,
#include "proc/roles.def"
#undef ROLE
	ROLE_COUNT
};
enum {
	MAILBOX_APART = 4, /* processes beyond process.mailbox, for accounts of their own (apart.c) */
	ROLE_PROCESSES_MAX = 64 + MAILBOX_APART
};

struct wire {
	enum channel_kind kind;
	enum role_id client, server;
};
extern const struct wire wires[];
extern const size_t wires_n;

const char *role_name(enum role_id id);
bool role_find(struct str name, enum role_id *out);
enum config_role role_config_bit(enum role_id id);
enum setting role_user_setting(enum role_id id);
unsigned role_stop_phase(enum role_id id);
unsigned role_processes(const struct config *c, enum role_id id); /* how many of it run */
unsigned role_indexes(const struct config *c, enum role_id id); /* the same, and those that may run */
enum role_id role_of_service(enum listener_service service);      /* the door */
