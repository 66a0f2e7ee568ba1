/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make.c: one CA of a ceremony: its key in the vault, the TBSCertificate, the certificate. Each step is found
 * done when an interrupted ceremony goes on. Called by run.c.
 */
#include "ceremony.h"

#include "../approval.h"
#include "vaultclient/vaultclient.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_US (60 * CH_SECOND) /* an RSA key is made in one HSM and copied to the other */

static struct ch_vault_context context_of(const struct ceremony_run *run)
{
	return (struct ch_vault_context){ .tenant = run->document->file.tenant, .timeout_us = PATIENCE_US };
}

/* --- the key --- */

/* The first run keeps the public key; the vault must answer the same one to every later run. */
static bool keep_key(struct ceremony_run *run, const struct ch_ca *ca, const Chancery__Key *key,
		     struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.public-key", ca->document.name);
	CH_AUTO(ch_buffer) residency = CH_NONE;
	CH_AUTO(ch_bytes) kept = CH_NONE;
	bool found;

	if (!ceremony_load(run->folder, file, &kept, &found, err))
		return false;
	if (found)
		return ch_view_equal(ch_view_of(&kept), ch_view_of(&ca->public_key_info)) ||
		       ch_fail(err, CH_CONFLICT, "the vault's key '%s' is not the one of '%s'", ca->key_id,
			       file);
	for (size_t i = 0; i < key->n_residency; i++)
		ch_buffer_printf(&residency, "%s%s", i ? ", " : "", key->residency[i]);
	return ceremony_save(run->folder, file, ch_view_of(&ca->public_key_info), err) &&
	       ceremony_note(run->folder, err, "key of '%s' made: %s, in the HSMs %.*s", ca->document.name,
			     ca->key_id, (int)residency.used, (const char *)residency.data);
}

static bool make_key(struct ceremony_run *run, struct ch_ca *ca, struct ch_error *err)
{
	CH_AUTO(ch_string) step = ch_format("%s.key", ca->document.name);
	struct ch_vault_context context = context_of(run);
	struct ch_action_field fields[CH_CA_KEY_FIELDS];
	Chancery__GenerateKeyRequest request;
	struct ceremony_approval approval;
	Chancery__Key *key = NULL;
	bool kept;

	const struct ch_action_ask ask = { .kind = CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY,
					   .fields = fields,
					   .count = CH_COUNT(fields) };

	ch_ca_key_fields(ca, fields);
	if (!ceremony_approve(run, step, &ask, &approval, err))
		return false;
	ch_ca_key_request(ca, approval.id, &request);
	if (!ch_vault_generate_key(vault_connection_client(run->connection), &context, &request,
				   approval.message_id, &key, err))
		return false;
	kept = ch_ca_take_key(ca, key, err) && keep_key(run, ca, key, err);
	chancery__key__free_unpacked(key, NULL);
	return kept;
}

/* --- the TBSCertificate --- */

/* Serial number and notBefore are the ceremony's own choice: an interrupted one keeps them. */
static bool read_choices(struct ch_view tbs, struct ch_view *serial, int64_t *not_before_us,
			 struct ch_error *err)
{
	struct ch_view in, validity;

	return ch_der_read(&tbs, CH_DER_SEQUENCE, "TBSCertificate", &in, err) &&
	       ch_der_read_any(&in, "version", NULL, NULL, NULL, err) &&
	       ch_der_read_integer(&in, "serialNumber", serial, err) &&
	       ch_der_read_any(&in, "signature", NULL, NULL, NULL, err) &&
	       ch_der_read_any(&in, "issuer", NULL, NULL, NULL, err) &&
	       ch_der_read(&in, CH_DER_SEQUENCE, "validity", &validity, err) &&
	       ch_der_read_time(&validity, "notBefore", false, not_before_us, err);
}

/* Written again from the document with the choices that were made: it must come out the same. */
static bool rewrite(struct ch_ca *ca, const struct ch_ca *parent, struct ch_view kept, struct ch_error *err)
{
	struct ch_view serial;
	int64_t length_us = ca->not_after_us - ca->not_before_us;

	if (!read_choices(kept, &serial, &ca->not_before_us, err))
		return false;
	ca->not_after_us = ca->not_before_us + length_us;
	if (!ch_ca_write_certificate(ca, parent, serial, err))
		return false;
	return ch_view_equal(ch_view_of(&ca->tbs_certificate), kept) ||
	       ch_fail(err, CH_CONFLICT, "the kept TBSCertificate is not what the document asks for");
}

static bool write_tbs(struct ceremony_run *run, struct ch_ca *ca, const struct ch_ca *parent,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.tbs", ca->document.name);
	CH_AUTO(ch_bytes) kept = CH_NONE;
	uint8_t serial[CH_SERIAL_SIZE];
	bool found;

	if (!ceremony_load(run->folder, file, &kept, &found, err))
		return false;
	if (found)
		return rewrite(ca, parent, ch_view_of(&kept), err) || ch_fail_in(err, "'%s'", file);
	ch_ca_new_serial(ca, parent, serial);
	return ch_ca_write_certificate(ca, parent, ch_view(serial, sizeof(serial)), err) &&
	       ceremony_save(run->folder, file, ch_view_of(&ca->tbs_certificate), err);
}

/* --- the certificate --- */

static bool approve_tbs(struct ceremony_run *run, const struct ch_ca *ca, const struct ch_ca *parent,
			struct ceremony_approval *approval, struct ch_error *err)
{
	CH_AUTO(ch_string) step = ch_format("%s.certificate", ca->document.name);
	struct ch_ca_certificate_fields named;
	const struct ch_action_ask ask = { .kind = CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE,
					   .fields = named.fields,
					   .count = CH_COUNT(named.fields),
					   .content = ch_view_of(&ca->tbs_certificate) };

	return ch_ca_certificate_fields(ca, parent, &named, err) &&
	       ceremony_approve(run, step, &ask, approval, err);
}

static bool sign_tbs(struct ceremony_run *run, struct ch_ca *ca, const struct ch_ca *parent,
		     const struct ceremony_approval *approval, struct ch_error *err)
{
	const struct ch_ca *issuing = parent ? parent : ca;
	struct ch_vault_context context = context_of(run);
	CH_AUTO(ch_bytes) signature = CH_NONE;
	const struct ch_vault_item item = { .key_id = issuing->key_id,
					    .purpose = CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE,
					    .to_be_signed = ch_view_of(&ca->tbs_certificate),
					    .action_id = approval->id,
					    .message_id = approval->message_id };

	if (!ch_vault_sign(vault_connection_client(run->connection), &context, &item, &signature, err))
		return false;
	if (!ch_verify_signature(issuing->algorithm, ch_view_of(&issuing->public_key_info),
				 ch_view_of(&ca->tbs_certificate), ch_view_of(&signature), err))
		return ch_fail_in(err, "the vault's signature does not verify with the key of '%s'",
				  issuing->document.name);
	ca->certificate_der = ch_signed_assemble(ch_view_of(&ca->tbs_certificate), issuing->algorithm,
						 ch_view_of(&signature));
	return true;
}

bool ceremony_check_signed(struct ch_view der, struct ch_view to_be_signed, const struct ch_ca *issuing,
			   struct ch_error *err)
{
	struct ch_view in, found, signature;

	if (!ch_der_read(&der, CH_DER_SEQUENCE, "what is signed", &in, err) ||
	    !ch_der_end(&der, "what is signed", err) ||
	    !ch_der_read_any(&in, "to be signed", NULL, NULL, &found, err) ||
	    !ch_der_read_any(&in, "signatureAlgorithm", NULL, NULL, NULL, err) ||
	    !ch_der_read_bit_string(&in, "signatureValue", &signature, err))
		return false;
	if ((to_be_signed.size && !ch_view_equal(found, to_be_signed)) ||
	    !ch_verify_signature(issuing->algorithm, ch_view_of(&issuing->public_key_info), found, signature,
				 err))
		return ch_fail(err, CH_CONFLICT, "what was kept is not what the document asks for");
	return true;
}

/* What an earlier run signed: these very octets, and the signature verifies. */
static bool take_signed(struct ch_ca *ca, const struct ch_ca *parent, struct ch_bytes *der,
			struct ch_error *err)
{
	if (!ceremony_check_signed(ch_view_of(der), ch_view_of(&ca->tbs_certificate), parent ? parent : ca,
				   err))
		return false;
	ca->certificate_der = CH_STEAL(*der);
	return true;
}

static bool make_certificate(struct ceremony_run *run, struct ch_ca *ca, const struct ch_ca *parent,
			     struct ch_error *err)
{
	CH_AUTO(ch_string) file = ch_format("%s.cer", ca->document.name);
	struct ceremony_approval approval;
	CH_AUTO(ch_bytes) kept = CH_NONE;
	bool found;

	if (!ceremony_load(run->folder, file, &kept, &found, err))
		return false;
	if (found)
		return take_signed(ca, parent, &kept, err) || ch_fail_in(err, "'%s'", file);
	return approve_tbs(run, ca, parent, &approval, err) && sign_tbs(run, ca, parent, &approval, err) &&
	       ceremony_save(run->folder, file, ch_view_of(&ca->certificate_der), err) &&
	       ceremony_note(run->folder, err, "certificate of '%s' is signed", ca->document.name);
}

bool ceremony_make(struct ceremony_run *run, size_t index, struct ch_error *err)
{
	struct ch_ca *ca = &run->plan.cas[index];
	const struct ch_ca *parent = ceremony_parent(&run->plan, ca);

	if (ch_ca_plan(ca, parent, ch_clock_now_us(ch_clock_system()), err) && make_key(run, ca, err) &&
	    write_tbs(run, ca, parent, err) && make_certificate(run, ca, parent, err))
		return true;
	return ch_fail_in(err, "CA '%s'", ca->document.name);
}
