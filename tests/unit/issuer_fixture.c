/* SPDX-License-Identifier: Apache-2.0 */
/* issuer_fixture.c: see issuer_fixture.h. Made with OpenSSL, so that what is tested is not what makes it. */
#include "issuer_fixture.h"

#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "fixture: %s\n", what);
	abort();
}

EVP_PKEY *fixture_key(const char *name)
{
	EVP_PKEY *key = NULL;

	if (strncmp(name, "rsa-", 4) == 0)
		key = EVP_RSA_gen((unsigned)strtoul(name + 4, NULL, 10));
	else if (strcmp(name, "ed25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else
		key = EVP_EC_gen(strcmp(name, "ecdsa-p256") == 0   ? "P-256"
				 : strcmp(name, "ecdsa-p384") == 0 ? "P-384"
								   : name);
	must(key, name);
	return key;
}

static struct ch_bytes public_key_info(EVP_PKEY *key)
{
	struct ch_bytes der = CH_NONE;
	int size = i2d_PUBKEY(key, &der.data);

	must(size > 0, "public key");
	der.size = (size_t)size;
	return der;
}

void fixture_begin(struct fixture *fixture)
{
	struct ch_ca *ca = &fixture->ca;
	uint8_t digest[64];
	size_t size;

	memset(fixture, 0, sizeof(*fixture));
	fixture->ca_key = fixture_key("ecdsa-p256");
	must(ch_ca_document_read(
		     ch_view_text(
			     "{\"name\":\"example-issuing\",\"parent\":\"example-root\","
			     "\"subject\":\"CN=Example Issuing CA,O=Example,C=CH\",\"key\":\"ecdsa-p256\","
			     "\"validity\":\"5y\",\"path_length\":0,\"urls\":{\"ocsp\":\"http://pki.example/"
			     "ocsp\","
			     "\"crl\":\"http://pki.example/crl/i.crl\","
			     "\"ca_issuers\":\"http://pki.example/ca/i.cer\"}}"),
		     &ca->document, NULL),
	     "CA document");
	ca->id = 2;
	ca->parent_id = 1;
	ca->state = ch_strdup("active");
	must(ch_name_parse(ca->document.subject, &ca->subject_der, NULL), "CA name");
	ca->subject = ch_name_text(ch_view_of(&ca->subject_der));
	ca->key_id = ch_strdup("00112233445566778899aabbccddeeff");
	ca->algorithm = ch_algorithm_find("ecdsa-p256");
	ca->public_key_info = public_key_info(fixture->ca_key);
	must(ch_key_identifier(ch_view_of(&ca->public_key_info), "sha1", digest, &size, NULL),
	     "key identifier");
	ca->key_identifier = ch_bytes_copy(ch_view(digest, size));
	ca->not_before_us = NOW - CH_DAY;
	ca->not_after_us = NOW - CH_DAY + 5 * 365 * CH_DAY - CH_SECOND;
	memset(ca->serial_tag_key, 7, sizeof(ca->serial_tag_key));
}

void fixture_end(struct fixture *fixture)
{
	ch_ca_free(&fixture->ca);
	EVP_PKEY_free(fixture->ca_key);
}

static void add_subject(X509_REQ *request, const char *subject)
{
	X509_NAME *name = X509_NAME_new();
	char *copy = ch_strdup(subject), *rest = copy, *item;

	while ((item = strsep(&rest, ",")) && item[0]) {
		char *value = strchr(item, '=');

		*value++ = '\0';
		must(X509_NAME_add_entry_by_txt(name, item, MBSTRING_UTF8, (const uint8_t *)value, -1, -1, 0),
		     item);
	}
	must(X509_REQ_set_subject_name(request, name), "subject");
	X509_NAME_free(name);
	free(copy);
}

static void add_extension(STACK_OF(X509_EXTENSION) * extensions, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	must(extension, value);
	sk_X509_EXTENSION_push(extensions, extension);
}

struct ch_bytes fixture_csr(EVP_PKEY *key, const char *subject, const char *sans, bool ca_true)
{
	X509_REQ *request = X509_REQ_new();
	STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
	struct ch_bytes der = CH_NONE;
	int size;

	add_subject(request, subject);
	if (sans)
		add_extension(extensions, NID_subject_alt_name, sans);
	if (ca_true)
		add_extension(extensions, NID_basic_constraints, "critical,CA:TRUE");
	if (sk_X509_EXTENSION_num(extensions) > 0)
		must(X509_REQ_add_extensions(request, extensions), "extensions");
	must(X509_REQ_set_pubkey(request, key), "key");
	must(X509_REQ_sign(request, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0,
	     "signature");
	size = i2d_X509_REQ(request, &der.data);
	must(size > 0, "CSR");
	der.size = (size_t)size;
	sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
	X509_REQ_free(request);
	return der;
}

void fixture_profile(struct ch_profile *profile, const char *more)
{
	CH_AUTO(ch_string) text = ch_format(
		"name: example\n"
		"validity: { default: 90d, maximum: 398d }\n"
		"keys: [rsa-2048, ecdsa-p256, ed25519]\n"
		"%s%s",
		strstr(more, "key_usage: [digitalSignature, ") ? "" : "key_usage: [digitalSignature]\n",
		more);
	struct ch_error err = CH_NONE;

	if (!ch_profile_read(ch_view_text(text), profile, &err))
		must(false, err.message);
	profile->version = 1;
}
