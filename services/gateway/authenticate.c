/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authenticate.c: who a request comes from, by the operator's certificate that its TLS connection showed, and
 * what becomes of those who may not: counted, logged once, audited.
 */
#include "gateway.h"

#include "x509/x509.h"

#include <stdio.h>
#include <string.h>

#define AUDITED_REFUSALS_A_SECOND 10

bool authenticate(struct call *call, struct ch_error *err)
{
	const struct ch_error *refused = ch_http_client_certificate_error(call->request);
	struct ch_view der = ch_http_client_certificate(call->request);
	CH_AUTO(X509) certificate = NULL;
	size_t roles = 0;

	if (refused) {
		*err = *refused;
		return false;
	}
	if (!der.size)
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "a client certificate of the operators' CA is needed");
	if (!ch_certificate_read(der, &certificate, err) ||
	    !ch_operator_read(certificate, &call->client, err)) {
		call->client = (struct ch_operator)CH_NONE;
		err->code = CH_UNAUTHENTICATED;
		return ch_fail_in(err, "client certificate");
	}
	if (!ch_trust_accepts(ch_identity_trust(call->gateway->identity), certificate, err))
		return ch_fail_in(err, "client");
	for (unsigned role = CH_ROLE_REQUESTER; role <= CH_ROLE_AUDITOR; role <<= 1)
		if (call->client.roles & role)
			call->roles[roles++] = (char *)(uintptr_t)ch_role_name((enum ch_role)role);
	chancery__requester__init(&call->requester);
	call->requester.client = call->client.name;
	call->requester.n_roles = roles;
	call->requester.roles = call->roles;
	call->requester.address = (char *)(uintptr_t)ch_http_client_address(call->request);
	return true;
}

bool authorize(const struct call *call, unsigned roles, struct ch_error *err)
{
	CH_AUTO(ch_buffer) names = CH_NONE;

	/* An officer may also do what a requester may; the whole suite's log is an auditor's alone. */
	if (call->client.roles & roles || (call->client.roles & CH_ROLE_OFFICER && roles & CH_ROLE_REQUESTER))
		return true;
	for (unsigned role = CH_ROLE_REQUESTER; role <= CH_ROLE_AUDITOR; role <<= 1)
		if (roles & role)
			ch_buffer_printf(&names, "%s'%s'", names.used ? " or " : "",
					 ch_role_name((enum ch_role)role));
	return ch_fail(err, CH_DENIED, "'%s' has not the role %.*s that this takes", call->client.name,
		       (int)names.used, (const char *)names.data);
}

/* Whether this refusal is audited itself; *suppressed: how many before it were not. */
static bool take_budget(struct refusal_budget *budget, uint64_t *suppressed)
{
	int64_t second = ch_monotonic_us() / CH_SECOND;
	bool granted;

	pthread_mutex_lock(&budget->lock);
	if (budget->second != second) {
		budget->second = second;
		budget->spent = 0;
	}
	granted = budget->spent < AUDITED_REFUSALS_A_SECOND;
	if (granted) {
		budget->spent++;
		*suppressed = budget->suppressed;
		budget->suppressed = 0;
	} else {
		budget->suppressed++;
	}
	pthread_mutex_unlock(&budget->lock);
	return granted;
}

static void audit_refusal(const struct call *call, const struct ch_error *why)
{
	char suppressed_text[24];
	uint64_t suppressed = 0;
	struct ch_audit_detail details[] = {
		{ "reason", why->message },
		{ "method", ch_http_method(call->request) },
		{ "address", ch_http_client_address(call->request) },
		{ "unreported_before", suppressed_text },
	};
	struct ch_audit_event event = {
		.type = "client.refused",
		.outcome = "refused",
		.tenant = *call->client.tenant ? call->client.tenant : NULL,
		.actor = *call->client.name ? call->client.name : "unknown",
		.subject = ch_http_path(call->request),
		.trace_id = ch_http_trace_id(call->request),
		.details = details,
		.detail_count = CH_COUNT(details),
	};
	struct ch_error err;

	if (!take_budget(&call->gateway->refusals, &suppressed))
		return;
	snprintf(suppressed_text, sizeof(suppressed_text), "%llu", (unsigned long long)suppressed);
	if (!ch_audit_record(call->gateway->audit, &event, &err))
		ch_log_error("a refusal could not be audited: %s", err.message);
}

void refusal_tell(struct call *call, const struct ch_error *why)
{
	struct ch_log_scope scope = { .tenant = call->client.tenant,
				      .trace_id = ch_http_trace_id(call->request) };
	CH_AUTO(ch_string) labels = ch_format("reason=\"%s\"", ch_code_name(why->code));
	bool ours = ch_code_http_status(why->code) >= 500;

	ch_metric_add(ch_metrics_counter(call->gateway->metrics, "chancery_gateway_refused_total",
					 "Requests refused, by reason.", labels),
		      1);
	ch_log(ours ? CH_LOG_WARN : CH_LOG_INFO, &scope, "%s %s from %s at %s: %s",
	       ch_http_method(call->request), ch_http_path(call->request),
	       *call->client.name ? call->client.name : "unknown", ch_http_client_address(call->request),
	       why->message);
	if (why->code == CH_UNAUTHENTICATED || why->code == CH_DENIED)
		audit_refusal(call, why);
}
