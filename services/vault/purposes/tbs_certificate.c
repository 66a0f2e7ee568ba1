/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tbs_certificate.c: reads a TBSCertificate and checks what holds for every certificate. Both certificate
 * purposes start here.
 */
#include "purposes.h"

#include "x509/name.h"

#include <string.h>

#define SERIAL_CAP 20 /* octets, RFC 5280 §4.1.2.2 */

/* --- reading --- */

static bool read_version(struct ch_view *in, struct ch_error *err)
{
	struct ch_view explicit;
	uint64_t version;

	if (!ch_der_read(in, CH_DER_CONTEXT_CONSTRUCTED(0), "TBSCertificate.version", &explicit, err) ||
	    !ch_der_read_uint64(&explicit, "TBSCertificate.version", &version, err) ||
	    !ch_der_end(&explicit, "TBSCertificate.version", err))
		return false;
	if (version != 2)
		return ch_fail(err, CH_INVALID, "TBSCertificate.version is v%llu, only v3 is signed",
			       (unsigned long long)version + 1);
	return true;
}

/* A SEQUENCE taken whole, with tag and length. */
static bool read_whole_sequence(struct ch_view *in, const char *what, struct ch_view *whole,
				struct ch_error *err)
{
	if (!ch_der_next_is(in, CH_DER_SEQUENCE))
		return ch_fail(err, CH_INVALID, "%s is not a SEQUENCE", what);
	return ch_der_read_any(in, what, NULL, NULL, whole, err);
}

static bool read_validity(struct ch_view *in, struct tbs_certificate *tbs, struct ch_error *err)
{
	struct ch_view validity;

	return ch_der_read(in, CH_DER_SEQUENCE, "TBSCertificate.validity", &validity, err) &&
	       ch_der_read_time(&validity, "notBefore", false, &tbs->not_before_us, err) &&
	       ch_der_read_time(&validity, "notAfter", false, &tbs->not_after_us, err) &&
	       ch_der_end(&validity, "TBSCertificate.validity", err);
}

/* RFC 5280 §4.2.1.9 */
static bool read_basic_constraints(const struct vault_extension *extension, struct tbs_certificate *tbs,
				   struct ch_error *err)
{
	struct ch_view value = extension->value, content;
	uint64_t length = 0;

	if (!ch_der_read(&value, CH_DER_SEQUENCE, "basicConstraints", &content, err))
		return false;
	if (ch_der_next_is(&content, CH_DER_BOOLEAN)) {
		if (!ch_der_read_boolean(&content, "basicConstraints.cA", &tbs->is_ca, err))
			return false;
		if (!tbs->is_ca)
			return ch_fail(err, CH_INVALID, "basicConstraints.cA is FALSE, which DER leaves out");
	}
	if (ch_der_next_is(&content, CH_DER_INTEGER)) {
		if (!ch_der_read_uint64(&content, "basicConstraints.pathLenConstraint", &length, err))
			return false;
		if (length > 255)
			return ch_fail(err, CH_INVALID,
				       "basicConstraints.pathLenConstraint is %llu, at most 255",
				       (unsigned long long)length);
		tbs->path_length = (int32_t)length;
	}
	tbs->has_basic_constraints = true;
	tbs->basic_constraints_critical = extension->critical;
	return ch_der_end(&content, "basicConstraints", err);
}

/* RFC 5280 §4.2.1.3: a named BIT STRING; keyCertSign is bit 5, cRLSign bit 6. */
static bool read_key_usage(const struct vault_extension *extension, struct tbs_certificate *tbs,
			   struct ch_error *err)
{
	struct ch_view value = extension->value, bits;

	if (!ch_der_read(&value, CH_DER_BIT_STRING, "keyUsage", &bits, err))
		return false;
	if (bits.size < 2 || bits.size > 3 || bits.data[0] > 7)
		return ch_fail(err, CH_INVALID, "keyUsage is not a BIT STRING of 1 to 9 bits");
	if (bits.data[bits.size - 1] & ((1u << bits.data[0]) - 1))
		return ch_fail(err, CH_INVALID, "keyUsage has bits set that it calls unused (X.690 §11.2.1)");
	if (!(bits.data[bits.size - 1] >> bits.data[0] & 1)) /* X.690 §11.2.2; RFC 5280: at least one bit */
		return ch_fail(err, CH_INVALID,
			       "keyUsage does not end with a bit that is set (X.690 §11.2.2)");
	tbs->has_key_usage = true;
	tbs->key_usage = bits.data[1];
	tbs->may_sign_certificates = bits.data[1] & 0x04;
	tbs->may_sign_crls = bits.data[1] & 0x02;
	return true;
}

/* RFC 5280 §4.2.1.12: SEQUENCE SIZE (1..MAX) OF KeyPurposeId. */
static bool read_extended_key_usage(const struct vault_extension *extension, struct tbs_certificate *tbs,
				    struct ch_error *err)
{
	static const uint8_t id_kp[] = { 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03 };
	static const uint8_t any[] = { 0x55, 0x1d, 0x25, 0x00 };
	struct ch_view value = extension->value, list, purpose;

	if (!ch_der_read(&value, CH_DER_SEQUENCE, "extendedKeyUsage", &list, err))
		return false;
	if (list.size == 0)
		return ch_fail(err, CH_INVALID, "extendedKeyUsage is empty");
	while (list.size) {
		if (!ch_der_read_oid(&list, "extendedKeyUsage.keyPurposeId", &purpose, err))
			return false;
		tbs->any_usage = tbs->any_usage || ch_view_equal(purpose, ch_view(any, sizeof(any)));
		if (purpose.size != sizeof(id_kp) + 1 || memcmp(purpose.data, id_kp, sizeof(id_kp)) != 0)
			continue;
		tbs->may_sign_ocsp = tbs->may_sign_ocsp || purpose.data[sizeof(id_kp)] == 9;
		tbs->may_stamp = tbs->may_stamp || purpose.data[sizeof(id_kp)] == 8;
	}
	return true;
}

static bool read_extensions(struct ch_view *in, struct tbs_certificate *tbs, struct ch_error *err)
{
	struct vault_extensions *extensions = &tbs->extensions;
	const struct vault_extension *found;
	struct ch_view explicit;

	if (in->size == 0)
		return true;
	if (!ch_der_read(in, CH_DER_CONTEXT_CONSTRUCTED(3), "TBSCertificate.extensions", &explicit, err) ||
	    !vault_read_extensions(&explicit, extensions, err) ||
	    !ch_der_end(&explicit, "TBSCertificate.extensions", err))
		return false;
	found = vault_find_extension(extensions, VAULT_CE_BASIC_CONSTRAINTS);
	if (found && !read_basic_constraints(found, tbs, err))
		return false;
	found = vault_find_extension(extensions, VAULT_CE_KEY_USAGE);
	if (found && !read_key_usage(found, tbs, err))
		return false;
	found = vault_find_extension(extensions, VAULT_CE_SUBJECT_ALT_NAME);
	if (found)
		tbs->subject_alt_name = found->value;
	found = vault_find_extension(extensions, VAULT_CE_EXTENDED_KEY_USAGE);
	if (!found)
		return true;
	tbs->extended_key_usage = found->value;
	return read_extended_key_usage(found, tbs, err);
}

bool tbs_certificate_read(struct ch_view der, struct tbs_certificate *tbs, struct ch_error *err)
{
	struct ch_view in;

	*tbs = (struct tbs_certificate){ .path_length = -1 };
	if (der.size > CH_CERTIFICATE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "TBSCertificate of %zu octets, at most %d allowed",
			       der.size, CH_CERTIFICATE_CAP);
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "TBSCertificate", &in, err) ||
	    !ch_der_end(&der, "TBSCertificate", err) || !read_version(&in, err) ||
	    !ch_der_read_integer(&in, "TBSCertificate.serialNumber", &tbs->serial, err) ||
	    !read_whole_sequence(&in, "TBSCertificate.signature", &tbs->signature_algorithm, err) ||
	    !read_whole_sequence(&in, "TBSCertificate.issuer", &tbs->issuer, err) ||
	    !read_validity(&in, tbs, err) ||
	    !read_whole_sequence(&in, "TBSCertificate.subject", &tbs->subject, err) ||
	    !read_whole_sequence(&in, "TBSCertificate.subjectPublicKeyInfo", &tbs->public_key_info, err) ||
	    !ch_spki_check(tbs->public_key_info, &tbs->subject_key, err))
		return false;
	if (!ch_name_check(tbs->subject, err))
		return ch_fail_in(err, "TBSCertificate.subject");
	/* issuerUniqueID and subjectUniqueID (RFC 5280 §4.1.2.8: MUST NOT) fail here as an unexpected tag */
	return read_extensions(&in, tbs, err) && ch_der_end(&in, "TBSCertificate", err);
}

/* --- checking --- */

static bool check_serial(struct vault_check *check, struct ch_view serial, struct ch_error *err)
{
	bool zero = serial.size == 1 && serial.data[0] == 0;

	if (serial.size > SERIAL_CAP)
		return vault_refuse(check, "serial", err, "serial number is %zu octets, at most %d allowed",
				    serial.size, SERIAL_CAP);
	if (serial.size == 0 || zero || serial.data[0] & 0x80)
		return vault_refuse(check, "serial", err, "serial number is not positive");
	check->subject = ch_hex(serial.data[0] == 0 ? ch_view(serial.data + 1, serial.size - 1) : serial);
	return true;
}

static bool check_validity(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	char before[CH_TIME_TEXT_SIZE], after[CH_TIME_TEXT_SIZE];

	if (tbs->not_before_us > tbs->not_after_us)
		return vault_refuse(check, "validity", err, "notBefore %s is after notAfter %s",
				    ch_time_text(tbs->not_before_us, before),
				    ch_time_text(tbs->not_after_us, after));
	if (tbs->not_after_us <= check->now_us)
		return vault_refuse(check, "validity", err, "notAfter %s has passed",
				    ch_time_text(tbs->not_after_us, after));
	return true;
}

bool tbs_certificate_check(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	const struct vault_key *key = check->key;

	if (!check_serial(check, tbs->serial, err))
		return false;
	if (!ch_view_equal(tbs->signature_algorithm, key->algorithm->signature_identifier))
		return vault_refuse(check, "algorithm", err,
				    "TBSCertificate.signature is not %s, the key's algorithm",
				    key->algorithm->signature_name);
	if (!ch_view_equal(tbs->issuer, ch_view_of(&key->subject_der))) {
		CH_AUTO(ch_string) named = ch_name_text(tbs->issuer);
		CH_AUTO(ch_string) wanted = ch_name_text(ch_view_of(&key->subject_der));

		return vault_refuse(check, "issuer", err, "issuer is '%.120s', key '%s' issues for '%.120s'",
				    named, key->key_id, wanted);
	}
	return check_validity(check, tbs, err);
}

bool tbs_certificate_check_backdating(struct vault_check *check, const struct tbs_certificate *tbs,
				      int64_t from_us, struct ch_error *err)
{
	char before[CH_TIME_TEXT_SIZE], from[CH_TIME_TEXT_SIZE];

	return tbs->not_before_us >= from_us - VAULT_BACKDATING_CAP ||
	       vault_refuse(check, "validity", err, "notBefore %s is over %d hours before %s",
			    ch_time_text(tbs->not_before_us, before), (int)(VAULT_BACKDATING_CAP / CH_HOUR),
			    ch_time_text(from_us, from));
}

static bool refuse_subject(struct vault_check *check, const struct tbs_certificate *tbs, const char *whose,
			   struct ch_error *err)
{
	CH_AUTO(ch_string) subject = ch_name_text(tbs->subject);

	return vault_refuse(check, "subject", err, "subject '%.200s' is the name of %s", subject, whose);
}

bool tbs_certificate_check_subject(struct vault_check *check, const struct tbs_certificate *tbs,
				   struct ch_error *err)
{
	bool equal;

	if (!ch_name_equal(tbs->subject, tbs->issuer, &equal, err))
		return ch_fail_in(err, "subject");
	if (equal)
		return refuse_subject(check, tbs, "the issuer", err);
	if (!check->is_ca_name(check->find_state, tbs->subject, &equal, err)) {
		check->reason = "unavailable";
		return false;
	}
	return !equal || refuse_subject(check, tbs, "a CA of this tenant", err);
}

bool tbs_certificate_check_within_ca(struct vault_check *check, const struct tbs_certificate *tbs,
				     struct ch_error *err)
{
	const struct vault_key *key = check->key;
	char is[CH_TIME_TEXT_SIZE], limit[CH_TIME_TEXT_SIZE];

	if (key->ca_not_after_us == 0)
		return vault_refuse(check, "no-ca-certificate", err, "key '%s' has no CA certificate yet",
				    key->key_id);
	if (tbs->not_after_us > key->ca_not_after_us)
		return vault_refuse(check, "validity", err, "notAfter %s is beyond the CA's %s",
				    ch_time_text(tbs->not_after_us, is),
				    ch_time_text(key->ca_not_after_us, limit));
	if (tbs->not_before_us < key->ca_not_before_us)
		return vault_refuse(check, "validity", err, "notBefore %s is before the CA's %s",
				    ch_time_text(tbs->not_before_us, is),
				    ch_time_text(key->ca_not_before_us, limit));
	if (key->max_certificate_validity_us &&
	    tbs->not_after_us - tbs->not_before_us > key->max_certificate_validity_us)
		return vault_refuse(check, "validity", err,
				    "validity of %lld seconds is beyond the key's limit of %lld",
				    (long long)((tbs->not_after_us - tbs->not_before_us) / CH_SECOND),
				    (long long)(key->max_certificate_validity_us / CH_SECOND));
	return true;
}
