/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c: whether enough officers signed exactly this action. Pure: the quorum, the documents and the time
 * are given. Called where an approval arrives (handlers.c), where an action is used (actions.c), and by the
 * purposes that need one.
 */
#include "approval.h"

#include "envelope/envelope.h"
#include "err/err.h"
#include "x509/operator.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

#define RSA_BITS_MIN    2048
#define CLOCK_TOLERANCE (5 * CH_MINUTE) /* between the vault that wrote the document and this one */
#define VALIDITY_CAP    (7 * CH_DAY)

CH_DEFINE_AUTO_POINTER(X509_STORE_CTX, X509_STORE_CTX, X509_STORE_CTX_free)
CH_DEFINE_AUTO_POINTER(EVP_PKEY_CTX, EVP_PKEY_CTX, EVP_PKEY_CTX_free)

void vault_action_free(struct vault_action *action)
{
	ch_bytes_free(&action->document);
	for (size_t i = 0; i < action->approval_count; i++) {
		ch_bytes_free(&action->approvals[i].certificate);
		ch_bytes_free(&action->approvals[i].signature);
	}
	action->approval_count = 0;
}

uint32_t vault_approvals_required(const struct vault_quorum *quorum, uint32_t of_key)
{
	return of_key > quorum->required ? of_key : quorum->required;
}

static bool refuse(const char **reason, const char *why)
{
	*reason = why;
	return false;
}

/* --- one signature --- */

/* Chains to the operators' CA and is valid at the vault's own time. */
static bool verify_chain(X509 *certificate, const struct vault_operators *operators, int64_t now_us,
			 struct ch_error *err)
{
	CH_AUTO(X509_STORE_CTX) context = X509_STORE_CTX_new();

	if (!context || X509_STORE_CTX_init(context, operators->ca, certificate, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "officer's certificate");
	X509_STORE_CTX_set_time(context, 0, (time_t)(now_us / CH_SECOND));
	if (X509_verify_cert(context) != 1)
		return ch_fail(err, CH_DENIED, "officer's certificate: %s",
			       X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
	if (!operators->lists || ch_trust_accepts(operators->lists, certificate, err))
		return true;
	err->code = CH_DENIED;
	return ch_fail_in(err, "officer's");
}

static bool check_key(EVP_PKEY *key, const char *name, struct ch_error *err)
{
	const struct ch_algorithm *algorithm = key ? ch_algorithm_of_key(key) : NULL;

	if (key && EVP_PKEY_is_a(key, "RSA") && EVP_PKEY_get_bits(key) >= RSA_BITS_MIN)
		return true;
	if (algorithm && strcmp(algorithm->name, "ecdsa-p256") == 0)
		return true;
	return ch_fail(err, CH_DENIED,
		       "officer '%s' has a key that is neither P-256 nor RSA of %d bits or more", name,
		       RSA_BITS_MIN);
}

/* The quorum names people and pins their keys: an operators' CA alone cannot make an officer of it. */
static bool find_officer(X509 *certificate, const struct ch_operator *named,
			 const struct vault_quorum *quorum, const struct vault_officer **officer,
			 struct ch_error *err)
{
	uint8_t digest[32];

	if (!ch_operator_key_sha256(certificate, digest, err))
		return false;
	for (size_t i = 0; i < quorum->count; i++) {
		*officer = &quorum->officers[i];
		if (strcmp((*officer)->name, named->name) != 0)
			continue;
		if (memcmp((*officer)->public_key_sha256, digest, sizeof((*officer)->public_key_sha256)) == 0)
			return true;
		return ch_fail(err, CH_DENIED,
			       "officer '%s' signed with another key than the quorum has of them",
			       named->name);
	}
	return ch_fail(err, CH_DENIED, "'%s' is not one of the quorum's %zu officers", named->name,
		       quorum->count);
}

static bool identify(X509 *certificate, const char *tenant, int64_t now_us, const struct vault_quorum *quorum,
		     const struct vault_operators *operators, const struct vault_officer **officer,
		     struct ch_error *err)
{
	struct ch_operator named;

	if (!verify_chain(certificate, operators, now_us, err) || !ch_operator_read(certificate, &named, err))
		return false;
	if (!(named.roles & CH_ROLE_OFFICER))
		return ch_fail(err, CH_DENIED, "operator '%s' is no officer", named.name);
	if (strcmp(named.tenant, tenant) != 0)
		return ch_fail(err, CH_DENIED, "officer '%s' is of tenant '%s', the action of '%s'",
			       named.name, named.tenant, tenant);
	return check_key(X509_get0_pubkey(certificate), named.name, err) &&
	       find_officer(certificate, &named, quorum, officer, err);
}

static bool verify_signature(X509 *certificate, struct ch_view document, struct ch_view signature,
			     const char *name, struct ch_error *err)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	CH_AUTO(EVP_PKEY_CTX) context = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", document, digest, &size, err))
		return false;
	if (!context || EVP_PKEY_verify_init(context) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) != 1)
		return ch_fail_openssl(err, CH_DENIED, "key of officer '%s'", name);
	if (EVP_PKEY_verify(context, signature.data, signature.size, digest, size) == 1)
		return true;
	ERR_clear_error(); /* of a signature that does not decode: it is no signature either */
	return ch_fail(err, CH_DENIED, "the signature of officer '%s' is not over this document", name);
}

bool vault_approval_verify(struct ch_view document, struct ch_view certificate, struct ch_view signature,
			   const char *tenant, int64_t now_us, const struct vault_quorum *quorum,
			   const struct vault_operators *operators, const struct vault_officer **officer,
			   const char **reason, struct ch_error *err)
{
	CH_AUTO(X509) decoded = NULL;

	if (!ch_certificate_read(certificate, &decoded, err) ||
	    !identify(decoded, tenant, now_us, quorum, operators, officer, err))
		return refuse(reason, "approval-officer");
	if (!verify_signature(decoded, document, signature, (*officer)->name, err))
		return refuse(reason, "approval-signature");
	return true;
}

/* --- the whole --- */

static bool check_content(const struct vault_approval_ask *ask, const struct ch_action *action,
			  struct ch_error *err)
{
	if (strcmp(action->tenant, ask->tenant) != 0)
		return ch_fail(err, CH_DENIED,
			       "the approved action is tenant '%s's, asked for is one of '%s'",
			       action->tenant, ask->tenant);
	return ch_action_matches(action, ask->kind, ask->fields, ask->field_count, err);
}

static bool check_time(const struct vault_approval_ask *ask, const struct ch_action *action,
		       struct ch_error *err)
{
	char text[CH_TIME_TEXT_SIZE];

	if (action->expires_us <= ask->now_us)
		return ch_fail(err, CH_EXPIRED, "the approved action expired at %s",
			       ch_time_text(action->expires_us, text));
	if (action->created_us > ask->now_us + CLOCK_TOLERANCE)
		return ch_fail(err, CH_EXPIRED, "the approved action was made at %s, which is in the future",
			       ch_time_text(action->created_us, text));
	return action->expires_us - action->created_us <= VALIDITY_CAP ||
	       ch_fail(err, CH_EXPIRED, "the approved action is valid for over %d days",
		       (int)(VALIDITY_CAP / CH_DAY));
}

static bool is_new(const struct vault_officer *const *counted, size_t count,
		   const struct vault_officer *officer)
{
	for (size_t i = 0; i < count; i++)
		if (counted[i] == officer)
			return false;
	return true;
}

/* How many officers signed; the first signature that counts for nothing says why in *first_why. */
static size_t count_officers(const struct vault_approval_ask *ask, const struct vault_action *action,
			     const struct vault_quorum *quorum, const struct vault_operators *operators,
			     struct ch_buffer *names, const char **first_reason, struct ch_error *first_why)
{
	const struct vault_officer *counted[VAULT_OFFICERS_CAP];
	size_t count = 0;

	for (size_t i = 0; i < action->approval_count; i++) {
		const struct vault_officer *officer = NULL;
		struct ch_error why = CH_NONE;
		const char *reason = NULL;

		if (!vault_approval_verify(ch_view_of(&action->document),
					   ch_view_of(&action->approvals[i].certificate),
					   ch_view_of(&action->approvals[i].signature), ask->tenant,
					   ask->now_us, quorum, operators, &officer, &reason, &why)) {
			if (!*first_reason) {
				*first_reason = reason;
				*first_why = why;
			}
			continue;
		}
		if (!is_new(counted, count, officer))
			continue;
		ch_buffer_printf(names, "%s%s", count ? " " : "", officer->name);
		counted[count++] = officer;
	}
	return count;
}

bool vault_approvals_check(const struct vault_approval_ask *ask, const struct vault_action *action,
			   const struct vault_quorum *quorum, const struct vault_operators *operators,
			   char **names, const char **reason, struct ch_error *err)
{
	uint32_t required = vault_approvals_required(quorum, ask->required);
	CH_AUTO(ch_action) document = CH_NONE;
	CH_AUTO(ch_buffer) approvers = CH_NONE;
	const char *first_reason = NULL;
	struct ch_error first_why = CH_NONE;
	size_t count;

	/* 1. The document reads, and is about exactly this. */
	if (!ch_action_read(ch_view_of(&action->document), &document, err) ||
	    !check_content(ask, &document, err)) {
		if (err)
			err->code = CH_DENIED;
		return refuse(reason, "approval-content");
	}

	/* 2. It is in its time. */
	if (!check_time(ask, &document, err))
		return refuse(reason, "approval-expired");

	/* 3. Enough distinct officers signed it. */
	count = count_officers(ask, action, quorum, operators, &approvers, &first_reason, &first_why);
	if (count < required && first_reason) {
		if (err)
			*err = first_why;
		ch_fail_in(err, "%zu of %u approvals", count, required);
		if (err)
			err->code = CH_DENIED;
		return refuse(reason, first_reason);
	}
	if (count < required) {
		ch_fail(err, CH_DENIED, "approved by %zu of the %u officers that are required%s%.*s", count,
			required, count ? ": " : "", (int)approvers.used,
			approvers.used ? (const char *)approvers.data : "");
		return refuse(reason, "approval-count");
	}
	*names = ch_buffer_steal_text(&approvers);
	return true;
}
