/* SPDX-License-Identifier: Apache-2.0 */
/* template.c: writes the TBSCertificate of what policy.c or ca_prepare.c decided. Pure: the same input gives
 * the same bytes. */
#include "issuance/issuance.h"

#define OID_SUBJECT_ALT_NAME "2.5.29.17"
#define OID_OCSP_NOCHECK     "1.3.6.1.5.5.7.48.1.5"

struct ch_template_signer ch_template_signer_of(const struct ch_ca *ca)
{
	return (struct ch_template_signer){
		.subject_der = ch_view_of(&ca->subject_der),
		.algorithm = ca->algorithm,
		.key_identifier = ch_view_of(&ca->key_identifier),
		.urls = &ca->document.urls,
	};
}

/* RFC 5280 §4.1 up to and with subjectPublicKeyInfo; leaves TBSCertificate open for the extensions. */
static void begin_tbs(struct ch_der_writer *writer, const struct ch_template_signer *signer,
		      const struct ch_order *order, struct ch_view serial)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_uint64(writer, CH_DER_INTEGER, 2); /* v3 */
	ch_der_finish(writer);
	ch_der_put_integer(writer, serial);
	ch_der_put_raw(writer, signer->algorithm->signature_identifier);
	ch_der_put_raw(writer, signer->subject_der);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put_time(writer, order->not_before_us);
	ch_der_put_time(writer, order->not_after_us);
	ch_der_finish(writer);
	ch_der_put_raw(writer, order->subject_der);
	ch_der_put_raw(writer, order->public_key_info);
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(3));
	ch_der_begin(writer, CH_DER_SEQUENCE);
}

static void finish_tbs(struct ch_der_writer *writer, struct ch_bytes *tbs)
{
	ch_der_finish(writer);
	ch_der_finish(writer);
	ch_der_finish(writer);
	*tbs = ch_der_done(writer);
}

static bool put_key_identifiers(struct ch_der_writer *writer, const struct ch_template_signer *signer,
				const struct ch_order *order, struct ch_error *err)
{
	uint8_t identifier[64];
	size_t size;

	if (!ch_key_identifier(order->public_key_info, "sha1", identifier, &size, err))
		return false;
	ch_extension_subject_key_identifier(writer, ch_view(identifier, size));
	ch_extension_authority_key_identifier(writer, signer->key_identifier);
	return true;
}

/* Critical where the subject is empty (RFC 5280 §4.2.1.6). */
static bool put_subject_alt_names(struct ch_der_writer *writer, const struct ch_order *order,
				  struct ch_error *err)
{
	CH_AUTO(ch_bytes) general_names = CH_NONE;
	struct ch_view rest = order->subject_der, sequence;

	if (!order->sans || order->sans->count == 0)
		return true;
	if (!ch_der_read(&rest, CH_DER_SEQUENCE, "subject", &sequence, err) ||
	    !ch_sans_encode(order->sans, &general_names, err))
		return false;
	ch_extension_put(writer, OID_SUBJECT_ALT_NAME, sequence.size == 0, ch_view_of(&general_names));
	return true;
}

/* A responder's certificate is not itself asked about (RFC 6960 §4.2.2.2.1), so it names no responder and no
 * CRL. */
static void put_urls(struct ch_der_writer *writer, const struct ch_ca_urls *urls, bool no_check)
{
	if (!urls)
		return;
	if ((!no_check && urls->ocsp[0]) || urls->ca_issuers[0])
		ch_extension_authority_information_access(writer,
							  no_check || !urls->ocsp[0] ? NULL : urls->ocsp,
							  urls->ca_issuers[0] ? urls->ca_issuers : NULL);
	if (!no_check && urls->crl[0])
		ch_extension_crl_distribution_points(writer, urls->crl);
}

static bool put_policies(struct ch_der_writer *writer, const struct ch_conf_strings *policies,
			 struct ch_error *err)
{
	return policies->count == 0 ||
	       ch_extension_certificate_policies(writer, (const char *const *)policies->items,
						 policies->count, err);
}

/* A subordinate CA that names no policies may issue under all (RFC 5280 §4.2.1.4); without the extension it
 * could issue under none. */
static bool put_any_policy(struct ch_der_writer *writer, struct ch_error *err)
{
	static const char *const any_policy[] = { "2.5.29.32.0" };

	return ch_extension_certificate_policies(writer, any_policy, CH_COUNT(any_policy), err);
}

/* RFC 3279 §2.3.1, RFC 8813 §3, RFC 8410 §5: RSA keys alone encipher, EC keys alone agree. */
unsigned ch_key_usage_for(unsigned wanted, const struct ch_algorithm *key)
{
	if (key->key_type != EVP_PKEY_RSA)
		wanted &= ~(unsigned)(KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT);
	if (key->key_type != EVP_PKEY_EC)
		wanted &= ~(unsigned)KU_KEY_AGREEMENT;
	return wanted;
}

static bool put_usages(struct ch_der_writer *writer, const struct ch_profile *profile,
		       const struct ch_order *order, struct ch_error *err)
{
	unsigned bits = ch_key_usage_for(profile->key_usage, order->key_algorithm);

	if (bits == 0)
		return ch_fail(err, CH_INVALID, "a key of algorithm %s has none of the profile's key usages",
			       order->key_algorithm->name);
	ch_extension_key_usage(writer, bits);
	/* RFC 3161 §2.3: a TSA's extended key usage must be critical. */
	return profile->extended_key_usage.count == 0 ||
	       ch_extension_extended_key_usage(writer, profile->kind == CH_KIND_TSA,
					       profile->extended_key_oids, profile->extended_key_usage.count,
					       err);
}

bool ch_template_certificate(const struct ch_profile *profile, const struct ch_template_signer *signer,
			     const struct ch_order *order, struct ch_view serial, struct ch_bytes *tbs,
			     struct ch_error *err)
{
	static const uint8_t null[] = { CH_DER_NULL, 0 };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	bool responder = profile->kind == CH_KIND_OCSP_RESPONDER;

	begin_tbs(&writer, signer, order, serial);
	if (!put_key_identifiers(&writer, signer, order, err))
		return false;
	ch_extension_basic_constraints(&writer, false, -1);
	if (!put_usages(&writer, profile, order, err) || !put_subject_alt_names(&writer, order, err) ||
	    !put_policies(&writer, &profile->policies, err))
		return false;
	put_urls(&writer, signer->urls, responder);
	if (responder)
		ch_extension_put(&writer, OID_OCSP_NOCHECK, false, ch_view(null, sizeof(null)));
	finish_tbs(&writer, tbs);
	return true;
}

bool ch_template_ca(const struct ch_ca_document *document, const struct ch_template_signer *signer,
		    const struct ch_order *order, struct ch_view serial, struct ch_bytes *tbs,
		    struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	begin_tbs(&writer, signer, order, serial);
	if (!put_key_identifiers(&writer, signer, order, err))
		return false;
	ch_extension_basic_constraints(&writer, true, (int)document->path_length);
	ch_extension_key_usage(&writer, KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	if (signer->urls && document->policies.count == 0 ? !put_any_policy(&writer, err)
							  : !put_policies(&writer, &document->policies, err))
		return false;
	put_urls(&writer, signer->urls, false);
	finish_tbs(&writer, tbs);
	return true;
}
