/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.c: CRL numbers and log sizes never go back: kept in the key's row under a seal of their own, taken
 * under the row's lock before a signature is made. sign_allow.c is the caller.
 */
#include "policy.h"
#include "vault.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decimal text of big endian octets; the caller frees it with OPENSSL_free. */
static char *decimal(struct ch_view number)
{
	BIGNUM *value = BN_bin2bn(number.data, (int)number.size, NULL);
	char *text = value ? BN_bn2dec(value) : NULL;

	BN_free(value);
	return text;
}

static bool refuse_number(struct vault *vault, const struct vault_key *key, const struct vault_number *number,
			  const char **reason, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed =
		vault_number_pack(key->key_id, number->last, ch_view_of(&number->tbs_sha256));

	*reason = "number-seal";
	ch_fail(err, CH_DENIED, "key '%s': its last number was changed outside the vault", key->key_id);
	if (vault_seal_first_sight(vault, ch_view_of(&packed)))
		vault_note_alert(vault, key->tenant, key->key_id, "number-seal", err->message);
	return false;
}

static bool check_row(struct vault *vault, const struct vault_key *key, const struct vault_number *number,
		      const char **reason, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed =
		vault_number_pack(key->key_id, number->last, ch_view_of(&number->tbs_sha256));
	struct ch_error why = CH_NONE;

	if (vault_seal_check(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), ch_view_of(&number->seal), &why))
		return vault_seal_number_goes_on(vault, key->key_id, number->last) ||
		       refuse_number(vault, key, number, reason, err);
	if (why.code == CH_DENIED)
		return refuse_number(vault, key, number, reason, err);
	*reason = "unavailable";
	*err = why;
	return ch_fail_in(err, "key '%s': its last number", key->key_id);
}

/* Sets *taken where the very bytes took this number before: nothing is to be written. */
static bool may_follow(const struct vault_key *key, const struct vault_number *last, const char *number,
		       struct ch_view tbs_sha256, bool *taken, struct ch_error *err)
{
	int order = vault_number_compare(number, last->last);

	*taken = order == 0 && ch_view_equal(ch_view_of(&last->tbs_sha256), tbs_sha256);
	if (order > 0 || *taken || (order == 0 && !last->tbs_sha256.size))
		return true;
	return ch_fail(err, CH_DENIED,
		       "number %s is not above %s, the last that key '%s' signed, nor over the same bytes",
		       number, last->last, key->key_id);
}

static bool write_number(struct vault *vault, struct ch_transaction *transaction, const char *key_id,
			 const char *number, struct ch_view tbs_sha256, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_number_pack(key_id, number, tbs_sha256);
	uint8_t seal[VAULT_SEAL_SIZE];

	return vault_seal_make(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), seal, err) &&
	       store_write_number(transaction, key_id, number, tbs_sha256, ch_view(seal, sizeof(seal)), err);
}

static bool take(struct vault *vault, const struct vault_key *key, const char *number,
		 struct ch_view tbs_sha256, const char **reason, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(vault_number) last = CH_NONE;
	bool taken;

	*reason = "database";
	if (!ch_db_begin(vault->db, NULL, &transaction, err) ||
	    !store_lock_number(transaction, key->key_id, &last, err) ||
	    !check_row(vault, key, &last, reason, err))
		return false;
	*reason = "number";
	if (!may_follow(key, &last, number, tbs_sha256, &taken, err))
		return false;
	*reason = "database";
	if ((!taken && !write_number(vault, transaction, key->key_id, number, tbs_sha256, err)) ||
	    !ch_db_commit(&transaction, err))
		return false;
	(void)vault_seal_number_goes_on(vault, key->key_id, number);
	return true;
}

bool vault_take_number(struct vault *vault, const struct vault_key *key, struct ch_view number,
		       struct ch_view to_be_signed, const char **reason, struct ch_error *err)
{
	char *text = decimal(number);
	uint8_t hash[64];
	size_t size;
	bool taken;

	*reason = "database";
	if (!text)
		return ch_fail(err, CH_INTERNAL, "number: no memory");
	taken = ch_digest("sha256", to_be_signed, hash, &size, err) &&
		take(vault, key, text, ch_view(hash, size), reason, err);
	OPENSSL_free(text);
	return taken;
}

bool vault_number_seal_first(struct vault *vault, const char *key_id, uint8_t seal[VAULT_SEAL_SIZE],
			     struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_number_pack(key_id, "0", (struct ch_view)CH_NONE);

	return vault_seal_make(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), seal, err);
}
