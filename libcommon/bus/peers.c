/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: clients of the services that a daemon's table names. Each daemon's start calls it. */
#include "bus/bus.h"

#include <stdlib.h>
#include <string.h>

struct ch_bus_peers {
	const struct ch_bus_peer *rows;
	struct ch_bus_client **clients; /* one for each row; owned */
	size_t count;
};

static bool open_one(const struct ch_bus_peers_options *options, const struct ch_bus_peer *row,
		     struct ch_bus_client **client, struct ch_error *err)
{
	const struct ch_conf_strings *addresses = ch_conf_lists_find(&options->config->peers, row->service);

	if (!addresses->count)
		return ch_fail(err, CH_INVALID, "peers.%s is empty: this daemon calls it", row->service);
	return ch_bus_client_open(row->service, addresses, options->identity, options->clock,
				  options->metrics, client, err);
}

bool ch_bus_peers_open(const struct ch_bus_peers_options *options, struct ch_bus_peers **peers,
		       struct ch_error *err)
{
	struct ch_bus_peers *made = ch_alloc(sizeof(*made));

	*made = (struct ch_bus_peers){ .rows = options->rows,
				       .clients = ch_alloc_pointers(options->count),
				       .count = options->count };
	for (size_t i = 0; i < made->count; i++) {
		if (!open_one(options, &made->rows[i], &made->clients[i], err)) {
			ch_bus_peers_close(made);
			return false;
		}
	}
	*peers = made;
	return true;
}

struct ch_bus_client *ch_bus_peers_client(const struct ch_bus_peers *peers, const char *service)
{
	for (size_t i = 0; peers && i < peers->count; i++)
		if (strcmp(peers->rows[i].service, service) == 0)
			return peers->clients[i];
	return NULL;
}

const struct ch_bus_peer *ch_bus_peers_row(const struct ch_bus_peers *peers, size_t index,
					   struct ch_bus_client **client)
{
	if (!peers || index >= peers->count)
		return NULL;
	*client = peers->clients[index];
	return &peers->rows[index];
}

void ch_bus_peers_close(struct ch_bus_peers *peers)
{
	if (!peers)
		return;
	for (size_t i = peers->count; i > 0; i--)
		ch_bus_client_close(peers->clients[i - 1]);
	free(peers->clients);
	free(peers);
}
