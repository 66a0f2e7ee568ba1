/* SPDX-License-Identifier: Apache-2.0 */
/* domain_keys.c: the HSMs' own keys from the root secret. Called where tokens are set up (worker_domain.c).
 */
#include "domain_keys.h"

#include "err/err.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

CH_DEFINE_AUTO_POINTER(domain_kdf, EVP_KDF, EVP_KDF_free)
CH_DEFINE_AUTO_POINTER(domain_kdf_context, EVP_KDF_CTX, EVP_KDF_CTX_free)

#define INFO "chancery/hsm-domain/v1/"

bool domain_key_derive(struct ch_view root, const char *label, struct ch_secret *key, struct ch_error *err)
{
	CH_AUTO(domain_kdf) kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	CH_AUTO(domain_kdf_context) context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	CH_AUTO(ch_string) info = ch_format(INFO "%s", label);
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)root.data,
						  root.size),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info)),
		OSSL_PARAM_construct_end(),
	};

	if (root.size != DOMAIN_ROOT_SIZE)
		return ch_fail(err, CH_INVALID, "root secret of %zu octets, needs %d", root.size,
			       DOMAIN_ROOT_SIZE);
	if (!ch_secret_new(DOMAIN_KEY_SIZE, key, err))
		return false;
	if (context && EVP_KDF_derive(context, key->data, key->size, parameters) == 1)
		return true;
	ch_secret_free(key);
	return ch_fail_openssl(err, CH_INTERNAL, "HKDF of '%s'", label);
}
