/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust.c: the system CA, and who a certificate stands for. A certificate that verified once is kept by its
 * digest with the time its chain is valid for, so that only the signature is computed for each message.
 */
#include "envelope/internal.h"

#include <ctype.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CACHE_SLOTS 256 /* a power of two; a suite has some dozens of instances */

struct known {
	bool used;
	uint8_t digest[32];
	struct ch_peer peer;
	int64_t not_before_us, not_after_us; /* of the whole chain */
	EVP_PKEY *key;
	struct ch_context_pool contexts;
};

struct ch_trust {
	X509_STORE *store;
	pthread_mutex_t lock; /* guards known */
	struct known known[CACHE_SLOTS];
};

/* What a verification needs, taken out of the cache: contexts outlive the slot they came from. */
struct verifier {
	uint8_t digest[32];
	struct ch_peer peer;
	int64_t not_before_us, not_after_us;
	EVP_PKEY_CTX *context;
};

CH_DEFINE_AUTO_POINTER(certificate, X509, X509_free)
CH_DEFINE_AUTO_POINTER(chain_check, X509_STORE_CTX, X509_STORE_CTX_free)
CH_DEFINE_AUTO_POINTER(names, GENERAL_NAMES, GENERAL_NAMES_free)
CH_DEFINE_AUTO_POINTER(file, BIO, BIO_free_all)
CH_DEFINE_AUTO_POINTER(digest_context, EVP_MD_CTX, EVP_MD_CTX_free)

bool ch_envelope_digest(const char *domain, struct ch_view data, uint8_t out[32], struct ch_error *err)
{
	CH_AUTO(digest_context) context = EVP_MD_CTX_new();

	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    (domain && EVP_DigestUpdate(context, domain, strlen(domain) + 1) != 1) ||
	    EVP_DigestUpdate(context, data.data, data.size) != 1 ||
	    EVP_DigestFinal_ex(context, out, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "SHA-256 of a message failed");
	return true;
}

EVP_PKEY_CTX *ch_context_pool_take(struct ch_context_pool *pool)
{
	return pool->count ? pool->items[--pool->count] : NULL;
}

void ch_context_pool_give(struct ch_context_pool *pool, EVP_PKEY_CTX *context)
{
	if (pool->count < CH_CONTEXT_POOL_SIZE)
		pool->items[pool->count++] = context;
	else
		EVP_PKEY_CTX_free(context);
}

void ch_context_pool_clear(struct ch_context_pool *pool)
{
	while (pool->count)
		EVP_PKEY_CTX_free(pool->items[--pool->count]);
}

/* --- loading ----------------------------------------------------------------------------------------------
 */

bool ch_trust_load(const char *system_ca_path, struct ch_trust **trust, struct ch_error *err)
{
	CH_AUTO(file) bio = BIO_new_file(system_ca_path, "r");
	CH_AUTO(ch_trust) loaded = ch_alloc(sizeof(*loaded));
	size_t count = 0;

	pthread_mutex_init(&loaded->lock, NULL);
	loaded->store = X509_STORE_new();
	if (!bio)
		return ch_fail_openssl(err, CH_NOT_FOUND, "system CA file '%s'", system_ca_path);
	if (!loaded->store)
		return ch_fail_openssl(err, CH_INTERNAL, "no certificate store");
	for (;;) {
		CH_AUTO(certificate) ca = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!ca)
			break;
		/* OpenSSL reads a certificate's extensions when it is first used: here, where one thread is
		 * alone with it. */
		X509_check_purpose(ca, -1, -1);
		if (X509_STORE_add_cert(loaded->store, ca) != 1)
			return ch_fail_openssl(err, CH_INVALID, "system CA file '%s'", system_ca_path);
		count++;
	}
	ERR_clear_error();
	if (!count)
		return ch_fail(err, CH_INVALID, "system CA file '%s' holds no PEM certificate",
			       system_ca_path);
	*trust = CH_STEAL(loaded);
	return true;
}

static void forget(struct known *known)
{
	ch_context_pool_clear(&known->contexts);
	EVP_PKEY_free(known->key);
	*known = (struct known)CH_NONE;
}

void ch_trust_free(struct ch_trust *trust)
{
	if (!trust)
		return;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		forget(&trust->known[i]);
	X509_STORE_free(trust->store);
	pthread_mutex_destroy(&trust->lock);
	free(trust);
}

/* --- who a certificate stands for -------------------------------------------------------------------------
 */

static bool copy_name(const char *from, size_t size, char *to, size_t room, const char *more)
{
	if (size == 0 || size >= room)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = from[i];
		bool letter = (c >= 'a' && c <= 'z') || (i > 0 && c && strchr(more, c));

		if (!letter)
			return false;
	}
	memcpy(to, from, size);
	to[size] = 0;
	return true;
}

/* "chancery:service/<service>/<instance>" */
static bool read_uri(const char *uri, size_t size, struct ch_peer *peer)
{
	const char *service = uri + strlen(CH_IDENTITY_URI);
	const char *end = uri + size;
	const char *slash = memchr(service, '/', (size_t)(end - service));

	return slash &&
	       copy_name(service, (size_t)(slash - service), peer->service, sizeof(peer->service), "") &&
	       copy_name(slash + 1, (size_t)(end - slash - 1), peer->instance, sizeof(peer->instance),
			 "0123456789-.");
}

static bool read_peer(X509 *certificate, struct ch_peer *peer, struct ch_error *err)
{
	CH_AUTO(names) names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	size_t found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const char *uri;
		size_t size;

		if (name->type != GEN_URI)
			continue;
		uri = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
		size = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
		if (!ch_view_starts_with(ch_view(uri, size), CH_IDENTITY_URI))
			continue;
		if (!read_uri(uri, size, peer))
			return ch_fail(err, CH_UNAUTHENTICATED,
				       "identity certificate names no service: '%.*s'", (int)size, uri);
		found++;
	}
	ERR_clear_error();
	if (found != 1)
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "identity certificate has %zu names '" CH_IDENTITY_URI "…', needs one", found);
	return true;
}

static int64_t time_us(const ASN1_TIME *time)
{
	struct tm parts;

	if (!time || ASN1_TIME_to_tm(time, &parts) != 1)
		return 0;
	return (int64_t)timegm(&parts) * CH_SECOND;
}

/* Verifies the chain at no particular time and notes from when to when all of it is valid. */
static bool verify_chain(struct ch_trust *trust, X509 *certificate, struct known *known, struct ch_error *err)
{
	CH_AUTO(chain_check) check = X509_STORE_CTX_new();
	STACK_OF(X509) * chain;

	if (!check || X509_STORE_CTX_init(check, trust->store, certificate, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "certificate verification cannot start");
	X509_STORE_CTX_set_flags(check, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_X509_STRICT);
	if (X509_verify_cert(check) != 1) {
		int reason = X509_STORE_CTX_get_error(check);

		ERR_clear_error();
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "identity certificate does not chain to the system CA: %s",
			       X509_verify_cert_error_string(reason));
	}
	chain = X509_STORE_CTX_get0_chain(check);
	known->not_before_us = INT64_MIN;
	known->not_after_us = INT64_MAX;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		const X509 *link = sk_X509_value(chain, i);
		int64_t from = time_us(X509_get0_notBefore(link));
		int64_t to = time_us(X509_get0_notAfter(link));

		known->not_before_us = from > known->not_before_us ? from : known->not_before_us;
		known->not_after_us = to < known->not_after_us ? to : known->not_after_us;
	}
	return true;
}

static bool learn(struct ch_trust *trust, struct ch_view der, struct known *known, struct ch_error *err)
{
	const unsigned char *at = der.data;
	CH_AUTO(certificate) certificate = NULL;
	char group[32] = "";

	if (der.size == 0 || der.size > 64 * 1024)
		return ch_fail(err, CH_UNAUTHENTICATED, "identity certificate of %zu octets", der.size);
	certificate = d2i_X509(NULL, &at, (long)der.size);
	if (!certificate || at != der.data + der.size)
		return ch_fail_openssl(err, CH_UNAUTHENTICATED, "identity certificate does not decode");
	if (!verify_chain(trust, certificate, known, err) || !read_peer(certificate, &known->peer, err))
		return false;
	if (X509_check_ca(certificate) != 0)
		return ch_fail(err, CH_UNAUTHENTICATED, "identity certificate is a CA certificate");
	known->key = X509_get_pubkey(certificate);
	if (!known->key || EVP_PKEY_get_base_id(known->key) != EVP_PKEY_EC ||
	    EVP_PKEY_get_group_name(known->key, group, sizeof(group), NULL) != 1 ||
	    strcmp(group, "prime256v1") != 0)
		return ch_fail_openssl(err, CH_UNAUTHENTICATED,
				       "identity certificate has a key that is not P-256");
	return true;
}

static EVP_PKEY_CTX *new_verify_context(EVP_PKEY *key)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);

	if (context && EVP_PKEY_verify_init(context) != 1) {
		EVP_PKEY_CTX_free(context);
		return NULL;
	}
	return context;
}

static struct known *slot_of(struct ch_trust *trust, const uint8_t digest[32])
{
	return &trust->known[(digest[0] | (unsigned)digest[1] << 8) & (CACHE_SLOTS - 1)];
}

static void take(struct known *known, struct verifier *verifier)
{
	verifier->peer = known->peer;
	verifier->not_before_us = known->not_before_us;
	verifier->not_after_us = known->not_after_us;
	verifier->context = ch_context_pool_take(&known->contexts);
	if (!verifier->context)
		verifier->context = new_verify_context(known->key);
}

/* Fills *verifier from the cache, or verifies the chain and remembers it. */
static bool find_verifier(struct ch_trust *trust, struct ch_view certificate, struct verifier *verifier,
			  struct ch_error *err)
{
	struct known *slot, fresh = CH_NONE;
	bool known;

	if (!ch_envelope_digest(NULL, certificate, verifier->digest, err))
		return false;
	slot = slot_of(trust, verifier->digest);
	pthread_mutex_lock(&trust->lock);
	known = slot->used && memcmp(slot->digest, verifier->digest, 32) == 0;
	if (known)
		take(slot, verifier);
	pthread_mutex_unlock(&trust->lock);
	if (!known) {
		if (!learn(trust, certificate, &fresh, err)) {
			forget(&fresh);
			return false;
		}
		fresh.used = true;
		memcpy(fresh.digest, verifier->digest, 32);
		take(&fresh, verifier);
		pthread_mutex_lock(&trust->lock);
		forget(slot);
		*slot = fresh;
		pthread_mutex_unlock(&trust->lock);
	}
	if (!verifier->context)
		return ch_fail_openssl(err, CH_INTERNAL, "no context to verify a signature");
	return true;
}

static void give_back(struct ch_trust *trust, struct verifier *verifier)
{
	struct known *slot = slot_of(trust, verifier->digest);

	pthread_mutex_lock(&trust->lock);
	if (slot->used && memcmp(slot->digest, verifier->digest, 32) == 0)
		ch_context_pool_give(&slot->contexts, verifier->context);
	else
		EVP_PKEY_CTX_free(verifier->context);
	pthread_mutex_unlock(&trust->lock);
}

static bool check_time(const struct verifier *verifier, int64_t at_us, struct ch_error *err)
{
	char text[CH_TIME_TEXT_SIZE];

	if (at_us < verifier->not_before_us)
		return ch_fail(err, CH_UNAUTHENTICATED, "identity certificate of %s is valid only from %s",
			       verifier->peer.instance, ch_time_text(verifier->not_before_us, text));
	if (at_us > verifier->not_after_us)
		return ch_fail(err, CH_UNAUTHENTICATED, "identity certificate of %s expired at %s",
			       verifier->peer.instance, ch_time_text(verifier->not_after_us, text));
	return true;
}

bool ch_trust_identify(struct ch_trust *trust, struct ch_view certificate, int64_t at_us,
		       struct ch_peer *peer, struct ch_error *err)
{
	struct verifier verifier;
	bool valid;

	if (!find_verifier(trust, certificate, &verifier, err))
		return false;
	valid = check_time(&verifier, at_us, err);
	if (valid)
		*peer = verifier.peer;
	give_back(trust, &verifier);
	return valid;
}

bool ch_trust_verify(struct ch_trust *trust, const char *domain, struct ch_view certificate,
		     struct ch_view data, struct ch_view signature, int64_t at_us, struct ch_peer *peer,
		     struct ch_error *err)
{
	struct verifier verifier;
	uint8_t digest[32];
	bool valid;

	if (!ch_envelope_digest(domain, data, digest, err) ||
	    !find_verifier(trust, certificate, &verifier, err))
		return false;
	valid = check_time(&verifier, at_us, err);
	if (valid && EVP_PKEY_verify(verifier.context, signature.data, signature.size, digest, 32) != 1) {
		valid = ch_fail(err, CH_UNAUTHENTICATED, "signature by %s's certificate does not verify",
				verifier.peer.instance);
		ERR_clear_error();
	}
	if (valid)
		*peer = verifier.peer;
	give_back(trust, &verifier);
	return valid;
}
