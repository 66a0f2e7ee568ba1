/* SPDX-License-Identifier: Apache-2.0 */
/* networks.h: a list of IP addresses and networks, and whether a socket's peer is in it. Pure; server.c reads
 * http.trusted_proxies into one, proxy_listener.c and accessors.c ask it. */
#ifndef CH_HTTP_NETWORKS_H
#define CH_HTTP_NETWORKS_H

#include "conf/conf.h"

#include <sys/socket.h>

/* An IPv4 address stands as the IPv6 address that maps it (RFC 4291 §2.5.5.2), so that both forms match. */
struct http_network {
	uint8_t address[16];
	unsigned bits; /* of the address that count, 0 to 128 */
};

struct http_networks {
	struct http_network *items; /* owned */
	size_t count;
};

/* Each text is an address ("192.0.2.7", "2001:db8::7") or a network ("10.0.0.0/8": RFC 4632 §3.1). CH_INVALID
 * names the first that is neither, or has bits set beyond its prefix. *networks is empty before. */
CH_MUST_USE bool http_networks_read(const struct ch_conf_strings *texts, struct http_networks *networks,
				    struct ch_error *err);
void http_networks_free(struct http_networks *networks);

/* False for what is no IP address. `address` may be NULL. */
bool http_networks_contain(const struct http_networks *networks, const struct sockaddr *address);

/* "192.0.2.7", also for an IPv6 address that maps it; "unknown" for what is no IP address. */
void http_address_text(const struct sockaddr *address, char text[64]);

#endif
