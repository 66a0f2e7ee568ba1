/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: chancery-vault: the only process with HSM credentials. Wires; vault.h says where the rest is. */
#include "vault.h"

#include "clockwatch/clockwatch.h"
#include "listen.h"
#include "local.h"
#include "log/log.h"
#include "worker.h"
#include "worker_sandbox.h"

#include <string.h>

static const struct ch_daemon_definition definition = {
	.service = "vault",
	.summary =
		"signs what it has itself parsed and allowed, with keys in HSMs (--init-hsms sets the "
		"HSMs up, --init-quorum appoints officers, --seal-keys seals the keys of an older version, "
		"--database-restored accepts a backup's rows, --hsm-listener serves one HSM as its user)",
	.schema = &vault_schema,
};

static bool has_option(int argc, char **argv, const char *option)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], option) == 0)
			return true;
	return false;
}

/* Workers that are started from here, again and again, need this; those of listeners nothing of it. */
static bool enter_sandbox(struct ch_daemon *daemon, const struct vault_config *config, struct ch_error *err)
{
	const struct hsm_config *hsms = config->hsms.items;
	struct ch_sandbox_path paths[HSM_MAX * HSM_SANDBOX_PATHS + 1];
	size_t count = 0;

	paths[count++] = (struct ch_sandbox_path){ config->operators_ca, CH_SANDBOX_READ };
	for (size_t i = 0; i < config->hsms.count; i++)
		if (!hsms[i].listener)
			count += hsm_sandbox_paths(&hsms[i], paths + count);
	return ch_daemon_enter_sandbox(daemon, paths, count, true, err);
}

static bool watch_clock(const struct vault *vault, struct ch_daemon *daemon, struct ch_clockwatch **watch,
			struct ch_error *err)
{
	const struct ch_clockwatch_options options = { .daemon = daemon,
						       .identity = vault->identity,
						       .clock = vault->clock,
						       .audit = vault->audit,
						       .db = vault->db,
						       .peers = vault->peers };

	return ch_clockwatch_start(&options, watch, err);
}

int main(int argc, char **argv)
{
	struct vault_config config = CH_NONE;
	CH_AUTO(ch_daemon) daemon = NULL;
	struct ch_error err = CH_NONE;
	struct vault vault = CH_NONE;
	struct ch_clockwatch *watch = NULL;
	int exit_code = 0;

	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	if (has_option(argc, argv, VAULT_INIT_OPTION) || has_option(argc, argv, VAULT_INIT_ONE_OPTION))
		return vault_init_hsms(argc, argv);
	if (has_option(argc, argv, VAULT_LISTENER_OPTION))
		return vault_listen(argc, argv);
	if (vault_local_find(argc, argv))
		return vault_local_run(vault_local_find(argc, argv), argc, argv);
	if (!ch_daemon_begin(&definition, argc, argv, &config, &daemon, &exit_code))
		return exit_code;
	if (!ch_guard_memory())
		ch_log_warn("memory can be swapped out but for secrets: RLIMIT_MEMLOCK has a limit");
	if (!enter_sandbox(daemon, &config, &err))
		return ch_daemon_fail(daemon, &err);
	if (vault_open(&vault, &config, daemon, &err) && watch_clock(&vault, daemon, &watch, &err)) {
		ch_audit_lifecycle(vault.audit, "daemon.started");
		ch_daemon_ready(daemon);
		ch_daemon_wait(daemon, NULL, NULL);
		ch_audit_lifecycle(vault.audit, "daemon.stopped");
	} else {
		exit_code = ch_daemon_fail(daemon, &err);
	}
	ch_clockwatch_stop(watch);
	vault_close(&vault);
	return exit_code;
}
