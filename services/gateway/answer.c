/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c: answers as JSON and PEM. Called by the rest_*.c files. */
#include "gateway.h"

#include "clock/clock.h"
#include "der/der.h"
#include "http/parse.h"
#include "x509/x509.h"

#include <string.h>

void answer_json(struct call *call, int status, cJSON *tree)
{
	char *text = cJSON_PrintUnformatted(tree);

	cJSON_Delete(tree);
	ch_http_respond(call->response, status, MEDIA_JSON,
			(struct ch_bytes){ (uint8_t *)text, text ? strlen(text) : 0 });
}

bool answer_wants(const struct call *call, const char *media_type)
{
	const struct rest_route *route = &rest_routes[ch_http_route_index(call->request)];
	const char *chosen =
		ch_http_choose(ch_http_header(call->request, "Accept"), route->answers[0], route->answers[1]);

	return strcmp(chosen, media_type) == 0;
}

void add_time(cJSON *object, const char *name, int64_t time_us)
{
	char text[CH_TIME_TEXT_SIZE];

	if (time_us)
		cJSON_AddStringToObject(object, name, ch_time_text(time_us, text));
}

/* As a JSON number: exact up to 2^53, which counters and CRL numbers stay under. */
void add_number(cJSON *object, const char *name, uint64_t number)
{
	cJSON_AddNumberToObject(object, name, (double)number);
}

void add_text(cJSON *object, const char *name, const char *text)
{
	cJSON_AddStringToObject(object, name, http_utf8_valid(ch_view_text(text)) ? text : "");
}

void add_optional_text(cJSON *object, const char *name, const char *text)
{
	if (text && *text)
		add_text(object, name, text);
}

bool pem_of(struct ch_view der_after_der, struct ch_buffer *pem, struct ch_error *err)
{
	while (der_after_der.size) {
		struct ch_view whole;

		if (!ch_der_read_any(&der_after_der, "certificate", NULL, NULL, &whole, err)) {
			err->code = CH_INTERNAL; /* a peer sent it */
			return false;
		}
		ch_pem_add(pem, "CERTIFICATE", whole);
	}
	return true;
}

void add_pem(cJSON *object, const char *name, ProtobufCBinaryData der_after_der)
{
	CH_AUTO(ch_buffer) pem = CH_NONE;
	struct ch_error err;

	if (!der_after_der.len || !pem_of(ch_view(der_after_der.data, der_after_der.len), &pem, &err))
		return;
	CH_AUTO(ch_string) text = ch_buffer_steal_text(&pem);
	cJSON_AddStringToObject(object, name, text);
}
