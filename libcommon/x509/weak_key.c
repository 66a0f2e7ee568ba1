/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weak_key.c: public keys that must not be certified. The issuer calls it for each request. Checks that need
 * a list of known keys (Debian's openssl of 2008) are not here: no package carries that list any more.
 */
#include "x509/public_key.h"

#include <openssl/bn.h>
#include <string.h>

#define FERMAT_ROUNDS 100 /* CA/Browser Forum Baseline Requirements §6.1.1.3 (5) */

CH_DEFINE_AUTO_POINTER(BIGNUM, BIGNUM, BN_free)
CH_DEFINE_AUTO_POINTER(BN_CTX, BN_CTX, BN_CTX_free)

static bool is_prime(unsigned number)
{
	for (unsigned i = 2; i * i <= number; i++)
		if (number % i == 0)
			return false;
	return number > 1;
}

/* NIST SP 800-89 §5.3.3: no prime factor below 752. */
static bool has_small_factor(const BIGNUM *modulus)
{
	for (unsigned prime = 2; prime < 752; prime++)
		if (is_prime(prime) && BN_mod_word(modulus, prime) == 0)
			return true;
	return false;
}

static bool is_power_of_65537(unsigned residue, unsigned prime)
{
	unsigned power = 1;
	do {
		if (power == residue)
			return true;
		power = power * (65537 % prime) % prime;
	} while (power != 1);
	return false;
}

/*
 * ROCA (CVE-2017-15361): Infineon's primes are 65537^a modulo a product of small primes, so the modulus is a
 * power of 65537 modulo each of them. A good modulus passes all by chance about once in 2^154.
 */
static bool is_roca(const BIGNUM *modulus)
{
	for (unsigned prime = 3; prime <= 167; prime++)
		if (is_prime(prime) && !is_power_of_65537((unsigned)BN_mod_word(modulus, prime), prime))
			return false;
	return true;
}

/* The integer square root, rounded up (Newton from above). */
static bool square_root(const BIGNUM *number, BIGNUM *root, BN_CTX *context)
{
	CH_AUTO(BIGNUM) next = BN_new();
	CH_AUTO(BIGNUM) quotient = BN_new();
	if (!next || !quotient || !BN_one(root) || !BN_lshift(root, root, BN_num_bits(number) / 2 + 1))
		return false;
	for (;;) { /* falls strictly, doubling its correct bits each time */
		if (!BN_div(quotient, NULL, number, root, context) || !BN_add(next, root, quotient) ||
		    !BN_rshift1(next, next))
			return false;
		if (BN_cmp(next, root) >= 0)
			break;
		if (!BN_copy(root, next))
			return false;
	}
	return BN_sqr(quotient, root, context) && (BN_cmp(quotient, number) == 0 || BN_add_word(root, 1));
}

/* Fermat (CVE-2022-26320): are the two primes so close that a^2 - n is a square within some rounds? */
static bool has_close_primes(const BIGNUM *modulus, bool *close)
{
	CH_AUTO(BN_CTX) context = BN_CTX_new();
	CH_AUTO(BIGNUM) a = BN_new();
	CH_AUTO(BIGNUM) difference = BN_new();
	CH_AUTO(BIGNUM) root = BN_new();
	CH_AUTO(BIGNUM) square = BN_new();
	if (!context || !a || !difference || !root || !square || !square_root(modulus, a, context))
		return false;
	*close = false;
	for (int i = 0; i < FERMAT_ROUNDS && !*close; i++) {
		if (!BN_sqr(difference, a, context) || !BN_sub(difference, difference, modulus))
			return false;
		BN_ULONG low = BN_mod_word(difference, 16); /* squares end in 0, 1, 4 or 9 there */
		if (low == 0 || low == 1 || low == 4 || low == 9) {
			if (!square_root(difference, root, context) || !BN_sqr(square, root, context))
				return false;
			*close = BN_cmp(square, difference) == 0;
		}
		if (!BN_add_word(a, 1))
			return false;
	}
	return true;
}

static bool check_modulus(const BIGNUM *modulus, struct ch_error *err)
{
	bool close = false;
	if (has_small_factor(modulus))
		return ch_fail(err, CH_INVALID, "RSA key: the modulus has a factor below 752");
	if (is_roca(modulus))
		return ch_fail(err, CH_INVALID,
			       "RSA key: made by Infineon's faulty generator (CVE-2017-15361)");
	if (!has_close_primes(modulus, &close))
		return ch_fail_openssl(err, CH_INTERNAL, "RSA key: cannot be checked");
	if (close)
		return ch_fail(err, CH_INVALID, "RSA key: its two primes are too close (CVE-2022-26320)");
	return true;
}

static bool check_rsa(struct ch_view number, struct ch_error *err)
{
	CH_AUTO(BIGNUM) modulus = BN_bin2bn(number.data, (int)number.size, NULL);

	if (!modulus)
		return ch_fail_openssl(err, CH_INTERNAL, "RSA key");
	return check_modulus(modulus, err);
}

bool ch_check_weak_key(struct ch_view public_key_info, struct ch_error *err)
{
	struct ch_spki spki;

	if (!ch_spki_read(public_key_info, &spki, err))
		return false;
	if (spki.exponent.size > 0 && !spki.algorithm)
		return ch_fail(err, CH_INVALID, "RSA key: 2048, 3072 or 4096 bits allowed");
	if (!spki.algorithm)
		return ch_fail(err, CH_INVALID, "public key: none of the supported algorithms");
	return spki.algorithm->key_type != EVP_PKEY_RSA || check_rsa(spki.number, err);
}
