/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity.c: this instance's own certificate and key, used to sign, and what it trusts. They are read at
 * start and again whenever the files were replaced; what was read is used as a whole or not at all.
 */
#include "envelope/internal.h"
#include "envelope/peer_clocks.h"

#include "x509/x509.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIGNATURE_ROOM 80 /* an ECDSA P-256 signature in DER is at most 72 octets */
#define PEM_CAP        (64 * 1024)
#define FILES          3

/* What was read from the three files at one moment. `references` is guarded by the identity's lock, as is
 * `contexts`; the rest never changes. */
struct credentials {
	int references;
	struct ch_identity_pem pem;
	struct ch_bytes certificate; /* DER */
	struct ch_peer peer;
	int64_t not_after_us;
	char serial[42];
	EVP_PKEY *key;
	struct ch_context_pool contexts;
};

struct observer {
	ch_identity_changed changed;
	void *context;
	struct observer *next;
};

struct ch_identity {
	struct ch_peer self; /* the same for life */
	char *files[FILES];  /* certificate, key, system CA */
	struct ch_trust *trust;
	struct ch_peer_clocks *peer_clocks;
	pthread_mutex_t lock; /* guards `current`, the references, the contexts and `seen` */
	struct credentials *current;
	struct stat seen[FILES];    /* when they were read, or tried, last */
	pthread_mutex_t watch_lock; /* guards the observers, also while they are told */
	struct observer *observers;
};

void ch_identity_pem_free(struct ch_identity_pem *pem)
{
	ch_bytes_free(&pem->certificate);
	ch_bytes_free(&pem->system_ca);
	ch_secret_free(&pem->key);
}

/* With the lock held, or where nobody else knows them. */
static void release(struct credentials *credentials)
{
	if (!credentials || --credentials->references > 0)
		return;
	ch_context_pool_clear(&credentials->contexts);
	EVP_PKEY_free(credentials->key);
	ch_bytes_free(&credentials->certificate);
	ch_identity_pem_free(&credentials->pem);
	free(credentials);
}

static struct credentials *hold(struct ch_identity *identity)
{
	struct credentials *credentials;

	pthread_mutex_lock(&identity->lock);
	credentials = identity->current;
	credentials->references++;
	pthread_mutex_unlock(&identity->lock);
	return credentials;
}

static void let_go(struct ch_identity *identity, struct credentials *credentials)
{
	pthread_mutex_lock(&identity->lock);
	release(credentials);
	pthread_mutex_unlock(&identity->lock);
}

/* --- reading the files ------------------------------------------------------------------------------------
 */

static bool read_text(const char *path, const char *what, struct ch_bytes *text, struct ch_error *err)
{
	CH_AUTO(ch_bytes) content = CH_NONE;

	if (!ch_read_file(path, PEM_CAP, &content, err))
		return ch_fail_in(err, "%s", what);
	*text = (struct ch_bytes){ ch_alloc(content.size + 1), content.size };
	memcpy(text->data, content.data, content.size);
	return true;
}

static bool read_certificate(const char *path, struct credentials *credentials, X509 **certificate,
			     struct ch_error *err)
{
	BIO *bio;

	if (!read_text(path, "identity certificate file", &credentials->pem.certificate, err))
		return false;
	bio = BIO_new_mem_buf(credentials->pem.certificate.data, (int)credentials->pem.certificate.size);
	*certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	BIO_free_all(bio);
	if (!*certificate)
		return ch_fail_openssl(err, CH_INVALID, "identity certificate file '%s'", path);
	return ch_certificate_der(*certificate, &credentials->certificate, err);
}

static bool read_key(const char *path, struct credentials *credentials, struct ch_error *err)
{
	struct ch_secret *pem = &credentials->pem.key;
	BIO *bio;

	if (!ch_secret_read_file(path, 16 * 1024, pem, err))
		return ch_fail_in(err, "identity key");
	bio = BIO_new_mem_buf(pem->data, (int)pem->size);
	credentials->key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	BIO_free_all(bio);
	if (!credentials->key)
		return ch_fail_openssl(err, CH_INVALID, "identity key file '%s'", path);
	return true;
}

static void note_serial(struct credentials *credentials, const X509 *certificate)
{
	const ASN1_INTEGER *number = X509_get0_serialNumber(certificate);
	CH_AUTO(ch_string) text =
		ch_hex(ch_view(ASN1_STRING_get0_data(number), (size_t)ASN1_STRING_length(number)));

	memcpy(credentials->serial, text, strnlen(text, sizeof(credentials->serial) - 1));
}

/* Reads the three files and holds them against each other, and against what is trusted so far. */
static bool read_all(struct ch_identity *identity, struct credentials *credentials, X509_STORE **store,
		     struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;
	char *const *files = identity->files;

	if (!read_text(files[2], "system CA file", &credentials->pem.system_ca, err) ||
	    !ch_trust_store_read(ch_view_of(&credentials->pem.system_ca), files[2], CH_TRUST_CAS_CAP, store,
				 err) ||
	    !read_certificate(files[0], credentials, &certificate, err) ||
	    !read_key(files[1], credentials, err))
		return false;
	if (X509_check_private_key(certificate, credentials->key) != 1)
		return ch_fail_openssl(err, CH_INVALID,
				       "identity key file '%s' is not the key of the certificate", files[1]);
	note_serial(credentials, certificate);
	return ch_trust_identify_with(identity->trust, *store, ch_view_of(&credentials->certificate),
				      ch_clock_now_us(ch_clock_system()), &credentials->peer,
				      &credentials->not_after_us, err) ||
	       ch_fail_in(err, "identity certificate file '%s'", files[0]);
}

static void look_at_files(const struct ch_identity *identity, struct stat seen[FILES])
{
	for (size_t i = 0; i < FILES; i++)
		if (stat(identity->files[i], &seen[i]) != 0)
			memset(&seen[i], 0, sizeof(seen[i]));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool ch_identity_files_changed(struct ch_identity *identity)
{
	struct stat now[FILES];
	bool changed = false;

	look_at_files(identity, now);
	pthread_mutex_lock(&identity->lock);
	for (size_t i = 0; i < FILES; i++)
		changed = changed || !same_file(&now[i], &identity->seen[i]);
	pthread_mutex_unlock(&identity->lock);
	return changed;
}

/* --- loading and reloading --------------------------------------------------------------------------------
 */

static struct ch_identity *new_identity(const struct ch_identity_config *config)
{
	struct ch_identity *identity = ch_alloc(sizeof(*identity));

	pthread_mutex_init(&identity->lock, NULL);
	pthread_mutex_init(&identity->watch_lock, NULL);
	identity->files[0] = ch_strdup(config->certificate);
	identity->files[1] = ch_strdup(config->key);
	identity->files[2] = ch_strdup(config->system_ca);
	return identity;
}

bool ch_identity_load(const struct ch_identity_config *config, const char *service, const char *instance,
		      struct ch_identity **identity, struct ch_error *err)
{
	CH_AUTO(ch_identity) loaded = new_identity(config);
	struct credentials *credentials = ch_alloc(sizeof(*credentials));
	X509_STORE *store = NULL;
	bool read;

	credentials->references = 1;
	loaded->current = credentials;
	loaded->peer_clocks = ch_peer_clocks_new();
	look_at_files(loaded, loaded->seen);
	if (!ch_trust_load(config->system_ca, &loaded->trust, err))
		return false;
	read = read_all(loaded, credentials, &store, err);
	X509_STORE_free(store);
	if (!read)
		return false;
	loaded->self = credentials->peer;
	if ((service && strcmp(service, loaded->self.service) != 0) ||
	    (instance && strcmp(instance, loaded->self.instance) != 0))
		return ch_fail(err, CH_INVALID, "identity certificate file '%s' is of %s/%s, not of %s/%s",
			       config->certificate, loaded->self.service, loaded->self.instance,
			       service ? service : "any", instance ? instance : "any");
	*identity = CH_STEAL(loaded);
	return true;
}

void ch_identity_free(struct ch_identity *identity)
{
	if (!identity)
		return;
	while (identity->observers) {
		struct observer *observer = identity->observers;

		identity->observers = observer->next;
		free(observer);
	}
	release(identity->current);
	ch_trust_free(identity->trust);
	ch_peer_clocks_free(identity->peer_clocks);
	for (size_t i = 0; i < FILES; i++)
		free(identity->files[i]);
	pthread_mutex_destroy(&identity->watch_lock);
	pthread_mutex_destroy(&identity->lock);
	free(identity);
}

struct ch_peer_clocks *ch_identity_peer_clocks(const struct ch_identity *identity)
{
	return identity->peer_clocks;
}

static bool is_own(const struct ch_identity *identity, const struct credentials *credentials,
		   struct ch_error *err)
{
	const struct ch_peer *self = &identity->self, *other = &credentials->peer;

	return (strcmp(self->service, other->service) == 0 && strcmp(self->instance, other->instance) == 0) ||
	       ch_fail(err, CH_INVALID, "identity certificate file '%s' is of %s/%s, this is %s/%s",
		       identity->files[0], other->service, other->instance, self->service, self->instance);
}

static void tell_observers(struct ch_identity *identity)
{
	pthread_mutex_lock(&identity->watch_lock);
	for (const struct observer *observer = identity->observers; observer; observer = observer->next)
		observer->changed(observer->context);
	pthread_mutex_unlock(&identity->watch_lock);
}

bool ch_identity_reload(struct ch_identity *identity, struct ch_error *err)
{
	struct credentials *fresh = ch_alloc(sizeof(*fresh));
	X509_STORE *store = NULL;
	struct stat seen[FILES];
	bool good;

	fresh->references = 1;
	look_at_files(identity, seen); /* before: a file that is replaced meanwhile is read again */
	good = read_all(identity, fresh, &store, err) && is_own(identity, fresh, err);
	if (good)
		ch_trust_replace(identity->trust, store);
	pthread_mutex_lock(&identity->lock);
	memcpy(identity->seen, seen, sizeof(seen));
	if (good) {
		struct credentials *old = identity->current;

		identity->current = fresh;
		fresh = old;
	}
	release(fresh);
	pthread_mutex_unlock(&identity->lock);
	X509_STORE_free(store);
	if (good)
		tell_observers(identity);
	return good;
}

void ch_identity_observe(struct ch_identity *identity, ch_identity_changed changed, void *context)
{
	struct observer *observer = ch_alloc(sizeof(*observer));

	pthread_mutex_lock(&identity->watch_lock);
	*observer = (struct observer){ changed, context, identity->observers };
	identity->observers = observer;
	pthread_mutex_unlock(&identity->watch_lock);
}

void ch_identity_ignore(struct ch_identity *identity, void *context)
{
	pthread_mutex_lock(&identity->watch_lock);
	for (struct observer **at = &identity->observers; *at; at = &(*at)->next)
		if ((*at)->context == context) {
			struct observer *observer = *at;

			*at = observer->next;
			free(observer);
			break;
		}
	pthread_mutex_unlock(&identity->watch_lock);
}

/* --- use --------------------------------------------------------------------------------------------------
 */

const struct ch_peer *ch_identity_self(const struct ch_identity *identity)
{
	return &identity->self;
}

struct ch_trust *ch_identity_trust(struct ch_identity *identity)
{
	return identity->trust;
}

void ch_identity_status(struct ch_identity *identity, int64_t now_us, struct ch_identity_status *status)
{
	struct credentials *credentials = hold(identity);
	struct ch_peer peer;
	struct ch_error err = CH_NONE;

	*status = (struct ch_identity_status){ .not_after_us = credentials->not_after_us };
	memcpy(status->serial, credentials->serial, sizeof(status->serial));
	if (!ch_trust_identify(identity->trust, ch_view_of(&credentials->certificate), now_us, &peer, &err))
		memcpy(status->why, err.message, strnlen(err.message, sizeof(status->why) - 1));
	status->refused = !ch_trust_identify(identity->trust, ch_view_of(&credentials->certificate),
					     credentials->not_after_us, &peer, NULL);
	let_go(identity, credentials);
}

bool ch_identity_pem(struct ch_identity *identity, struct ch_identity_pem *pem, struct ch_error *err)
{
	struct credentials *credentials = hold(identity);
	const struct ch_identity_pem *from = &credentials->pem;
	CH_AUTO(ch_identity_pem) copy = CH_NONE;
	bool done = ch_secret_new(from->key.size + 1, &copy.key, err);

	if (done) {
		memcpy(copy.key.data, from->key.data, from->key.size);
		copy.key.data[from->key.size] = 0;
		copy.certificate = ch_bytes_copy(ch_view(from->certificate.data, from->certificate.size + 1));
		copy.system_ca = ch_bytes_copy(ch_view(from->system_ca.data, from->system_ca.size + 1));
	}
	let_go(identity, credentials);
	if (done)
		*pem = CH_STEAL(copy);
	return done;
}

static EVP_PKEY_CTX *take_context(struct ch_identity *identity, struct credentials *credentials)
{
	EVP_PKEY_CTX *context;

	pthread_mutex_lock(&identity->lock);
	context = ch_context_pool_take(&credentials->contexts);
	pthread_mutex_unlock(&identity->lock);
	if (context)
		return context;
	context = EVP_PKEY_CTX_new(credentials->key, NULL);
	if (context && EVP_PKEY_sign_init(context) != 1) {
		EVP_PKEY_CTX_free(context);
		return NULL;
	}
	return context;
}

static bool sign_digest(struct ch_identity *identity, struct credentials *credentials,
			const uint8_t digest[32], struct ch_bytes *signature, struct ch_error *err)
{
	EVP_PKEY_CTX *context = take_context(identity, credentials);

	if (!context)
		return ch_fail_openssl(err, CH_INTERNAL, "no context to sign with the identity key");
	if (EVP_PKEY_sign(context, signature->data, &signature->size, digest, 32) != 1) {
		EVP_PKEY_CTX_free(context);
		return ch_fail_openssl(err, CH_INTERNAL, "signing with the identity key failed");
	}
	pthread_mutex_lock(&identity->lock);
	ch_context_pool_give(&credentials->contexts, context);
	pthread_mutex_unlock(&identity->lock);
	return true;
}

bool ch_identity_sign(struct ch_identity *identity, const char *domain, struct ch_view data,
		      struct ch_bytes *signature, struct ch_bytes *certificate, struct ch_error *err)
{
	uint8_t digest[32];
	CH_AUTO(ch_bytes) made = { ch_alloc(SIGNATURE_ROOM), SIGNATURE_ROOM };
	struct credentials *credentials;
	bool done;

	if (!ch_envelope_digest(domain, data, digest, err))
		return false;
	credentials = hold(identity);
	done = sign_digest(identity, credentials, digest, &made, err);
	if (done) {
		*certificate = ch_bytes_copy(ch_view_of(&credentials->certificate));
		*signature = CH_STEAL(made);
	}
	let_go(identity, credentials);
	return done;
}

bool ch_identity_verify(struct ch_identity *identity, const char *domain, struct ch_view certificate,
			struct ch_view data, struct ch_view signature, int64_t at_us, struct ch_peer *peer,
			struct ch_error *err)
{
	return ch_trust_check(identity->trust, domain, certificate, data, signature, at_us, true, peer, err);
}
