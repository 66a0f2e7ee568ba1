/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issue.c: one accepted request becomes one certificate. Called from the bus dispatch table (peers.c).
 * The order of the steps is the safety argument; docs/paths/issuance.md draws it.
 */
#include "stopping.h"

#include <stdlib.h>
#include <string.h>

/* What the steps hand on; freed as one. */
struct issuing {
	struct issuer *issuer;
	const struct ch_bus_request *request;
	const Chancery__IssueCertificateRequest *payload;
	const char *tenant;
	uint8_t digest[64]; /* SHA-256 of what was asked for */
	struct lookup lookup;
	struct ca_set *set;
	struct ch_profile *profile;
	struct ch_csr csr;
	struct ch_sans sans;
	struct ch_unmet unmet; /* what the CSR asks for and does not get */
	struct candidate candidate;
	struct certificate_row row;
};

static void issuing_free(struct issuing *issuing)
{
	candidate_free(&issuing->candidate);
	certificate_row_free(&issuing->row);
	ch_csr_free(&issuing->csr);
	ch_sans_free(&issuing->sans);
	ch_unmet_free(&issuing->unmet);
	lookup_free(&issuing->lookup);
	if (issuing->profile)
		profile_release(issuing->issuer, issuing->profile);
	if (issuing->set)
		catalog_release(issuing->issuer, issuing->set);
}
CH_DEFINE_AUTO_VALUE(issuing, struct issuing, issuing_free)

static bool check_request(struct issuing *issuing, struct ch_error *err);
static bool look_up(struct issuing *issuing, struct ch_error *err);
static bool answer_repeat(struct issuing *issuing, struct ch_error *err);
static bool decide(struct issuing *issuing, struct ch_error *err);
static bool finish(struct issuing *issuing, struct ch_error *err);
static bool read_back(struct issuing *issuing, struct ch_error *err);
static bool answer(struct issuing *issuing, bool repeated, ProtobufCMessage **reply, struct ch_error *err);

/*
 * Issues the certificate that an IssueCertificateRequest asks for.
 *
 * Errors  CH_INVALID      the CSR, a name or the validity breaks the profile (the message says which and why)
 *         CH_DENIED       the requester's roles, or the vault, do not allow it
 *         CH_NOT_FOUND    no such profile or CA
 *         CH_CONFLICT     the idempotency key was used for another request
 *         CH_UNAVAILABLE  no vault or database in time; retry with the same idempotency key
 * Source  RFC 5280 §4.1, RFC 2986 §4
 */
static bool issue(struct issuing *issuing, ProtobufCMessage **reply, struct ch_error *err)
{
	bool reserved = false;

	/* 1. Who asks, and is the request one at all? */
	if (!check_request(issuing, err) || !look_up(issuing, err))
		return false;

	/* 2. An idempotency key seen before returns what it made, finished or not. */
	if (issuing->lookup.repeated) {
		return answer_repeat(issuing, err) && answer(issuing, true, reply, err);
	}

	/* 3. What may be issued is decided before anything is built. */
	if (!decide(issuing, err))
		return false;

	/* 4. Build and lint the very bytes that will be signed. */
	if (!candidate_build(&issuing->candidate, err))
		return ch_fail_in(err, "profile '%s'", issuing->profile->name);

	/* 5. The database knows the serial before the HSM does: no orphan certificate can exist. */
	if (!candidate_reserve(issuing->issuer, &issuing->candidate, &reserved, err))
		return false;
	if (!reserved) { /* the same key on another connection or issuer was quicker */
		return look_up(issuing, err) && answer_repeat(issuing, err) &&
		       answer(issuing, true, reply, err);
	}

	/* 6. Sign exactly those bytes, verify, and save with the audit event in one transaction; then it may
	 * be told. */
	return finish(issuing, err) && read_back(issuing, err) && answer(issuing, false, reply, err);
}

bool issuer_issue(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		  struct ch_error *err)
{
	struct issuer *issuer = state;
	CH_AUTO(issuing) issuing = {
		.issuer = issuer,
		.request = request,
		.payload = (const Chancery__IssueCertificateRequest *)request->payload,
	};

	if (issue(&issuing, reply, err))
		return true;
	count(issuer, "refused", "Requests that failed, by kind and code.", "request=\"issue\",code=\"%s\"",
	      ch_code_name(err->code));
	ch_log(CH_LOG_WARN, &request->scope, "no certificate for %s: %s",
	       issuing.payload->requester ? issuing.payload->requester->client : "?", err->message);
	return false;
}

/* --- 1
 * --------------------------------------------------------------------------------------------------------------------
 */

/* Everything that was asked for, without who asked and under which key: equal digests are equal requests. */
static bool digest_request(const Chancery__IssueCertificateRequest *payload, uint8_t digest[64],
			   struct ch_error *err)
{
	Chancery__IssueCertificateRequest content = *payload;
	CH_AUTO(ch_bytes) packed = CH_NONE;
	size_t size;

	content.requester = NULL;
	content.idempotency_key = (char *)protobuf_c_empty_string;
	packed.size = chancery__issue_certificate_request__get_packed_size(&content);
	packed.data = ch_alloc(packed.size + 1);
	chancery__issue_certificate_request__pack(&content, packed.data);
	return ch_digest("sha256", ch_view_of(&packed), digest, &size, err);
}

static bool check_request(struct issuing *issuing, struct ch_error *err)
{
	const Chancery__IssueCertificateRequest *payload = issuing->payload;
	size_t length = strlen(payload->idempotency_key);

	if (!request_tenant(issuing->request, &issuing->tenant, err) ||
	    !require_role(payload->requester,
			  has_role(payload->requester, "officer") ? "officer" : "requester", err))
		return false;
	for (size_t i = 0; i < length; i++)
		if (payload->idempotency_key[i] < ' ' || payload->idempotency_key[i] > '~')
			return ch_fail(err, CH_INVALID,
				       "idempotency key holds a character outside printable ASCII");
	if (length == 0 || length > 128)
		return ch_fail(err, CH_INVALID, "idempotency key has %zu characters, 1 to 128 allowed",
			       length);
	return ch_check_name("profile", payload->profile, err) &&
	       digest_request(payload, issuing->digest, err);
}

static bool look_up(struct issuing *issuing, struct ch_error *err)
{
	lookup_free(&issuing->lookup);
	if (!store_lookup(issuing->issuer->db, issuing->tenant, issuing->payload->requester->client,
			  issuing->payload->idempotency_key, issuing->payload->profile, &issuing->lookup,
			  err))
		return false;
	if (issuing->set)
		catalog_release(issuing->issuer, CH_STEAL(issuing->set));
	return catalog_get(issuing->issuer, issuing->tenant, issuing->lookup.catalog_version, &issuing->set,
			   err);
}

/* --- 2
 * --------------------------------------------------------------------------------------------------------------------
 */

static bool read_row(struct issuing *issuing, int32_t expiry_period, int64_t ca_id, struct ch_view serial,
		     struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(issuing->issuer->db, issuing->tenant, &transaction, err) &&
	       store_find(transaction, expiry_period, ca_id, serial, false, &issuing->row, err) &&
	       ch_db_commit(&transaction, err);
}

static bool read_repeated(struct issuing *issuing, struct ch_error *err)
{
	return read_row(issuing, issuing->lookup.expiry_period, issuing->lookup.ca_id,
			ch_view_of(&issuing->lookup.serial), err);
}

/* Whoever reserved it did not finish in time: this request does, over the stored bytes, or gives it up for
 * what recovery would give it up for. */
static bool take_over(struct issuing *issuing, struct ch_error *err)
{
	struct issuer *issuer = issuing->issuer;
	const struct certificate_row *row = &issuing->row;
	const struct ch_ca *ca = catalog_by_id(issuing->set, row->ca_id);
	CH_AUTO(ch_string) reason = NULL;
	struct ch_lint_token lint = CH_NONE;
	struct pending pending;

	if (!ca)
		return ch_fail(err, CH_INTERNAL, "its CA is not in the database");
	reason = reason_to_give_up(issuer, issuing->tenant, issuing->set, row);
	if (reason) {
		pending = pending_from_row(issuing->tenant, row, ca);
		pending.scope = &issuing->request->scope;
		return finish_give_up(issuer, &pending, reason, err) && read_repeated(issuing, err);
	}
	if (!issuing->profile &&
	    !profile_get(issuer, issuing->tenant, row->profile, row->profile_version, &issuing->profile, err))
		return false;
	if (!may_still_be_signed(issuer, issuing->tenant, issuing->set, row, err) ||
	    !pending_of_row(issuing->tenant, row, ca, issuing->profile, &lint, &pending, err))
		return false;
	pending.scope = &issuing->request->scope;
	pending.timeout_us = time_left(issuer, issuing->request, issuer->config->sign_timeout_us);
	return finish_pending(issuer, &pending, err) && read_repeated(issuing, err);
}

/* A row that was revoked while it was pending has no certificate. */
static bool was_issued(const struct issuing *issuing, struct ch_error *err)
{
	return issuing->row.der.size > 0 ||
	       ch_fail(err, CH_CONFLICT, "the certificate of this request was %s before it was issued",
		       issuing->row.status);
}

static bool answer_repeat(struct issuing *issuing, struct ch_error *err)
{
	struct issuer *issuer = issuing->issuer;
	int64_t until = ch_monotonic_us() + time_left(issuer, issuing->request, issuer->config->takeover_us);

	if (memcmp(issuing->digest, issuing->lookup.request_sha256, sizeof(issuing->lookup.request_sha256)) !=
	    0)
		return ch_fail(err, CH_CONFLICT, "idempotency key '%s' was used for another request",
			       issuing->payload->idempotency_key);
	if (!read_repeated(issuing, err))
		return false;
	while (strcmp(issuing->row.status, "pending") == 0 && ch_monotonic_us() < until &&
	       !ch_daemon_sleep(issuer->daemon, 10 * CH_MILLISECOND))
		if (!read_repeated(issuing, err))
			return false;
	if (strcmp(issuing->row.status, "pending") == 0 && !take_over(issuing, err))
		return false;
	if (strcmp(issuing->row.status, "cancelled") == 0)
		return ch_fail(err, CH_DENIED, "this request was refused before: %s",
			       issuing->row.cancelled_reason);
	return was_issued(issuing, err);
}

/* --- 3
 * --------------------------------------------------------------------------------------------------------------------
 */

static bool read_sans(struct issuing *issuing, struct ch_error *err)
{
	const Chancery__IssueCertificateRequest *payload = issuing->payload;

	if (payload->n_subject_alt_names > ISSUER_SANS_CAP)
		return ch_fail(err, CH_TOO_LARGE, "%zu subject alternative names",
			       payload->n_subject_alt_names);
	for (size_t i = 0; i < payload->n_subject_alt_names; i++)
		if (!ch_sans_add(&issuing->sans, payload->subject_alt_names[i]->type,
				 payload->subject_alt_names[i]->value, err))
			return false;
	return true;
}

static bool may_request(const struct ch_profile *profile, const Chancery__Requester *requester,
			struct ch_error *err)
{
	/* Who holds such a certificate can answer for the CA or stamp time in its name. */
	if (profile->kind != CH_KIND_END_ENTITY && !has_role(requester, "officer"))
		return ch_fail(err, CH_DENIED, "profile '%s' is of kind %s: only officers may use it",
			       profile->name, profile->kind_name);
	for (size_t i = 0; i < profile->requesters.count; i++) {
		const char *item = profile->requesters.items[i];

		if (strncmp(item, "role:", 5) == 0 ? has_role(requester, item + 5)
						   : strcmp(item, requester->client) == 0)
			return true;
	}
	return profile->requesters.count == 0 ||
	       ch_fail(err, CH_DENIED, "profile '%s': '%.200s' is none of its requesters", profile->name,
		       requester->client);
}

/* The CA that issues is policy's; here all others of the tenant. */
static bool check_subject_is_no_ca(const struct issuing *issuing, struct ch_error *err)
{
	bool equal;

	for (size_t i = 0; i < issuing->set->count; i++) {
		const struct ch_ca *ca = &issuing->set->items[i];

		if (!ch_name_equal(ch_view_of(&issuing->csr.subject_der), ch_view_of(&ca->subject_der),
				   &equal, err))
			return ch_fail_in(err, "subject");
		if (equal)
			return ch_fail(err, CH_INVALID, "subject '%.200s' is the name of CA '%s'",
				       issuing->csr.subject, ca->document.name);
	}
	return true;
}

/* What is asked for and not given is told, or refused where the profile wants that. */
static bool find_unmet(struct issuing *issuing, const struct ch_profile *profile, struct ch_error *err)
{
	const struct ch_sans *sans = issuing->sans.count ? &issuing->sans : &issuing->csr.sans;
	struct ch_conf_strings texts;

	ch_unmet_free(&issuing->unmet);
	if (!ch_unmet_find(profile, &issuing->csr, sans, &issuing->unmet, err))
		return false;
	if (!issuing->unmet.count || strcmp(profile->requested_extensions, "refuse") != 0)
		return true;
	texts = (struct ch_conf_strings){ .items = issuing->unmet.items, .count = issuing->unmet.count };
	CH_AUTO(ch_string) list = ch_strings_join(&texts);
	return ch_fail(err, CH_INVALID, "the request asks for what the profile does not give: %s", list);
}

static bool decide(struct issuing *issuing, struct ch_error *err)
{
	const Chancery__IssueCertificateRequest *payload = issuing->payload;
	struct candidate *candidate = &issuing->candidate;
	struct ch_policy_request asked = { .csr = &issuing->csr, .sans = &issuing->sans };

	if (issuing->lookup.profile_version == 0)
		return ch_fail(err, CH_NOT_FOUND, "profile '%s': no such profile", payload->profile);
	if (!profile_get(issuing->issuer, issuing->tenant, payload->profile, issuing->lookup.profile_version,
			 &issuing->profile, err) ||
	    !catalog_choose(issuing->issuer, issuing->set, issuing->profile, payload->ca, &candidate->ca,
			    err))
		return false;
	if (!may_request(issuing->profile, payload->requester, err))
		return false;
	if (!ch_csr_read(ch_view(payload->csr.data, payload->csr.len), &issuing->csr, err))
		return ch_fail_in(err, "certification request");
	asked.validity_seconds = payload->validity_seconds;
	if (!read_sans(issuing, err) ||
	    !ch_policy_check(issuing->profile, candidate->ca, &asked, ch_clock_now_us(issuing->issuer->clock),
			     &candidate->order, err) ||
	    !check_subject_is_no_ca(issuing, err) || !find_unmet(issuing, issuing->profile, err))
		return ch_fail_in(err, "profile '%s'", issuing->profile->name);
	candidate->tenant = issuing->tenant;
	candidate->client = payload->requester->client;
	candidate->idempotency_key = payload->idempotency_key;
	candidate->request_sha256 = issuing->digest;
	candidate->profile = issuing->profile;
	return true;
}

/* --- 6
 * --------------------------------------------------------------------------------------------------------------------
 */

static bool finish(struct issuing *issuing, struct ch_error *err)
{
	struct candidate *candidate = &issuing->candidate;
	struct pending pending = {
		.tenant = issuing->tenant,
		.ca = candidate->ca,
		.profile = candidate->profile->name,
		.expiry_period = ch_expiry_period(candidate->order.not_after_us),
		.serial = ch_view(candidate->serial, sizeof(candidate->serial)),
		.tbs = ch_view_of(&candidate->tbs),
		.lint = &candidate->lint,
		.requested_by = candidate->client,
		.scope = &issuing->request->scope,
		.timeout_us = time_left(issuing->issuer, issuing->request,
					issuing->issuer->config->sign_timeout_us),
	};

	return finish_pending(issuing->issuer, &pending, err);
}

/* What is released is what the database holds: recovery may have been quicker. */
static bool read_back(struct issuing *issuing, struct ch_error *err)
{
	const struct candidate *candidate = &issuing->candidate;

	if (!read_row(issuing, ch_expiry_period(candidate->order.not_after_us), candidate->ca->id,
		      ch_view(candidate->serial, sizeof(candidate->serial)), err))
		return false;
	if (strcmp(issuing->row.status, "cancelled") == 0)
		return ch_fail(err, CH_DENIED, "refused: %s", issuing->row.cancelled_reason);
	return was_issued(issuing, err);
}

/* A repeat is told what the first was: by its CSR, which is the same, and the profile of then. */
static bool find_unmet_again(struct issuing *issuing, struct ch_error *err)
{
	const Chancery__IssueCertificateRequest *payload = issuing->payload;
	struct ch_profile *profile = NULL;
	bool found;

	ch_csr_free(&issuing->csr);
	ch_sans_free(&issuing->sans);
	if (!profile_get(issuing->issuer, issuing->tenant, issuing->row.profile, issuing->row.profile_version,
			 &profile, err))
		return false;
	found = ch_csr_read(ch_view(payload->csr.data, payload->csr.len), &issuing->csr, err) &&
		read_sans(issuing, err) && find_unmet(issuing, profile, err);
	profile_release(issuing->issuer, profile);
	return found;
}

static bool answer(struct issuing *issuing, bool repeated, ProtobufCMessage **reply, struct ch_error *err)
{
	Chancery__CertificateReply *message;

	if (repeated && !find_unmet_again(issuing, err))
		return false;
	*reply = certificate_reply(&issuing->row, issuing->set, repeated);
	message = (Chancery__CertificateReply *)*reply;
	message->ignored = ch_alloc_pointers(issuing->unmet.count);
	for (size_t i = 0; i < issuing->unmet.count; i++)
		message->ignored[message->n_ignored++] = ch_strdup(issuing->unmet.items[i]);
	return true;
}
