/* SPDX-License-Identifier: Apache-2.0 */
/*
 * number.c: CRL numbers and log sizes never go back: kept in the key's row under a seal of their own, taken
 * under the row's lock before a signature is made. sign_allow.c is the caller.
 */
#include "marks.h"
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

static bool mark_of(const char *number, struct hsm_mark *mark, struct ch_error *err)
{
	BIGNUM *value = NULL;
	uint8_t octets[HSM_MARK_VALUE_CAP];
	int size = -1;

	if (BN_dec2bn(&value, number) > 0 && BN_num_bytes(value) <= (int)sizeof(octets))
		size = BN_bn2bin(value, octets);
	BN_free(value);
	if (size < 0)
		return ch_fail(err, CH_INTERNAL, "number '%.80s' is none", number);
	hsm_mark_set(mark, ch_view(octets, (size_t)size));
	return true;
}

static bool refuse_number(struct vault *vault, const struct vault_key *key, const struct vault_number *number,
			  const char **reason, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed =
		vault_number_pack(key->key_id, number->last, ch_view_of(&number->tbs_sha256));

	*reason = "number-seal";
	ch_fail(err, CH_DENIED, "key '%s': its last number was changed outside the vault", key->key_id);
	if (vault_seal_first_sight(vault, ch_view_of(&packed))) {
		vault_note_alert(vault, key->tenant, key->key_id, "number-seal", err->message);
		vault_marks_wake(vault->marks); /* or an HSM is wrong: then that is told too */
	}
	return false;
}

/* What any vault signed before; under the row's lock, so that none is about to write a higher one. */
static bool check_mark(struct vault *vault, const struct vault_key *key, const struct vault_number *number,
		       const char **reason, struct ch_error *err)
{
	struct hsm_mark mark, last;

	*reason = "unavailable";
	if (!mark_of(number->last, &last, err) ||
	    !vault_mark_read(vault, VAULT_MARK_NUMBER, key->key_id, &mark, err))
		return false;
	if (hsm_mark_compare(&last, &mark) == 0)
		vault_mark_seen(vault, VAULT_MARK_NUMBER, key->key_id, &mark);
	return hsm_mark_compare(&last, &mark) >= 0 || refuse_number(vault, key, number, reason, err);
}

static bool check_row(struct vault *vault, const struct vault_key *key, const struct vault_number *number,
		      const char **reason, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed =
		vault_number_pack(key->key_id, number->last, ch_view_of(&number->tbs_sha256));
	struct ch_error why = CH_NONE;

	if (vault_seal_check(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), ch_view_of(&number->seal),
			     &why)) {
		if (!vault_seal_number_goes_on(vault, key->key_id, number->last))
			return refuse_number(vault, key, number, reason, err);
		return check_mark(vault, key, number, reason, err);
	}
	if (why.code == CH_DENIED)
		return refuse_number(vault, key, number, reason, err);
	*reason = "unavailable";
	*err = why;
	return ch_fail_in(err, "key '%s': its last number", key->key_id);
}

/* Decimal texts. */
static bool is_within(const char *number, const char *last, uint32_t cap)
{
	BIGNUM *high = NULL, *low = NULL;
	bool within = BN_dec2bn(&high, number) > 0 && BN_dec2bn(&low, last) > 0 && BN_add_word(low, cap) &&
		      BN_cmp(high, low) <= 0;

	BN_free(high);
	BN_free(low);
	return within;
}

/* Sets *taken where the very bytes took this number before: nothing is to be written. */
static bool may_follow(const struct vault_number *last, const char *number, struct ch_view tbs_sha256,
		       uint32_t step_cap, bool *taken, struct ch_error *err)
{
	int order = vault_number_compare(number, last->last);

	*taken = order == 0 && ch_view_equal(ch_view_of(&last->tbs_sha256), tbs_sha256);
	if (order > 0 && step_cap && !is_within(number, last->last, step_cap))
		return ch_fail(err, CH_DENIED, "number %s is more than %u above %s, the last", number,
			       step_cap, last->last);
	if (order > 0 || *taken || (order == 0 && !last->tbs_sha256.size))
		return true;
	return ch_fail(err, CH_DENIED,
		       "number %s is not above %s, the last that was signed, nor over the same bytes", number,
		       last->last);
}

static bool write_number(struct vault *vault, struct ch_transaction *transaction, const char *key_id,
			 const char *number, struct ch_view tbs_sha256, struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_number_pack(key_id, number, tbs_sha256);
	uint8_t seal[VAULT_SEAL_SIZE];

	return vault_seal_make(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), seal, err) &&
	       store_write_number(transaction, key_id, number, tbs_sha256, ch_view(seal, sizeof(seal)), err);
}

static bool take(struct vault *vault, const struct vault_key *key, struct vault_check *check,
		 const char *number, struct ch_view tbs_sha256, struct ch_error *err)
{
	const char **reason = &check->reason;
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(vault_number) last = CH_NONE;
	struct hsm_mark mark;
	bool taken;

	*reason = "database";
	if (!ch_db_begin(vault->db, NULL, &transaction, err) ||
	    !store_lock_number(transaction, key->key_id, &last, err) ||
	    !check_row(vault, key, &last, reason, err))
		return false;
	*reason = "number";
	if (!may_follow(&last, number, tbs_sha256, check->number_step_cap, &taken, err))
		return ch_fail_in(err, "key '%s'", key->key_id);
	*reason = "database";
	if ((!taken && !write_number(vault, transaction, key->key_id, number, tbs_sha256, err)) ||
	    !ch_db_commit(&transaction, err))
		return false;
	(void)vault_seal_number_goes_on(vault, key->key_id, number);
	/* Before a signature is made. The same bytes again come this way too. */
	return mark_of(number, &mark, err) &&
	       vault_mark_raise(vault, VAULT_MARK_NUMBER, key->key_id, &mark, err);
}

bool vault_number_sealed(struct vault *vault, const char *key_id, struct hsm_mark *number,
			 struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(vault_number) last = CH_NONE;
	CH_AUTO(ch_bytes) packed = CH_NONE;

	*number = (struct hsm_mark)CH_NONE;
	if (!ch_db_begin(vault->db, NULL, &transaction, err))
		return false;
	if (!store_lock_number(transaction, key_id, &last, err))
		return err->code == CH_NOT_FOUND;
	packed = vault_number_pack(key_id, last.last, ch_view_of(&last.tbs_sha256));
	if (!vault_seal_check(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), ch_view_of(&last.seal), err))
		return err->code == CH_DENIED;
	return mark_of(last.last, number, err) && ch_db_commit(&transaction, err);
}

bool vault_take_number(struct vault *vault, const struct vault_key *key, struct vault_check *check,
		       struct ch_error *err)
{
	char *text = decimal(check->number);
	uint8_t hash[64];
	size_t size;
	bool taken;

	check->reason = "database";
	if (!text)
		return ch_fail(err, CH_INTERNAL, "number: no memory");
	taken = ch_digest("sha256", check->to_be_signed, hash, &size, err) &&
		take(vault, key, check, text, ch_view(hash, size), err);
	OPENSSL_free(text);
	return taken;
}

bool vault_number_seal_first(struct vault *vault, const char *key_id, uint8_t seal[VAULT_SEAL_SIZE],
			     struct ch_error *err)
{
	CH_AUTO(ch_bytes) packed = vault_number_pack(key_id, "0", (struct ch_view)CH_NONE);

	return vault_seal_make(vault, VAULT_SEAL_NUMBER, ch_view_of(&packed), seal, err);
}
