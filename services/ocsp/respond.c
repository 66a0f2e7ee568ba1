/* SPDX-License-Identifier: Apache-2.0 */
/* respond.c: one OCSP request that the cache does not answer becomes one signed response. Called by http.c on
 * a worker. */
#include "ocsp.h"

#include <string.h>

/* However many ask for CAs that do not exist, they are read again no more often than this. */
#define REREAD_INTERVAL (200 * CH_MILLISECOND)

/* The CA whose responder answers: that of the first certificate that is served here. Another served CA in the
 * same request cannot be answered by this one's responder (RFC 6960 §4.2.2.2). NULL: nothing here may be
 * answered. */
static const struct ocsp_authority *choose_authority(const struct ocsp_authorities *authorities,
						     const struct ocsp_request *request)
{
	const struct ocsp_authority *chosen = NULL;

	for (size_t i = 0; i < request->count; i++) {
		/* Nothing under another hash is repeated in what is signed: its octets can be anything. */
		if (request->cert_ids[i].hash == CH_CERT_ID_OTHER)
			return NULL;
		const struct ocsp_authority *found =
			ocsp_authorities_find(authorities, &request->cert_ids[i]);

		if (found && chosen && found != chosen)
			return NULL;
		if (found)
			chosen = found;
	}
	return chosen;
}

/* Who answers, out of what is known now. On failure *outcome is the error to tell. */
static bool find_responder(const struct ocsp_authorities *authorities, const struct ocsp_request *request,
			   int64_t now_us, const struct ocsp_authority **authority,
			   const struct ocsp_responder **responder, enum ocsp_response_status *outcome,
			   struct ch_error *err)
{
	*outcome = OCSP_TRY_LATER;
	if (!authorities)
		return ch_fail(err, CH_UNAVAILABLE, "the CAs have not been read from the database yet");
	*outcome = OCSP_UNAUTHORIZED;
	*authority = choose_authority(authorities, request);
	if (!*authority)
		return ch_fail(err, CH_NOT_FOUND, "no CA served here issued the certificates asked for");
	*responder = ocsp_authority_responder(*authority, now_us);
	if (!*responder) {
		/* Its certificates say that it is answered for: the issuer is about to make or renew one. */
		if ((*authority)->has_url)
			*outcome = OCSP_TRY_LATER;
		return ch_fail(err, CH_NOT_FOUND, "CA '%s' has no valid responder certificate",
			       (*authority)->name);
	}
	return true;
}

/* One request on its way. */
struct answering {
	struct ocsp *ocsp;
	const struct ocsp_request *request;
	const char *trace_id;
	bool ahead;
	int64_t now_us; /* whole seconds */
	struct ocsp_authorities *authorities;
	const struct ocsp_authority *authority; /* of authorities, as the next */
	const struct ocsp_responder *responder;
	struct ocsp_single_response singles[OCSP_CERT_IDS_MAX];
	enum ocsp_response_status outcome;
};

static bool choose(struct answering *a, struct ch_error *err)
{
	ocsp_authorities_release(a->authorities);
	a->authorities = ocsp_authorities_get(a->ocsp);
	return find_responder(a->authorities, a->request, a->now_us, &a->authority, &a->responder,
			      &a->outcome, err);
}

/* A CA or a responder certificate that is not known may have been made since they were read. */
static bool find_responder_anew(struct answering *a, struct ch_error *err)
{
	struct ocsp *ocsp = a->ocsp;
	struct ch_error ignored;

	if (choose(a, err))
		return true;
	return ocsp->database_up && ocsp_authorities_read(ocsp, ocsp->db, REREAD_INTERVAL, &ignored) &&
	       choose(a, err);
}

/* A response does not outlive the certificate that it is verified with. */
static void set_window(const struct answering *a, struct ch_view serial, struct ocsp_single_response *single)
{
	int64_t validity_us = a->ocsp->config->response_validity_us;
	int64_t end_us = a->responder->not_after_us / CH_SECOND * CH_SECOND;

	single->window = a->ahead ? ocsp_window_of(serial, validity_us, a->now_us)
				  : ocsp_window_in_force(serial, validity_us, a->now_us);
	ocsp_window_since(&single->window, single->status.changed_at_us, a->now_us);
	if (single->window.next_update_us > end_us)
		single->window.next_update_us = end_us;
}

static bool find_statuses(struct answering *a, struct ch_error *err)
{
	const struct ocsp_request *request = a->request;

	for (size_t i = 0; i < request->count; i++) {
		const struct ch_cert_id *id = &request->cert_ids[i];
		const struct ocsp_authority *authority = ocsp_authorities_find(a->authorities, id);
		struct ocsp_single_response *single = &a->singles[i];

		single->cert_id = id->whole;
		single->status = (struct ocsp_certificate_status){ .status = OCSP_UNKNOWN };
		if (authority && !ocsp_status_find(a->ocsp, authority, id->serial, &single->status, err))
			return false;
		set_window(a, id->serial, single);
		ch_metric_add(a->ocsp->metrics.statuses[single->status.status], 1);
	}
	return true;
}

static bool sign(struct answering *a, struct ch_bytes *response, struct ch_error *err)
{
	const struct ocsp_responder *responder = a->responder;
	const struct ch_vault_context context = { .tenant = a->authority->tenant, .trace_id = a->trace_id };
	struct ch_vault_item item = { .key_id = responder->key_id,
				      .purpose = CHANCERY__PURPOSE__PURPOSE_OCSP };
	CH_AUTO(ch_bytes) data = CH_NONE;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	int64_t began_us = ch_monotonic_us();

	data = ocsp_response_data(responder->key_hash, a->now_us, a->singles, a->request->count,
				  a->request->nonce);
	item.to_be_signed = ch_view_of(&data);
	if (!ch_vault_sign(a->ocsp->vault, &context, &item, &signature, err))
		return ch_fail_in(err, "CA '%s': response", a->authority->name);
	ch_metric_observe(a->ocsp->metrics.sign_seconds, ch_monotonic_us() - began_us);
	return ocsp_response_assemble(ch_view_of(&data), responder->algorithm, ch_view_of(&signature),
				      ch_view_of(&responder->certificate), response, err);
}

/* The vault refused this responder: it may be compromised since the authorities were read. Is there another?
 */
static bool find_another(struct answering *a, const struct ch_error *refused)
{
	struct ocsp *ocsp = a->ocsp;
	uint8_t last[sizeof(a->responder->certificate_sha256)];
	struct ch_error ignored;

	memcpy(last, a->responder->certificate_sha256, sizeof(last));
	return !refused->retryable && ocsp->database_up &&
	       ocsp_authorities_read(ocsp, ocsp->db, REREAD_INTERVAL, &ignored) && choose(a, &ignored) &&
	       memcmp(last, a->responder->certificate_sha256, sizeof(last)) != 0;
}

static enum ocsp_response_status outcome_of(const struct ch_error *err)
{
	switch (ch_error_outward(err).code) {
	case CH_UNAVAILABLE:
	case CH_EXPIRED:
	case CH_EXHAUSTED:
		return OCSP_TRY_LATER;
	default:
		return OCSP_INTERNAL_ERROR;
	}
}

/* False: a->outcome and *err say why there is no response. */
static bool respond(struct answering *a, struct ch_bytes *response, struct ch_error *err)
{
	/* 1. Who answers? */
	if (!find_responder_anew(a, err))
		return false;

	/* 2. What is the status of each? 3. Write and sign; by another responder where the vault refuses the
	 * first.
	 */
	if (!find_statuses(a, err) ||
	    (!sign(a, response, err) &&
	     (!find_another(a, err) || !find_statuses(a, err) || !sign(a, response, err)))) {
		a->outcome = outcome_of(err);
		return false;
	}
	a->outcome = OCSP_SUCCESSFUL;
	return true;
}

/* Unknown ones are not kept: anybody can invent any number of them. */
static void keep(const struct answering *a, struct ocsp_answer *answer)
{
	if (a->request->count == 1 && !a->request->nonce.data && answer->status != OCSP_UNKNOWN)
		ocsp_cache_keep(a->ocsp->cache, a->authority->ca_id, &a->request->cert_ids[0], answer,
				a->singles[0].status.log_sequence, a->now_us);
}

bool ocsp_respond(struct ocsp *ocsp, const struct ocsp_question *question, struct ocsp_answer **answer,
		  enum ocsp_response_status *outcome, struct ch_error *err)
{
	struct answering a = { .ocsp = ocsp,
			       .request = question->request,
			       .trace_id = question->trace_id,
			       .ahead = question->ahead,
			       .now_us = ch_clock_now_us(ocsp->clock) / CH_SECOND * CH_SECOND };
	CH_AUTO(ch_bytes) response = CH_NONE;
	bool done = respond(&a, &response, err);

	*outcome = a.outcome;
	if (done) {
		/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): request.c refuses an empty requestList
		 */
		*answer = ocsp_answer_new(CH_STEAL(response), &a.singles[0]);
		memcpy((*answer)->signer, a.responder->certificate_sha256, sizeof((*answer)->signer));
		(*answer)->signers_version = a.authorities->signers_version;

		/* 4. Keep what others may ask for too. */
		keep(&a, *answer);
	}
	ocsp_authorities_release(a.authorities);
	return done;
}
