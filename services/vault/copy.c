/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c: a key from one HSM to another: wrapped under the domain's key-encryption key, unwrapped, proven by
 * a signature that its public key verifies. make_key.c and replace.c call it.
 */
#include "vault.h"

#include <string.h>

unsigned vault_residency_bits(const struct vault *vault, const struct vault_key *key)
{
	unsigned bits = 0;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		for (size_t j = 0; j < key->residency_count; j++)
			if (strcmp(hsm_pool_name(vault->hsms, i), key->residency[j]) == 0)
				bits |= 1u << i;
	return bits;
}

bool vault_run_on(struct vault *vault, size_t hsm, Chancery__HsmRequest *request, bool once, int64_t limit_us,
		  Chancery__HsmReply **reply, struct ch_error *err)
{
	struct hsm_item item = { .request = request,
				 .allowed = 1u << hsm,
				 .once = once,
				 .limit_us = limit_us,
				 .deadline_us = ch_monotonic_us() + limit_us };

	hsm_run(vault->hsms, &item, 1);
	if (!item.reply) {
		*err = item.err;
		return false;
	}
	if (reply)
		*reply = item.reply;
	else
		chancery__hsm_reply__free_unpacked(item.reply, NULL);
	return true;
}

bool vault_copy_wrap(struct vault *vault, size_t hsm, struct vault_key *key, struct ch_bytes *wrapped,
		     struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmWrap wrap = CHANCERY__HSM_WRAP__INIT;
	Chancery__HsmReply *reply;

	wrap.key_id = key->key_id;
	wrap.algorithm = (char *)key->algorithm->name;
	request.wrap = &wrap;
	if (!vault_run_on(vault, hsm, &request, false, VAULT_COPY_LIMIT_US, &reply, err))
		return false;
	*wrapped = ch_bytes_copy(ch_view(reply->wrapped.data, reply->wrapped.len));
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return true;
}

static bool unwrap_on(struct vault *vault, size_t hsm, struct vault_key *key, struct ch_view wrapped,
		      struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmUnwrap unwrap = CHANCERY__HSM_UNWRAP__INIT;

	unwrap.key_id = key->key_id;
	unwrap.algorithm = (char *)key->algorithm->name;
	unwrap.label = key->label;
	unwrap.wrapped = (ProtobufCBinaryData){ .len = wrapped.size, .data = (uint8_t *)wrapped.data };
	request.unwrap = &unwrap;
	return vault_run_on(vault, hsm, &request, true, VAULT_COPY_LIMIT_US, NULL, err);
}

bool vault_copy_lock(struct vault *vault, size_t hsm, struct vault_key *key, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmLock lock = CHANCERY__HSM_LOCK__INIT;

	lock.key_id = key->key_id;
	request.lock = &lock;
	return vault_run_on(vault, hsm, &request, false, VAULT_COPY_LIMIT_US, NULL, err);
}

/* The copy signs something that nobody can have foreseen, and the public key verifies it. */
bool vault_copy_prove(struct vault *vault, size_t hsm, struct vault_key *key, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmSign sign = CHANCERY__HSM_SIGN__INIT;
	Chancery__HsmReply *reply;
	uint8_t message[32], digest[64];
	size_t size = sizeof(message);
	bool proven;

	ch_random(message, sizeof(message));
	memcpy(digest, message, sizeof(message));
	if (key->algorithm->digest[0] &&
	    !ch_digest(key->algorithm->digest, ch_view(message, sizeof(message)), digest, &size, err))
		return false;
	vault_copies_note(vault->copies, key->key_id);
	sign.key_id = key->key_id;
	sign.algorithm = (char *)key->algorithm->name;
	sign.digest = (char *)key->algorithm->digest;
	sign.data = (ProtobufCBinaryData){ .len = size, .data = digest };
	request.sign = &sign;
	if (!vault_run_on(vault, hsm, &request, false, VAULT_COPY_LIMIT_US, &reply, err))
		return false;
	proven = ch_verify_signature(key->algorithm, ch_view_of(&key->public_key_info),
				     ch_view(message, sizeof(message)),
				     ch_view(reply->signature.data, reply->signature.len), err);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return proven || ch_fail_in(err, "copy on HSM '%s'", hsm_pool_name(vault->hsms, hsm));
}

void vault_copy_recorded(struct vault *vault, struct vault_key *key, size_t hsm)
{
	key->residency = ch_realloc(key->residency, (key->residency_count + 1) * sizeof(char *));
	key->residency[key->residency_count++] = ch_strdup(hsm_pool_name(vault->hsms, hsm));
}

bool vault_copy_to(struct vault *vault, size_t to, struct vault_key *key, struct ch_view wrapped,
		   struct ch_error *err)
{
	if (!unwrap_on(vault, to, key, wrapped, err) || !vault_copy_prove(vault, to, key, err))
		return false;
	vault_copy_recorded(vault, key, to);
	return true;
}
