/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_ocsp.c: ResponseData (RFC 6960 §4.2.1). Row of purposes.c. */
#include "purposes.h"

#include "x509/cert_id.h"

#include <stdlib.h>

#define RESPONSES_CAP 64

/* What relying parties chose and the responder repeats: nothing but hashes of these sizes and a serial
 * number. */
static bool check_cert_id(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	struct ch_cert_id id;

	if (!ch_cert_id_read(in, &id, err))
		return false;
	return id.hash != CH_CERT_ID_OTHER ||
	       vault_refuse(check, "cert-id", err, "CertID.hashAlgorithm is neither SHA-1 nor SHA-256");
}

static bool read_revoked_info(struct ch_view info, struct ch_error *err)
{
	int64_t revoked_us;
	bool present;

	return ch_der_read_time(&info, "RevokedInfo.revocationTime", false, &revoked_us, err) &&
	       ch_der_read_optional(&info, CH_DER_CONTEXT_CONSTRUCTED(0), "RevokedInfo.revocationReason",
				    &present, NULL, err) &&
	       ch_der_end(&info, "RevokedInfo", err);
}

static bool read_cert_status(struct ch_view *in, struct ch_error *err)
{
	struct ch_view content;
	unsigned tag;

	if (!ch_der_read_any(in, "CertStatus", &tag, &content, NULL, err))
		return false;
	if (tag == CH_DER_CONTEXT_CONSTRUCTED(1))
		return read_revoked_info(content, err);
	if ((tag != CH_DER_CONTEXT(0) && tag != CH_DER_CONTEXT(2)) || content.size)
		return ch_fail(err, CH_INVALID, "CertStatus is neither good, revoked nor unknown");
	return true;
}

static bool check_window(struct vault_check *check, int64_t this_update_us, int64_t next_update_us,
			 struct ch_error *err)
{
	int64_t longest = check->key->max_validity_us ? check->key->max_validity_us
						      : check->policy->ocsp_max_validity_us;
	char is[CH_TIME_TEXT_SIZE];

	if (this_update_us > check->now_us + check->policy->clock_tolerance_us)
		return vault_refuse(check, "this-update", err, "thisUpdate %s is in the future",
				    ch_time_text(this_update_us, is));
	if (next_update_us <= this_update_us || next_update_us <= check->now_us)
		return vault_refuse(check, "next-update", err,
				    "nextUpdate %s is not after thisUpdate and now",
				    ch_time_text(next_update_us, is));
	if (next_update_us - this_update_us > longest)
		return vault_refuse(check, "next-update", err,
				    "nextUpdate is %lld s after thisUpdate, at most %lld s allowed",
				    (long long)((next_update_us - this_update_us) / CH_SECOND),
				    (long long)(longest / CH_SECOND));
	return true;
}

/* [1] EXPLICIT Extensions, which may be absent. */
static bool check_extensions(struct vault_check *check, struct ch_view *in, const char *what,
			     enum vault_place place, struct ch_error *err)
{
	struct vault_extensions extensions;
	struct ch_view explicit;

	if (!ch_der_next_is(in, CH_DER_CONTEXT_CONSTRUCTED(1)))
		return true;
	return ch_der_read(in, CH_DER_CONTEXT_CONSTRUCTED(1), what, &explicit, err) &&
	       vault_read_extensions(&explicit, &extensions, err) && ch_der_end(&explicit, what, err) &&
	       vault_check_extensions(check, &extensions, place, err);
}

static bool check_single_response(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	struct ch_view single, explicit;
	int64_t this_update_us, next_update_us;

	if (!ch_der_read(in, CH_DER_SEQUENCE, "SingleResponse", &single, err) ||
	    !check_cert_id(check, &single, err) || !read_cert_status(&single, err) ||
	    !ch_der_read_time(&single, "SingleResponse.thisUpdate", false, &this_update_us, err))
		return false;
	if (!ch_der_next_is(&single, CH_DER_CONTEXT_CONSTRUCTED(0)))
		return vault_refuse(check, "next-update", err,
				    "SingleResponse has no nextUpdate: it would be valid for ever");
	if (!ch_der_read(&single, CH_DER_CONTEXT_CONSTRUCTED(0), "SingleResponse.nextUpdate", &explicit,
			 err) ||
	    !ch_der_read_time(&explicit, "SingleResponse.nextUpdate", false, &next_update_us, err) ||
	    !ch_der_end(&explicit, "SingleResponse.nextUpdate", err) ||
	    !check_extensions(check, &single, "SingleResponse.singleExtensions", VAULT_IN_SINGLE_RESPONSE,
			      err) ||
	    !ch_der_end(&single, "SingleResponse", err))
		return false;
	return check_window(check, this_update_us, next_update_us, err);
}

/* byKey only: SHA-1 of the responder's public key (RFC 6960 §4.2.1), so that a response names this very key.
 */
static bool check_responder(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	struct ch_view explicit, hash;

	if (ch_der_next_is(in, CH_DER_CONTEXT_CONSTRUCTED(1)))
		return vault_refuse(check, "responder", err, "responderID is byName, only byKey is signed");
	if (!ch_der_read(in, CH_DER_CONTEXT_CONSTRUCTED(2), "ResponseData.responderID", &explicit, err) ||
	    !ch_der_read_octet_string(&explicit, "ResponderID.byKey", &hash, err) ||
	    !ch_der_end(&explicit, "ResponseData.responderID", err))
		return false;
	if (!ch_view_equal(hash, ch_view(check->key->key_hash, sizeof(check->key->key_hash))))
		return vault_refuse(check, "responder", err, "responderID is not the hash of key '%s'",
				    check->key->key_id);
	return true;
}

static bool check_produced_at(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	char is[CH_TIME_TEXT_SIZE], now[CH_TIME_TEXT_SIZE];
	int64_t produced_at_us;

	if (!ch_der_read_time(in, "ResponseData.producedAt", false, &produced_at_us, err))
		return false;
	if (llabs(produced_at_us - check->now_us) > check->policy->clock_tolerance_us)
		return vault_refuse(check, "produced-at", err, "producedAt %s is not now (%s)",
				    ch_time_text(produced_at_us, is), ch_time_text(check->now_us, now));
	return true;
}

static bool check_responses(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	struct ch_view responses;
	size_t count = 0;

	if (!ch_der_read(in, CH_DER_SEQUENCE, "ResponseData.responses", &responses, err))
		return false;
	while (responses.size) {
		if (++count > RESPONSES_CAP)
			return vault_refuse(check, "responses", err, "more than %d responses", RESPONSES_CAP);
		if (!check_single_response(check, &responses, err))
			return false;
	}
	return count > 0 || vault_refuse(check, "responses", err, "ResponseData has no responses");
}

bool purpose_ocsp(struct vault_check *check, struct ch_error *err)
{
	struct ch_view der = check->to_be_signed, in;

	/* version [0] is DEFAULT v1 and so absent; another one fails as an unexpected tag */
	return ch_der_read(&der, CH_DER_SEQUENCE, "ResponseData", &in, err) &&
	       ch_der_end(&der, "ResponseData", err) && check_responder(check, &in, err) &&
	       check_produced_at(check, &in, err) && check_responses(check, &in, err) &&
	       check_extensions(check, &in, "ResponseData.responseExtensions", VAULT_IN_OCSP_RESPONSE, err) &&
	       ch_der_end(&in, "ResponseData", err);
}
