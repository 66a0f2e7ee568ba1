/* SPDX-License-Identifier: Apache-2.0 */
/* local.c: the table of local commands, and what they all need opened. main.c asks here first. */
#include "local.h"

#include "approval.h"
#include "policy.h"

#include <stdio.h>
#include <string.h>

#define HSM_LIMIT_US (20 * CH_SECOND)

static const struct vault_local_command commands[] = {
	{ "--init-quorum", "FILE", vault_init_quorum },
	{ "--seal-keys", NULL, vault_seal_keys },
	{ "--database-restored", NULL, vault_database_restored },
};

const struct vault_local_command *vault_local_find(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		for (size_t j = 0; j < CH_COUNT(commands); j++)
			if (strcmp(argv[i], commands[j].option) == 0)
				return &commands[j];
	return NULL;
}

const char *vault_word_after(int argc, char **argv, const char *option)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], option) == 0 && argv[i + 1][0] != '-')
			return argv[i + 1];
	return NULL;
}

/* One HSM is enough: all hold the domain's keys. */
static bool wait_for_an_hsm(struct vault *vault, struct ch_error *err)
{
	struct hsm_status status;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		if (hsm_pool_wait_up(vault->hsms, 1u << i, HSM_LIMIT_US))
			return true;
	hsm_pool_status(vault->hsms, 0, &status);
	return ch_fail(err, CH_UNAVAILABLE, "no HSM came up: '%s': %s", status.name, status.last_error);
}

static bool open_and_run(const struct vault_local_command *command, const struct vault_config *config,
			 const char *argument, struct ch_error *err)
{
	struct vault vault = { .config = config, .clock = ch_clock_system(), .metrics = ch_metrics_new() };
	const struct hsm_pool_options options = { .hsms = config->hsms.items,
						  .count = config->hsms.count,
						  .program = "/proc/self/exe",
						  .sandbox = config->common.sandbox,
						  .metrics = vault.metrics };
	bool done;

	vault.used = vault_used_new();
	vault.seals = vault_seals_new();
	done = hsm_config_check(config->hsms.items, config->hsms.count, config->common.identity.key, err) &&
	       ch_db_open(&config->common.database, "chancery-vault-local", vault.metrics, &vault.db, err) &&
	       hsm_pool_start(&options, &vault.hsms, err) && wait_for_an_hsm(&vault, err) &&
	       command->run(&vault, argument, err);
	hsm_pool_stop(vault.hsms);
	ch_db_close(vault.db);
	vault_seals_free(vault.seals);
	vault_used_free(vault.used);
	ch_metrics_free(vault.metrics);
	return done;
}

int vault_local_run(const struct vault_local_command *command, int argc, char **argv)
{
	const char *path = vault_word_after(argc, argv, "--config");
	const char *argument = vault_word_after(argc, argv, command->option);
	struct vault_config config = CH_NONE;
	struct ch_error err = CH_NONE;
	bool done;

	if (!path || !argument != !command->argument) {
		fprintf(stderr, "usage: chancery-vault --config FILE %s%s%s\n", command->option,
			command->argument ? " " : "", command->argument ? command->argument : "");
		return 2;
	}
	done = ch_conf_read_file(&vault_schema, path, &config, &err) &&
	       open_and_run(command, &config, argument, &err);
	ch_conf_free(&vault_schema, &config);
	if (!done)
		fprintf(stderr, "chancery-vault: %s\n", err.message);
	return done ? 0 : 1;
}
