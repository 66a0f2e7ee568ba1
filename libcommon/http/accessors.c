/* SPDX-License-Identifier: Apache-2.0 */
/* accessors.c: what a handler may ask about its request. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const char *ch_http_method(const struct ch_http_request *request)
{
	return request->method;
}

const char *ch_http_path(const struct ch_http_request *request)
{
	return request->path;
}

const char *ch_http_parameter(const struct ch_http_request *request, const char *name)
{
	for (size_t i = 0; i < request->parameter_count; i++)
		if (strcmp(request->parameters[i].name, name) == 0)
			return request->parameters[i].value;
	return "";
}

const char *ch_http_query(const struct ch_http_request *request, const char *name)
{
	for (size_t i = 0; i < request->query_count; i++)
		if (strcmp(request->query[i].name, name) == 0)
			return request->query[i].value;
	return NULL;
}

const char *ch_http_query_name(const struct ch_http_request *request, size_t index)
{
	return index < request->query_count ? request->query[index].name : NULL;
}

const char *ch_http_header(const struct ch_http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->mhd, MHD_HEADER_KIND, name);
}

struct ch_view ch_http_body(const struct ch_http_request *request)
{
	return ch_buffer_view(&request->body);
}

struct ch_view ch_http_client_certificate(const struct ch_http_request *request)
{
	return request->connection->certificate;
}

const struct ch_error *ch_http_client_certificate_error(const struct ch_http_request *request)
{
	return request->connection->certificate_state == CERTIFICATE_BAD
		       ? &request->connection->certificate_error
		       : NULL;
}

size_t ch_http_route_index(const struct ch_http_request *request)
{
	return (size_t)(request->route - request->server->routes);
}

/* A proxy that adds a field writes it below those that the client sent (HAProxy's "option forwardfor"). */
static enum MHD_Result keep_last_forwarded(void *context, enum MHD_ValueKind kind, const char *name,
					   const char *value)
{
	const char **last = context;

	(void)kind;
	if (value && strcasecmp(name, "X-Forwarded-For") == 0)
		*last = value;
	return MHD_YES;
}

/* The last address of the last X-Forwarded-For: the one that the trusted proxy itself has seen. What stands
 * before it the client may have made up. */
static void use_forwarded(const struct ch_http_request *request, char text[64])
{
	const char *value = NULL;
	unsigned char ignored[16];
	char last[64];

	MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, keep_last_forwarded, &value);
	if (!value)
		return;
	if (strrchr(value, ','))
		value = strrchr(value, ',') + 1;
	value += strspn(value, " \t");
	if ((size_t)snprintf(last, sizeof(last), "%s", value) >= sizeof(last))
		return;
	last[strcspn(last, " \t")] = 0;
	if (inet_pton(AF_INET, last, ignored) == 1 || inet_pton(AF_INET6, last, ignored) == 1)
		snprintf(text, 64, "%s", last);
}

const char *ch_http_client_address(const struct ch_http_request *request)
{
	/* filled on first use; a request belongs to one thread at a time */
	char *text = ((struct ch_http_request *)(uintptr_t)request)->address;
	const union MHD_ConnectionInfo *info;
	const struct sockaddr *peer;

	if (*text)
		return text;
	info = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	peer = info ? info->client_addr : NULL;
	http_address_text(peer, text);
	/* Behind a PROXY header the peer is the client itself, whatever its address is. */
	if (!request->server->proxy_protocol &&
	    http_networks_contain(&request->server->trusted_proxies, peer))
		use_forwarded(request, text);
	return text;
}

const char *ch_http_trace_id(const struct ch_http_request *request)
{
	char *trace_id = ((struct ch_http_request *)(uintptr_t)request)->trace_id;
	const char *parent;
	uint8_t random[16];

	if (*trace_id)
		return trace_id;
	parent = ch_http_header(request, "traceparent");
	if (!parent || !http_traceparent_read(parent, trace_id)) {
		ch_random(random, sizeof(random));
		CH_AUTO(ch_string) hex = ch_hex(ch_view(random, sizeof(random)));
		memcpy(trace_id, hex, 33);
	}
	return trace_id;
}
