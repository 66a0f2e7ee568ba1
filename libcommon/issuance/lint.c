/* SPDX-License-Identifier: Apache-2.0 */
/* lint.c: RFC 5280 checks over the very bytes that are about to be signed, read by a parser that shares
 * nothing with template.c's writer but libcommon/der. A new check is a function and a row of the table. */
#include "issuance/issuance.h"

#include "x509/name.h"
#include "x509/public_key.h"

#include <stdlib.h>
#include <string.h>

#define MAXIMUM_EXTENSIONS 24

struct extension {
	char *oid;
	bool critical;
	struct ch_view value;
};

/* The certificate taken apart once; the checks look at it. */
struct reading {
	bool has_version;
	uint64_t version;
	struct ch_view serial, signature, issuer, subject, public_key_info, validity;
	unsigned not_before_tag, not_after_tag;
	int64_t not_before_us, not_after_us;
	struct extension extensions[MAXIMUM_EXTENSIONS];
	size_t extension_count;
	const struct ch_lint_context *context;
};

static void reading_free(struct reading *reading)
{
	for (size_t i = 0; i < reading->extension_count; i++)
		free(reading->extensions[i].oid);
}
CH_DEFINE_AUTO_VALUE(reading, struct reading, reading_free)

static const struct extension *find(const struct reading *tbs, const char *oid)
{
	for (size_t i = 0; i < tbs->extension_count; i++)
		if (strcmp(tbs->extensions[i].oid, oid) == 0)
			return &tbs->extensions[i];
	return NULL;
}

static bool read_extension(struct ch_view *list, struct extension *extension, struct ch_error *err)
{
	struct ch_view content, oid;

	if (!ch_der_read(list, CH_DER_SEQUENCE, "Extension", &content, err) ||
	    !ch_der_read_oid(&content, "Extension.extnID", &oid, err))
		return false;
	extension->critical = false;
	if (ch_der_next_is(&content, CH_DER_BOOLEAN)) {
		if (!ch_der_read_boolean(&content, "Extension.critical", &extension->critical, err))
			return false;
		if (!extension->critical)
			return ch_fail(err, CH_INVALID,
				       "Extension.critical FALSE is written out: DEFAULT values are left out "
				       "in DER");
	}
	if (!ch_der_read_octet_string(&content, "Extension.extnValue", &extension->value, err) ||
	    !ch_der_end(&content, "Extension", err))
		return false;
	extension->oid = ch_der_oid_text(oid);
	return extension->oid || ch_fail(err, CH_INVALID, "Extension.extnID is no object identifier");
}

static bool read_extensions(struct ch_view *content, struct reading *tbs, struct ch_error *err)
{
	struct ch_view explicit, list;

	if (!ch_der_read(content, CH_DER_CONTEXT_CONSTRUCTED(3), "TBSCertificate.extensions", &explicit,
			 err) ||
	    !ch_der_read(&explicit, CH_DER_SEQUENCE, "Extensions", &list, err) ||
	    !ch_der_end(&explicit, "extensions", err))
		return false;
	while (list.size > 0) {
		if (tbs->extension_count == MAXIMUM_EXTENSIONS)
			return ch_fail(err, CH_INVALID, "more than %d extensions", MAXIMUM_EXTENSIONS);
		if (!read_extension(&list, &tbs->extensions[tbs->extension_count], err))
			return false;
		tbs->extension_count++;
	}
	return ch_der_end(content, "TBSCertificate", err);
}

static bool read_validity(struct reading *tbs, struct ch_error *err)
{
	struct ch_view content = tbs->validity, peek = tbs->validity;

	return ch_der_read_any(&peek, "notBefore", &tbs->not_before_tag, NULL, NULL, err) &&
	       ch_der_read_any(&peek, "notAfter", &tbs->not_after_tag, NULL, NULL, err) &&
	       ch_der_read_time(&content, "notBefore", false, &tbs->not_before_us, err) &&
	       ch_der_read_time(&content, "notAfter", false, &tbs->not_after_us, err) &&
	       ch_der_end(&content, "Validity", err);
}

static bool read_tbs(struct ch_view der, struct reading *tbs, struct ch_error *err)
{
	struct ch_view content, version;

	if (!ch_der_read(&der, CH_DER_SEQUENCE, "TBSCertificate", &content, err) ||
	    !ch_der_end(&der, "TBSCertificate", err) ||
	    !ch_der_read_optional(&content, CH_DER_CONTEXT_CONSTRUCTED(0), "version", &tbs->has_version,
				  &version, err))
		return false;
	if (tbs->has_version && !ch_der_read_uint64(&version, "version", &tbs->version, err))
		return false;
	return ch_der_read_integer(&content, "serialNumber", &tbs->serial, err) &&
	       ch_der_read_any(&content, "signature", NULL, NULL, &tbs->signature, err) &&
	       ch_der_read_any(&content, "issuer", NULL, NULL, &tbs->issuer, err) &&
	       ch_der_read(&content, CH_DER_SEQUENCE, "validity", &tbs->validity, err) &&
	       read_validity(tbs, err) &&
	       ch_der_read_any(&content, "subject", NULL, NULL, &tbs->subject, err) &&
	       ch_der_read_any(&content, "subjectPublicKeyInfo", NULL, NULL, &tbs->public_key_info, err) &&
	       read_extensions(&content, tbs, err);
}

/* --- the checks: NULL where it passes, else what is wrong
 * ------------------------------------------------------------- */

static const char *version_is_3(const struct reading *tbs)
{
	return tbs->has_version && tbs->version == 2 ? NULL : "version is not v3";
}

static const char *serial_fits(const struct reading *tbs)
{
	if (tbs->serial.data[0] & 0x80)
		return "serial number is negative";
	if (tbs->serial.size > 20)
		return "serial number is longer than 20 octets";
	return tbs->serial.size >= 9 ? NULL : "serial number cannot hold 64 random bits";
}

static const char *signature_is_signers(const struct reading *tbs)
{
	return ch_view_equal(tbs->signature, tbs->context->signer->algorithm->signature_identifier)
		       ? NULL
		       : "signature algorithm is not the one of the CA's key";
}

static const char *issuer_is_signer(const struct reading *tbs)
{
	return ch_view_equal(tbs->issuer, tbs->context->signer->subject_der)
		       ? NULL
		       : "issuer is not the CA's subject";
}

#define YEAR_2050 (INT64_C(2524608000) * CH_SECOND)

static const char *times_are_encoded_right(const struct reading *tbs)
{
	bool before = (tbs->not_before_tag == CH_DER_UTC_TIME) == (tbs->not_before_us < YEAR_2050);
	bool after = (tbs->not_after_tag == CH_DER_UTC_TIME) == (tbs->not_after_us < YEAR_2050);

	return before && after ? NULL : "a time before 2050 must be UTCTime, a later one GeneralizedTime";
}

static const char *validity_is_forward(const struct reading *tbs)
{
	return tbs->not_before_us < tbs->not_after_us ? NULL : "notAfter is not after notBefore";
}

/* What a requester chose must be text and numbers, nothing else. */
static const char *subject_is_a_name(const struct reading *tbs)
{
	return ch_name_check(tbs->subject, NULL)
		       ? NULL
		       : "subject has an attribute, a string type, a text or an order that names do not have";
}

static const char *public_key_is_a_key(const struct reading *tbs)
{
	struct ch_spki spki;

	if (!ch_spki_check(tbs->public_key_info, &spki, NULL))
		return "subjectPublicKeyInfo is not exactly a key of a supported algorithm";
	return spki.compressed ? "subjectPublicKeyInfo is a compressed point" : NULL;
}

static const char *ca_has_a_subject(const struct reading *tbs)
{
	return tbs->context->ca && tbs->subject.size <= 2 ? "a CA's subject is empty" : NULL;
}

static const char *extensions_stand_once(const struct reading *tbs)
{
	for (size_t i = 0; i < tbs->extension_count; i++)
		for (size_t k = 0; k < i; k++)
			if (strcmp(tbs->extensions[i].oid, tbs->extensions[k].oid) == 0)
				return "an extension stands twice";
	return NULL;
}

static const char *subject_key_identifier_fits(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.14");
	uint8_t wanted[64];
	struct ch_view value, identifier;
	size_t size;

	if (!extension || extension->critical)
		return "subjectKeyIdentifier is missing or critical";
	value = extension->value;
	if (!ch_der_read_octet_string(&value, "subjectKeyIdentifier", &identifier, NULL) || value.size != 0 ||
	    !ch_key_identifier(tbs->public_key_info, "sha1", wanted, &size, NULL) ||
	    !ch_view_equal(identifier, ch_view(wanted, size)))
		return "subjectKeyIdentifier is not the SHA-1 of the public key";
	return NULL;
}

static const char *authority_key_identifier_fits(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.35");
	struct ch_view value, content, identifier;

	if (!extension || extension->critical)
		return "authorityKeyIdentifier is missing or critical";
	value = extension->value;
	if (!ch_der_read(&value, CH_DER_SEQUENCE, "authorityKeyIdentifier", &content, NULL) ||
	    value.size != 0 ||
	    !ch_der_read(&content, CH_DER_CONTEXT(0), "keyIdentifier", &identifier, NULL) ||
	    !ch_view_equal(identifier, tbs->context->signer->key_identifier))
		return "authorityKeyIdentifier is not the CA's key identifier";
	return NULL;
}

static const char *basic_constraints_fit(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.19");
	struct ch_view value, content;
	bool ca = false;

	if (!extension)
		return tbs->context->ca ? "a CA's basicConstraints is missing" : NULL;
	value = extension->value;
	if (!ch_der_read(&value, CH_DER_SEQUENCE, "basicConstraints", &content, NULL) || value.size != 0)
		return "basicConstraints does not decode";
	if (ch_der_next_is(&content, CH_DER_BOOLEAN) && !ch_der_read_boolean(&content, "cA", &ca, NULL))
		return "basicConstraints.cA does not decode";
	if (ca != tbs->context->ca)
		return ca ? "CA:TRUE in what is no CA certificate" : "CA:FALSE in a CA certificate";
	if (!ca && content.size != 0)
		return "pathLenConstraint in what is no CA certificate";
	return ca && !extension->critical ? "a CA's basicConstraints is not critical" : NULL;
}

static const char *key_usage_fits(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.15");
	struct ch_view value, content;
	uint8_t bits;

	if (!extension || !extension->critical)
		return "keyUsage is missing or not critical";
	value = extension->value;
	if (!ch_der_read(&value, CH_DER_BIT_STRING, "keyUsage", &content, NULL) || value.size != 0 ||
	    content.size < 2)
		return "keyUsage does not decode or is empty";
	bits = content.data[1]; /* as in OpenSSL's KU_: 0x04 keyCertSign, 0x02 cRLSign */
	if (tbs->context->ca)
		return bits & KU_KEY_CERT_SIGN ? NULL : "a CA's keyUsage lacks keyCertSign";
	return bits & (KU_KEY_CERT_SIGN | KU_CRL_SIGN) ? "keyCertSign or cRLSign in what is no CA certificate"
						       : NULL;
}

static const char *alternative_name_is_critical_alone(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.17");

	if (tbs->subject.size > 2)
		return extension && extension->critical ? "subjectAltName is critical beside a subject"
							: NULL;
	return extension && extension->critical ? NULL
						: "the subject is empty and subjectAltName not critical";
}

/* The extended key usage's OIDs are exactly `dotted`. */
static bool only_usage(const struct extension *extension, const char *dotted)
{
	CH_AUTO(ch_string) text = NULL;
	struct ch_view value = extension->value, list, oid;

	if (!ch_der_read(&value, CH_DER_SEQUENCE, "extKeyUsage", &list, NULL) ||
	    !ch_der_read_oid(&list, "KeyPurposeId", &oid, NULL) || list.size != 0)
		return false;
	text = ch_der_oid_text(oid);
	return text && strcmp(text, dotted) == 0;
}

static const char *responder_is_marked(const struct reading *tbs)
{
	const struct extension *usage = find(tbs, "2.5.29.37"), *no_check = find(tbs, "1.3.6.1.5.5.7.48.1.5");

	if (tbs->context->ca || tbs->context->kind != CH_KIND_OCSP_RESPONDER)
		return no_check ? "ocsp-nocheck in what is no responder's certificate" : NULL;
	if (!usage || !only_usage(usage, "1.3.6.1.5.5.7.3.9"))
		return "a responder's extended key usage is not OCSPSigning alone";
	return no_check && no_check->value.size == 2 && no_check->value.data[0] == CH_DER_NULL
		       ? NULL
		       : "a responder's ocsp-nocheck is missing or not NULL";
}

static const char *tsa_is_marked(const struct reading *tbs)
{
	const struct extension *usage = find(tbs, "2.5.29.37");

	if (tbs->context->ca || tbs->context->kind != CH_KIND_TSA)
		return NULL;
	return usage && usage->critical && only_usage(usage, "1.3.6.1.5.5.7.3.8")
		       ? NULL
		       : "a TSA's extended key usage is not timeStamping alone and critical";
}

static const char *critical_extensions_are_known(const struct reading *tbs)
{
	static const char *const known[] = { "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37" };

	for (size_t i = 0; i < tbs->extension_count; i++) {
		bool found = !tbs->extensions[i].critical;

		for (size_t k = 0; k < CH_COUNT(known); k++)
			found = found || strcmp(known[k], tbs->extensions[i].oid) == 0;
		if (!found)
			return "an extension that relying parties need not know is critical";
	}
	return NULL;
}

/* --- rules of zlint, by its names --- */

static const char *subordinate_has_policies(const struct reading *tbs)
{
	bool root = ch_view_equal(tbs->issuer, tbs->subject);

	return !tbs->context->ca || root || find(tbs, "2.5.29.32")
		       ? NULL
		       : "a subordinate CA has no certificatePolicies";
}

/* Of the subject, in the order of the name. NULL: there is none after `rest`. The caller frees it. */
static char *next_common_name(struct ch_view *sequence, struct ch_view *rdn)
{
	struct ch_name_item item;

	while ((sequence->size > 0 || rdn->size > 0) && ch_name_next(sequence, rdn, &item, NULL))
		if (strcmp(item.attribute->name, "CN") == 0)
			return ch_strndup((const char *)item.value.data, item.value.size);
	return NULL;
}

static bool has_host(const struct ch_sans *sans, const char *text)
{
	for (size_t i = 0; i < sans->count; i++)
		if ((sans->items[i].type == CH_SAN_DNS || sans->items[i].type == CH_SAN_IP) &&
		    strcmp(sans->items[i].value, text) == 0)
			return true;
	return false;
}

static const char *common_names_are_alternative(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.17");
	CH_AUTO(ch_sans) sans = CH_NONE;
	struct ch_view subject = tbs->subject, sequence, rdn = CH_NONE;
	char *text;
	bool all = true;

	if (!tbs->context->common_name_from_san)
		return NULL;
	if ((extension && !ch_sans_decode(extension->value, &sans, NULL)) ||
	    !ch_der_read(&subject, CH_DER_SEQUENCE, "subject", &sequence, NULL))
		return "subject or subjectAltName does not decode";
	while ((text = next_common_name(&sequence, &rdn))) {
		all = all && has_host(&sans, text);
		free(text);
	}
	return all ? NULL : "the common name is none of the alternative names";
}

/* Names of the forms that Chancery issues, at least one, host names that are ones. */
static const char *alternative_names_are_names(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.17");
	CH_AUTO(ch_sans) sans = CH_NONE;

	return !extension || ch_sans_decode(extension->value, &sans, NULL)
		       ? NULL
		       : "subjectAltName is empty or has what is no name of its form";
}

/* The first octet of keyUsage, as key_usage_fits has seen it. */
static unsigned key_usage_of(const struct reading *tbs)
{
	const struct extension *extension = find(tbs, "2.5.29.15");
	struct ch_view value = extension->value, content;

	return ch_der_read(&value, CH_DER_BIT_STRING, "keyUsage", &content, NULL) && content.size > 1
		       ? content.data[1]
		       : 0;
}

static int key_type_of(const struct reading *tbs)
{
	struct ch_spki spki;

	return ch_spki_check(tbs->public_key_info, &spki, NULL) ? spki.algorithm->key_type : 0;
}

static const char *rsa_keys_do_not_agree(const struct reading *tbs)
{
	return !tbs->context->ca && key_type_of(tbs) == EVP_PKEY_RSA && key_usage_of(tbs) & KU_KEY_AGREEMENT
		       ? "an RSA key is for keyAgreement"
		       : NULL;
}

static const char *other_keys_do_not_encipher(const struct reading *tbs)
{
	return !tbs->context->ca && key_type_of(tbs) != EVP_PKEY_RSA &&
			       key_usage_of(tbs) & (KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT)
		       ? "a key that is not RSA is for enciphering"
		       : NULL;
}

/* A usage of the key without which the extended one has no sense (RFC 5280 §4.2.1.12). */
static const char *usages_are_consistent(const struct reading *tbs)
{
	static const struct {
		const char *oid;
		unsigned any_of;
	} needs[] = {
		{ "1.3.6.1.5.5.7.3.1", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT },
		{ "1.3.6.1.5.5.7.3.2", KU_DIGITAL_SIGNATURE | KU_KEY_AGREEMENT },
		{ "1.3.6.1.5.5.7.3.3", KU_DIGITAL_SIGNATURE },
		{ "1.3.6.1.5.5.7.3.4",
		  KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION | KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT },
		{ "1.3.6.1.5.5.7.3.8", KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION },
		{ "1.3.6.1.5.5.7.3.9", KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION },
	};
	const struct extension *extension = find(tbs, "2.5.29.37");
	struct ch_view value, list, oid;

	if (!extension)
		return NULL;
	value = extension->value;
	if (!ch_der_read(&value, CH_DER_SEQUENCE, "extKeyUsage", &list, NULL) || list.size == 0)
		return "extendedKeyUsage is empty or does not decode";
	while (list.size > 0) {
		CH_AUTO(ch_string) text = NULL;

		if (!ch_der_read_oid(&list, "KeyPurposeId", &oid, NULL) || !(text = ch_der_oid_text(oid)))
			return "extendedKeyUsage does not decode";
		for (size_t i = 0; i < CH_COUNT(needs); i++)
			if (strcmp(needs[i].oid, text) == 0 && !(key_usage_of(tbs) & needs[i].any_of))
				return "an extended key usage needs a key usage that is not there";
	}
	return NULL;
}

static const struct {
	const char *name;
	const char *source;
	const char *(*check)(const struct reading *tbs);
} checks[] = {
	{ "version", "RFC 5280 §4.1.2.1", version_is_3 },
	{ "serial_number", "RFC 5280 §4.1.2.2", serial_fits },
	{ "signature_algorithm", "RFC 5280 §4.1.2.3", signature_is_signers },
	{ "issuer", "RFC 5280 §4.1.2.4", issuer_is_signer },
	{ "time_encoding", "RFC 5280 §4.1.2.5", times_are_encoded_right },
	{ "validity", "RFC 5280 §4.1.2.5", validity_is_forward },
	{ "subject", "RFC 5280 §4.1.2.4 and appendix A", subject_is_a_name },
	{ "ca_subject", "RFC 5280 §4.1.2.6", ca_has_a_subject },
	{ "public_key", "RFC 3279 §2.3, RFC 5480 §2, RFC 8410 §3", public_key_is_a_key },
	{ "duplicate_extension", "RFC 5280 §4.2", extensions_stand_once },
	{ "subject_key_identifier", "RFC 5280 §4.2.1.2", subject_key_identifier_fits },
	{ "authority_key_identifier", "RFC 5280 §4.2.1.1", authority_key_identifier_fits },
	{ "basic_constraints", "RFC 5280 §4.2.1.9", basic_constraints_fit },
	{ "key_usage", "RFC 5280 §4.2.1.3", key_usage_fits },
	{ "subject_alt_name", "RFC 5280 §4.2.1.6", alternative_name_is_critical_alone },
	{ "ocsp_responder", "RFC 6960 §4.2.2.2", responder_is_marked },
	{ "tsa", "RFC 3161 §2.3", tsa_is_marked },
	{ "critical_extension", "RFC 5280 §4.2", critical_extensions_are_known },
	{ "e_ext_san_empty_name", "RFC 5280 §4.2.1.6", alternative_names_are_names },
	{ "e_subject_common_name_not_exactly_from_san", "CA/Browser Forum BR §7.1.4.3",
	  common_names_are_alternative },
	{ "e_sub_ca_certificate_policies_missing", "CA/Browser Forum BR §7.1.2.6", subordinate_has_policies },
	{ "e_rsa_allowed_ku_ee", "RFC 3279 §2.3.1", rsa_keys_do_not_agree },
	{ "e_ecdsa_ee_invalid_ku", "RFC 8813 §3, RFC 8410 §5", other_keys_do_not_encipher },
	{ "e_key_usage_and_extended_key_usage_inconsistent", "RFC 5280 §4.2.1.12", usages_are_consistent },
};

bool ch_lint_tbs(struct ch_view tbs, const struct ch_lint_context *context, struct ch_lint_token *token,
		 struct ch_error *err)
{
	CH_AUTO(reading) reading = { .context = context };
	struct ch_error why;
	uint8_t digest[64];
	size_t size;

	token->valid = false;
	if (!read_tbs(tbs, &reading, &why))
		return ch_fail(err, CH_INTERNAL, "lint structure: %s (RFC 5280 §4.1)", why.message);
	for (size_t i = 0; i < CH_COUNT(checks); i++) {
		const char *fault = checks[i].check(&reading);

		if (fault)
			return ch_fail(err, CH_INTERNAL, "lint %s: %s (%s)", checks[i].name, fault,
				       checks[i].source);
	}
	if (!ch_digest("sha256", tbs, digest, &size, err))
		return false;
	memcpy(token->tbs_sha256, digest, sizeof(token->tbs_sha256));
	token->valid = true;
	return true;
}

bool ch_lint_spend(struct ch_lint_token *token, struct ch_view tbs, struct ch_error *err)
{
	bool valid = token->valid;
	uint8_t digest[64];
	size_t size;

	token->valid = false;
	if (!ch_digest("sha256", tbs, digest, &size, err))
		return false;
	if (!valid || memcmp(digest, token->tbs_sha256, sizeof(token->tbs_sha256)) != 0)
		return ch_fail(err, CH_INTERNAL, "bytes that were not linted were about to be signed");
	return true;
}
