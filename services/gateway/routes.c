/* SPDX-License-Identifier: Apache-2.0 */
/* routes.c: the REST interface as a table; proto/openapi.yaml says the same for clients. */
#include "gateway.h"

#include "log/log.h"

#include <stdio.h>
#include <string.h>

#define KIB 1024

static const char *const json_only_body[] = { MEDIA_JSON, NULL };
static const char *const issue_body[] = { MEDIA_JSON, MEDIA_PKCS10, NULL };
static const char *const document_body[] = { MEDIA_JSON, MEDIA_YAML, "application/x-yaml", "text/yaml",
					     NULL };

static const char *const json[] = { MEDIA_JSON, MEDIA_JSON };
static const char *const json_or_pem[] = { MEDIA_JSON, MEDIA_PEM };
static const char *const json_or_crl[] = { MEDIA_JSON, MEDIA_CRL };

#define LIST_QUERIES "status subject san profile ca expires_before cursor limit"

const struct rest_route rest_routes[] = {
	{ "POST", "/v1/certificates", 128 * KIB, CH_ROLE_REQUESTER, "profile ca validity subject_alt_names",
	  issue_body, json_or_pem, rest_certificate_issue },
	{ "GET", "/v1/certificates", 0, CH_ROLE_REQUESTER, LIST_QUERIES, NULL, json, rest_certificate_list },
	{ "GET", "/v1/certificates/{serial}", 0, CH_ROLE_REQUESTER, "", NULL, json_or_pem,
	  rest_certificate_get },
	{ "POST", "/v1/certificates/{serial}/revoke", 4 * KIB, CH_ROLE_OFFICER, "", json_only_body, json,
	  rest_certificate_revoke },
	{ "POST", "/v1/certificates/{serial}/suspend", 4 * KIB, CH_ROLE_OFFICER, "", json_only_body, json,
	  rest_certificate_suspend },
	{ "POST", "/v1/certificates/{serial}/reinstate", 4 * KIB, CH_ROLE_OFFICER, "", json_only_body, json,
	  rest_certificate_reinstate },
	{ "POST", "/v1/cas", 64 * KIB, CH_ROLE_OFFICER, "", document_body, json, rest_ca_prepare },
	{ "GET", "/v1/cas", 0, CH_ROLE_REQUESTER, "", NULL, json, rest_ca_list },
	{ "GET", "/v1/cas/{name}", 0, CH_ROLE_REQUESTER, "", NULL, json_or_pem, rest_ca_get },
	{ "POST", "/v1/cas/{name}/activation", 4 * KIB, CH_ROLE_OFFICER, "", json_only_body, json,
	  rest_ca_activate },
	{ "PUT", "/v1/cas/{name}/state", 4 * KIB, CH_ROLE_OFFICER, "", json_only_body, json,
	  rest_ca_change_state },
	{ "POST", "/v1/keys/blocked", 256 * KIB, CH_ROLE_OFFICER, "", json_only_body, json, rest_key_block },
	{ "POST", "/v1/keys/compromised", 128 * KIB, CH_ROLE_REQUESTER, "", json_only_body, json,
	  rest_key_report },
	{ "GET", "/v1/actions", 0, CH_ROLE_OFFICER, "state", NULL, json, rest_action_list },
	{ "GET", "/v1/actions/{id}", 0, CH_ROLE_OFFICER, "", NULL, json, rest_action_get },
	{ "POST", "/v1/actions/{id}/approvals", 64 * KIB, CH_ROLE_OFFICER, "", json_only_body, json,
	  rest_action_approve },
	{ "GET", "/v1/profiles", 0, CH_ROLE_REQUESTER, "", NULL, json, rest_profile_list },
	{ "PUT", "/v1/profiles/{name}", 64 * KIB, CH_ROLE_OFFICER, "", document_body, json,
	  rest_profile_apply },
	{ "POST", "/v1/crls/{name}", 4 * KIB, CH_ROLE_OFFICER, "", json_only_body, json, rest_crl_generate },
	{ "GET", "/v1/crls/{name}", 0, CH_ROLE_REQUESTER, "", NULL, json_or_crl, rest_crl_get },
	{ "GET", "/v1/audit/events", 0, CH_ROLE_OFFICER | CH_ROLE_AUDITOR,
	  "after limit type actor subject since newest_first with_content", NULL, json, rest_audit_list },
	{ "GET", "/v1/audit/quarantine", 0, CH_ROLE_AUDITOR, "after limit", NULL, json,
	  rest_quarantine_list },
	{ "GET", "/v1/whoami", 0, CH_ROLE_REQUESTER | CH_ROLE_AUDITOR, "", NULL, json, rest_whoami },
	{ "GET", "/v1/status", 0, CH_ROLE_REQUESTER, "", NULL, json, rest_suite_status },
};
const size_t rest_route_count = CH_COUNT(rest_routes);

/* `words` holds `word` between spaces. */
static bool has_word(const char *words, const char *word)
{
	size_t size = strlen(word);

	for (const char *at = words; (at = strstr(at, word)); at += size)
		if ((at == words || at[-1] == ' ') && (!at[size] || at[size] == ' '))
			return true;
	return false;
}

static bool check_queries(const struct call *call, const struct rest_route *route, struct ch_error *err)
{
	const char *name;

	for (size_t i = 0; (name = ch_http_query_name(call->request, i)); i++)
		if (!*name || strchr(name, ' ') || !has_word(route->queries, name))
			return ch_fail(err, CH_INVALID, "unknown query member '%.64s' (known: %s)", name,
				       *route->queries ? route->queries : "none");
	return true;
}

/* 406 and 415 have no enum ch_code: they are answered here. True: go on. */
static bool negotiate(struct call *call, const struct rest_route *route)
{
	struct ch_error err;
	const char *type;
	char detail[160];

	if (!*ch_http_choose(ch_http_header(call->request, "Accept"), route->answers[0], route->answers[1])) {
		snprintf(detail, sizeof(detail), "the answer is %s%s%s", route->answers[0],
			 route->answers[1] != route->answers[0] ? " or " : "",
			 route->answers[1] != route->answers[0] ? route->answers[1] : "");
		ch_http_respond_problem(call->response, call->request, 406, "not-acceptable", detail);
		return false;
	}
	if (!body_type(call, route, &type, &err)) {
		ch_http_respond_problem(call->response, call->request, 415, "unsupported-media-type",
					err.message);
		return false;
	}
	return true;
}

static void count_unnegotiated(const struct call *call)
{
	ch_metric_add(ch_metrics_counter(call->gateway->metrics, "chancery_gateway_refused_total",
					 "Requests refused, by reason.", "reason=\"media-type\""),
		      1);
}

void rest_dispatch(void *state, struct ch_http_request *request, struct ch_http_response *response)
{
	struct gateway *gateway = state;
	const struct rest_route *route = &rest_routes[ch_http_route_index(request)];
	struct call call = { .gateway = gateway, .request = request, .response = response };
	struct ch_error err = CH_NONE;

	ch_http_add_header(response, "Cache-Control", "no-store");
	ch_http_add_header(response, "X-Content-Type-Options", "nosniff");
	if (authenticate(&call, &err) && authorize(&call, route->roles, &err)) {
		if (!negotiate(&call, route)) {
			count_unnegotiated(&call);
			return;
		}
		if (check_queries(&call, route, &err) && route->handler(&call, &err))
			return;
	}
	err = ch_error_outward(&err);
	refusal_tell(&call, &err);
	ch_http_respond_error(response, request, &err);
}
