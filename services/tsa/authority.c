/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authority.c: certificates that stamp: what tokens need to know of one, and which one answers a request.
 * store.c fills them, stamp.c chooses.
 */
#include "tsa.h"

#include <stdlib.h>
#include <string.h>

static void free_list(struct ch_bytes *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ch_bytes_free(&items[i]);
	free(items);
}

void tsa_authority_free(struct tsa_authority *authority)
{
	if (!authority)
		return;
	ch_bytes_free(&authority->certificate);
	ch_bytes_free(&authority->issuer_der);
	ch_bytes_free(&authority->subject_der);
	ch_bytes_free(&authority->serial);
	free_list(authority->chain, authority->chain_count);
	free_list(authority->policies, authority->policy_count);
	*authority = (struct tsa_authority)CH_NONE;
}

static struct ch_bytes name_der(const X509_NAME *name)
{
	const uint8_t *der = NULL;
	size_t size = 0;
	if (!X509_NAME_get0_der(name, &der, &size))
		return (struct ch_bytes)CH_NONE;
	return ch_bytes_copy(ch_view(der, size));
}

/* RFC 3161 §2.3: extendedKeyUsage is critical and holds timeStamping alone. OpenSSL's purpose check asks for
 * both. */
static bool check_purpose(X509 *certificate, struct ch_error *err)
{
	if (X509_check_purpose(certificate, X509_PURPOSE_TIMESTAMP_SIGN, 0) != 1)
		return ch_fail(err, CH_INVALID, "certificate is not for timestamps (RFC 3161 2.3)");
	return true;
}

bool tsa_authority_set_certificate(struct tsa_authority *authority, struct ch_view der, struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;
	size_t size = 0;
	uint8_t digest[64];
	if (!ch_certificate_read(der, &certificate, err) || !check_purpose(certificate, err) ||
	    !ch_digest("sha256", der, digest, &size, err))
		return false;
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	authority->algorithm = key ? ch_algorithm_of_key(key) : NULL;
	if (!authority->algorithm)
		return ch_fail(err, CH_UNSUPPORTED, "certificate has a key of an unknown algorithm");
	uint8_t *serial = NULL;
	int serial_size = i2d_ASN1_INTEGER(X509_get0_serialNumber(certificate), &serial);
	if (serial_size <= 0)
		return ch_fail_openssl(err, CH_INVALID, "certificate has no serial number");
	authority->serial = ch_bytes_copy(ch_view(serial, (size_t)serial_size));
	OPENSSL_free(serial);
	memcpy(authority->certificate_sha256, digest, sizeof authority->certificate_sha256);
	authority->certificate = ch_bytes_copy(der);
	authority->issuer_der = name_der(X509_get_issuer_name(certificate));
	authority->subject_der = name_der(X509_get_subject_name(certificate));
	return true;
}

bool tsa_authority_add_policy(struct tsa_authority *authority, const char *dotted, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	if (!ch_der_put_oid(&writer, dotted, err))
		return ch_fail_in(err, "policy");
	CH_AUTO(ch_bytes) der = ch_der_done(&writer);
	struct ch_view in = ch_view_of(&der), content = CH_NONE;
	if (!ch_der_read_oid(&in, "policy", &content, err))
		return false;
	authority->policies =
		ch_realloc(authority->policies, (authority->policy_count + 1) * sizeof *authority->policies);
	authority->policies[authority->policy_count++] = ch_bytes_copy(content);
	return true;
}

struct tsa_authorities *tsa_authorities_new(size_t count)
{
	struct tsa_authorities *authorities = ch_alloc(sizeof *authorities);
	authorities->items = ch_alloc((count ? count : 1) * sizeof *authorities->items);
	atomic_init(&authorities->users, 1);
	return authorities;
}

void tsa_authorities_release(struct tsa_authorities *authorities)
{
	if (!authorities || atomic_fetch_sub(&authorities->users, 1) > 1)
		return;
	for (size_t i = 0; i < authorities->count; i++)
		tsa_authority_free(&authorities->items[i]);
	free(authorities->items);
	free(authorities);
}

/* The policy as the authority holds it; data NULL: it does not stamp under it. */
static struct ch_view find_policy(const struct tsa_authority *authority, struct ch_view policy)
{
	for (size_t i = 0; i < authority->policy_count; i++)
		if (!policy.data || ch_view_equal(ch_view_of(&authority->policies[i]), policy))
			return ch_view_of(&authority->policies[i]);
	return (struct ch_view)CH_NONE;
}

bool tsa_authorities_choose(const struct tsa_authorities *authorities, struct ch_view policy, int64_t now_us,
			    const struct tsa_authority **authority, struct ch_view *chosen,
			    enum tsa_failure *failure, struct ch_error *err)
{
	bool any_valid = false;
	for (size_t i = 0; i < authorities->count; i++) {
		const struct tsa_authority *candidate = &authorities->items[i];
		if (now_us < candidate->not_before_us || now_us > candidate->not_after_us)
			continue;
		any_valid = true;
		*chosen = find_policy(candidate, policy);
		if (chosen->data) {
			*authority = candidate;
			return true;
		}
	}
	if (!any_valid) {
		*failure = TSA_SYSTEM_FAILURE;
		return ch_fail(err, CH_UNAVAILABLE, "there is no valid timestamp certificate");
	}
	CH_AUTO(ch_string) dotted = policy.data ? ch_der_oid_text(policy) : NULL;
	*failure = TSA_UNACCEPTED_POLICY;
	return ch_fail(err, CH_DENIED, "policy %.100s is not served", dotted ? dotted : "(none)");
}
