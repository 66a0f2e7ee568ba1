/* SPDX-License-Identifier: Apache-2.0 */
/* key_kinds.c: what keys the vault makes, for whom, and what a request for one must say. Pure. generate.c
 * asks first of all. */
#include "generate.h"

#include "text/text.h"

#include <string.h>

#define LABEL_CAP    128
#define ORIGIN_CAP   128
#define POLICIES_CAP 16

#define BIT(name)   (1u << CHANCERY__PURPOSE__PURPOSE_##name)
#define CA_PURPOSES (BIT(END_ENTITY_CERTIFICATE) | BIT(CA_CERTIFICATE) | BIT(CRL))

static const struct key_kind kinds[] = {
	{ "CA", "issuer", CA_PURPOSES, true, false, false, true },
	{ "system CA", "operator", BIT(SERVICE_IDENTITY) | BIT(CA_CERTIFICATE) | BIT(CRL), true, false, false,
	  true },
	{ "OCSP", "issuer", BIT(OCSP), false, false, false, false },
	{ "timestamp", "issuer", BIT(TIMESTAMP), false, true, false, false },
	{ "checkpoint", "audit", BIT(AUDIT_CHECKPOINT), false, false, true, false },
};

static const struct key_kind *find_kind(const Chancery__GenerateKeyRequest *ask)
{
	unsigned purposes = 0;

	for (size_t i = 0; i < ask->n_purposes; i++) {
		if ((unsigned)ask->purposes[i] < 1 ||
		    (unsigned)ask->purposes[i] > 31) /* an enum may hold any number */
			return NULL;
		purposes |= 1u << ask->purposes[i];
	}
	for (size_t i = 0; i < CH_COUNT(kinds); i++)
		if (kinds[i].purposes == purposes)
			return &kinds[i];
	return NULL;
}

static bool check_policies(const Chancery__GenerateKeyRequest *ask, struct ch_error *err)
{
	if (ask->n_timestamp_policies < 1 || ask->n_timestamp_policies > POLICIES_CAP)
		return ch_fail(err, CH_INVALID, "%zu timestamp policies, 1 to %d wanted",
			       ask->n_timestamp_policies, POLICIES_CAP);
	for (size_t i = 0; i < ask->n_timestamp_policies; i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;

		if (!ch_der_put_oid(&writer, ask->timestamp_policies[i], err))
			return ch_fail_in(err, "timestamp policy");
	}
	return true;
}

static bool check_subject(const Chancery__GenerateKeyRequest *ask, struct ch_error *err)
{
	struct ch_view in = ch_view(ask->subject_der.data, ask->subject_der.len), name;

	if (in.size > CH_CERTIFICATE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "subject of %zu octets", in.size);
	if (!ch_der_read(&in, CH_DER_SEQUENCE, "subject_der", &name, err) ||
	    !ch_der_end(&in, "subject_der", err))
		return false;
	return name.size > 0 || ch_fail(err, CH_INVALID, "a CA key needs a subject that is not empty");
}

bool vault_key_kind_check(const Chancery__GenerateKeyRequest *ask, const char *service,
			  const struct key_kind **kind, struct ch_error *err)
{
	size_t origin = strlen(ask->checkpoint_origin), label = strlen(ask->label);

	*kind = find_kind(ask);
	if (!*kind)
		return ch_fail(err, CH_INVALID, "no kind of key has just these %zu purposes",
			       ask->n_purposes);
	if (strcmp((*kind)->caller, service) != 0 &&
	    !((*kind)->needs_approval && strcmp(service, "operator") == 0))
		return ch_fail(err, CH_DENIED, "service '%s' may not make a %s key, only '%s' may", service,
			       (*kind)->name, (*kind)->caller);
	if (!ch_algorithm_find(ask->algorithm))
		return ch_fail(err, CH_UNSUPPORTED, "algorithm '%.32s' is not one of the vault's",
			       ask->algorithm);
	if (label < 1 || label > LABEL_CAP)
		return ch_fail(err, CH_INVALID, "label of %zu octets, 1 to %d wanted", label, LABEL_CAP);
	if (!ch_text_check("label", ch_view_text(ask->label), err))
		return false;
	if (ask->max_validity_seconds < 0 || ask->max_validity_seconds > INT64_C(100) * 366 * 86400)
		return ch_fail(err, CH_INVALID, "max_validity_seconds is %lld",
			       (long long)ask->max_validity_seconds);
	if (!(*kind)->has_subject != !ask->subject_der.len ||
	    !(*kind)->has_policies != !ask->n_timestamp_policies || !(*kind)->has_origin != !origin)
		return ch_fail(err, CH_INVALID,
			       "a %s key is made with%s subject, with%s timestamp policies and with%s "
			       "checkpoint origin",
			       (*kind)->name, (*kind)->has_subject ? "" : "out",
			       (*kind)->has_policies ? "" : "out", (*kind)->has_origin ? "" : "out");
	if ((*kind)->has_origin && (origin > ORIGIN_CAP || strchr(ask->checkpoint_origin, '\n')))
		return ch_fail(err, CH_INVALID, "checkpoint origin is not one line of at most %d octets",
			       ORIGIN_CAP);
	return (!(*kind)->has_subject || check_subject(ask, err)) &&
	       (!(*kind)->has_policies || check_policies(ask, err));
}

bool vault_generate_allowed(const Chancery__GenerateKeyRequest *ask, const char *service,
			    struct ch_error *err)
{
	const struct key_kind *kind;

	return vault_key_kind_check(ask, service, &kind, err);
}
