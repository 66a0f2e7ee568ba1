/* SPDX-License-Identifier: Apache-2.0 */
/* accessors.c: what a handler may ask about its request. */
#include "http/internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

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

static void peer_text(const struct sockaddr *address, char text[64])
{
	if (address && address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, text, 64);
	else if (address && address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, text, 64);
	else
		snprintf(text, 64, "unknown");
}

static bool is_trusted_proxy(const struct ch_http_server *server, const char *address)
{
	for (size_t i = 0; i < server->trusted_proxy_count; i++)
		if (strcmp(server->trusted_proxies[i], address) == 0)
			return true;
	return false;
}

/* The last address of X-Forwarded-For: the one that the trusted proxy itself has seen. */
static void use_forwarded(const struct ch_http_request *request, char text[64])
{
	const char *value = ch_http_header(request, "X-Forwarded-For");
	unsigned char ignored[16];
	char last[64];

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

	if (*text)
		return text;
	info = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	peer_text(info ? info->client_addr : NULL, text);
	if (is_trusted_proxy(request->server, text))
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
