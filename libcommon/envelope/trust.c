/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trust.c: the system CAs, and the certificates that chain to them (peer.c reads whom one stands for). One
 * that verified once is kept by its digest with the time its chain is valid for, so that only the signature
 * is computed for each message. Whether it is refused (refused_set.c) is looked up every time.
 */
#include "envelope/internal.h"

#include "x509/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SYSTEM_CA_CAP (64 * 1024)
#define CACHE_SLOTS   256 /* a power of two; a suite has some dozens of instances */

struct known {
	bool used;
	uint8_t digest[32];
	struct ch_peer peer;
	uint8_t issuer[32]; /* SHA-256 of the public key of the CA that signed it */
	uint8_t serial[CH_SERIAL_ROOM];
	int64_t not_before_us, not_after_us; /* of the whole chain */
	EVP_PKEY *key;
	struct ch_context_pool contexts;
};

struct ch_trust {
	pthread_mutex_t lock; /* guards all that follows */
	X509_STORE *store;    /* never changed itself: replaced */
	unsigned generation;  /* of the store */
	X509_STORE *others;   /* CAs whose lists are taken too; NULL: none. Not changed after the start */
	struct ch_refused_set refused;
	struct known known[CACHE_SLOTS];
};

/* What a verification needs, taken out of the cache: contexts outlive the slot they came from. */
struct verifier {
	uint8_t digest[32];
	struct ch_peer peer;
	uint8_t serial[CH_SERIAL_ROOM];
	int64_t not_before_us, not_after_us;
	int64_t refused_us; /* since when; INT64_MAX: it is not */
	int reason;
	EVP_PKEY_CTX *context;
};

CH_DEFINE_AUTO_POINTER(certificate, X509, X509_free)
CH_DEFINE_AUTO_POINTER(chain_check, X509_STORE_CTX, X509_STORE_CTX_free)
CH_DEFINE_AUTO_POINTER(store, X509_STORE, X509_STORE_free)
CH_DEFINE_AUTO_POINTER(file, BIO, BIO_free_all)

/* --- loading ----------------------------------------------------------------------------------------------
 */

bool ch_trust_store_read(struct ch_view pem, const char *what, size_t most, X509_STORE **store,
			 struct ch_error *err)
{
	CH_AUTO(file) bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	CH_AUTO(store) loaded = X509_STORE_new();
	size_t count = 0;

	if (!loaded || !bio)
		return ch_fail_openssl(err, CH_INTERNAL, "no certificate store");
	for (;;) {
		CH_AUTO(certificate) ca = PEM_read_bio_X509(bio, NULL, NULL, NULL);

		if (!ca && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
			break; /* the end */
		if (!ca)
			return ch_fail_openssl(err, CH_INVALID, "CA file '%s': certificate %zu", what,
					       count + 1);
		/* OpenSSL reads a certificate's extensions when it is first used: here, where one thread is
		 * alone with it. */
		X509_check_purpose(ca, -1, -1);
		if (X509_STORE_add_cert(loaded, ca) != 1)
			return ch_fail_openssl(err, CH_INVALID, "CA file '%s'", what);
		count++;
	}
	ERR_clear_error();
	if (!count)
		return ch_fail(err, CH_INVALID, "CA file '%s' holds no PEM certificate", what);
	if (count > most)
		return ch_fail(err, CH_INVALID, "CA file '%s' holds %zu certificates, at most %zu are taken",
			       what, count, most);
	*store = CH_STEAL(loaded);
	return true;
}

static bool load(const char *system_ca_path, const char *more, size_t most, struct ch_trust **trust,
		 struct ch_error *err)
{
	CH_AUTO(ch_trust) loaded = ch_alloc(sizeof(*loaded));
	CH_AUTO(ch_bytes) pem = CH_NONE, more_pem = CH_NONE;
	CH_AUTO(ch_buffer) all = CH_NONE;

	pthread_mutex_init(&loaded->lock, NULL);
	if (!ch_read_file(system_ca_path, SYSTEM_CA_CAP, &pem, err) ||
	    (more && !ch_read_file(more, SYSTEM_CA_CAP, &more_pem, err)))
		return ch_fail_in(err, "system CA file");
	ch_buffer_add_view(&all, ch_view_of(&pem));
	ch_buffer_add_view(&all, ch_view_of(&more_pem));
	if (!ch_trust_store_read(ch_buffer_view(&all), system_ca_path, most, &loaded->store, err))
		return false;
	*trust = CH_STEAL(loaded);
	return true;
}

bool ch_trust_load(const char *system_ca_path, struct ch_trust **trust, struct ch_error *err)
{
	return load(system_ca_path, NULL, CH_TRUST_CAS_CAP, trust, err);
}

bool ch_trust_load_with(const char *system_ca_path, const char *more, struct ch_trust **trust,
			struct ch_error *err)
{
	return load(system_ca_path, more, CH_TRUST_CAS_CAP + CH_TRUST_RETIRED_CAP, trust, err);
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
	ch_refused_set_free(&trust->refused);
	X509_STORE_free(trust->store);
	X509_STORE_free(trust->others);
	pthread_mutex_destroy(&trust->lock);
	free(trust);
}

/* The trust's set of CAs as it is now, with a reference of the caller's. */
static X509_STORE *hold_store(struct ch_trust *trust, unsigned *generation)
{
	X509_STORE *store;

	pthread_mutex_lock(&trust->lock);
	store = trust->store;
	X509_STORE_up_ref(store);
	if (generation)
		*generation = trust->generation;
	pthread_mutex_unlock(&trust->lock);
	return store;
}

void ch_trust_replace(struct ch_trust *trust, X509_STORE *store)
{
	X509_STORE_up_ref(store);
	pthread_mutex_lock(&trust->lock);
	X509_STORE_free(trust->store);
	trust->store = store;
	trust->generation++;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		forget(&trust->known[i]);
	ch_refused_set_keep(&trust->refused, store);
	pthread_mutex_unlock(&trust->lock);
}

size_t ch_trust_ca_count(struct ch_trust *trust)
{
	CH_AUTO(store) store = hold_store(trust, NULL);
	STACK_OF(X509) *cas = X509_STORE_get1_all_certs(store);
	int count = sk_X509_num(cas);

	sk_X509_pop_free(cas, X509_free);
	return count > 0 ? (size_t)count : 0;
}

/* --- refused identities -----------------------------------------------------------------------------------
 */

static bool read_list(struct ch_trust *trust, struct ch_view crl, struct ch_refused_list **list,
		      struct ch_error *err)
{
	CH_AUTO(store) store = hold_store(trust, NULL);
	struct ch_error why = CH_NONE;

	if (ch_refused_list_read(crl, store, list, &why)) {
		(*list)->of_system_ca = true;
		return true;
	}
	if (trust->others && why.code == CH_UNAUTHENTICATED)
		return ch_refused_list_read(crl, trust->others, list, err);
	if (err)
		*err = why;
	return false;
}

bool ch_trust_refuse(struct ch_trust *trust, struct ch_view crl, struct ch_refused_news *news,
		     struct ch_error *err)
{
	struct ch_refused_list *list = NULL;
	struct ch_refused_news told = CH_NONE;
	CH_AUTO(ch_string) issuer = NULL;
	bool done;

	if (!read_list(trust, crl, &list, err))
		return false;
	issuer = ch_hex(ch_view(list->issuer, sizeof(list->issuer)));
	memcpy(told.issuer, issuer, sizeof(told.issuer));
	memcpy(told.number, list->number_text, sizeof(told.number));
	told.count = list->count;
	pthread_mutex_lock(&trust->lock);
	done = ch_refused_set_take(&trust->refused, &list, &told, err);
	pthread_mutex_unlock(&trust->lock);
	ch_refused_list_free(list);
	if (news)
		*news = told;
	return done;
}

size_t ch_trust_refused_lists(struct ch_trust *trust, enum ch_refused_of of,
			      struct ch_bytes lists[CH_TRUST_CAS_CAP])
{
	size_t count = 0;

	pthread_mutex_lock(&trust->lock);
	for (size_t i = 0; i < trust->refused.count; i++)
		if (of == CH_REFUSED_OF_ALL || trust->refused.lists[i]->of_system_ca)
			lists[count++] = ch_bytes_copy(ch_view_of(&trust->refused.lists[i]->der));
	pthread_mutex_unlock(&trust->lock);
	return count;
}

size_t ch_trust_refused_count(struct ch_trust *trust)
{
	size_t count = 0;

	pthread_mutex_lock(&trust->lock);
	for (size_t i = 0; i < trust->refused.count; i++)
		count += trust->refused.lists[i]->count;
	pthread_mutex_unlock(&trust->lock);
	return count;
}

/* With the lock held: since when this identity is refused. */
static void look_up_refusal(const struct ch_trust *trust, const struct known *known,
			    struct verifier *verifier)
{
	const struct ch_refused_entry *entry =
		ch_refused_set_find(&trust->refused, known->issuer, known->serial);

	verifier->refused_us = entry ? entry->since_us : INT64_MAX;
	verifier->reason = entry ? entry->reason : 0;
}

/* --- certificates of other CAs ----------------------------------------------------------------------------
 */

bool ch_trust_add_other_cas(struct ch_trust *trust, const char *path, struct ch_error *err)
{
	CH_AUTO(ch_bytes) pem = CH_NONE;

	return ch_read_file(path, SYSTEM_CA_CAP, &pem, err) &&
	       ch_trust_store_read(ch_view_of(&pem), path, CH_TRUST_CAS_CAP, &trust->others, err);
}

bool ch_trust_has_other_cas(const struct ch_trust *trust)
{
	return trust->others != NULL;
}

/* With the lock held. CAs that follow each other may have one name: their serial numbers are random. */
static const struct ch_refused_entry *find_in_others(const struct ch_trust *trust, X509 *ca,
						     const uint8_t serial[CH_SERIAL_ROOM])
{
	uint8_t issuer[32];

	return ch_spki_sha256(ca, issuer) ? ch_refused_set_find(&trust->refused, issuer, serial) : NULL;
}

static bool refused_by_others(struct ch_trust *trust, X509 *certificate, struct ch_refused_entry *found)
{
	STACK_OF(X509) *cas = X509_STORE_get1_all_certs(trust->others);
	const struct ch_refused_entry *entry = NULL;

	pthread_mutex_lock(&trust->lock);
	for (int i = 0; !entry && i < sk_X509_num(cas); i++)
		if (X509_NAME_cmp(X509_get_subject_name(sk_X509_value(cas, i)),
				  X509_get_issuer_name(certificate)) == 0)
			entry = find_in_others(trust, sk_X509_value(cas, i), found->serial);
	if (entry)
		*found = *entry;
	pthread_mutex_unlock(&trust->lock);
	sk_X509_pop_free(cas, X509_free);
	return entry != NULL;
}

bool ch_trust_accepts(struct ch_trust *trust, X509 *certificate, struct ch_error *err)
{
	struct ch_refused_entry entry = CH_NONE;
	char text[CH_TIME_TEXT_SIZE];
	CH_AUTO(ch_string) serial = NULL;

	if (!trust->others)
		return true;
	if (!ch_serial_take(X509_get0_serialNumber(certificate), entry.serial))
		return ch_fail(err, CH_UNAUTHENTICATED, "certificate has a serial number over 20 octets");
	if (!refused_by_others(trust, certificate, &entry))
		return true;
	serial = ch_hex(ch_view(entry.serial + 1, entry.serial[0]));
	return ch_fail(err, CH_UNAUTHENTICATED, "certificate with serial %s is refused since %s: %s", serial,
		       ch_time_text(entry.since_us, text), ch_reason_name(entry.reason));
}

/* --- certificates that were verified ---------------------------------------------------------------------
 */

/* A system CA that is not here may come yet: "retryable" tells that apart from what is false. */
static bool is_issuer_unknown(int reason)
{
	return reason == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT ||
	       reason == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
	       reason == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
}

/* Verifies the chain at no particular time and notes from when to when all of it is valid. */
static bool verify_chain(X509_STORE *store, X509 *certificate, struct known *known, struct ch_error *err)
{
	CH_AUTO(chain_check) check = X509_STORE_CTX_new();
	STACK_OF(X509) * chain;

	if (!check || X509_STORE_CTX_init(check, store, certificate, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "certificate verification cannot start");
	X509_STORE_CTX_set_flags(check, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_X509_STRICT);
	if (X509_verify_cert(check) != 1) {
		int reason = X509_STORE_CTX_get_error(check);

		ERR_clear_error();
		ch_fail(err, CH_UNAUTHENTICATED, "identity certificate does not chain to the system CA: %s",
			X509_verify_cert_error_string(reason));
		if (err)
			err->retryable = is_issuer_unknown(reason);
		return false;
	}
	chain = X509_STORE_CTX_get0_chain(check);
	known->not_before_us = INT64_MIN;
	known->not_after_us = INT64_MAX;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		const X509 *link = sk_X509_value(chain, i);
		int64_t from = ch_asn1_time_us(X509_get0_notBefore(link));
		int64_t to = ch_asn1_time_us(X509_get0_notAfter(link));

		known->not_before_us = from > known->not_before_us ? from : known->not_before_us;
		known->not_after_us = to < known->not_after_us ? to : known->not_after_us;
	}
	return (sk_X509_num(chain) > 1 && ch_spki_sha256(sk_X509_value(chain, 1), known->issuer)) ||
	       ch_fail(err, CH_UNAUTHENTICATED, "identity certificate is a system CA's own");
}

static bool learn(X509_STORE *store, struct ch_view der, struct known *known, struct ch_error *err)
{
	const unsigned char *at = der.data;
	CH_AUTO(certificate) certificate = NULL;
	char group[32] = "";

	if (der.size == 0 || der.size > 64 * 1024)
		return ch_fail(err, CH_UNAUTHENTICATED, "identity certificate of %zu octets", der.size);
	certificate = d2i_X509(NULL, &at, (long)der.size);
	if (!certificate || at != der.data + der.size)
		return ch_fail_openssl(err, CH_UNAUTHENTICATED, "identity certificate does not decode");
	if (!verify_chain(store, certificate, known, err) || !ch_peer_read(certificate, &known->peer, err))
		return false;
	if (X509_check_ca(certificate) != 0)
		return ch_fail(err, CH_UNAUTHENTICATED, "identity certificate is a CA certificate");
	if (!ch_serial_take(X509_get0_serialNumber(certificate), known->serial))
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "identity certificate has a serial number over 20 octets");
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

/* With the lock held where `known` is in the cache. */
static void take(const struct ch_trust *trust, struct known *known, struct verifier *verifier)
{
	verifier->peer = known->peer;
	memcpy(verifier->serial, known->serial, sizeof(verifier->serial));
	verifier->not_before_us = known->not_before_us;
	verifier->not_after_us = known->not_after_us;
	look_up_refusal(trust, known, verifier);
	verifier->context = ch_context_pool_take(&known->contexts);
	if (!verifier->context)
		verifier->context = new_verify_context(known->key);
}

/* Verifies the chain and remembers it. *stale: the CAs were replaced meanwhile. */
static bool meet(struct ch_trust *trust, struct ch_view certificate, struct verifier *verifier, bool *stale,
		 struct ch_error *err)
{
	struct known *slot = slot_of(trust, verifier->digest), fresh = CH_NONE;
	unsigned generation;
	CH_AUTO(store) store = hold_store(trust, &generation);
	bool learned = learn(store, certificate, &fresh, err);

	pthread_mutex_lock(&trust->lock);
	*stale = generation != trust->generation;
	if (learned && !*stale) {
		fresh.used = true;
		memcpy(fresh.digest, verifier->digest, 32);
		take(trust, &fresh, verifier);
		forget(slot);
		*slot = CH_STEAL(fresh);
	}
	pthread_mutex_unlock(&trust->lock);
	forget(&fresh);
	return learned;
}

/* Fills *verifier from the cache, or verifies the chain and remembers it. */
static bool find_verifier(struct ch_trust *trust, struct ch_view certificate, struct verifier *verifier,
			  struct ch_error *err)
{
	struct known *slot;
	bool known, stale;

	if (!ch_envelope_digest(NULL, certificate, verifier->digest, err))
		return false;
	slot = slot_of(trust, verifier->digest);
	do {
		stale = false;
		pthread_mutex_lock(&trust->lock);
		known = slot->used && memcmp(slot->digest, verifier->digest, 32) == 0;
		if (known)
			take(trust, slot, verifier);
		pthread_mutex_unlock(&trust->lock);
		if (!known && !meet(trust, certificate, verifier, &stale, err) && !stale)
			return false;
	} while (stale);
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

/* always: whatever the time it is asked for. */
static bool check_refusal(const struct verifier *verifier, int64_t at_us, bool always, struct ch_error *err)
{
	char text[CH_TIME_TEXT_SIZE];
	CH_AUTO(ch_string) serial = NULL;

	if (verifier->refused_us == INT64_MAX || (!always && at_us < verifier->refused_us))
		return true;
	serial = ch_hex(ch_view(verifier->serial + 1, verifier->serial[0]));
	return ch_fail(err, CH_UNAUTHENTICATED,
		       "identity certificate of %s (serial %s) is refused since %s: %s",
		       verifier->peer.instance, serial, ch_time_text(verifier->refused_us, text),
		       ch_reason_name(verifier->reason));
}

bool ch_trust_identify(struct ch_trust *trust, struct ch_view certificate, int64_t at_us,
		       struct ch_peer *peer, struct ch_error *err)
{
	struct verifier verifier = CH_NONE;
	bool valid;

	if (!find_verifier(trust, certificate, &verifier, err))
		return false;
	valid = check_time(&verifier, at_us, err) && check_refusal(&verifier, at_us, false, err);
	if (valid)
		*peer = verifier.peer;
	give_back(trust, &verifier);
	return valid;
}

bool ch_trust_identify_with(struct ch_trust *trust, X509_STORE *store, struct ch_view certificate,
			    int64_t at_us, struct ch_peer *peer, int64_t *not_after_us, struct ch_error *err)
{
	struct known known = CH_NONE;
	struct verifier verifier = CH_NONE;
	bool valid = learn(store, certificate, &known, err);

	if (valid) {
		pthread_mutex_lock(&trust->lock);
		take(trust, &known, &verifier);
		pthread_mutex_unlock(&trust->lock);
		valid = check_time(&verifier, at_us, err) && check_refusal(&verifier, at_us, true, err);
		*peer = known.peer;
		*not_after_us = known.not_after_us;
		EVP_PKEY_CTX_free(verifier.context);
	}
	forget(&known);
	return valid;
}

bool ch_trust_check(struct ch_trust *trust, const char *domain, struct ch_view certificate,
		    struct ch_view data, struct ch_view signature, int64_t at_us, bool always,
		    struct ch_peer *peer, struct ch_error *err)
{
	struct verifier verifier = CH_NONE;
	uint8_t digest[32];
	bool valid;

	if (!ch_envelope_digest(domain, data, digest, err) ||
	    !find_verifier(trust, certificate, &verifier, err))
		return false;
	valid = check_time(&verifier, at_us, err) && check_refusal(&verifier, at_us, always, err);
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

bool ch_trust_verify(struct ch_trust *trust, const char *domain, struct ch_view certificate,
		     struct ch_view data, struct ch_view signature, int64_t at_us, struct ch_peer *peer,
		     struct ch_error *err)
{
	return ch_trust_check(trust, domain, certificate, data, signature, at_us, false, peer, err);
}
