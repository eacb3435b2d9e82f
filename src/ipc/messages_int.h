/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/* ipc/messages_int.h: the rows as data, for the coder, its tests and fuzz targets. */
#pragma once
#include "ipc/messages.h"

enum message_field_kind {
	MESSAGE_FIELD_END, MESSAGE_FIELD_U32, MESSAGE_FIELD_U64, MESSAGE_FIELD_I64, MESSAGE_FIELD_BOOL,
	MESSAGE_FIELD_STRING, MESSAGE_FIELD_FD,
};
struct message_field {
	enum message_field_kind kind;
	size_t offset; /* within struct msg_<name> */
	size_t max;    /* strings: bytes */
};
/* Ends with MESSAGE_FIELD_END. */
const struct message_field *message_fields(enum message_type t);
void *message_body(struct message *m);
