/* SPDX-License-Identifier: Apache-2.0 */
/* ca_document.c: a CA document becomes a struct ch_ca_document, or is refused with its line. Called by
 * ca_prepare.c (prepare) and by cache.c when a CA is read back. */
#include "issuance/issuance.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define YEAR (365 * CH_DAY)

static const struct ch_conf_field url_fields[] = {
	CH_CONF_FIELD(struct ch_ca_urls, ocsp, CH_CONF_STRING, .default_text = "",
		      .help = "AIA: OCSP responder (RFC 5280 §4.2.2.1)"),
	CH_CONF_FIELD(struct ch_ca_urls, crl, CH_CONF_STRING, .default_text = "",
		      .help = "CRL distribution point (§4.2.1.13)"),
	CH_CONF_FIELD(struct ch_ca_urls, ca_issuers, CH_CONF_STRING, .default_text = "",
		      .help = "AIA: where this CA's certificate is (§4.2.2.1)"),
};
const struct ch_conf_schema ch_ca_urls_schema = { "urls", url_fields, CH_COUNT(url_fields) };

static const struct ch_conf_field crl_fields[] = {
	CH_CONF_NAMED("interval", struct ch_ca_crl, interval_us, CH_CONF_DURATION, .default_text = "1h",
		      .min = CH_SECOND, .max = 400 * CH_DAY, .help = "a new CRL at least this often"),
	CH_CONF_NAMED("validity", struct ch_ca_crl, validity_us, CH_CONF_DURATION, .default_text = "24h",
		      .min = CH_MINUTE, .max = 400 * CH_DAY, .help = "nextUpdate - thisUpdate"),
};
static const struct ch_conf_schema crl_schema = { "crl", crl_fields, CH_COUNT(crl_fields) };

static const struct ch_conf_field ocsp_fields[] = {
	CH_CONF_FIELD(struct ch_ca_signer, key, CH_CONF_STRING, .required = true,
		      .help = "algorithm of the responder's keys"),
	CH_CONF_NAMED(
		"validity", struct ch_ca_signer, validity_us, CH_CONF_DURATION, .default_text = "7d",
		.min = CH_MINUTE, .max = 5 * YEAR,
		.help = "of its certificates, which nobody checks for revocation (RFC 6960 §4.2.2.2.1): "
			"short; renewed at two thirds"),
};
static const struct ch_conf_schema ocsp_schema = { "ocsp_responder", ocsp_fields, CH_COUNT(ocsp_fields) };

static const struct ch_conf_field tsa_fields[] = {
	CH_CONF_FIELD(struct ch_ca_signer, key, CH_CONF_STRING, .required = true,
		      .help = "algorithm of the TSA's keys"),
	CH_CONF_NAMED("validity", struct ch_ca_signer, validity_us, CH_CONF_DURATION, .default_text = "1y",
		      .min = CH_MINUTE, .max = 20 * YEAR,
		      .help = "of its certificates; renewed at two thirds"),
	CH_CONF_FIELD(struct ch_ca_signer, policies, CH_CONF_STRING_LIST, .required = true, .min = 1,
		      .max = 16,
		      .help = "TSA policy OIDs that its tokens may name; the first is the default"),
	CH_CONF_NAMED(
		"default", struct ch_ca_signer, is_default, CH_CONF_BOOLEAN, .default_text = "false",
		.help = "stamps for who names no policy; at most one CA of an installation that is in use"),
};
static const struct ch_conf_schema tsa_schema = { "timestamp_authority", tsa_fields, CH_COUNT(tsa_fields) };

static const struct ch_conf_field ca_fields[] = {
	CH_CONF_FIELD(struct ch_ca_document, name, CH_CONF_STRING, .required = true,
		      .help = "[a-z0-9-], in requests and in /crl/NAME.crl"),
	CH_CONF_FIELD(struct ch_ca_document, parent, CH_CONF_STRING,
		      .help = "the CA that signs this one; absent: a root"),
	CH_CONF_FIELD(struct ch_ca_document, subject, CH_CONF_STRING, .required = true,
		      .help = "RFC 4514: CN=Example Issuing CA 1,O=Example,C=CH"),
	CH_CONF_FIELD(struct ch_ca_document, key, CH_CONF_STRING, .required = true,
		      .help = "rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, ecdsa-p521 or ed25519"),
	CH_CONF_NAMED("validity", struct ch_ca_document, validity_us, CH_CONF_DURATION, .required = true,
		      .min = CH_HOUR, .max = 50 * YEAR, .help = "must end within the parent's"),
	CH_CONF_FIELD(struct ch_ca_document, path_length, CH_CONF_INTEGER, .default_text = "-1", .min = -1,
		      .max = 16,
		      .help = "CAs that may stand below it; 0: it issues end entities only; -1: no limit"),
	CH_CONF_FIELD(struct ch_ca_document, policies, CH_CONF_STRING_LIST, .min = 0, .max = 16,
		      .help = "certificate policy OIDs in its own certificate"),
	CH_CONF_SUB(struct ch_ca_document, urls, &ch_ca_urls_schema,
		    .help = "what certificates issued by this CA carry"),
	CH_CONF_SUB(struct ch_ca_document, crl, &crl_schema, .help = "its CRLs"),
	CH_CONF_SUB(struct ch_ca_document, ocsp_responder, &ocsp_schema, .nullable_section = true,
		    .help = "absent: this CA has no OCSP responder"),
	CH_CONF_SUB(struct ch_ca_document, timestamp_authority, &tsa_schema, .nullable_section = true,
		    .help = "absent: this CA certifies no TSA"),
};
const struct ch_conf_schema ch_ca_document_schema = { "CA document", ca_fields, CH_COUNT(ca_fields) };

/* RFC 5280 §4.2.1.13 and §4.2.2.1 ask for http or ldap; https would have a client check a certificate to
 * check one. */
static bool check_url(const char *key, const char *url, struct ch_error *err)
{
	if (url[0] == '\0')
		return true;
	if (strncasecmp(url, "http://", 7) != 0 || url[7] == '\0' || strlen(url) > 512)
		return ch_fail(err, CH_INVALID,
			       "urls.%s '%.100s' is no http:// URL of at most 512 characters", key, url);
	for (const char *p = url; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return ch_fail(err, CH_INVALID, "urls.%s holds a space or a character outside ASCII",
				       key);
	return true;
}

static bool check_algorithm(const char *key, const char *name, struct ch_error *err)
{
	if (name && !ch_algorithm_find(name))
		return ch_fail(err, CH_INVALID, "%s: unknown algorithm '%.80s'", key, name);
	return true;
}

static bool check_subject(const struct ch_ca_document *ca, struct ch_error *err)
{
	CH_AUTO(ch_bytes) der = CH_NONE;

	/* An empty one is none: a CA must have a name (RFC 5280 §4.1.2.6). */
	return ch_name_parse(ca->subject, &der, err) || ch_fail_in(err, "subject");
}

static bool check_policies(const struct ch_ca_document *ca, struct ch_error *err)
{
	for (size_t i = 0; i < ca->policies.count; i++)
		if (!ch_check_oid("policies", ca->policies.items[i], err))
			return false;
	for (size_t i = 0; i < ca->timestamp_authority.policies.count; i++)
		if (!ch_check_oid("timestamp_authority.policies", ca->timestamp_authority.policies.items[i],
				  err))
			return false;
	return true;
}

bool ch_ca_urls_check(const struct ch_ca_urls *urls, struct ch_error *err)
{
	return check_url("ocsp", urls->ocsp, err) && check_url("crl", urls->crl, err) &&
	       check_url("ca_issuers", urls->ca_issuers, err);
}

static bool check_content(const struct ch_ca_document *ca, struct ch_error *err)
{
	if (ca->parent && !ch_check_name("parent", ca->parent, err))
		return false;
	if (ca->parent && strcmp(ca->parent, ca->name) == 0)
		return ch_fail(err, CH_INVALID, "parent is the CA itself: leave it out for a root");
	if (ca->crl.validity_us < ca->crl.interval_us)
		return ch_fail(
			err, CH_INVALID,
			"crl.validity is shorter than crl.interval: CRLs would expire before the next");
	return check_algorithm("key", ca->key, err) &&
	       check_algorithm("ocsp_responder.key", ca->ocsp_responder.key, err) &&
	       check_algorithm("timestamp_authority.key", ca->timestamp_authority.key, err) &&
	       ch_ca_urls_check(&ca->urls, err) && check_subject(ca, err) && check_policies(ca, err);
}

bool ch_ca_document_check(const struct ch_ca_document *ca, struct ch_error *err)
{
	if (!ch_check_name("CA name", ca->name, err))
		return false;
	return check_content(ca, err) || ch_fail_in(err, "CA '%s'", ca->name);
}

bool ch_ca_document_read(struct ch_view document, struct ch_ca_document *ca, struct ch_error *err)
{
	CH_AUTO(ch_ca_document) read = CH_NONE;

	if (!ch_conf_read(&ch_ca_document_schema, document, "CA document", &read, err) ||
	    !ch_ca_document_check(&read, err))
		return false;
	*ca = CH_STEAL(read);
	return true;
}

void ch_ca_document_free(struct ch_ca_document *ca)
{
	ch_conf_free(&ch_ca_document_schema, ca);
	*ca = (struct ch_ca_document)CH_NONE;
}

void ch_ca_free(struct ch_ca *ca)
{
	ch_ca_document_free(&ca->document);
	free(ca->state);
	free(ca->state_reason);
	free(ca->key_state);
	free(ca->certificate_status);
	free(ca->subject);
	free(ca->key_id);
	ch_bytes_free(&ca->subject_der);
	ch_bytes_free(&ca->public_key_info);
	ch_bytes_free(&ca->key_identifier);
	ch_bytes_free(&ca->tbs_certificate);
	ch_bytes_free(&ca->certificate_der);
	ch_wipe(ca->serial_tag_key, sizeof(ca->serial_tag_key));
	*ca = (struct ch_ca)CH_NONE;
}
