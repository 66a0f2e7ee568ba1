/* SPDX-License-Identifier: Apache-2.0 */
/* worker_sandbox.c: the two layers around an HSM vendor's library. Called by worker.c and init_token.c. */
#include "worker_sandbox.h"

#include <stdlib.h>

size_t hsm_sandbox_paths(const struct hsm_config *config, struct ch_sandbox_path paths[HSM_SANDBOX_PATHS])
{
	size_t count = 0;

	paths[count++] = (struct ch_sandbox_path){ config->module, CH_SANDBOX_READ };
	paths[count++] = (struct ch_sandbox_path){ config->pin_file, CH_SANDBOX_READ };
	for (size_t i = 0; i < config->paths.count && count < HSM_SANDBOX_PATHS; i++)
		paths[count++] = (struct ch_sandbox_path){ config->paths.items[i],
							   CH_SANDBOX_READ | CH_SANDBOX_WRITE };
	return count;
}

void hsm_open_of(const struct hsm_config *config, uint32_t ports[HSM_PORTS_MAX], Chancery__HsmOpen *open)
{
	chancery__hsm_open__init(open);
	open->module = config->module;
	open->token_label = config->token_label;
	open->pin_file = config->pin_file;
	open->sessions = (uint32_t)config->sessions;
	open->paths = config->paths.items;
	open->n_paths = config->paths.count;
	open->network = config->network;
	open->unix_sockets = config->unix_sockets;
	open->network_ports = ports;
	open->n_network_ports = config->network_ports.count;
	for (size_t i = 0; i < config->network_ports.count; i++) /* hsm_config_check has read them */
		ports[i] = (uint32_t)strtoul(config->network_ports.items[i], NULL, 10);
}

static bool limit(const Chancery__HsmOpen *open,
		  bool (*enter)(const struct ch_sandbox_rules *rules, struct ch_error *err),
		  struct ch_error *err)
{
	struct ch_sandbox_path *paths = ch_alloc((open->n_paths + 1) * sizeof(*paths));
	uint16_t ports[HSM_PORTS_MAX];
	struct ch_sandbox_foreign foreign = { .network = open->network,
					      .tcp_ports = ports,
					      .unix_sockets = open->unix_sockets };
	struct ch_sandbox_rules rules = { .paths = paths,
					  .path_count = open->n_paths + 1,
					  .foreign = &foreign };
	bool entered;

	for (size_t i = 0; i < open->n_paths; i++)
		paths[i] = (struct ch_sandbox_path){ open->paths[i], CH_SANDBOX_READ | CH_SANDBOX_WRITE };
	paths[open->n_paths] = (struct ch_sandbox_path){ open->module, CH_SANDBOX_READ };
	for (size_t i = 0; i < open->n_network_ports && i < HSM_PORTS_MAX; i++)
		ports[foreign.tcp_port_count++] = (uint16_t)open->network_ports[i];
	entered = enter(&rules, err);
	free(paths);
	return entered;
}

bool worker_sandbox_enter(const Chancery__HsmOpen *open, struct ch_error *err)
{
	return limit(open, ch_sandbox_enter, err);
}

bool worker_sandbox_narrow(const Chancery__HsmOpen *open, struct ch_error *err)
{
	return limit(open, ch_sandbox_narrow, err);
}
