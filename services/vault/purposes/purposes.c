/* SPDX-License-Identifier: Apache-2.0 */
/* purposes.c: the table of what the vault signs, and what its rows share. sign_allow.c looks purposes up
 * here. */
#include "purposes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the vault signs, who may ask, and who checks the bytes. A new purpose is a row here and a file beside
 * this one. */
static const struct vault_purpose purposes[] = {
	/* clang-format off */
	/* number                                            name                      callers                  each audited  keeps octets  for relying parties  check */
	{ CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE, "end-entity-certificate", { "issuer" },             true,         true,         false,               purpose_end_entity },
	{ CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE,         "ca-certificate",         { "issuer", "operator" }, true,         true,         false,               purpose_ca_certificate },
	{ CHANCERY__PURPOSE__PURPOSE_CRL,                    "crl",                    { "crl", "operator" },    true,         false,        false,               purpose_crl },
	{ CHANCERY__PURPOSE__PURPOSE_OCSP,                   "ocsp",                   { "ocsp" },               false,        false,        true,                purpose_ocsp },
	{ CHANCERY__PURPOSE__PURPOSE_TIMESTAMP,              "timestamp",              { "tsa" },                false,        false,        true,                purpose_timestamp },
	{ CHANCERY__PURPOSE__PURPOSE_AUDIT_CHECKPOINT,       "audit-checkpoint",       { "audit" },              false,        false,        false,               purpose_checkpoint },
	{ CHANCERY__PURPOSE__PURPOSE_CA_CSR,                 "ca-csr",                 { "issuer", "operator" }, true,         false,        false,               purpose_csr },
	{ CHANCERY__PURPOSE__PURPOSE_SERVICE_IDENTITY,       "service-identity",       { NULL },                 true,         true,         false,               purpose_service_identity },
	/* clang-format on */
};

unsigned vault_purpose_of_key(const struct vault_purpose *purpose)
{
	return 1u << (purpose->number == CHANCERY__PURPOSE__PURPOSE_CA_CSR
			      ? CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE
			      : purpose->number);
}

bool vault_purpose_allows(const struct vault_purpose *purpose, const char *service)
{
	for (size_t i = 0; i < CH_COUNT(purpose->callers) && purpose->callers[i]; i++)
		if (strcmp(purpose->callers[i], service) == 0)
			return true;
	return !purpose->callers[0];
}

const struct vault_purpose *vault_purpose_at(size_t index)
{
	return index < CH_COUNT(purposes) ? &purposes[index] : NULL;
}

const struct vault_purpose *vault_purpose_find(Chancery__Purpose number)
{
	for (size_t i = 0; i < CH_COUNT(purposes); i++)
		if (purposes[i].number == number)
			return &purposes[i];
	return NULL;
}

bool vault_refuse(struct vault_check *check, const char *reason, struct ch_error *err, const char *format,
		  ...)
{
	char message[400];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	check->reason = reason;
	return ch_fail(err, CH_DENIED, "%s", message);
}

void vault_check_free(struct vault_check *check)
{
	free(check->subject);
	free(check->approvers);
	check->subject = check->approvers = NULL;
}

static void free_texts(char **texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

void vault_key_free(struct vault_key *key)
{
	if (!key)
		return;
	free(key->label);
	ch_bytes_free(&key->subject_der);
	ch_bytes_free(&key->public_key_info);
	ch_verify_key_free(key->verify_key);
	free_texts(key->residency, key->residency_count);
	free_texts(key->timestamp_policies, key->timestamp_policy_count);
	free(key->checkpoint_origin);
	free_texts(key->callers, key->caller_count);
	free_texts(key->signature_algorithms, key->signature_algorithm_count);
	free_texts(key->extra_extensions, key->extra_extension_count);
	ch_bytes_free(&key->request_id);
	ch_bytes_free(&key->seal);
	*key = (struct vault_key)CH_NONE;
}
