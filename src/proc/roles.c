/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
#include "proc/roles.h"

enum { SETTING_NONE = -1 };
static const struct {
	const char *name;
	enum config_role bit;
	enum setting user;
	int count; /* enum setting or SETTING_NONE */
	unsigned phase;
} rows[ROLE_COUNT] = {
#define ROLE(id, name, user, count, phase) \
	[ROLE_##id] = {#name, CONFIG_ROLE_##id, SETTING_##user, (int)SETTING_##count, phase},
#include "proc/roles.def"
#undef ROLE
};

const struct wire wires[] = {
#define WIRE(kind, client, server) {CHANNEL_##kind, ROLE_##client, ROLE_##server},
#include "proc/wires.def"
#undef WIRE
};
const size_t wires_n = sizeof(wires) / sizeof(wires[0]);

const char *role_name(enum role_id id)
{
	return rows[id].name;
}

bool role_find(struct str name, enum role_id *out)
{
	for (int i = 0; i < ROLE_COUNT; i++)
		if (str_eq(name, str_of(rows[i].name))) {
			*out = (enum role_id)i;
			return true;
		}
	return false;
}

enum config_role role_config_bit(enum role_id id)
{
	return rows[id].bit;
}

enum setting role_user_setting(enum role_id id)
{
	return rows[id].user;
}

unsigned role_stop_phase(enum role_id id)
{
	return rows[id].phase;
}

unsigned role_processes(const struct config *c, enum role_id id)
{
	bool relays = config_bool(c, SETTING_RELAY_ENABLED);
	if (id == ROLE_RELAY && !relays)
		return 0;
	if (id == ROLE_DNS && !relays && !config_bool(c, SETTING_SENDER_AUTH_CHECK))
		return 0;
	return rows[id].count == SETTING_NONE ? 1 : (unsigned)config_int(c, (enum setting)rows[id].count);
}

unsigned role_indexes(const struct config *c, enum role_id id)
{
	return role_processes(c, id) + (id == ROLE_MAILBOX ? MAILBOX_APART : 0);
}

enum role_id role_of_service(enum listener_service service)
{
	switch (service) {
	case SERVICE_SMTP:
	case SERVICE_SUBMISSION:
	case SERVICE_SUBMISSIONS:
	case SERVICE_LMTP:
	case SERVICE_LOCAL: return ROLE_SMTP;
	case SERVICE_IMAP:
	case SERVICE_IMAPS:
	case SERVICE_POP3:
	case SERVICE_POP3S:
	case SERVICE_AUTH:
	case SERVICE_METRICS: return ROLE_LOGIN;
	case SERVICE_COUNT: break;
	}
	return ROLE_LOGIN;
}
