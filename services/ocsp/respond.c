/* SPDX-License-Identifier: Apache-2.0 */
/* respond.c: one OCSP request that the cache does not answer becomes one signed response. Called by http.c on
 * a worker. */
#include "ocsp.h"

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

/* A CA or a responder certificate that is not known may have been made since they were read. */
static bool find_responder_anew(struct ocsp *ocsp, const struct ocsp_request *request, int64_t now_us,
				struct ocsp_authorities **authorities,
				const struct ocsp_authority **authority,
				const struct ocsp_responder **responder, enum ocsp_response_status *outcome,
				struct ch_error *err)
{
	struct ch_error ignored;

	*authorities = ocsp_authorities_get(ocsp);
	if (find_responder(*authorities, request, now_us, authority, responder, outcome, err))
		return true;
	if (!ocsp->database_up || !ocsp_authorities_read(ocsp, ocsp->db, REREAD_INTERVAL, &ignored))
		return false;
	ocsp_authorities_release(*authorities);
	*authorities = ocsp_authorities_get(ocsp);
	return find_responder(*authorities, request, now_us, authority, responder, outcome, err);
}

static bool find_statuses(struct ocsp *ocsp, const struct ocsp_authorities *authorities,
			  const struct ocsp_request *request, struct ocsp_single_response *singles,
			  struct ch_error *err)
{
	for (size_t i = 0; i < request->count; i++) {
		const struct ocsp_cert_id *id = &request->cert_ids[i];
		const struct ocsp_authority *authority = ocsp_authorities_find(authorities, id);

		singles[i].cert_id = id->whole;
		singles[i].status = (struct ocsp_certificate_status){ .status = OCSP_UNKNOWN };
		if (authority && !ocsp_status_find(ocsp, authority, id->serial, &singles[i].status, err))
			return false;
		ch_metric_add(ocsp->metrics.statuses[singles[i].status.status], 1);
	}
	return true;
}

static bool sign(struct ocsp *ocsp, const struct ocsp_authority *authority,
		 const struct ocsp_responder *responder, struct ch_view response_data, const char *trace_id,
		 struct ch_bytes *response, struct ch_error *err)
{
	const struct ch_vault_context context = { .tenant = authority->tenant, .trace_id = trace_id };
	const struct ch_vault_item item = {
		.key_id = responder->key_id,
		.purpose = CHANCERY__PURPOSE__PURPOSE_OCSP,
		.to_be_signed = response_data,
	};
	CH_AUTO(ch_bytes) signature = CH_NONE;
	int64_t began_us = ch_monotonic_us();

	if (!ch_vault_sign(ocsp->vault, &context, &item, &signature, err))
		return false;
	ch_metric_observe(ocsp->metrics.sign_seconds, ch_monotonic_us() - began_us);
	return ocsp_response_assemble(response_data, responder->algorithm, ch_view_of(&signature),
				      ch_view_of(&responder->certificate), response, err);
}

static enum ocsp_response_status outcome_of(const struct ch_error *err)
{
	switch (err->code) {
	case CH_UNAVAILABLE:
	case CH_EXPIRED:
	case CH_EXHAUSTED:
		return OCSP_TRY_LATER;
	default:
		return OCSP_INTERNAL_ERROR;
	}
}

bool ocsp_respond(struct ocsp *ocsp, const struct ocsp_request *request, const char *trace_id,
		  struct ocsp_answer **answer, enum ocsp_response_status *outcome, struct ch_error *err)
{
	CH_AUTO(ocsp_authorities) authorities = NULL;
	CH_AUTO(ch_bytes) data = CH_NONE;
	CH_AUTO(ch_bytes) response = CH_NONE;
	struct ocsp_single_response singles[OCSP_CERT_IDS_MAX];
	const struct ocsp_authority *authority = NULL;
	const struct ocsp_responder *responder = NULL;
	int64_t now_us = ch_clock_now_us(ocsp->clock) / CH_SECOND * CH_SECOND;
	int64_t next_update_us = now_us + ocsp->config->response_validity_us / CH_SECOND * CH_SECOND;

	/* 1. Who answers? */
	if (!find_responder_anew(ocsp, request, now_us, &authorities, &authority, &responder, outcome, err))
		return false;

	/* 2. What is the status of each? */
	if (!find_statuses(ocsp, authorities, request, singles, err)) {
		*outcome = outcome_of(err);
		return false;
	}

	/* 3. Write and sign. A response does not outlive the certificate that it is verified with. */
	if (next_update_us > responder->not_after_us)
		next_update_us = responder->not_after_us / CH_SECOND * CH_SECOND;
	data = ocsp_response_data(responder->key_hash, now_us, now_us, next_update_us, singles,
				  request->count, request->nonce);
	if (!sign(ocsp, authority, responder, ch_view_of(&data), trace_id, &response, err)) {
		*outcome = outcome_of(err);
		return ch_fail_in(err, "CA '%s': response", authority->name);
	}
	*outcome = OCSP_SUCCESSFUL;
	/* NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): request.c refuses an empty requestList */
	*answer = ocsp_answer_new(CH_STEAL(response), singles[0].status.status, now_us, next_update_us);

	/* 4. Keep what others may ask for too. Unknown ones are not kept: anybody can invent any number of
	 * them. */
	if (request->count == 1 && !request->nonce.data && singles[0].status.status != OCSP_UNKNOWN)
		ocsp_cache_keep(ocsp->cache, authority->ca_id, &request->cert_ids[0], *answer,
				singles[0].status.log_sequence);
	return true;
}
