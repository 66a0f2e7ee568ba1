/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_activate.c: the second half of making a CA: the vault signs the TBSCertificate that officers approved,
 * the signature is verified, the CA becomes active. May be repeated. Called from the bus dispatch table.
 */
#include "stopping.h"

#include <string.h>

struct approving {
	struct issuer *issuer;
	const struct ch_bus_request *request;
	const Chancery__ApproveCaRequest *payload;
	const char *tenant;
	const struct ch_ca *ca, *issuing;
};

static bool sign_ca(const struct approving *a, struct ch_bytes *signature, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = a->tenant,
					    .trace_id = a->request->body->trace_id,
					    .timeout_us = time_left(a->issuer, a->request, CH_MINUTE) };
	uint8_t message_id[16];
	struct ch_vault_item item = {
		.key_id = a->issuing->key_id,
		.purpose = CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE,
		.to_be_signed = ch_view_of(&a->ca->tbs_certificate),
		.action_id = a->payload->action_id,
		.message_id = message_id,
	};

	/* An attempt after a crash is the same message to the vault: its action was used by it, and not by
	 * another. */
	ch_vault_action_message_id(a->payload->action_id, message_id);
	return ch_vault_sign(a->issuer->vault, &context, &item, signature, err);
}

/* The serial in the stored TBSCertificate: the second element, after the version. */
bool ca_serial(const struct ch_ca *ca, struct ch_view *serial, struct ch_error *err)
{
	struct ch_view tbs = ch_view_of(&ca->tbs_certificate), content;

	return ch_der_read(&tbs, CH_DER_SEQUENCE, "TBSCertificate", &content, err) &&
	       ch_der_read_any(&content, "version", NULL, NULL, NULL, err) &&
	       ch_der_read_integer(&content, "serialNumber", serial, err);
}

static bool seal_activated(const struct approving *a, struct ch_view serial, struct ch_view der,
			   struct ch_bytes *sealed, struct ch_error *err)
{
	CH_AUTO(ch_string) serial_text = ch_hex(serial);
	CH_AUTO(ch_string) fingerprint = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", der, digest, &size, err))
		return false;
	fingerprint = ch_hex(ch_view(digest, size));
	return event_seal(a->issuer,
			  &(struct event){ .type = "ca.activated",
					   .outcome = "success",
					   .tenant = a->tenant,
					   .actor = a->payload->requester->client,
					   .subject = a->ca->document.name,
					   .message_id = a->request->message_id,
					   .trace_id = a->request->body->trace_id,
					   .details = { { "serial", serial_text },
							{ "issued_by", a->issuing->document.name },
							{ "key", a->ca->key_id },
							{ "sha256", fingerprint } } },
			  sealed, err);
}

static bool activate(const struct approving *a, struct ch_view der, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct ch_view serial;
	uint8_t fingerprint[CH_FINGERPRINT_SIZE];
	bool saved;
	int made;

	if (!ca_serial(a->ca, &serial, err) || !seal_activated(a, serial, der, &sealed, err) ||
	    !ch_public_key_fingerprint(ch_view_of(&a->ca->public_key_info), fingerprint, err) ||
	    !store_ensure_partitions(a->issuer->db, ch_serial_period(serial), ch_serial_period(serial), &made,
				     err) ||
	    !ch_db_begin(a->issuer->db, a->tenant, &transaction, err) ||
	    !store_activate_ca(transaction, a->ca, der, serial, ch_view(fingerprint, sizeof(fingerprint)),
			       a->payload->requester->client, a->issuer->config->common.instance,
			       ch_clock_now_us(a->issuer->clock), ch_view_of(&sealed), &saved, err))
		return false;
	if (!saved) /* the same approval on another issuer was quicker, or the document was replaced:
		       reply_active sees */
		return true;
	count(a->issuer, "cas_activated", "CAs activated.", "%s", "");
	return ch_db_commit(&transaction, err);
}

static bool approve(struct approving *a, const struct ca_set *set, struct ch_error *err)
{
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;

	a->ca = catalog_find(set, a->payload->name);
	if (!a->ca)
		return ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", a->payload->name);
	if (strcmp(a->ca->state, "pending") != 0)
		return true;
	a->issuing = a->ca->parent_id ? catalog_by_id(set, a->ca->parent_id) : a->ca;
	if (!a->issuing)
		return ch_fail(err, CH_INTERNAL, "CA '%s': its parent is missing", a->ca->document.name);
	if (a->issuing != a->ca && !catalog_issues(a->issuer, set, a->issuing, err))
		return ch_fail_in(err, "CA '%s'", a->ca->document.name);
	if (!check_key_is_good(a->issuer, a->tenant, a->ca, err))
		return ch_fail_in(err, "CA '%s'", a->ca->document.name);
	if (!sign_ca(a, &signature, err) ||
	    !assemble_verified(a->issuing->algorithm, ch_view_of(&a->issuing->public_key_info),
			       ch_view_of(&a->ca->tbs_certificate), ch_view_of(&signature), &der, err) ||
	    !activate(a, ch_view_of(&der), err))
		return ch_fail_in(err, "CA '%s'", a->ca->document.name);
	upkeep_want(a->issuer);
	return true;
}

static bool reply_active(struct issuer *issuer, const char *tenant, const char *name,
			 ProtobufCMessage **reply, struct ch_error *err)
{
	Chancery__CaReply *message;
	struct ca_set *set = NULL;
	const struct ch_ca *ca;

	if (!catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	ca = catalog_find(set, name);
	if (ca && strcmp(ca->state, "pending") == 0) {
		catalog_release(issuer, set);
		return ch_fail(err, CH_CONFLICT, "CA '%.80s' was prepared anew meanwhile: approve that",
			       name);
	}
	if (ca) {
		message = CH_PROTO_NEW(Chancery__CaReply, chancery__ca_reply__init);
		message->ca = ca_message(issuer, ca, set, 0);
		*reply = &message->base;
	}
	catalog_release(issuer, set);
	return ca || ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", name);
}

bool issuer_approve_ca(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	struct issuer *issuer = state;
	struct approving approving = {
		.issuer = issuer,
		.request = request,
		.payload = (const Chancery__ApproveCaRequest *)request->payload,
	};
	struct ca_set *set = NULL;
	bool done;

	if (!request_tenant(request, &approving.tenant, err) ||
	    !require_role(approving.payload->requester, "officer", err) ||
	    !catalog_get(issuer, approving.tenant, NULL, &set, err))
		return false;
	done = approve(&approving, set, err);
	catalog_release(issuer, set);
	return done && reply_active(issuer, approving.tenant, approving.payload->name, reply, err);
}
