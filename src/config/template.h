/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * config/template.h: the variables of mail_home, as Dovecot's mail_location has them (R61):
 * %u the whole user name, %n what stands before its first "@" (all of it if there is none), %d
 * what follows (empty if there is none), %h the home, %s the same as %u, %% a percent sign.
 */
#pragma once
#include "base/buf.h"
#include "base/err.h"

/* ERR_SYNTAX: another variable, or a percent sign at the end. */
bool template_expand(struct str template, struct str user, struct str home, struct buf *out,
		     struct err *err) MUST_CHECK;
/* The same for a relative path below a root: ERR_SYNTAX also where a variable's value holds "/"
 * or NUL, or where a component would be empty, "." or "..". */
bool template_expand_path(struct str template, struct str user, struct buf *out, struct err *err) MUST_CHECK;
