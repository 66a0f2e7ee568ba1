/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authority.c: certificates that stamp: what tokens need to know of one, and which one answers a request.
 * store.c fills them, stamp.c chooses.
 */
#include "tsa.h"

#include <stdio.h>
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

/* Has the default CA ever stamped under it? Then nobody stands in for it, whatever became of its keys. */
static bool is_defaults_policy(const struct tsa_authorities *authorities, struct ch_view policy)
{
	for (size_t i = 0; i < authorities->count; i++)
		if (authorities->items[i].is_default && find_policy(&authorities->items[i], policy).data)
			return true;
	return false;
}

/* The only CA that has the policy; 0: none. CH_DENIED: several have it. */
static bool find_only_ca(const struct tsa_authorities *authorities, struct ch_view policy, int64_t *ca_id,
			 struct ch_error *err)
{
	*ca_id = 0;
	for (size_t i = 0; i < authorities->count; i++) {
		if (!find_policy(&authorities->items[i], policy).data ||
		    authorities->items[i].ca_id == *ca_id)
			continue;
		if (*ca_id)
			return ch_fail(err, CH_DENIED,
				       "several CAs stamp under this policy and none of them is the default");
		*ca_id = authorities->items[i].ca_id;
	}
	return true;
}

static bool may_stamp(const struct tsa_authority *authority, int64_t now_us)
{
	return !authority->obstacle[0] && authority->not_before_us <= now_us &&
	       now_us <= authority->not_after_us;
}

static bool decide_ca(const struct tsa_authorities *authorities, struct ch_view policy, int64_t *ca_id,
		      bool *use_default, struct ch_error *err)
{
	*use_default = !policy.data || is_defaults_policy(authorities, policy);
	if (authorities->count == 0) /* nobody: said by who looks for a certificate */
		return true;
	if (!policy.data && !authorities->default_ca[0])
		return ch_fail(
			err, CH_DENIED,
			"no policy is named, and no CA is stated to be the default timestamp authority");
	if (*use_default)
		return true;
	if (!find_only_ca(authorities, policy, ca_id, err))
		return false;
	if (!*ca_id) {
		CH_AUTO(ch_string) dotted = ch_der_oid_text(policy);

		return ch_fail(err, CH_DENIED, "policy %.100s is not served", dotted ? dotted : "(none)");
	}
	return true;
}

bool tsa_authorities_choose(const struct tsa_authorities *authorities, struct ch_view policy, int64_t now_us,
			    const struct tsa_authority **authority, struct ch_view *chosen,
			    enum tsa_failure *failure, struct ch_error *err)
{
	int64_t ca_id = 0;
	bool use_default, any = false;

	*failure = TSA_UNACCEPTED_POLICY;
	if (!decide_ca(authorities, policy, &ca_id, &use_default, err))
		return false;
	for (size_t i = 0; i < authorities->count; i++) {
		const struct tsa_authority *candidate = &authorities->items[i];

		if (!may_stamp(candidate, now_us) ||
		    (use_default ? !candidate->is_default : candidate->ca_id != ca_id))
			continue;
		any = true;
		*chosen = find_policy(candidate, policy);
		if (chosen->data) {
			*authority = candidate;
			return true;
		}
	}
	if (any) {
		CH_AUTO(ch_string) dotted = policy.data ? ch_der_oid_text(policy) : NULL;

		return ch_fail(err, CH_DENIED, "policy %.100s is not served any more",
			       dotted ? dotted : "(none)");
	}
	*failure = TSA_SYSTEM_FAILURE;
	return ch_fail(err, CH_UNAVAILABLE, "no timestamp certificate may sign now");
}

/* Of the newest of the default CA's that may not sign; NULL: there is none. */
static const char *first_obstacle(const struct tsa_authorities *authorities)
{
	for (size_t i = 0; i < authorities->count; i++)
		if (authorities->items[i].is_default && authorities->items[i].obstacle[0])
			return authorities->items[i].obstacle;
	return NULL;
}

enum tsa_state tsa_authorities_state(const struct tsa_authorities *authorities, int64_t now_us, char *why,
				     size_t size)
{
	const char *obstacle = first_obstacle(authorities);
	bool any = false;

	*why = '\0';
	for (size_t i = 0; i < authorities->count; i++) {
		any = any || authorities->items[i].is_default;
		if (authorities->items[i].is_default && may_stamp(&authorities->items[i], now_us))
			return TSA_READY;
	}
	if (!authorities->default_ca[0]) {
		if (authorities->count == 0)
			return TSA_READY;
		snprintf(why, size,
			 "no CA is stated to be the default timestamp authority "
			 "(timestamp_authority.default, or "
			 "ca in this file)");
		return TSA_NO_DEFAULT;
	}
	if (!obstacle)
		obstacle = any ? "its certificate has ended" : "it has no certificate yet";
	snprintf(why, size, "the timestamp authority of CA '%s' may not sign: %s%s%s",
		 authorities->default_ca, obstacle, authorities->obstacle[0] ? "; " : "",
		 authorities->obstacle);
	return any ? TSA_STOPPED : TSA_WAITS_FOR_FIRST;
}
