/* SPDX-License-Identifier: Apache-2.0 */
/* worker_sign.c: C_Sign, and its result in the form that X.509 carries. Called by worker.c's session threads.
 */
#include "der/der.h"
#include "worker_pkcs11.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define SIGNATURE_ROOM 1024

/* DigestInfo up to the digest (RFC 8017 §9.2 note 1). */
static const uint8_t sha256_prefix[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
static const uint8_t sha384_prefix[] = { 0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					 0x65, 0x03, 0x04, 0x02, 0x02, 0x05, 0x00, 0x04, 0x30 };
static const uint8_t sha512_prefix[] = { 0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
					 0x65, 0x03, 0x04, 0x02, 0x03, 0x05, 0x00, 0x04, 0x40 };

static const struct digest_info {
	const char *digest;
	size_t size;
	struct ch_view prefix;
} digest_infos[] = {
	{ "sha256", 32, { sha256_prefix, sizeof(sha256_prefix) } },
	{ "sha384", 48, { sha384_prefix, sizeof(sha384_prefix) } },
	{ "sha512", 64, { sha512_prefix, sizeof(sha512_prefix) } },
};

/* What C_Sign is given: DigestInfo for RSA, the digest for ECDSA, the message for Ed25519. */
static bool input_of(const struct token_algorithm *algorithm, const Chancery__HsmSign *ask,
		     struct ch_buffer *input, struct ch_error *err)
{
	struct ch_view data = ch_view(ask->data.data, ask->data.len);

	if (algorithm->key_type == CKK_EC_EDWARDS) {
		ch_buffer_add_view(input, data);
		return true;
	}
	for (size_t i = 0; i < CH_COUNT(digest_infos); i++) {
		if (strcmp(digest_infos[i].digest, ask->digest) != 0)
			continue;
		if (data.size != digest_infos[i].size)
			return ch_fail(err, CH_INVALID, "%s digest of %zu octets", ask->digest, data.size);
		if (algorithm->key_type == CKK_RSA)
			ch_buffer_add_view(input, digest_infos[i].prefix);
		ch_buffer_add_view(input, data);
		return true;
	}
	return ch_fail(err, CH_UNSUPPORTED, "digest '%.16s' is not one of the vault's", ask->digest);
}

/* PKCS#11 gives r || s; X.509 carries ECDSA-Sig-Value (RFC 3279 §2.2.3). */
static struct ch_bytes ecdsa_sig_value(const uint8_t *raw, size_t size)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_integer(&writer, ch_view(raw, size / 2));
	ch_der_put_integer(&writer, ch_view(raw + size / 2, size / 2));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

/* --- the key that a session signs with --- */

#define KEYS_CAP 1000 /* remembered by a session; past it all are found again */

/*
 * A copy of the token's key as an object of the session: SoftHSM looks for changes of a token's files each
 * time that it uses an object of the token, which costs half as much as the signature (docs/performance.md).
 * The copy is as sensitive and as inextractable, never leaves the module, and ends with the session. Where a
 * token makes no copies, its own object signs.
 */
struct signing_key {
	char key_id[40];
	CK_OBJECT_HANDLE handle;
	bool is_copy;
	UT_hash_handle hh;
};

static void drop_key(struct token_session *session, struct signing_key *key)
{
	HASH_DEL(session->keys, key);
	if (key->is_copy)
		session->f->C_DestroyObject(session->handle, key->handle);
	free(key);
}

static void drop_keys(struct token_session *session)
{
	struct signing_key *key = NULL, *next = NULL;

	HASH_ITER(hh, session->keys, key, next)
	drop_key(session, key);
}

static bool find_signing_key(struct token_session *session, const char *key_id, struct signing_key **found,
			     struct ch_error *err)
{
	CK_BBOOL no = CK_FALSE;
	CK_ATTRIBUTE template = { CKA_TOKEN, &no, sizeof(no) };
	CK_OBJECT_HANDLE handle, copy;
	struct signing_key *key;

	if (!token_find_key(session, key_id, &handle, err))
		return false;
	key = ch_alloc(sizeof(*key));
	snprintf(key->key_id, sizeof(key->key_id), "%s", key_id);
	key->is_copy = session->f->C_CopyObject(session->handle, handle, &template, 1, &copy) == CKR_OK;
	key->handle = key->is_copy ? copy : handle;
	HASH_ADD_STR(session->keys, key_id, key);
	*found = key;
	return true;
}

static bool signing_key(struct token_session *session, const char *key_id, struct signing_key **key,
			struct ch_error *err)
{
	unsigned generation = token_generation(session->token);

	if (session->keys_of != generation || HASH_COUNT(session->keys) > KEYS_CAP)
		drop_keys(session);
	session->keys_of = generation;
	HASH_FIND_STR(session->keys, key_id, *key);
	return *key || find_signing_key(session, key_id, key, err);
}

/* --- signing --- */

static CK_RV sign_once(struct token_session *session, const struct token_algorithm *algorithm,
		       CK_OBJECT_HANDLE key, const struct ch_buffer *input, uint8_t *raw, CK_ULONG *size)
{
	CK_MECHANISM mechanism = { algorithm->sign, NULL, 0 };
	CK_RV rv = session->f->C_SignInit(session->handle, &mechanism, key);

	if (rv != CKR_OK)
		return rv;
	return session->f->C_Sign(session->handle, input->data, input->used, raw, size);
}

/* A key that somebody destroys while it is copied leaves a copy that is no key: SoftHSM 2.6.1 answers
 * CKR_GENERAL_ERROR for it. Before that is taken for a broken token the key is found once more. */
static bool may_be_the_key(CK_RV rv)
{
	return token_is_stale(rv) || rv == CKR_GENERAL_ERROR;
}

bool token_sign(struct token_session *session, const Chancery__HsmSign *ask, struct ch_bytes *signature,
		struct ch_error *err)
{
	CH_AUTO(ch_buffer) input = CH_NONE;
	const struct token_algorithm *algorithm;
	struct signing_key *key;
	uint8_t raw[SIGNATURE_ROOM];
	CK_ULONG size = sizeof(raw);
	CK_RV rv;

	if (!token_find_algorithm(ask->algorithm, &algorithm, err) ||
	    !input_of(algorithm, ask, &input, err) || !signing_key(session, ask->key_id, &key, err))
		return false;
	rv = sign_once(session, algorithm, key->handle, &input, raw, &size);
	if (may_be_the_key(rv)) {
		drop_key(session, key);
		if (!signing_key(session, ask->key_id, &key, err))
			return false;
		size = sizeof(raw);
		rv = sign_once(session, algorithm, key->handle, &input, raw, &size);
	}
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_Sign", err);
	*signature = algorithm->key_type == CKK_EC ? ecdsa_sig_value(raw, size)
						   : ch_bytes_copy(ch_view(raw, size));
	return true;
}
