/* SPDX-License-Identifier: Apache-2.0 */
/* client.h: a client of the suite's REST interface (proto/openapi.yaml): HTTPS with the operator's
 * certificate, retries where a retry can help, problem documents as errors. */
#ifndef CHANCERY_CLI_CLIENT_H
#define CHANCERY_CLI_CLIENT_H

#include "cli.h"

#include <cjson/cJSON.h>

CH_DEFINE_AUTO_POINTER(cJSON, cJSON, cJSON_Delete)

struct cli_request {
	const char *method;
	const char *path; /* "/v1/cas", with its query */
	const char *content_type;
	struct ch_view body;         /* empty: none */
	const char *accept;          /* NULL: application/json */
	const char *idempotency_key; /* NULL: none */
};

/*
 * Sends a request and reads its answer; an answer that says so (503, 429) and a lost connection are retried
 * for a few seconds, which is safe because all that the interface does can be repeated. body    receives the
 * answer; the caller frees it Errors  the problem document's detail and trace id, with the code that it
 * names; CH_UNAVAILABLE where nothing answers
 */
CH_MUST_USE bool cli_send(struct cli *cli, const struct cli_request *request, struct ch_bytes *body,
			  struct ch_error *err);
/* The same with a JSON answer. The caller frees *answer. */
CH_MUST_USE bool cli_send_json(struct cli *cli, const struct cli_request *request, cJSON **answer,
			       struct ch_error *err);
CH_MUST_USE bool cli_get(struct cli *cli, const char *path, cJSON **answer, struct ch_error *err);
/* body NULL: an empty one. */
CH_MUST_USE bool cli_post(struct cli *cli, const char *path, const cJSON *body, cJSON **answer,
			  struct ch_error *err);

/* Percent-encodes one segment or query value; the caller frees it. */
char *cli_url_encode(const char *text);

#endif
