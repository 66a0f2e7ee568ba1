/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approval.c: officers' signatures over a purpose and the very bytes that are to be signed.
 * purpose_ca_certificate.c asks for them.
 */
#include "purposes.h"

#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <string.h>

#define APPROVALS_CAP 16

CH_DEFINE_AUTO_POINTER(X509_STORE_CTX, X509_STORE_CTX, X509_STORE_CTX_free)
CH_DEFINE_AUTO_POINTER(EVP_PKEY_CTX, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

/* Chains to the operators' CA and is valid at the vault's own time. */
static bool verify_certificate(const struct vault_check *check, X509 *certificate, struct ch_error *err)
{
	CH_AUTO(X509_STORE_CTX) context = X509_STORE_CTX_new();

	if (!context || X509_STORE_CTX_init(context, check->policy->operators_ca, certificate, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "officer's certificate");
	X509_STORE_CTX_set_time(context, 0, (time_t)(check->now_us / CH_SECOND));
	if (X509_verify_cert(context) != 1)
		return ch_fail(err, CH_DENIED, "officer's certificate: %s",
			       X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	return true;
}

/* `digest` is SHA-256 of the approval message (ch_approval_message): the signature is made over it, not over
 * its hash. */
static bool verify_signature(X509 *certificate, struct ch_view digest, struct ch_view signature,
			     struct ch_error *err)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	CH_AUTO(EVP_PKEY_CTX) context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;

	if (!context || EVP_PKEY_verify_init(context) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) != 1)
		return ch_fail_openssl(err, CH_DENIED, "officer's key");
	if (EVP_PKEY_verify(context, signature.data, signature.size, digest.data, digest.size) != 1)
		return ch_fail_openssl(err, CH_DENIED, "the signature is not over these bytes");
	return true;
}

static bool read_approval(const struct vault_check *check, const Chancery__Approval *approval,
			  struct ch_view digest, struct ch_operator *officer, struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;

	if (!ch_certificate_read(ch_view(approval->certificate.data, approval->certificate.len), &certificate,
				 err) ||
	    !verify_certificate(check, certificate, err) || !ch_operator_read(certificate, officer, err))
		return false;
	if (!(officer->roles & CH_ROLE_OFFICER))
		return ch_fail(err, CH_DENIED, "operator '%s' is no officer", officer->name);
	if (strcmp(officer->tenant, check->key->tenant) != 0)
		return ch_fail(err, CH_DENIED, "officer '%s' is of tenant '%s', the key of '%s'",
			       officer->name, officer->tenant, check->key->tenant);
	if (!verify_signature(certificate, digest, ch_view(approval->signature.data, approval->signature.len),
			      err))
		return ch_fail_in(err, "officer '%s'", officer->name);
	return true;
}

static bool is_new(const struct ch_operator *officers, size_t count, const struct ch_operator *officer)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(officers[i].name, officer->name) == 0)
			return false;
	return true;
}

bool vault_check_approvals(struct vault_check *check, const char *purpose_name, struct ch_error *err)
{
	CH_AUTO(ch_bytes) digest = ch_approval_message(purpose_name, check->to_be_signed);
	struct ch_operator officers[APPROVALS_CAP];
	CH_AUTO(ch_buffer) names = CH_NONE;
	size_t distinct = 0;

	check->reason = "approval";
	if (check->approval_count > APPROVALS_CAP)
		return ch_fail(err, CH_DENIED, "%zu approvals, at most %d allowed", check->approval_count,
			       APPROVALS_CAP);
	for (size_t i = 0; i < check->approval_count; i++) {
		struct ch_operator *officer = &officers[distinct];

		if (!read_approval(check, check->approvals[i], ch_view_of(&digest), officer, err)) {
			if (err)
				err->code = CH_DENIED;
			return ch_fail_in(err, "approval %zu", i + 1);
		}
		if (!is_new(officers, distinct, officer))
			continue;
		ch_buffer_printf(&names, "%s%s", distinct ? " " : "", officer->name);
		distinct++;
	}
	if ((int64_t)distinct < check->policy->approvals_required)
		return ch_fail(err, CH_DENIED,
			       "approvals of %zu distinct officers over these bytes, %lld required", distinct,
			       (long long)check->policy->approvals_required);
	check->approvers = ch_buffer_steal_text(&names);
	return true;
}
