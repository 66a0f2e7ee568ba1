/* SPDX-License-Identifier: Apache-2.0 */
/* vault_connection.c: opens an operator's connection to all vaults. Called by the commands that ask them
 * directly. */
#include "vault_connection.h"

#include <stdlib.h>
#include <string.h>

#define MOST_VAULTS 64
#define TIMEOUT_US  (15 * CH_SECOND)

struct vault_connection {
	const char *tenant; /* borrowed from the command line or the environment */
	char *certificate, *key;
	struct ch_identity *identity;
	struct ch_bus_client *bus;
	struct ch_vault_client *client;
};

void vault_connection_close(struct vault_connection *connection)
{
	if (!connection)
		return;
	ch_vault_client_free(connection->client);
	ch_bus_client_close(connection->bus);
	ch_identity_free(connection->identity);
	free(connection->certificate);
	free(connection->key);
	free(connection);
}

static void add_address(struct ch_conf_strings *addresses, const char *address)
{
	if (addresses->count < MOST_VAULTS)
		addresses->items[addresses->count++] = ch_strdup(address);
}

/* --vault, as often as it is given, else the words of CHANCERY_VAULT. */
static bool find_addresses(struct cli *cli, struct ch_conf_strings *addresses, struct ch_error *err)
{
	const char *value;

	if (!cli_require(cli, "vault", &value, err))
		return false;
	addresses->items = ch_alloc(MOST_VAULTS * sizeof(char *));
	if (cli_value_at(cli, "vault", 0)) {
		for (size_t i = 0; (value = cli_value_at(cli, "vault", i)); i++)
			add_address(addresses, value);
	} else {
		CH_AUTO(ch_string) words = ch_strdup(value);
		char *rest = NULL;

		for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
			add_address(addresses, word);
	}
	return addresses->count > 0 || ch_fail(err, CH_INVALID, "--vault '%s' names no vault", value);
}

static bool open_bus(struct vault_connection *connection, const struct ch_conf_strings *addresses,
		     const char *system_ca, struct ch_error *err)
{
	const struct ch_identity_config files = { .certificate = connection->certificate,
						  .key = connection->key,
						  .system_ca = (char *)(uintptr_t)system_ca /* only read */ };

	return ch_identity_load(&files, "operator", NULL, &connection->identity, err) &&
	       ch_bus_client_open("vault", addresses, connection->identity, ch_clock_system(), NULL,
				  &connection->bus, err);
}

static void free_addresses(struct ch_conf_strings *addresses)
{
	for (size_t i = 0; i < addresses->count; i++)
		free(addresses->items[i]);
	free(addresses->items);
}
CH_DEFINE_AUTO_VALUE(addresses, struct ch_conf_strings, free_addresses)

static bool open_at(struct cli *cli, const struct ch_conf_strings *addresses,
		    struct vault_connection **connection, struct ch_error *err)
{
	CH_AUTO(vault_connection) made = ch_alloc(sizeof(*made));
	const char *identity, *system_ca;

	if (!ch_log_set_level("warn", err) || /* that a connection stands is no news to a person */
	    !cli_require(cli, "identity", &identity, err) || !cli_require(cli, "system-ca", &system_ca, err))
		return false;
	made->tenant = cli_value_or(cli, "tenant", "default");
	made->certificate = ch_format("%s/certificate.pem", identity);
	made->key = ch_format("%s/key.pem", identity);
	if (!open_bus(made, addresses, system_ca, err))
		return false;
	made->client = ch_vault_client_new(made->bus);
	*connection = CH_STEAL(made);
	return true;
}

bool vault_connection_open(struct cli *cli, struct vault_connection **connection, struct ch_error *err)
{
	CH_AUTO(addresses) addresses = CH_NONE;

	return find_addresses(cli, &addresses, err) && open_at(cli, &addresses, connection, err);
}

bool vault_connection_open_one(struct cli *cli, size_t index, char **address,
			       struct vault_connection **connection, struct ch_error *err)
{
	CH_AUTO(addresses) addresses = CH_NONE;
	struct ch_conf_strings one;

	*connection = NULL;
	if (!find_addresses(cli, &addresses, err))
		return false;
	if (index >= addresses.count)
		return true;
	*address = ch_strdup(addresses.items[index]);
	one = (struct ch_conf_strings){ &addresses.items[index], 1 };
	return open_at(cli, &one, connection, err);
}

struct ch_vault_client *vault_connection_client(const struct vault_connection *connection)
{
	return connection->client;
}

bool vault_connection_call(struct vault_connection *connection, const struct ch_bus_call *call,
			   ProtobufCMessage **reply, struct ch_error *err)
{
	struct ch_bus_call full = *call;

	full.tenant = connection->tenant;
	full.timeout_us = call->timeout_us ? call->timeout_us : TIMEOUT_US;
	return ch_bus_call(connection->bus, &full, reply, err);
}
