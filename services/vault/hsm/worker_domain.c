/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_domain.c: the keys that all HSMs of a vault share: made when a token is set up (init_token.c), used
 * by the worker's session threads to seal rows, wrap data keys, and for the HSM's own randomness.
 */
#include "domain_keys.h"
#include "worker_pkcs11.h"

#include <string.h>

#define MAC_SIZE   32
#define NONCE_SIZE 12
#define TAG_SIZE   16
#define DATA_CAP   (64 * 1024)
#define RANDOM_CAP 4096

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* --- making them --- */

/*
 * A key that does what its row says and nothing else, and cannot leave. What the key-encryption key unwraps
 * stays sensitive and inextractable (SoftHSM 2.6.1 enforces CKA_UNWRAP_TEMPLATE; CKA_TRUSTED, and so
 * CKA_WRAP_WITH_TRUSTED, it grants only to public objects of the SO, which it would keep unencrypted).
 */
static bool create(struct token_session *session, struct ch_view root, const char *label, CK_KEY_TYPE type,
		   struct ch_error *err)
{
	bool kek = strcmp(label, HSM_KEK_LABEL) == 0, seal = strcmp(label, HSM_SEAL_LABEL) == 0;
	CK_BBOOL wraps = kek, signs = seal, encrypts = !kek && !seal;
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CH_AUTO(ch_secret) key = CH_NONE;
	CK_OBJECT_HANDLE handle;
	CK_ATTRIBUTE unwrapped[] = {
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) },
	};
	CK_RV rv;

	if (!domain_key_derive(root, label, &key, err))
		return false;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &type, sizeof(type) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) },
		{ CKA_WRAP, &wraps, sizeof(wraps) },
		{ CKA_UNWRAP, &wraps, sizeof(wraps) },
		{ CKA_ENCRYPT, &encrypts, sizeof(encrypts) },
		{ CKA_DECRYPT, &encrypts, sizeof(encrypts) },
		{ CKA_SIGN, &signs, sizeof(signs) },
		{ CKA_VERIFY, &signs, sizeof(signs) },
		{ CKA_DERIVE, &no, sizeof(no) },
		{ CKA_VALUE, key.data, key.size },
		{ CKA_UNWRAP_TEMPLATE, unwrapped, sizeof(unwrapped) }, /* last: for the first key alone */
	};
	rv = session->f->C_CreateObject(session->handle, template, CH_COUNT(template) - !kek, &handle);
	return rv == CKR_OK || token_fail(session, rv, "C_CreateObject of a domain key", err);
}

bool token_create_domain(struct token_session *session, struct ch_view root, struct ch_error *err)
{
	return create(session, root, HSM_KEK_LABEL, CKK_AES, err) &&
	       create(session, root, HSM_SEAL_LABEL, CKK_GENERIC_SECRET, err) &&
	       create(session, root, HSM_DATA_LABEL, CKK_AES, err);
}

/* --- using them --- */

static bool check_size(size_t size, size_t cap, const char *what, struct ch_error *err)
{
	return size <= cap ||
	       ch_fail(err, CH_TOO_LARGE, "%s of %zu octets, at most %zu allowed", what, size, cap);
}

/* A remembered handle may have gone stale: one more try with a fresh one. */
static CK_RV sign_once(struct token_session *session, CK_OBJECT_HANDLE key, struct ch_view data, uint8_t *mac,
		       CK_ULONG *size)
{
	CK_MECHANISM mechanism = { CKM_SHA256_HMAC, NULL, 0 };
	CK_RV rv = session->f->C_SignInit(session->handle, &mechanism, key);

	return rv == CKR_OK ? session->f->C_Sign(session->handle, (CK_BYTE_PTR)(uintptr_t)data.data,
						 data.size, mac, size)
			    : rv;
}

bool token_mac(struct token_session *session, struct ch_view data, struct ch_bytes *mac, struct ch_error *err)
{
	uint8_t room[MAC_SIZE];
	CK_ULONG size = sizeof(room);
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	if (!check_size(data.size, DATA_CAP, "data to seal", err) ||
	    !token_domain_key(session, HSM_SEAL_LABEL, &key, err))
		return false;
	rv = sign_once(session, key, data, room, &size);
	if (token_is_stale(rv)) {
		token_forget_key(session->token, HSM_SEAL_LABEL);
		size = sizeof(room);
		if (!token_domain_key(session, HSM_SEAL_LABEL, &key, err))
			return false;
		rv = sign_once(session, key, data, room, &size);
	}
	if (rv != CKR_OK || size != MAC_SIZE)
		return token_fail(session, rv, "C_Sign(CKM_SHA256_HMAC)", err);
	*mac = ch_bytes_copy(ch_view(room, size));
	return true;
}

static bool start_gcm(struct token_session *session, bool encrypt, CK_GCM_PARAMS *gcm, struct ch_error *err)
{
	CK_MECHANISM mechanism = { CKM_AES_GCM, gcm, sizeof(*gcm) };
	CK_C_EncryptInit begin = encrypt ? session->f->C_EncryptInit : session->f->C_DecryptInit;
	CK_OBJECT_HANDLE key;
	CK_RV rv;

	if (!token_domain_key(session, HSM_DATA_LABEL, &key, err))
		return false;
	rv = begin(session->handle, &mechanism, key);
	if (token_is_stale(rv)) {
		token_forget_key(session->token, HSM_DATA_LABEL);
		if (!token_domain_key(session, HSM_DATA_LABEL, &key, err))
			return false;
		rv = begin(session->handle, &mechanism, key);
	}
	return rv == CKR_OK || token_fail(session, rv, "CKM_AES_GCM", err);
}

static CK_GCM_PARAMS gcm_parameters(uint8_t *nonce, ProtobufCBinaryData associated_data)
{
	return (CK_GCM_PARAMS){ .pIv = nonce,
				.ulIvLen = NONCE_SIZE,
				.ulIvBits = 8 * NONCE_SIZE,
				.pAAD = associated_data.data,
				.ulAADLen = associated_data.len,
				.ulTagBits = 8 * TAG_SIZE };
}

bool token_encrypt(struct token_session *session, const Chancery__HsmEncrypt *ask,
		   struct ch_bytes *ciphertext, struct ch_error *err)
{
	CH_AUTO(ch_bytes) out = CH_NONE;
	CK_GCM_PARAMS gcm;
	CK_ULONG size;
	CK_RV rv;

	if (!check_size(ask->plaintext.len, DATA_CAP, "plaintext", err) ||
	    !check_size(ask->associated_data.len, DATA_CAP, "associated data", err))
		return false;
	out.size = NONCE_SIZE + ask->plaintext.len + TAG_SIZE;
	out.data = ch_alloc(out.size);
	ch_random(out.data, NONCE_SIZE);
	gcm = gcm_parameters(out.data, ask->associated_data);
	if (!start_gcm(session, true, &gcm, err))
		return false;
	size = out.size - NONCE_SIZE;
	rv = session->f->C_Encrypt(session->handle, ask->plaintext.data, ask->plaintext.len,
				   out.data + NONCE_SIZE, &size);
	if (rv != CKR_OK || size != out.size - NONCE_SIZE)
		return token_fail(session, rv, "C_Encrypt(CKM_AES_GCM)", err);
	*ciphertext = CH_STEAL(out);
	return true;
}

/*
 * SoftHSM 2.6.1 answers CKR_GENERAL_ERROR for a tag that does not fit. That must not be taken for a broken
 * device, or an edited row of the database could restart workers: a session that still finds its keys is
 * sound.
 */
static bool is_bad_ciphertext(struct token_session *session, CK_RV rv)
{
	CK_OBJECT_HANDLE key;

	if (rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE)
		return true;
	return (rv == CKR_GENERAL_ERROR || rv == CKR_FUNCTION_FAILED) &&
	       token_find_domain_key(session, HSM_DATA_LABEL, &key, NULL);
}

bool token_decrypt(struct token_session *session, const Chancery__HsmDecrypt *ask, struct ch_bytes *plaintext,
		   struct ch_error *err)
{
	size_t sealed = ask->ciphertext.len;
	CH_AUTO(ch_bytes) out = CH_NONE;
	CK_GCM_PARAMS gcm;
	CK_ULONG size;
	CK_RV rv;

	if (!check_size(sealed, DATA_CAP + NONCE_SIZE + TAG_SIZE, "ciphertext", err) ||
	    !check_size(ask->associated_data.len, DATA_CAP, "associated data", err))
		return false;
	if (sealed < NONCE_SIZE + TAG_SIZE)
		return ch_fail(err, CH_INVALID, "ciphertext of %zu octets, at least %d needed", sealed,
			       NONCE_SIZE + TAG_SIZE);
	gcm = gcm_parameters(ask->ciphertext.data, ask->associated_data);
	if (!start_gcm(session, false, &gcm, err))
		return false;
	out.size = size =
		sealed - NONCE_SIZE; /* room for what the module may write before it checks the tag */
	out.data = ch_alloc(out.size);
	rv = session->f->C_Decrypt(session->handle, ask->ciphertext.data + NONCE_SIZE, sealed - NONCE_SIZE,
				   out.data, &size);
	if (rv != CKR_OK)
		ch_wipe(out.data, out.size);
	if (rv != CKR_OK && is_bad_ciphertext(session, rv))
		return ch_fail(err, CH_INVALID,
			       "the ciphertext does not authenticate under '" HSM_DATA_LABEL
			       "' with this associated data");
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_Decrypt(CKM_AES_GCM)", err);
	out.size = size;
	*plaintext = CH_STEAL(out);
	return true;
}

bool token_random(struct token_session *session, uint32_t size, struct ch_bytes *random, struct ch_error *err)
{
	CH_AUTO(ch_bytes) out = CH_NONE;
	CK_RV rv;

	if (size < 1 || size > RANDOM_CAP)
		return ch_fail(err, CH_INVALID, "%u random octets, 1 to %d allowed", size, RANDOM_CAP);
	out.size = size;
	out.data = ch_alloc(size);
	rv = session->f->C_GenerateRandom(session->handle, out.data, size);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_GenerateRandom", err);
	*random = CH_STEAL(out);
	return true;
}
