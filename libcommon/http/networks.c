/* SPDX-License-Identifier: Apache-2.0 */
/* networks.c: addresses and networks in one form of 16 octets. */
#include "http/networks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ADDRESS_BITS 128
#define MAPPED_BITS  96 /* ::ffff:0:0/96 */

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static void map(const void *ipv4, uint8_t address[16])
{
	memcpy(address, mapped, sizeof(mapped));
	memcpy(address + sizeof(mapped), ipv4, 4);
}

static bool octets_of(const struct sockaddr *from, uint8_t address[16])
{
	if (from && from->sa_family == AF_INET)
		map(&((const struct sockaddr_in *)from)->sin_addr, address);
	else if (from && from->sa_family == AF_INET6)
		memcpy(address, &((const struct sockaddr_in6 *)from)->sin6_addr, 16);
	else
		return false;
	return true;
}

/* A text and its prefix, if it has one, taken apart. */
static bool read_one(char *text, struct http_network *network)
{
	char *slash = strchr(text, '/');
	char *prefix = slash ? slash + 1 : NULL;
	unsigned before = 0;
	uint8_t ipv4[4];

	if (slash)
		*slash = 0;
	if (inet_pton(AF_INET, text, ipv4) == 1) {
		map(ipv4, network->address);
		before = MAPPED_BITS;
	} else if (inet_pton(AF_INET6, text, network->address) != 1) {
		return false;
	}
	network->bits = ADDRESS_BITS;
	if (!prefix)
		return true;
	if (!*prefix || strlen(prefix) > 3 || strspn(prefix, "0123456789") != strlen(prefix))
		return false;
	network->bits = before + (unsigned)strtoul(prefix, NULL, 10);
	return network->bits <= ADDRESS_BITS;
}

static bool bit(const uint8_t address[16], unsigned index)
{
	return address[index / 8] >> (7 - index % 8) & 1;
}

static bool nothing_beyond(const struct http_network *network)
{
	for (unsigned i = network->bits; i < ADDRESS_BITS; i++)
		if (bit(network->address, i))
			return false;
	return true;
}

bool http_networks_read(const struct ch_conf_strings *texts, struct http_networks *networks,
			struct ch_error *err)
{
	networks->items = ch_alloc((texts->count + 1) * sizeof(*networks->items));
	for (size_t i = 0; i < texts->count; i++) {
		struct http_network *network = &networks->items[networks->count++];
		CH_AUTO(ch_string) text = ch_strdup(texts->items[i]);

		if (!read_one(text, network))
			return ch_fail(err, CH_INVALID,
				       "'%s' is neither an IP address nor a network (10.0.0.0/8)",
				       texts->items[i]);
		if (!nothing_beyond(network))
			return ch_fail(err, CH_INVALID, "network '%s' has bits set beyond its prefix",
				       texts->items[i]);
	}
	return true;
}

void http_networks_free(struct http_networks *networks)
{
	free(networks->items);
	*networks = (struct http_networks)CH_NONE;
}

static bool contains(const struct http_network *network, const uint8_t address[16])
{
	for (unsigned i = 0; i < network->bits; i++)
		if (bit(network->address, i) != bit(address, i))
			return false;
	return true;
}

bool http_networks_contain(const struct http_networks *networks, const struct sockaddr *address)
{
	uint8_t octets[16];

	if (!octets_of(address, octets))
		return false;
	for (size_t i = 0; i < networks->count; i++)
		if (contains(&networks->items[i], octets))
			return true;
	return false;
}

void http_address_text(const struct sockaddr *address, char text[64])
{
	uint8_t octets[16];

	if (!octets_of(address, octets))
		snprintf(text, 64, "unknown");
	else if (memcmp(octets, mapped, sizeof(mapped)) == 0)
		inet_ntop(AF_INET, octets + sizeof(mapped), text, 64);
	else
		inet_ntop(AF_INET6, octets, text, 64);
}
