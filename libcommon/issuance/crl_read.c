/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl_read.c: a CertificateList (RFC 5280 §5.1) as crl.c writes it: its signature, then its entries one after
 * the other. Called by the crl daemon with a CA's list before the next.
 */
#include "issuance/crl.h"

#define CE_REASON_CODE     "\x55\x1d\x15" /* 2.5.29.21 */
#define CE_INVALIDITY_DATE "\x55\x1d\x18" /* 2.5.29.24 */

static bool is_oid(struct ch_view oid, const char *content)
{
	return ch_view_equal(oid, ch_view(content, 3));
}

static bool read_reason(struct ch_view value, int *reason, struct ch_error *err)
{
	struct ch_view octets;

	if (!ch_der_read(&value, CH_DER_ENUMERATED, "reasonCode", &octets, err) ||
	    !ch_der_end(&value, "reasonCode", err))
		return false;
	if (octets.size != 1)
		return ch_fail(err, CH_INVALID, "reasonCode has %zu octets, not 1", octets.size);
	*reason = octets.data[0];
	return true;
}

static bool read_invalidity_date(struct ch_view value, int64_t *time_us, struct ch_error *err)
{
	return ch_der_read_time(&value, "invalidityDate", false, time_us, err) &&
	       ch_der_end(&value, "invalidityDate", err);
}

/* An extension that is not known could change what the entry says (certificateIssuer does: whose it is). */
static bool read_extension(struct ch_view *extensions, struct ch_crl_entry *entry, struct ch_error *err)
{
	struct ch_view extension, oid, value;

	if (!ch_der_read(extensions, CH_DER_SEQUENCE, "crlEntryExtension", &extension, err) ||
	    !ch_der_read_oid(&extension, "crlEntryExtension.extnID", &oid, err) ||
	    !ch_der_read_octet_string(&extension, "crlEntryExtension.extnValue", &value, err) ||
	    !ch_der_end(&extension, "crlEntryExtension", err))
		return false;
	if (is_oid(oid, CE_REASON_CODE))
		return read_reason(value, &entry->reason, err);
	if (is_oid(oid, CE_INVALIDITY_DATE))
		return read_invalidity_date(value, &entry->invalidity_date_us, err);
	return ch_fail(err, CH_INVALID, "an entry has an extension that Chancery does not write");
}

static bool read_entry(struct ch_view *list, struct ch_crl_entry *entry, struct ch_error *err)
{
	struct ch_view content, extensions;
	bool present;

	*entry = (struct ch_crl_entry)CH_NONE;
	if (!ch_der_read(list, CH_DER_SEQUENCE, "revokedCertificate", &content, err) ||
	    !ch_der_read_integer(&content, "revokedCertificate.userCertificate", &entry->serial, err) ||
	    !ch_der_read_time(&content, "revokedCertificate.revocationDate", false, &entry->revoked_at_us,
			      err) ||
	    !ch_der_read_optional(&content, CH_DER_SEQUENCE, "crlEntryExtensions", &present, &extensions,
				  err) ||
	    !ch_der_end(&content, "revokedCertificate", err))
		return false;
	if (entry->serial.size > 1 && entry->serial.data[0] == 0) /* INTEGER's sign */
		entry->serial = ch_view(entry->serial.data + 1, entry->serial.size - 1);
	while (present && extensions.size)
		if (!read_extension(&extensions, entry, err))
			return false;
	return ch_crl_entry_check(entry, err);
}

bool ch_crl_verify(struct ch_view der, const struct ch_crl_issuer *issuer, struct ch_view public_key_info,
		   struct ch_view *tbs, struct ch_error *err)
{
	struct ch_view content, algorithm, signature;

	if (der.size > CH_CRL_CAP)
		return ch_fail(err, CH_TOO_LARGE, "CertificateList of %zu octets, at most %d are read",
			       der.size, CH_CRL_CAP);
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "CertificateList", &content, err) ||
	    !ch_der_end(&der, "CertificateList", err) ||
	    !ch_der_read_any(&content, "TBSCertList", NULL, NULL, tbs, err) ||
	    !ch_der_read_any(&content, "signatureAlgorithm", NULL, NULL, &algorithm, err) ||
	    !ch_der_read_bit_string(&content, "signatureValue", &signature, err) ||
	    !ch_der_end(&content, "CertificateList", err))
		return false;
	if (!ch_view_equal(algorithm, issuer->algorithm->signature_identifier))
		return ch_fail(err, CH_INVALID, "signatureAlgorithm is not %s, the CA's",
			       issuer->algorithm->signature_name);
	return ch_verify_signature(issuer->algorithm, public_key_info, *tbs, signature, err);
}

bool ch_crl_entries(struct ch_view tbs, struct ch_view subject_der, ch_crl_each each, void *context,
		    struct ch_error *err)
{
	struct ch_view in, name, list = CH_NONE;
	struct ch_crl_entry entry;
	int64_t time_us;
	uint64_t version;
	bool present;

	if (!ch_der_read(&tbs, CH_DER_SEQUENCE, "TBSCertList", &in, err) ||
	    !ch_der_read_uint64(&in, "TBSCertList.version", &version, err) ||
	    !ch_der_read_any(&in, "TBSCertList.signature", NULL, NULL, NULL, err) ||
	    !ch_der_read_any(&in, "TBSCertList.issuer", NULL, NULL, &name, err) ||
	    !ch_der_read_time(&in, "TBSCertList.thisUpdate", false, &time_us, err) ||
	    !ch_der_read_time(&in, "TBSCertList.nextUpdate", false, &time_us, err) ||
	    !ch_der_read_optional(&in, CH_DER_SEQUENCE, "TBSCertList.revokedCertificates", &present, &list,
				  err))
		return false;
	if (!ch_view_equal(name, subject_der))
		return ch_fail(err, CH_INVALID, "TBSCertList.issuer is not the CA's name");
	while (present && list.size)
		if (!read_entry(&list, &entry, err) || !each(context, &entry, err))
			return false;
	return true;
}
