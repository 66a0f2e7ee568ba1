/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export.c: ExportKey: the private key as the vault keeps it, wrapped under the HSMs' key-encryption key: of
 * use only to an HSM of the same domain. Called from the dispatch table (peers.c).
 */
#include "change.h"

#include <stdlib.h>
#include <string.h>

static bool check_approval(struct key_order *order, struct ch_error *err)
{
	const struct ch_action_field fields[] = { { "key", order->key.key_id } };

	return key_order_approved(order, CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, fields, CH_COUNT(fields),
				  err);
}

static bool find_wrapped(const struct key_order *order, struct ch_bytes *wrapped, struct ch_error *err)
{
	if (!store_find_wrapped(order->vault->db, order->key_id, wrapped, err))
		return false;
	if (wrapped->size)
		return true;
	ch_fail(err, CH_CONFLICT, "key '%s' has no wrapped copy: it is %s", order->key_id,
		strcmp(order->key.state, "destroyed") == 0 ? "destroyed"
							   : "on a single HSM that never gave it out");
	return key_order_refused(order, "no-copy", err);
}

static bool record(const struct key_order *order, struct ch_view wrapped, struct ch_error *err)
{
	CH_AUTO(ch_string) text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", wrapped, digest, &size, err))
		return false;
	text = ch_hex(ch_view(digest, size));
	const struct ch_audit_detail details[] = { { "wrapped_sha256", text } };
	return key_order_record(order, "key.exported", details, CH_COUNT(details), err);
}

bool vault_handle_export_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			     struct ch_error *err)
{
	const Chancery__ExportKeyRequest *ask = (const Chancery__ExportKeyRequest *)request->payload;
	CH_AUTO(key_order)
	order = { .vault = state, .request = request, .key_id = ask->key_id, .action_id = ask->action_id };
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	Chancery__ExportKeyReply *made;

	/* Recorded before it leaves. */
	if (!key_order_begin(&order, err) || !find_wrapped(&order, &wrapped, err) ||
	    !check_approval(&order, err) || !record(&order, ch_view_of(&wrapped), err))
		return false;
	made = CH_PROTO_NEW(Chancery__ExportKeyReply, chancery__export_key_reply__init);
	made->key = CH_PROTO_NEW(Chancery__Key, chancery__key__init);
	vault_key_message(&order.key, made->key);
	made->wrapped = (ProtobufCBinaryData){ .len = wrapped.size, .data = wrapped.data };
	wrapped = (struct ch_bytes)CH_NONE;
	*reply = &made->base;
	return true;
}
