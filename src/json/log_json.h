/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * json/log_json.h: a line of the log (base/log.h) as one JSON object.
 *
 * JSON_LOG_PLAIN keeps our names: {"@timestamp", "level", "event", "qid": ...}. JSON_LOG_ECS has those of
 * the Elastic Common Schema (R87), so that Elasticsearch and Kibana take it without a parser; what the
 * schema has no name for is "pabal.<key>". Numbers are numbers; a key that comes twice is written once.
 */
#pragma once
#include "base/buf.h"

enum json_log_form { JSON_LOG_PLAIN, JSON_LOG_ECS };
/* Appends the object without newline. A line that cannot be read becomes {"message": line}. */
void json_log_line(struct buf *out, struct str line, enum json_log_form form);
/* Our key for a name of either form; the name itself where it is none of the schema's. */
struct str json_log_key(struct str name);
