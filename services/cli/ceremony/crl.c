/* SPDX-License-Identifier: Apache-2.0 */
/* crl.c: one CRL of a ceremony: what an offline root has instead of a crl daemon. Called by plan.c
 * (rehearsal) and run.c. */
#include "ceremony.h"

#include "issuance/crl.h"
#include "vaultclient/vaultclient.h"

#include <inttypes.h>
#include <string.h>

#define KEPT_CAP    (20 * CH_HOUR) /* the vault takes an approved CRL for a day */
#define PATIENCE_US (60 * CH_SECOND)

/* --- the TBSCertList --- */

/* INTEGER wants no leading zero octets; ch_der_put_integer adds one where the first bit is set. */
static bool read_serial(const char *text, struct ch_bytes *octets, struct ch_view *serial,
			struct ch_error *err)
{
	if (!ch_unhex(text, octets, err))
		return ch_fail_in(err, "serial '%.50s'", text);
	*serial = ch_view_of(octets);
	while (serial->size > 1 && serial->data[0] == 0)
		*serial = ch_view(serial->data + 1, serial->size - 1);
	return true;
}

static bool add_revoked(struct ch_crl_builder *builder, const struct ceremony_revoked *revoked,
			struct ch_error *err)
{
	CH_AUTO(ch_bytes) octets = CH_NONE;
	struct ch_crl_entry entry = { .reason = ch_reason_number(revoked->reason) };

	return read_serial(revoked->serial, &octets, &entry.serial, err) &&
	       (ch_time_read(revoked->date, &entry.revoked_at_us) ||
		ch_fail(err, CH_INVALID, "date '%.40s' is no time such as 2027-01-31T12:00:00Z",
			revoked->date)) &&
	       ch_crl_add(builder, &entry, err);
}

static bool check_validity(const struct ch_ca *ca, const struct ceremony_crl *asked, struct ch_error *err)
{
	int64_t limit = ca->document.crl.validity_us;

	return !limit || asked->validity_us <= limit ||
	       ch_fail(err, CH_INVALID,
		       "validity of %lld s is beyond crl.validity of the CA's document, %lld s",
		       (long long)(asked->validity_us / CH_SECOND), (long long)(limit / CH_SECOND));
}

bool ceremony_write_crl(const struct ceremony_plan *plan, struct ceremony_made_crl *crl,
			int64_t this_update_us, struct ch_error *err)
{
	const struct ceremony_revoked *revoked = crl->asked->revoked.items;
	const struct ch_ca *ca = ceremony_find(plan, crl->asked->ca);
	const struct ch_crl_issuer issuer = { .algorithm = ca->algorithm,
					      .subject_der = ch_view_of(&ca->subject_der),
					      .key_identifier = ch_view_of(&ca->key_identifier) };
	CH_AUTO(ch_crl_builder) builder = CH_NONE;

	if (!check_validity(ca, crl->asked, err))
		return false;
	this_update_us -= this_update_us % CH_SECOND;
	ch_crl_begin(&builder, &issuer, this_update_us, this_update_us + crl->asked->validity_us);
	for (size_t i = 0; i < crl->asked->revoked.count; i++)
		if (!add_revoked(&builder, &revoked[i], err))
			return false;
	ch_bytes_free(&crl->tbs);
	crl->tbs = ch_crl_finish(&builder, &issuer, (uint64_t)crl->asked->number);
	return true;
}

static bool read_times(struct ch_view tbs, int64_t *this_update_us, int64_t *next_update_us,
		       struct ch_error *err)
{
	struct ch_view in;

	return ch_der_read(&tbs, CH_DER_SEQUENCE, "TBSCertList", &in, err) &&
	       ch_der_read_any(&in, "version", NULL, NULL, NULL, err) &&
	       ch_der_read_any(&in, "signature", NULL, NULL, NULL, err) &&
	       ch_der_read_any(&in, "issuer", NULL, NULL, NULL, err) &&
	       ch_der_read_time(&in, "thisUpdate", false, this_update_us, err) &&
	       ch_der_read_time(&in, "nextUpdate", false, next_update_us, err);
}

/* --- what officers approve --- */

/* The vault writes the number as the octets of the INTEGER without a sign octet, in hex. */
static void number_text(uint64_t number, char text[17])
{
	snprintf(text, 17, "%" PRIx64, number);
	if (strlen(text) % 2)
		snprintf(text, 17, "0%" PRIx64, number);
}

bool ceremony_crl_fields(const struct ceremony_plan *plan, const struct ceremony_made_crl *crl,
			 struct ceremony_crl_fields *fields, struct ch_error *err)
{
	CH_AUTO(ch_string) digest_text = NULL;
	int64_t this_update_us, next_update_us;
	uint8_t digest[64];
	size_t size;

	if (!read_times(ch_view_of(&crl->tbs), &this_update_us, &next_update_us, err) ||
	    !ch_digest("sha256", ch_view_of(&crl->tbs), digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	memcpy(fields->digest, digest_text, sizeof(fields->digest));
	number_text((uint64_t)crl->asked->number, fields->number);
	fields->fields[0] = ch_action_field("key", ceremony_find(plan, crl->asked->ca)->key_id);
	fields->fields[1] = ch_action_field("tbs-sha256", fields->digest);
	fields->fields[2] = ch_action_field("crl-number", fields->number);
	fields->fields[3] = ch_action_field("next-update", ch_time_text(next_update_us, fields->next_update));
	return true;
}

bool ceremony_print_crl(FILE *out, const struct ceremony_plan *plan, const struct ceremony_made_crl *crl,
			struct ch_error *err)
{
	static const uint8_t nothing[1] = { 0 };
	const struct ch_ca *ca = ceremony_find(plan, crl->asked->ca);
	CH_AUTO(ch_bytes)
	der = ch_signed_assemble(ch_view_of(&crl->tbs), ca->algorithm, ch_view(nothing, sizeof(nothing)));
	const uint8_t *at = der.data;
	CH_AUTO(X509_CRL) read = d2i_X509_CRL(NULL, &at, (long)der.size);

	return (read && X509_CRL_print_fp(out, read) == 1) ||
	       ch_fail_openssl(err, CH_INTERNAL, "the TBSCertList does not decode");
}

/* --- making it --- */

/* What an earlier run proposed, if it is not too old by now: then officers sign a new one. */
static bool take_kept(struct ceremony_run *run, struct ceremony_made_crl *crl, const char *file, bool *taken,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) action = ch_format("%s.crl.action", crl->asked->ca);
	int64_t now = ch_clock_now_us(ch_clock_system()), this_update_us, next_update_us;
	CH_AUTO(ch_bytes) kept = CH_NONE;
	bool found;

	*taken = false;
	if (!ceremony_load(run->folder, file, &kept, &found, err) || !found)
		return !found;
	if (!read_times(ch_view_of(&kept), &this_update_us, &next_update_us, err))
		return ch_fail_in(err, "'%s'", file);
	if (this_update_us < now - KEPT_CAP)
		return ceremony_forget(run->folder, action, err) && ceremony_forget(run->folder, file, err);
	*taken = true;
	return ceremony_write_crl(&run->plan, crl, this_update_us, err) &&
	       (ch_view_equal(ch_view_of(&kept), ch_view_of(&crl->tbs)) ||
		ch_fail(err, CH_CONFLICT, "'%s' is not what the document asks for", file));
}

static bool write_tbs(struct ceremony_run *run, struct ceremony_made_crl *crl, struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.crl.tbs", crl->asked->ca);
	bool taken;

	if (!take_kept(run, crl, file, &taken, err) || taken)
		return taken;
	return ceremony_write_crl(&run->plan, crl, ch_clock_now_us(ch_clock_system()), err) &&
	       ceremony_save(run->folder, file, ch_view_of(&crl->tbs), err);
}

static bool sign(struct ceremony_run *run, struct ceremony_made_crl *crl, struct ch_error *err)
{
	CH_AUTO(ch_string) step = ch_format("%s.crl", crl->asked->ca);
	struct ch_vault_context context = { .tenant = run->document->file.tenant, .timeout_us = PATIENCE_US };
	const struct ch_ca *ca = ceremony_find(&run->plan, crl->asked->ca);
	CH_AUTO(ch_bytes) signature = CH_NONE;
	struct ceremony_approval approval;
	struct ceremony_crl_fields named;
	const struct ch_vault_item item = { .key_id = ca->key_id,
					    .purpose = CHANCERY__PURPOSE__PURPOSE_CRL,
					    .to_be_signed = ch_view_of(&crl->tbs),
					    .action_id = approval.id,
					    .message_id = approval.message_id };

	const struct ch_action_ask ask = { .kind = CHANCERY__ACTION_KIND__ACTION_CRL,
					   .fields = named.fields,
					   .count = CH_COUNT(named.fields),
					   .content = ch_view_of(&crl->tbs) };

	if (!ceremony_crl_fields(&run->plan, crl, &named, err) ||
	    !ceremony_approve(run, step, &ask, &approval, err) ||
	    !ch_vault_sign(vault_connection_client(run->connection), &context, &item, &signature, err))
		return false;
	if (!ch_verify_signature(ca->algorithm, ch_view_of(&ca->public_key_info), ch_view_of(&crl->tbs),
				 ch_view_of(&signature), err))
		return ch_fail_in(err, "the vault's signature does not verify");
	crl->der = ch_signed_assemble(ch_view_of(&crl->tbs), ca->algorithm, ch_view_of(&signature));
	return true;
}

static bool make(struct ceremony_run *run, struct ceremony_made_crl *crl, struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.crl.der", crl->asked->ca);
	const struct ch_ca *ca = ceremony_find(&run->plan, crl->asked->ca);
	bool found;

	if (!ceremony_load(run->folder, file, &crl->der, &found, err))
		return false;
	if (found)
		return ceremony_check_signed(ch_view_of(&crl->der), (struct ch_view)CH_NONE, ca, err) ||
		       ch_fail_in(err, "'%s'", file);
	return write_tbs(run, crl, err) && sign(run, crl, err) &&
	       ceremony_save(run->folder, file, ch_view_of(&crl->der), err) &&
	       ceremony_note(run->folder, err, "CRL %lld of '%s' is signed", (long long)crl->asked->number,
			     crl->asked->ca);
}

bool ceremony_make_crl(struct ceremony_run *run, size_t index, struct ch_error *err)
{
	struct ceremony_made_crl *crl = &run->plan.crls[index];

	return make(run, crl, err) || ch_fail_in(err, "CRL of '%s'", crl->asked->ca);
}
