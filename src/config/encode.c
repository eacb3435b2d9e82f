/* SPDX-License-Identifier: Apache-2.0
 * Copyright the pabal authors */
/*
 * The snapshot as bytes, for a sealed memfd. Values travel as their final text and are parsed
 * again by the same function that parsed the file, so that no second set of checks exists.
 *
 *   "pabalcf1" file { set u16, items u32, item* } x SETTING_COUNT, items 0xffffffff: not given
 *   listeners u32 { name service u16 tls u16 port u16 mode u32 unix_path unix_owner list networks x 3 }
 */
#include "base/scan.h"
#include "config/config_int.h"

#include <string.h>

#define MAGIC STR("pabalcf1")
enum { NOT_GIVEN = 0xffffffff, TEXT_MAX = 4096 };

static void encode_list(struct buf *out, struct config_list list)
{
	buf_le32(out, (uint32_t)list.n);
	for (size_t i = 0; i < list.n; i++)
		buf_le_str(out, list.v[i]);
}

static void encode_networks(struct buf *out, const struct networks *set)
{
	buf_le32(out, (uint32_t)set->n);
	for (size_t i = 0; i < set->n; i++) {
		buf_add_bytes(out, set->v[i].address, sizeof set->v[i].address);
		buf_byte(out, (char)set->v[i].bits);
	}
}

static void encode_listener(struct buf *out, const struct listener *l)
{
	buf_le_str(out, l->name);
	buf_le16(out, (uint16_t)l->service);
	buf_le16(out, (uint16_t)l->tls);
	buf_le16(out, l->port);
	buf_le32(out, l->unix_mode);
	buf_le_str(out, l->unix_path);
	buf_le_str(out, l->unix_owner);
	encode_list(out, l->address);
	encode_networks(out, &l->proxy_from);
	encode_networks(out, &l->xclient_from);
	encode_networks(out, &l->plaintext_auth_from);
}

void config_encode(const struct config *c, enum config_role role, struct buf *out)
{
	buf_add(out, MAGIC);
	buf_le_str(out, str_of(c->file));
	for (int id = 0; id < SETTING_COUNT; id++) {
		const struct config_value *v = &c->values[id];
		buf_le16(out, v->is_set);
		if (v->present && (setting_rows[id].info.roles & role))
			encode_list(out, v->items);
		else
			buf_le32(out, NOT_GIVEN);
	}
	buf_le32(out, (uint32_t)c->listener_count);
	for (size_t i = 0; i < c->listener_count; i++)
		encode_listener(out, &c->listeners[i]);
}

static bool decode_str(struct scan *s, struct arena *a, struct str *out)
{
	struct str view;
	if (!scan_le_str(s, TEXT_MAX, &view) || str_has_byte(view, '\0'))
		return false;
	*out = (struct str){arena_cstr(a, view), view.n};
	return true;
}

static bool decode_items(struct scan *s, struct arena *a, uint32_t n, struct config_list *out)
{
	if (n > CONFIG_ITEMS_MAX || n > scan_left(s) / 4)
		return false;
	struct str *v = arena_array(a, n ? n : 1, sizeof *v);
	for (uint32_t i = 0; i < n; i++) {
		if (!decode_str(s, a, &v[i]))
			return false;
	}
	*out = (struct config_list){v, n};
	return true;
}

static bool decode_networks(struct scan *s, struct arena *a, struct networks *out)
{
	uint32_t n;
	if (!scan_le32(s, &n) || n > CONFIG_ITEMS_MAX || n > scan_left(s) / 17)
		return false;
	struct network *v = arena_array(a, n ? n : 1, sizeof *v);
	for (uint32_t i = 0; i < n; i++) {
		struct str bytes;
		if (!scan_take(s, 17, &bytes) || (unsigned char)bytes.p[16] > 128)
			return false;
		memcpy(v[i].address, bytes.p, 16);
		v[i].bits = (uint8_t)bytes.p[16];
	}
	*out = (struct networks){v, n};
	return true;
}

static bool decode_listener(struct scan *s, struct arena *a, struct listener *l)
{
	uint16_t service, tls;
	uint32_t addresses;
	if (!decode_str(s, a, &l->name) || !scan_le16(s, &service) || service >= SERVICE_COUNT ||
	    !scan_le16(s, &tls) || tls > LISTENER_TLS_IMPLICIT || !scan_le16(s, &l->port) ||
	    !scan_le32(s, &l->unix_mode) || l->unix_mode > 0777 || !decode_str(s, a, &l->unix_path) ||
	    !decode_str(s, a, &l->unix_owner))
		return false;
	l->service = (enum listener_service)service;
	l->tls = (enum listener_tls)tls;
	return scan_le32(s, &addresses) && decode_items(s, a, addresses, &l->address) &&
	       decode_networks(s, a, &l->proxy_from) && decode_networks(s, a, &l->xclient_from) &&
	       decode_networks(s, a, &l->plaintext_auth_from);
}

static bool decode_value(struct scan *s, struct config *c, enum setting id, struct err *err)
{
	const struct setting_info *info = setting_info(id);
	struct config_value *v = &c->values[id];
	struct config_list items;
	uint16_t is_set;
	uint32_t n;
	if (!scan_le16(s, &is_set) || is_set > 1 || !scan_le32(s, &n))
		return err_set(err, ERR_CORRUPT, "configuration snapshot is cut short");
	v->is_set = is_set;
	if (n == NOT_GIVEN)
		return true;
	if (!decode_items(s, c->arena, n, &items))
		return err_set(err, ERR_CORRUPT, "configuration snapshot: %s", info->name);
	v->present = true;
	return config_value_parse(c->arena, info->type, info->choices, info->min, info->max, "/", items,
				  v, err);
}

bool config_decode(struct str bytes, struct config **out, struct err *err)
{
	CONFIG_SCOPED c = config_new();
	struct scan s = scan_of(bytes);
	struct str file;
	uint32_t n;
	if (!scan_lit(&s, MAGIC) || !decode_str(&s, c->arena, &file))
		return err_set(err, ERR_CORRUPT, "not a configuration snapshot");
	c->file = file.p;
	for (int id = 0; id < SETTING_COUNT; id++) {
		if (!decode_value(&s, c, (enum setting)id, err))
			return false;
	}
	if (!scan_le32(&s, &n) || n > CONFIG_LISTENERS_MAX)
		return err_set(err, ERR_CORRUPT, "configuration snapshot: listeners");
	c->listeners = arena_array(c->arena, n ? n : 1, sizeof *c->listeners);
	for (uint32_t i = 0; i < n; i++) {
		if (!decode_listener(&s, c->arena, &c->listeners[i]))
			return err_set(err, ERR_CORRUPT, "configuration snapshot: listener %u", i);
	}
	c->listener_count = n;
	if (!scan_end(&s))
		return err_set(err, ERR_CORRUPT, "configuration snapshot: surplus bytes");
	*out = c;
	c = NULL;
	return true;
}
