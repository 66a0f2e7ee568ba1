/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.c: `chancery-vault --config FILE --hsm-listener NAME`, started by the service manager as the HSM's
 * user: reads the vault's configuration, closes all but this HSM's files to itself, and serves
 * (listener.c).
 */
#include "listen.h"

#include "hsm_user.h"
#include "listener.h"
#include "local.h"
#include "log/log.h"
#include "sandbox/sandbox.h"
#include "vault.h"
#include "worker_sandbox.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define USAGE "usage: chancery-vault --config FILE --hsm-listener NAME\n"

static const struct hsm_config *find_hsm(const struct vault_config *config, const char *name,
					 struct ch_error *err)
{
	const struct hsm_config *hsms = config->hsms.items;

	for (size_t i = 0; i < config->hsms.count; i++)
		if (strcmp(hsms[i].name, name) == 0 && hsms[i].listener)
			return &hsms[i];
	(void)ch_fail(err, CH_NOT_FOUND, "no HSM '%.64s' with a listener is in the configuration", name);
	return NULL;
}

/* A listener of another user would read another's PIN, or none. */
static bool check_user(const struct hsm_config *hsm, struct ch_error *err)
{
	struct hsm_user user;

	return hsm_user_find(hsm->user, &user, err) &&
	       (geteuid() == user.uid ||
		ch_fail(err, CH_DENIED, "HSM '%s' is of user '%s' (%u), but this runs as user %u", hsm->name,
			hsm->user, user.uid, geteuid()));
}

/* What its workers need stays open to it: their own sandbox is narrower. */
static bool enter_sandbox(const struct hsm_config *hsm, struct ch_error *err)
{
	struct ch_sandbox_path paths[HSM_SANDBOX_PATHS];
	const struct ch_sandbox_rules rules = { .paths = paths,
						.path_count = hsm_sandbox_paths(hsm, paths),
						.may_start_programs = true };

	return ch_sandbox_enter(&rules, err);
}

static bool serve(const struct vault_config *config, const char *name, struct ch_error *err)
{
	const struct hsm_config *hsm = find_hsm(config, name, err);
	struct listener_options options = { .hsm = hsm,
					    .program = "/proc/self/exe",
					    .sandbox = config->common.sandbox };
	CH_AUTO(ch_fd) fd = -1;
	struct hsm_user vault;

	if (!hsm ||
	    !hsm_config_check(config->hsms.items, config->hsms.count, config->common.identity.key, err) ||
	    !check_user(hsm, err) || !hsm_user_find(config->user, &vault, err) ||
	    !listener_open(hsm, &fd, err))
		return false;
	options.vault = vault.uid;
	listener_block_signals();
	signal(SIGHUP, SIG_IGN); /* nothing is read again: a start reads it all */
	if (!ch_guard_memory())  /* its workers cannot either */
		ch_log_warn("memory can be swapped out but for secrets: RLIMIT_MEMLOCK has a limit");
	prctl(PR_SET_DUMPABLE, 0);
	umask(0077);
	if (!options.sandbox)
		ch_log_warn("runs without a sandbox: 'sandbox: false' is configured");
	if ((options.sandbox && !enter_sandbox(hsm, err)) || !ch_log_start(err))
		return false;
	sd_notify(0, "READY=1");
	ch_log_info("HSM '%s': listens at '%s' for user '%s'", name, hsm->listener, config->user);
	return listener_serve(&options, fd, err);
}

int vault_listen(int argc, char **argv)
{
	const char *path = vault_word_after(argc, argv, "--config");
	const char *name = vault_word_after(argc, argv, VAULT_LISTENER_OPTION);
	struct vault_config config = CH_NONE;
	struct ch_error err = CH_NONE;
	bool done;

	if (!path || !name) {
		fprintf(stderr, USAGE);
		return 2;
	}
	ch_log_open("vault", name);
	done = ch_conf_read_file(&vault_schema, path, &config, &err) &&
	       ch_log_set_level(config.common.log_level, &err) && serve(&config, name, &err);
	ch_conf_free(&vault_schema, &config);
	if (!done)
		ch_log_error("%s", err.message);
	else
		ch_log_info("HSM '%s': the listener ends", name);
	(void)ch_log_flush(CH_SECOND);
	return done ? 0 : 1;
}
