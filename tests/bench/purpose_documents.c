/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_documents.c: makes the documents that purpose_checks.c measures on. */
#include "purpose_documents.h"

#include "tsa.h"

#include <openssl/cms.h>
#include <openssl/ocsp.h>
#include <openssl/ts.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLICY "1.3.6.1.4.1.99999.1.1"
#define ORIGIN "chancery.example/log"

CH_DEFINE_AUTO_POINTER(OCSP_BASICRESP, OCSP_BASICRESP, OCSP_BASICRESP_free)
CH_DEFINE_AUTO_POINTER(CMS_ContentInfo, CMS_ContentInfo, CMS_ContentInfo_free)
CH_DEFINE_AUTO_POINTER(TS_TST_INFO, TS_TST_INFO, TS_TST_INFO_free)
CH_DEFINE_AUTO_VALUE(tsa_authority, struct tsa_authority, tsa_authority_free)

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "purpose_checks: %s failed\n", what);
	exit(1);
}

/* Takes what an i2d function wrote. */
static struct ch_bytes encoded(int size, unsigned char *der)
{
	struct ch_bytes bytes;

	must(size > 0, "encoding");
	bytes = ch_bytes_copy(ch_view(der, (size_t)size));
	OPENSSL_free(der);
	return bytes;
}

/* `encoded(i2d_X509(certificate, &der), der)` would leave the order of evaluation open. */
#define ENCODE(bytes, function, object)                        \
	do {                                                   \
		unsigned char *der_of_it = NULL;               \
		int size_of_it = function(object, &der_of_it); \
		(bytes) = encoded(size_of_it, der_of_it);      \
	} while (0)

/* --- OpenSSL's decoders --- */

#define DEFINE_DECODER(type)                                         \
	static bool decode_##type(struct ch_view whole)              \
	{                                                            \
		const unsigned char *at = whole.data;                \
		CH_AUTO(type)                                        \
		decoded = d2i_##type(NULL, &at, (long)(whole.size)); \
                                                                     \
		return decoded;                                      \
	}
DEFINE_DECODER(X509)
DEFINE_DECODER(X509_CRL)
DEFINE_DECODER(X509_REQ)
DEFINE_DECODER(OCSP_BASICRESP)

/* A token is CMS around the TSTInfo: both are decoded. */
static bool decode_token(struct ch_view whole)
{
	const unsigned char *at = whole.data, *inner;
	CH_AUTO(CMS_ContentInfo) token = d2i_CMS_ContentInfo(NULL, &at, (long)whole.size);
	ASN1_OCTET_STRING **content = token ? CMS_get0_content(token) : NULL;

	if (!content || !*content)
		return false;
	inner = ASN1_STRING_get0_data(*content);
	CH_AUTO(TS_TST_INFO) info = d2i_TS_TST_INFO(NULL, &inner, ASN1_STRING_length(*content));
	return info;
}

static struct document *add(struct documents *documents, const char *name,
			    bool (*check)(struct vault_check *check, struct ch_error *err))
{
	struct document *document = &documents->items[documents->count++];

	document->name = name;
	document->check = check;
	return document;
}

/* --- certificates --- */

struct extension {
	int nid;
	const char *value;
};

static void add_name(X509_NAME *name, const char *type, const char *value)
{
	must(X509_NAME_add_entry_by_txt(name, type, MBSTRING_ASC, (const unsigned char *)value, -1, -1, 0),
	     "a name");
}

static void name_subject(X509_NAME *name, const char *common_name)
{
	add_name(name, "C", "CH");
	add_name(name, "O", "Example");
	add_name(name, "CN", common_name);
}

static void set_number(ASN1_INTEGER *integer)
{
	uint8_t octets[16];
	BIGNUM *number;

	memset(octets, 0x4a, sizeof(octets));
	number = BN_bin2bn(octets, sizeof(octets), NULL);
	must(number && BN_to_ASN1_INTEGER(number, integer), "a serial number");
	BN_free(number);
}

static X509 *make_certificate(struct documents *documents, const char *common_name, EVP_PKEY *key, long days,
			      const struct extension *extensions, size_t count)
{
	X509 *certificate = X509_new(), *issuer = documents->issuer ? documents->issuer : certificate;
	CONF *nothing = NCONF_new(NULL); /* certificatePolicies asks for one */
	X509V3_CTX context;

	must(certificate && nothing, "a certificate");
	X509_set_version(certificate, X509_VERSION_3);
	set_number(X509_get_serialNumber(certificate));
	name_subject(X509_get_subject_name(certificate), common_name);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
	X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
	X509_gmtime_adj(X509_getm_notAfter(certificate), days * 86400);
	X509_set_pubkey(certificate, key);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509V3_set_nconf(&context, nothing);
	for (size_t i = 0; i < count; i++) {
		X509_EXTENSION *extension =
			X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);

		must(extension && X509_add_ext(certificate, extension, -1), extensions[i].value);
		X509_EXTENSION_free(extension);
	}
	NCONF_free(nothing);
	must(X509_sign(certificate, documents->signer, EVP_sha256()) > 0, "signing a certificate");
	return certificate;
}

static struct document *add_certificate(struct documents *documents, const char *name,
					bool (*check)(struct vault_check *check, struct ch_error *err),
					X509 *certificate)
{
	struct document *document = add(documents, name, check);

	ENCODE(document->to_be_signed, i2d_re_X509_tbs, certificate);
	ENCODE(document->whole, i2d_X509, certificate);
	document->decode = decode_X509;
	document->decoder = "d2i_X509";
	X509_free(certificate);
	return document;
}

static void add_end_entity(struct documents *documents)
{
	static const struct extension extensions[] = {
		{ NID_authority_key_identifier, "keyid" },
		{ NID_subject_key_identifier, "hash" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "serverAuth" },
		{ NID_certificate_policies, "2.23.140.1.2.1" },
		{ NID_info_access,
		  "OCSP;URI:http://ocsp.example/ocsp,caIssuers;URI:http://pki.example/ca.cer" },
		{ NID_crl_distribution_points, "URI:http://crl.example/ca.crl" },
		{ NID_subject_alt_name, "DNS:www.example,DNS:example,DNS:api.example" },
	};

	add_certificate(documents, "end_entity", purpose_end_entity,
			make_certificate(documents, "www.example", documents->subject_key, 90, extensions,
					 CH_COUNT(extensions)));
}

static void add_ca_certificate(struct documents *documents)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_authority_key_identifier, "keyid" },
		{ NID_subject_key_identifier, "hash" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_certificate_policies, "2.5.29.32.0" },
		{ NID_info_access, "caIssuers;URI:http://pki.example/root.cer" },
		{ NID_crl_distribution_points, "URI:http://crl.example/root.crl" },
	};

	add_certificate(documents, "ca_certificate", purpose_ca_certificate,
			make_certificate(documents, "Sub CA", documents->subordinate_key, 900, extensions,
					 CH_COUNT(extensions)))
		->refused = "approval-missing";
}

static void add_service_identity(struct documents *documents)
{
	static const struct extension extensions[] = {
		{ NID_authority_key_identifier, "keyid" },
		{ NID_subject_key_identifier, "hash" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, "serverAuth,clientAuth" },
		{ NID_subject_alt_name, "URI:chancery:service/ocsp/ocsp-1,DNS:localhost,IP:127.0.0.1" },
	};

	add_certificate(documents, "service_identity", purpose_service_identity,
			make_certificate(documents, "ocsp-1", documents->subject_key, 90, extensions,
					 CH_COUNT(extensions)));
}

/* --- certification requests --- */

static void add_request(struct documents *documents)
{
	struct document *document = add(documents, "csr", purpose_csr);
	CH_AUTO(X509_REQ) request = X509_REQ_new();
	X509_EXTENSION *extension =
		X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();

	sk_X509_EXTENSION_push(extensions, extension);
	X509_REQ_set_subject_name(request, X509_get_subject_name(documents->issuer));
	X509_REQ_set_pubkey(request, documents->signer);
	must(X509_REQ_add_extensions(request, extensions), "an extension request");
	must(X509_REQ_sign(request, documents->signer, EVP_sha256()) > 0, "signing a request");
	ENCODE(document->to_be_signed, i2d_re_X509_REQ_tbs, request);
	ENCODE(document->whole, i2d_X509_REQ, request);
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	document->refused = "approval-missing";
	document->decode = decode_X509_REQ;
	document->decoder = "d2i_X509_REQ";
}

/* --- CRLs --- */

/* Every second entry says why. */
static void revoke(X509_CRL *crl, long number)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	ASN1_TIME *time = ASN1_TIME_adj(NULL, 1790000000, 0, number);

	set_number(serial);
	memcpy(serial->data + 4, &number, sizeof(number));
	X509_REVOKED_set_serialNumber(entry, serial);
	X509_REVOKED_set_revocationDate(entry, time);
	if (number % 2) {
		ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();

		ASN1_ENUMERATED_set(reason, CRL_REASON_SUPERSEDED);
		X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, reason, 0, 0);
		ASN1_ENUMERATED_free(reason);
	}
	must(X509_CRL_add0_revoked(crl, entry), "an entry");
	ASN1_TIME_free(time);
	ASN1_INTEGER_free(serial);
}

static void add_crl(struct documents *documents, const char *name, long entries)
{
	struct document *document = add(documents, name, purpose_crl);
	CH_AUTO(X509_CRL) crl = X509_CRL_new();
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	ASN1_TIME *time = X509_gmtime_adj(NULL, 0);

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(documents->issuer));
	X509_CRL_set1_lastUpdate(crl, time);
	X509_gmtime_adj(time, 86400);
	X509_CRL_set1_nextUpdate(crl, time);
	for (long i = 0; i < entries; i++)
		revoke(crl, i);
	ASN1_INTEGER_set(number, 258);
	X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, 0);
	must(X509_CRL_sign(crl, documents->signer, EVP_sha256()) > 0, "signing a CRL");
	ENCODE(document->to_be_signed, i2d_re_X509_CRL_tbs, crl);
	ENCODE(document->whole, i2d_X509_CRL, crl);
	ASN1_TIME_free(time);
	ASN1_INTEGER_free(number);
	document->decode = decode_X509_CRL;
	document->decoder = "d2i_X509_CRL";
}

/* --- OCSP --- */

static void add_ocsp(struct documents *documents)
{
	struct document *document = add(documents, "ocsp", purpose_ocsp);
	CH_AUTO(OCSP_BASICRESP) response = OCSP_BASICRESP_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, 0), *until = X509_gmtime_adj(NULL, 86400);
	OCSP_CERTID *id;

	set_number(serial);
	id = OCSP_cert_id_new(EVP_sha1(), X509_get_subject_name(documents->issuer),
			      X509_get0_pubkey_bitstr(documents->issuer), serial);
	must(id && OCSP_basic_add1_status(response, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, until),
	     "a status");
	must(OCSP_basic_sign(response, documents->issuer, documents->signer, EVP_sha256(), NULL,
			     OCSP_NOCERTS | OCSP_RESPID_KEY),
	     "signing an OCSP response");
	ENCODE(document->to_be_signed, i2d_OCSP_RESPDATA, OCSP_resp_get0_respdata(response));
	ENCODE(document->whole, i2d_OCSP_BASICRESP, response);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
	ASN1_INTEGER_free(serial);
	document->decode = decode_OCSP_BASICRESP;
	document->decoder = "d2i_OCSP_BASICRESP";
}

/* --- timestamps --- */

static struct ch_bytes message_imprint(void)
{
	static const uint8_t hash[32] = { 9 };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	struct ch_error err;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	must(ch_der_put_oid(&writer, "2.16.840.1.101.3.4.2.1", &err), "an identifier");
	ch_der_finish(&writer);
	ch_der_put_octet_string(&writer, ch_view(hash, sizeof(hash)));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static void stamp_authority(struct documents *documents, struct tsa_authority *authority)
{
	static const struct extension extensions[] = { { NID_key_usage, "critical,digitalSignature" },
						       { NID_ext_key_usage, "critical,timeStamping" } };
	CH_AUTO(X509)
	certificate = make_certificate(documents, "Time", documents->subject_key, 900, extensions,
				       CH_COUNT(extensions));
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err;

	ENCODE(der, i2d_X509, certificate);
	must(tsa_authority_set_certificate(authority, ch_view_of(&der), &err) &&
		     tsa_authority_add_policy(authority, POLICY, &err),
	     "a timestamp authority");
}

static void add_timestamp(struct documents *documents)
{
	static const uint8_t nonce[] = { 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78 };
	struct document *document = add(documents, "timestamp", purpose_timestamp);
	CH_AUTO(tsa_authority) authority = CH_NONE;
	CH_AUTO(ch_bytes) imprint = message_imprint();
	const struct tsa_request request = { .message_imprint = ch_view_of(&imprint),
					     .nonce = ch_view(nonce, sizeof(nonce)) };
	struct tsa_stamp_facts facts = { .authority = &authority,
					 .request = &request,
					 .serial = { 0x4a },
					 .gen_time_us = documents->now_us,
					 .accuracy_us = CH_SECOND };
	uint8_t signature[71] = { 0x30 };
	struct ch_error err;

	stamp_authority(documents, &authority);
	facts.policy = ch_view_of(&authority.policies[0]);
	document->content = tsa_tst_info(&facts);
	must(tsa_signed_attributes(&authority, ch_view_of(&document->content), &document->to_be_signed, &err),
	     "signed attributes");
	document->whole =
		tsa_token(&authority, ch_view_of(&document->content), ch_view_of(&document->to_be_signed),
			  ch_view(signature, sizeof(signature)), false);
	document->decode = decode_token;
	document->decoder = "d2i_CMS_ContentInfo, d2i_TS_TST_INFO";
}

static void add_checkpoint(struct documents *documents)
{
	static const char text[] = ORIGIN "\n12345678\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

	add(documents, "checkpoint", purpose_checkpoint)->to_be_signed = ch_bytes_copy(ch_view_text(text));
}

/* --- the vault's side --- */

static void set_key(struct vault_key *key, const char *id, X509_NAME *subject, EVP_PKEY *pair, int64_t now_us)
{
	uint8_t digest[64];
	size_t size;
	struct ch_error err;

	memset(key->key_id, id[0], 32);
	strcpy(key->tenant, "default");
	key->algorithm = ch_algorithm_find("ecdsa-p256");
	key->purposes = 1u << CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE;
	ENCODE(key->subject_der, i2d_X509_NAME, subject);
	ENCODE(key->public_key_info, i2d_PUBKEY, pair);
	must(ch_key_identifier(ch_view_of(&key->public_key_info), "sha1", digest, &size, &err),
	     "a key's hash");
	memcpy(key->key_hash, digest, sizeof(key->key_hash));
	key->ca_not_before_us = now_us - CH_DAY;
	key->ca_not_after_us = now_us + 1000 * CH_DAY;
	key->ca_path_length = -1;
	key->checkpoint_origin = ch_strdup(ORIGIN);
	key->timestamp_policies = ch_alloc(sizeof(char *));
	key->timestamp_policies[0] = ch_strdup(POLICY);
	key->timestamp_policy_count = 1;
}

static const struct vault_key *find_subject(void *state, struct ch_view info, struct ch_error *err)
{
	const struct documents *documents = state;

	if (ch_view_equal(info, ch_view_of(&documents->subordinate.public_key_info)))
		return &documents->subordinate;
	ch_fail(err, CH_NOT_FOUND, "no such key");
	return NULL;
}

static bool is_ca_name(void *state, struct ch_view name, bool *is, struct ch_error *err)
{
	const struct documents *documents = state;

	return ch_name_equal(name, ch_view_of(&documents->subordinate.subject_der), is, err);
}

struct documents *documents_make(void)
{
	static const struct extension root[] = { { NID_basic_constraints, "critical,CA:TRUE" },
						 { NID_subject_key_identifier, "hash" },
						 { NID_key_usage, "critical,keyCertSign,cRLSign" } };
	struct documents *documents = ch_alloc(sizeof(*documents));
	X509_NAME *subordinate = X509_NAME_new();

	documents->now_us = ch_clock_now_us(ch_clock_system());
	documents->policy = (struct vault_policy){ .clock_tolerance_us = CH_HOUR,
						   .timestamp_tolerance_us = CH_HOUR,
						   .crl_max_validity_us = 30 * CH_DAY,
						   .ocsp_max_validity_us = 10 * CH_DAY };
	documents->signer = EVP_EC_gen("P-256");
	documents->subordinate_key = EVP_EC_gen("P-256");
	documents->subject_key = EVP_EC_gen("P-256");
	documents->issuer =
		make_certificate(documents, "Test CA", documents->signer, 1000, root, CH_COUNT(root));
	name_subject(subordinate, "Sub CA");
	set_key(&documents->key, "a", X509_get_subject_name(documents->issuer), documents->signer,
		documents->now_us);
	set_key(&documents->subordinate, "b", subordinate, documents->subordinate_key, documents->now_us);
	X509_NAME_free(subordinate);
	add_end_entity(documents);
	add_ca_certificate(documents);
	add_crl(documents, "crl_100", 100);
	add_crl(documents, "crl_10000", 10000);
	add_ocsp(documents);
	add_timestamp(documents);
	add_checkpoint(documents);
	add_request(documents);
	add_service_identity(documents);
	return documents;
}

void documents_free(struct documents *documents)
{
	for (size_t i = 0; i < documents->count; i++) {
		ch_bytes_free(&documents->items[i].to_be_signed);
		ch_bytes_free(&documents->items[i].content);
		ch_bytes_free(&documents->items[i].whole);
	}
	vault_key_free(&documents->key);
	vault_key_free(&documents->subordinate);
	X509_free(documents->issuer);
	EVP_PKEY_free(documents->signer);
	EVP_PKEY_free(documents->subordinate_key);
	EVP_PKEY_free(documents->subject_key);
	free(documents);
}

struct vault_check documents_question(struct documents *documents, const struct document *document)
{
	return (struct vault_check){ .key = &documents->key,
				     .policy = &documents->policy,
				     .now_us = documents->now_us,
				     .tenant = "default",
				     .sender_service = "ocsp",
				     .sender_instance = "ocsp-1",
				     .to_be_signed = ch_view_of(&document->to_be_signed),
				     .content = ch_view_of(&document->content),
				     .find_subject = find_subject,
				     .is_ca_name = is_ca_name,
				     .find_state = documents,
				     .reason = "malformed",
				     .ca_path_length = -1 };
}
