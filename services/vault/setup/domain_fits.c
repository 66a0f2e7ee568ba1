/* SPDX-License-Identifier: Apache-2.0 */
/* domain_fits.c: a root secret against what the suite has of its domain. init_hsms.c calls it. */
#include "domain_fits.h"

#include "domain_keys.h"
#include "policy.h"
#include "worker_pkcs11.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define ENOUGH 16 /* keys that are tried: a single row may have been edited */

CH_DEFINE_AUTO_POINTER(fits_cipher, EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)

bool domain_check_value(struct ch_view root, uint8_t check[3], struct ch_error *err)
{
	CH_AUTO(fits_cipher) context = EVP_CIPHER_CTX_new();
	CH_AUTO(ch_secret) key = CH_NONE;
	static const uint8_t zeros[16];
	uint8_t block[32];
	int size = 0;

	if (!domain_key_derive(root, HSM_KEK_LABEL, &key, err))
		return false;
	if (!context || EVP_EncryptInit_ex(context, EVP_aes_256_ecb(), NULL, key.data, NULL) != 1 ||
	    EVP_EncryptUpdate(context, block, &size, zeros, sizeof(zeros)) != 1 || size != sizeof(zeros))
		return ch_fail_openssl(err, CH_INTERNAL, "check value of the key-encryption key");
	memcpy(check, block, 3);
	return true;
}

struct tried {
	struct ch_view seal_key;
	unsigned count, fitting;
};

static void try_key(void *context, const struct vault_key *key)
{
	struct tried *tried = context;
	CH_AUTO(ch_bytes) packed = CH_NONE;
	CH_AUTO(ch_buffer) sealed = CH_NONE;
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	if (key->damaged || key->seal.size != VAULT_SEAL_SIZE || tried->count == ENOUGH)
		return;
	packed = vault_key_pack(key);
	ch_buffer_add(&sealed, VAULT_SEAL_KEY, sizeof(VAULT_SEAL_KEY)); /* with its zero: see policy.h */
	ch_buffer_add_view(&sealed, ch_view_of(&packed));
	tried->count++;
	if (HMAC(EVP_sha256(), tried->seal_key.data, (int)tried->seal_key.size, sealed.data, sealed.used, mac,
		 &size) &&
	    ch_view_equal_secret(ch_view(mac, size), ch_view_of(&key->seal)))
		tried->fitting++;
}

bool domain_fits_database(const struct vault_config *config, struct ch_view root, bool *known,
			  struct ch_error *err)
{
	struct ch_metrics *metrics = ch_metrics_new();
	CH_AUTO(ch_secret) seal_key = CH_NONE;
	struct tried tried = CH_NONE;
	struct ch_db *db = NULL;
	bool read = false;

	if (domain_key_derive(root, HSM_SEAL_LABEL, &seal_key, err)) {
		tried.seal_key = ch_view(seal_key.data, seal_key.size);
		read = ch_db_open(&config->common.database, "chancery-vault", metrics, &db, err) &&
		       store_list_all_keys(db, try_key, &tried, err);
	}
	ch_db_close(db);
	ch_metrics_free(metrics);
	if (!read)
		return false;
	*known = tried.count > 0;
	return !tried.count || tried.fitting ||
	       ch_fail(err, CH_CONFLICT,
		       "the shares are of another suite: none of %u keys' seals in the database is by the "
		       "seal key that they make",
		       tried.count);
}
