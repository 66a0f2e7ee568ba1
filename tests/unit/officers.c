/* SPDX-License-Identifier: Apache-2.0 */
/* officers.c: makes officers and their signatures for tests. */
#include "officers.h"

#include "x509/x509.h"

#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_true(extension && X509_add_ext(certificate, extension, -1));
	X509_EXTENSION_free(extension);
}

struct person make_person(const struct person *issuer, EVP_PKEY *key, const char *cn, const char *uri,
			  int64_t now_us)
{
	struct person made = { X509_new(), key };
	X509_NAME *name = X509_get_subject_name(made.certificate);
	uint16_t serial;

	assert_non_null(key);
	X509_set_version(made.certificate, X509_VERSION_3);
	ch_random(&serial, sizeof(serial));
	ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), 1 + serial);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(made.certificate, issuer ? X509_get_subject_name(issuer->certificate) : name);
	ASN1_TIME_set(X509_getm_notBefore(made.certificate), (time_t)(now_us / CH_SECOND) - 180 * 86400);
	ASN1_TIME_set(X509_getm_notAfter(made.certificate), (time_t)(now_us / CH_SECOND) + 180 * 86400);
	X509_set_pubkey(made.certificate, key);
	if (!issuer)
		add_extension(made.certificate, NID_basic_constraints, "critical,CA:TRUE");
	if (uri)
		add_extension(made.certificate, NID_subject_alt_name, uri);
	assert_true(X509_sign(made.certificate, issuer ? issuer->key : key, EVP_sha256()) > 0);
	return made;
}

void free_person(struct person *person)
{
	X509_free(person->certificate);
	EVP_PKEY_free(person->key);
}

void appoint(struct vault_quorum *quorum, const char *name, const struct person *person)
{
	struct vault_officer *officer = &quorum->officers[quorum->count++];
	CH_AUTO(ch_bytes) der = CH_NONE;
	unsigned char *info = NULL;
	uint8_t digest[64];
	struct ch_error err;
	size_t size;
	int length = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(person->certificate), &info);

	assert_true(ch_digest("sha256", ch_view(info, (size_t)length), digest, &size, &err));
	snprintf(officer->name, sizeof(officer->name), "%s", name);
	memcpy(officer->public_key_sha256, digest, 32);
	OPENSSL_free(info);
}

void write_document(struct vault_action *action, const struct ch_action *content)
{
	struct ch_error err = CH_NONE;

	vault_action_free(action);
	if (!ch_action_format(content, &action->document, &err))
		fail_msg("%s", err.message);
}

void approve(struct vault_action *action, const struct person *person)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	size_t size = 0;
	int length = i2d_X509(person->certificate, &der);
	struct ch_bytes *signature = &action->approvals[action->approval_count].signature;

	assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, person->key), 1);
	assert_int_equal(EVP_DigestSign(context, NULL, &size, action->document.data, action->document.size),
			 1);
	signature->data = ch_alloc(size);
	assert_int_equal(
		EVP_DigestSign(context, signature->data, &size, action->document.data, action->document.size),
		1);
	signature->size = size;
	action->approvals[action->approval_count++].certificate = ch_bytes_copy(ch_view(der, (size_t)length));
	OPENSSL_free(der);
	EVP_MD_CTX_free(context);
}
