/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_header.h: reads a PROXY protocol header, version 1 or 2 (haproxy's proxy-protocol.txt). Pure;
 * proxy_listener.c calls it on what a connection has sent so far. */
#ifndef CH_HTTP_PROXY_HEADER_H
#define CH_HTTP_PROXY_HEADER_H

#include "mem/mem.h"

#include <sys/socket.h>

#define HTTP_PROXY_V1_CAP     107             /* the longest v1 line, with its CRLF */
#define HTTP_PROXY_HEADER_CAP (16 + 2 * 1024) /* v2: addresses and TLVs */

enum http_proxy_result {
	HTTP_PROXY_MORE, /* a beginning of a header: read on */
	HTTP_PROXY_DONE,
	HTTP_PROXY_BAD, /* never a header, whatever follows */
};

struct http_proxy_header {
	size_t size;     /* octets of the header: what follows belongs to the client */
	bool has_client; /* false: LOCAL, UNKNOWN or a family without address: the peer itself speaks */
	struct sockaddr_storage client;
	socklen_t client_size;
};

/* HTTP_PROXY_BAD sets *err. Nothing beyond the header is looked at. */
enum http_proxy_result http_proxy_header_read(struct ch_view input, struct http_proxy_header *header,
					      struct ch_error *err);

#endif
