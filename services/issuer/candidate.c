/* SPDX-License-Identifier: Apache-2.0 */
/* candidate.c: from a decided order to a reserved serial: build, lint, first commit. issue.c and responders.c
 * call it. */
#include "issuer.h"

#include <stdlib.h>

void candidate_free(struct candidate *candidate)
{
	ch_bytes_free(&candidate->tbs);
}

bool candidate_build(struct candidate *candidate, struct ch_error *err)
{
	const struct ch_ca *ca = candidate->ca;
	struct ch_template_signer signer = ch_template_signer_of(ca);
	struct ch_lint_context context = { .signer = &signer,
					   .kind = candidate->profile->kind,
					   .common_name_from_san = candidate->profile->common_name_from_san };

	ch_serial_make(ch_view(ca->serial_tag_key, sizeof(ca->serial_tag_key)), candidate->order.not_after_us,
		       candidate->serial);
	return ch_template_certificate(candidate->profile, &signer, &candidate->order,
				       ch_view(candidate->serial, sizeof(candidate->serial)), &candidate->tbs,
				       err) &&
	       ch_lint_tbs(ch_view_of(&candidate->tbs), &context, &candidate->lint, err);
}

static bool reserve_once(struct issuer *issuer, const struct reservation *reservation, bool *reserved,
			 bool *blocked, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(issuer->db, reservation->tenant, &transaction, err) &&
	       store_reserve(transaction, reservation, reserved, blocked, err) &&
	       ch_db_commit(&transaction, err);
}

/* Partitions are made ahead of need; a CA that lives longer than any before it can be earlier than that. */
static bool reserve(struct issuer *issuer, const struct reservation *reservation, bool *reserved,
		    bool *blocked, struct ch_error *err)
{
	int made;

	if (reserve_once(issuer, reservation, reserved, blocked, err))
		return true;
	return err->code == CH_INVALID &&
	       store_ensure_partitions(issuer->db, reservation->expiry_period, reservation->expiry_period,
				       &made, err) &&
	       reserve_once(issuer, reservation, reserved, blocked, err);
}

bool candidate_reserve(struct issuer *issuer, const struct candidate *candidate, bool *reserved,
		       struct ch_error *err)
{
	const struct ch_order *order = &candidate->order;
	CH_AUTO(ch_string) subject = ch_name_text(order->subject_der);
	CH_AUTO(ch_string) sans_json = sans_to_json(order->sans);
	CH_AUTO(ch_string) san_text = sans_to_text(order->sans);
	uint8_t fingerprint[CH_FINGERPRINT_SIZE];
	bool blocked = false;
	struct reservation reservation = {
		.tenant = candidate->tenant,
		.client = candidate->client,
		.idempotency_key = candidate->idempotency_key,
		.request_sha256 = ch_view(candidate->request_sha256, 32),
		.expiry_period = ch_expiry_period(order->not_after_us),
		.ca_id = candidate->ca->id,
		.serial = ch_view(candidate->serial, sizeof(candidate->serial)),
		.profile = candidate->profile->name,
		.profile_version = candidate->profile->version,
		.subject = subject,
		.sans_json = sans_json,
		.san_text = san_text,
		.not_before_us = order->not_before_us,
		.not_after_us = order->not_after_us,
		.tbs = ch_view_of(&candidate->tbs),
		.reserved_by = issuer->config->common.instance,
		.reserved_at_us = ch_clock_now_us(issuer->clock),
	};

	if (!ch_public_key_fingerprint(order->public_key_info, fingerprint, err))
		return false;
	reservation.public_key_sha256 = ch_view(fingerprint, sizeof(fingerprint));
	if (!reserve(issuer, &reservation, reserved, &blocked, err))
		return false;
	return !blocked ||
	       ch_fail(err, CH_INVALID, "public key is known to be compromised: it is never certified again");
}
