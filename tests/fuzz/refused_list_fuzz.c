/* SPDX-License-Identifier: Apache-2.0 */
/* refused_list_fuzz.c: what a peer brings as a list of refused identities; and, so that the search gets past
 * the signature, the same CRL signed by the system CA. */
#include "envelope/envelope.h"
#include "../unit/system_ca.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ch_trust *trust_of(EVP_PKEY **key, X509_NAME **name)
{
	static struct ch_trust *loaded;
	static struct system_ca ca;

	if (!loaded) {
		system_ca_make(&ca);
		if (!ch_trust_load(ca.path, &loaded, NULL))
			abort();
	}
	*key = ca.key;
	*name = X509_get_subject_name(ca.certificate);
	return loaded;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	EVP_PKEY *key;
	X509_NAME *name;
	struct ch_trust *trust = trust_of(&key, &name);
	struct ch_refused_news news;
	struct ch_error err;
	const unsigned char *at = data;
	X509_CRL *crl = size ? d2i_X509_CRL(NULL, &at, (long)size) : NULL;
	unsigned char *der = NULL;
	int length;

	(void)!ch_trust_refuse(trust, ch_view(data, size), &news, &err);
	if (crl && X509_CRL_set_issuer_name(crl, name) && X509_CRL_sign(crl, key, EVP_sha256())) {
		length = i2d_X509_CRL(crl, &der);
		if (length > 0)
			(void)!ch_trust_refuse(trust, ch_view(der, (size_t)length), &news, &err);
		OPENSSL_free(der);
	}
	X509_CRL_free(crl);
	return 0;
}
