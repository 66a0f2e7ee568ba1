/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_header.c: the PROXY protocol's two header forms. */
#include "http/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t v2_signature[12] = { '\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n' };

static enum http_proxy_result bad(struct ch_error *err, const char *why)
{
	ch_fail(err, CH_INVALID, "PROXY header: %s", why);
	return HTTP_PROXY_BAD;
}

static void set_ipv4(struct http_proxy_header *header, const void *address, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&header->client;

	in->sin_family = AF_INET;
	memcpy(&in->sin_addr, address, sizeof(in->sin_addr));
	in->sin_port = htons(port);
	header->client_size = sizeof(*in);
	header->has_client = true;
}

static void set_ipv6(struct http_proxy_header *header, const void *address, uint16_t port)
{
	struct sockaddr_in6 *in = (struct sockaddr_in6 *)&header->client;

	in->sin6_family = AF_INET6;
	memcpy(&in->sin6_addr, address, sizeof(in->sin6_addr));
	in->sin6_port = htons(port);
	header->client_size = sizeof(*in);
	header->has_client = true;
}

/* Decimal, no sign, no leading zero, 0 to 65535 (§2.1). */
static bool read_port(const char *text, uint16_t *port)
{
	size_t size = strlen(text);
	unsigned long value;

	if (!size || size > 5 || strspn(text, "0123456789") != size || (size > 1 && text[0] == '0'))
		return false;
	value = strtoul(text, NULL, 10);
	*port = (uint16_t)value;
	return value <= 65535;
}

/* `line` is "TCP4 source destination source-port destination-port", taken apart in place. */
static enum http_proxy_result read_v1_fields(char *line, struct http_proxy_header *header,
					     struct ch_error *err)
{
	char *fields[5];
	uint8_t source[16];
	uint8_t destination[16];
	uint16_t ports[2];
	int family;

	for (size_t i = 0; i < 5; i++) {
		fields[i] = line;
		line = strchr(line, ' ');
		if ((i < 4) == !line)
			return bad(err, "version 1 line has not five fields");
		if (line)
			*line++ = 0;
	}
	if (strcmp(fields[0], "TCP4") == 0)
		family = AF_INET;
	else if (strcmp(fields[0], "TCP6") == 0)
		family = AF_INET6;
	else
		return bad(err, "version 1 family is not TCP4, TCP6 or UNKNOWN");
	if (inet_pton(family, fields[1], source) != 1 || inet_pton(family, fields[2], destination) != 1)
		return bad(err, "version 1 address does not parse");
	if (!read_port(fields[3], &ports[0]) || !read_port(fields[4], &ports[1]))
		return bad(err, "version 1 port does not parse");
	if (family == AF_INET)
		set_ipv4(header, source, ports[0]);
	else
		set_ipv6(header, source, ports[0]);
	return HTTP_PROXY_DONE;
}

static enum http_proxy_result read_v1(struct ch_view input, struct http_proxy_header *header,
				      struct ch_error *err)
{
	size_t look = input.size < HTTP_PROXY_V1_CAP ? input.size : HTTP_PROXY_V1_CAP;
	const uint8_t *end = memmem(input.data, look, "\r\n", 2);
	char line[HTTP_PROXY_V1_CAP + 1];
	size_t size;

	if (!end)
		return look == HTTP_PROXY_V1_CAP ? bad(err, "version 1 line is over 107 octets")
						 : HTTP_PROXY_MORE;
	size = (size_t)(end - input.data);
	if (memchr(input.data, 0, size))
		return bad(err, "version 1 line holds a zero octet");
	memcpy(line, input.data, size);
	line[size] = 0;
	header->size = size + 2;
	/* §2.1: after UNKNOWN the receiver must ignore anything before the CRLF */
	if (strcmp(line, "PROXY UNKNOWN") == 0 || strncmp(line, "PROXY UNKNOWN ", 14) == 0)
		return HTTP_PROXY_DONE;
	return read_v1_fields(line + strlen("PROXY "), header, err);
}

static uint16_t read_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static enum http_proxy_result read_v2_address(struct ch_view addresses, uint8_t family,
					      struct http_proxy_header *header, struct ch_error *err)
{
	switch (family) {
	case 0x11: /* TCP over IPv4: source, destination, ports */
		if (addresses.size < 12)
			return bad(err, "version 2 IPv4 addresses are cut short");
		set_ipv4(header, addresses.data, read_u16(addresses.data + 8));
		return HTTP_PROXY_DONE;
	case 0x21: /* TCP over IPv6 */
		if (addresses.size < 36)
			return bad(err, "version 2 IPv6 addresses are cut short");
		set_ipv6(header, addresses.data, read_u16(addresses.data + 32));
		return HTTP_PROXY_DONE;
	case 0x00: /* UNSPEC */
	case 0x31: /* UNIX stream: the peer's own address is all there is to tell */
		return HTTP_PROXY_DONE;
	default:
		return bad(err, "version 2 family or transport is not one of a stream");
	}
}

static enum http_proxy_result read_v2(struct ch_view input, struct http_proxy_header *header,
				      struct ch_error *err)
{
	size_t size;

	if (input.size >= 13 && (input.data[12] >> 4 != 2 || (input.data[12] & 15) > 1))
		return bad(err, "version 2 command is neither LOCAL nor PROXY");
	if (input.size < 16)
		return HTTP_PROXY_MORE;
	size = read_u16(input.data + 14);
	if (16 + size > HTTP_PROXY_HEADER_CAP)
		return bad(err, "version 2 header is over the cap");
	if (input.size < 16 + size)
		return HTTP_PROXY_MORE;
	header->size = 16 + size;
	if ((input.data[12] & 15) == 0) /* LOCAL: §2.2, the address block is to be ignored */
		return HTTP_PROXY_DONE;
	return read_v2_address(ch_view(input.data + 16, size), input.data[13], header, err);
}

/* Whether what there is of the input is a beginning of `form`. */
static bool begins(struct ch_view input, const void *form, size_t size)
{
	return memcmp(input.data, form, input.size < size ? input.size : size) == 0;
}

enum http_proxy_result http_proxy_header_read(struct ch_view input, struct http_proxy_header *header,
					      struct ch_error *err)
{
	*header = (struct http_proxy_header)CH_NONE;
	if (!input.size)
		return HTTP_PROXY_MORE;
	if (begins(input, v2_signature, sizeof(v2_signature)))
		return input.size < sizeof(v2_signature) ? HTTP_PROXY_MORE : read_v2(input, header, err);
	if (begins(input, "PROXY ", 6))
		return input.size < 6 ? HTTP_PROXY_MORE : read_v1(input, header, err);
	return bad(err, "the connection does not begin with one");
}
