/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_keys.c: keys of the token: made, wrapped under the key-encryption key for the other HSM, unwrapped
 * from it, locked, removed. Called by worker.c's session threads.
 */
#include "der/der.h"
#include "worker_pkcs11.h"

#include <string.h>

#define WRAPPED_ROOM 8192
#define COPIES_CAP   256 /* of one key: a session has one, a worker 64 sessions at most */

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

static bool read_attribute(struct token_session *session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type,
			   uint8_t *room, size_t size, struct ch_view *value, struct ch_error *err)
{
	CK_ATTRIBUTE attribute = { type, room, size };
	CK_RV rv = session->f->C_GetAttributeValue(session->handle, object, &attribute, 1);

	if (rv != CKR_OK)
		return token_fail(session, rv, "C_GetAttributeValue", err);
	if (attribute.ulValueLen >
	    size) /* PKCS#11 2.40 §5.7: never with CKR_OK, but modules have been wrong */
		return ch_fail(err, CH_INTERNAL,
			       "token '%s': C_GetAttributeValue answered %lu octets for room of %zu",
			       token_label(session->token), attribute.ulValueLen, size);
	*value = ch_view(room, attribute.ulValueLen);
	return true;
}

/* RFC 3279 §2.3.1 */
static bool rsa_public_key_info(struct token_session *session, CK_OBJECT_HANDLE key,
				struct ch_der_writer *writer, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) rsa_key = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	uint8_t modulus_room[1024], exponent_room[16];
	struct ch_view modulus, exponent;

	if (!read_attribute(session, key, CKA_MODULUS, modulus_room, sizeof(modulus_room), &modulus, err) ||
	    !read_attribute(session, key, CKA_PUBLIC_EXPONENT, exponent_room, sizeof(exponent_room),
			    &exponent, err))
		return false;
	ch_der_begin(&rsa_key, CH_DER_SEQUENCE);
	ch_der_put_integer(&rsa_key, modulus);
	ch_der_put_integer(&rsa_key, exponent);
	ch_der_finish(&rsa_key);
	encoded = ch_der_done(&rsa_key);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (!ch_der_put_oid(writer, "1.2.840.113549.1.1.1", err))
		return false;
	ch_der_put_null(writer);
	ch_der_finish(writer);
	ch_der_put_bit_string(writer, ch_view_of(&encoded));
	return true;
}

/* RFC 5480 §2.1.1; RFC 8410 §4 for Ed25519, which has no parameters */
static bool ec_public_key_info(struct token_session *session, const struct token_algorithm *algorithm,
			       CK_OBJECT_HANDLE key, struct ch_der_writer *writer, struct ch_error *err)
{
	uint8_t room[256];
	struct ch_view value, point;

	if (!read_attribute(session, key, CKA_EC_POINT, room, sizeof(room), &value, err) ||
	    !ch_der_read_octet_string(&value, "CKA_EC_POINT", &point, err))
		return false;
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (!ch_der_put_oid(writer, algorithm->curve ? "1.2.840.10045.2.1" : "1.3.101.112", err))
		return false;
	if (algorithm->curve)
		ch_der_put_raw(writer, algorithm->curve_der);
	ch_der_finish(writer);
	ch_der_put_bit_string(writer, point);
	return true;
}

static bool read_public_key_info(struct token_session *session, const struct token_algorithm *algorithm,
				 CK_OBJECT_HANDLE key, struct ch_bytes *public_key_info, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	if (algorithm->key_type == CKK_RSA ? !rsa_public_key_info(session, key, &writer, err)
					   : !ec_public_key_info(session, algorithm, key, &writer, err))
		return false;
	ch_der_finish(&writer);
	*public_key_info = ch_der_done(&writer);
	return true;
}

static CK_RV generate_pair(struct token_session *session, const struct token_algorithm *algorithm,
			   const Chancery__HsmGenerate *ask, struct ch_view id, CK_OBJECT_HANDLE *public_key,
			   CK_OBJECT_HANDLE *private_key)
{
	uint8_t exponent[] = { 1, 0, 1 };
	CK_ULONG bits = algorithm->bits;
	CK_BBOOL extractable = ask->extractable ? CK_TRUE : CK_FALSE;
	CK_MECHANISM mechanism = { algorithm->generate, NULL, 0 };
	CK_ATTRIBUTE private_template[] = {
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &extractable, sizeof(extractable) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_DECRYPT, &no, sizeof(no) },
		{ CKA_UNWRAP, &no, sizeof(no) },
		{ CKA_ID, (void *)id.data, id.size },
		{ CKA_LABEL, ask->label, strlen(ask->label) },
	};
	/* The public key goes with the session: the database keeps it. */
	CK_ATTRIBUTE rsa_template[] = {
		{ CKA_TOKEN, &no, sizeof(no) },
		{ CKA_MODULUS_BITS, &bits, sizeof(bits) },
		{ CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) },
	};
	CK_ATTRIBUTE ec_template[] = {
		{ CKA_TOKEN, &no, sizeof(no) },
		{ CKA_EC_PARAMS, (void *)algorithm->curve_der.data, algorithm->curve_der.size },
	};
	bool rsa = algorithm->key_type == CKK_RSA;

	return session->f->C_GenerateKeyPair(session->handle, &mechanism, rsa ? rsa_template : ec_template,
					     rsa ? CH_COUNT(rsa_template) : CH_COUNT(ec_template),
					     private_template, CH_COUNT(private_template), public_key,
					     private_key);
}

bool token_generate(struct token_session *session, const Chancery__HsmGenerate *ask,
		    struct ch_bytes *public_key_info, struct ch_error *err)
{
	CH_AUTO(ch_bytes) id = CH_NONE;
	const struct token_algorithm *algorithm;
	CK_OBJECT_HANDLE public_key, private_key;
	bool read;
	CK_RV rv;

	if (!token_find_algorithm(ask->algorithm, &algorithm, err) || !ch_unhex(ask->key_id, &id, err))
		return false;
	rv = generate_pair(session, algorithm, ask, ch_view_of(&id), &public_key, &private_key);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_GenerateKeyPair", err);
	read = read_public_key_info(session, algorithm, public_key, public_key_info, err);
	session->f->C_DestroyObject(session->handle, public_key);
	if (!read)
		session->f->C_DestroyObject(session->handle, private_key);
	return read;
}

/* RFC 5649 key wrap of PKCS#8. SoftHSM 2.6.1 answers CKR_KEY_NOT_WRAPPABLE for Ed25519 (CH_UNSUPPORTED). */
bool token_wrap(struct token_session *session, const Chancery__HsmWrap *ask, struct ch_bytes *wrapped,
		struct ch_error *err)
{
	CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
	CK_OBJECT_HANDLE kek, key;
	uint8_t room[WRAPPED_ROOM];
	CK_ULONG size = sizeof(room);
	CK_RV rv;

	if (!token_find_kek(session, &kek, err) || !token_find_key(session, ask->key_id, &key, err))
		return false;
	rv = session->f->C_WrapKey(session->handle, &mechanism, kek, key, room, &size);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_WrapKey", err);
	*wrapped = ch_bytes_copy(ch_view(room, size));
	return true;
}

/* The copy is not extractable from the start; the key-encryption key's CKA_UNWRAP_TEMPLATE allows nothing
 * else. */
bool token_unwrap(struct token_session *session, const Chancery__HsmUnwrap *ask, struct ch_error *err)
{
	CH_AUTO(ch_bytes) id = CH_NONE;
	const struct token_algorithm *algorithm;
	CK_MECHANISM mechanism = { CKM_AES_KEY_WRAP_PAD, NULL, 0 };
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_OBJECT_HANDLE kek, key;
	CK_KEY_TYPE key_type;
	CK_RV rv;

	if (!token_find_algorithm(ask->algorithm, &algorithm, err) || !ch_unhex(ask->key_id, &id, err) ||
	    !token_find_kek(session, &kek, err))
		return false;
	key_type = algorithm->key_type;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_KEY_TYPE, &key_type, sizeof(key_type) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) },
		{ CKA_SIGN, &yes, sizeof(yes) },
		{ CKA_DECRYPT, &no, sizeof(no) },
		{ CKA_UNWRAP, &no, sizeof(no) },
		{ CKA_ID, id.data, id.size },
		{ CKA_LABEL, ask->label, strlen(ask->label) },
	};
	rv = session->f->C_UnwrapKey(session->handle, &mechanism, kek, ask->wrapped.data, ask->wrapped.len,
				     template, CH_COUNT(template), &key);
	return rv == CKR_OK || token_fail(session, rv, "C_UnwrapKey", err);
}

/*
 * The copies that sessions sign with, those of idle ones too: session objects are the whole application's
 * (PKCS#11 2.40 §2.4). A session that still remembers one finds its handle stale and looks for the key again.
 */
bool token_drop_copies(struct token_session *session, const char *key_id, struct ch_error *err)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_OBJECT_HANDLE found[COPIES_CAP];
	CH_AUTO(ch_bytes) id = CH_NONE;
	CK_ULONG count = 0;
	CK_RV rv;

	if (!ch_unhex(key_id, &id, err))
		return false;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_ID, id.data, id.size },
		{ CKA_TOKEN, &no, sizeof(no) },
	};
	token_forget_key(session->token, key_id); /* first, so that no session takes up a copy again */
	rv = session->f->C_FindObjectsInit(session->handle, template, CH_COUNT(template));
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjectsInit", err);
	rv = session->f->C_FindObjects(session->handle, found, CH_COUNT(found), &count);
	session->f->C_FindObjectsFinal(session->handle);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjects", err);
	for (CK_ULONG i = 0; i < count; i++)
		session->f->C_DestroyObject(session->handle, found[i]); /* or its session was faster */
	return true;
}

bool token_lock(struct token_session *session, const char *key_id, struct ch_error *err)
{
	CK_ATTRIBUTE attribute = { CKA_EXTRACTABLE, &no, sizeof(no) };
	CK_OBJECT_HANDLE key;
	bool dropped;
	CK_RV rv;

	if (!token_find_key(session, key_id, &key, err))
		return false;
	rv = session->f->C_SetAttributeValue(session->handle, key, &attribute, 1);
	dropped = token_drop_copies(session, key_id, err); /* which could still be taken out */
	return (rv == CKR_OK || token_fail(session, rv, "C_SetAttributeValue(CKA_EXTRACTABLE)", err)) &&
	       dropped;
}

bool token_destroy(struct token_session *session, const char *key_id, struct ch_error *err)
{
	struct ch_error missing = CH_NONE;
	CK_OBJECT_HANDLE key;
	bool dropped;
	CK_RV rv;

	if (!token_find_key(session, key_id, &key, &missing)) {
		if (missing.code == CH_NOT_FOUND) /* it was never made here, or another process was first */
			return token_drop_copies(session, key_id, err);
		if (err)
			*err = missing;
		return false;
	}
	rv = session->f->C_DestroyObject(session->handle, key);
	dropped = token_drop_copies(session, key_id, err);
	return (rv == CKR_OK || token_fail(session, rv, "C_DestroyObject", err)) && dropped;
}

/* --- listing --- */

#define FIND_AT_ONCE 256

static bool add_key_id(struct token_session *session, CK_OBJECT_HANDLE key, char ***key_ids, size_t *count,
		       struct ch_error *err)
{
	uint8_t room[64];
	struct ch_view id;

	if (!read_attribute(session, key, CKA_ID, room, sizeof(room), &id, err))
		return false;
	if (id.size != 16) /* not one of the vault's */
		return true;
	*key_ids = ch_realloc(*key_ids, (*count + 1) * sizeof(**key_ids));
	(*key_ids)[(*count)++] = ch_hex(id);
	return true;
}

bool token_list_keys(struct token_session *session, char ***key_ids, size_t *count, struct ch_error *err)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_TOKEN, &yes, sizeof(yes) }, /* without the copies that sessions sign with */
	};
	CK_OBJECT_HANDLE found[FIND_AT_ONCE];
	CK_ULONG number = 0;
	bool listed = true;
	CK_RV rv = session->f->C_FindObjectsInit(session->handle, template, CH_COUNT(template));

	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjectsInit", err);
	do {
		rv = session->f->C_FindObjects(session->handle, found, CH_COUNT(found), &number);
		for (CK_ULONG i = 0; rv == CKR_OK && listed && i < number; i++)
			listed = add_key_id(session, found[i], key_ids, count, err);
	} while (rv == CKR_OK && listed && number);
	session->f->C_FindObjectsFinal(session->handle);
	return listed && (rv == CKR_OK || token_fail(session, rv, "C_FindObjects", err));
}
