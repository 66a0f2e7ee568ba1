/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init_hsms.c: `chancery-vault --config FILE --init-hsms`: tokens, PINs, and the keys of one domain in
 * each HSM. Their root secret is made here in locked memory. Run again, it
 * changes nothing.
 */
#include "vault.h"

#include "domain_keys.h"
#include "init_token.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIN_SIZE 16 /* octets of randomness in a PIN that is made here */

struct plan {
	const struct hsm_config *configs;
	size_t count;
	char *so_pin_files[HSM_MAX];
	struct token_state states[HSM_MAX];
};

static const char *config_path(int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--config") == 0)
			return argv[i + 1];
	return NULL;
}

static char *so_pin_path(const struct hsm_config *config)
{
	CH_AUTO(ch_string) copy = ch_strdup(config->pin_file);

	return config->so_pin_file ? ch_strdup(config->so_pin_file) : ch_format("%s/so-pin", dirname(copy));
}

/* A PIN file that is missing is made with a random PIN. */
static bool ensure_pin(const char *path, struct ch_error *err)
{
	uint8_t random[PIN_SIZE];
	CH_AUTO(ch_string) text = NULL;
	bool written;

	if (access(path, F_OK) == 0)
		return true;
	ch_random(random, sizeof(random));
	text = ch_hex(ch_view(random, sizeof(random)));
	written = ch_write_file(path, ch_view_text(text), 0400, err);
	ch_wipe(random, sizeof(random));
	ch_wipe(text, strlen(text));
	return written;
}

static bool look_at_all(struct plan *plan, struct ch_error *err)
{
	for (size_t i = 0; i < plan->count; i++)
		if (!token_set_up(&plan->configs[i], plan->so_pin_files[i], (struct ch_view)CH_NONE,
				  &plan->states[i], err))
			return false;
	return true;
}

static size_t count_domains(const struct plan *plan)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->count; i++)
		count += plan->states[i].has_domain;
	return count;
}

/* The domain's keys must be one and the same, else no key could be copied. */
static bool check_same_domain(const struct plan *plan, struct ch_error *err)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (!plan->states[i].has_domain)
			return ch_fail(err, CH_INTERNAL, "HSM '%s' has no key-encryption key",
				       plan->configs[i].name);
		if (memcmp(plan->states[i].domain_check, plan->states[0].domain_check,
			   sizeof(plan->states[0].domain_check)) != 0)
			return ch_fail(err, CH_CONFLICT,
				       "HSMs '%s' and '%s' are of different domains (their key-encryption "
				       "keys differ)",
				       plan->configs[0].name, plan->configs[i].name);
	}
	return true;
}

/* An HSM with keys under a domain that another lacks needs custodians' shares, not a new domain. */
static bool check_may_make(const struct plan *plan, struct ch_error *err)
{
	for (size_t i = 0; i < plan->count; i++)
		if ((plan->states[i].has_domain || plan->states[i].has_partial) &&
		    plan->states[i].private_keys)
			return ch_fail(
				err, CH_CONFLICT,
				"HSM '%s' holds %u keys, an HSM lacks (some of) the domain's keys: new "
				"ones would not open them. Put the old one's token back",
				plan->configs[i].name, plan->states[i].private_keys);
	return true;
}

static bool make_all(struct plan *plan, struct ch_error *err)
{
	CH_AUTO(ch_secret) root = CH_NONE;

	if (!check_may_make(plan, err) || !ch_secret_new(DOMAIN_ROOT_SIZE, &root, err))
		return false;
	ch_random(root.data, root.size);
	for (size_t i = 0; i < plan->count; i++) {
		if (!ensure_pin(plan->configs[i].pin_file, err) || !ensure_pin(plan->so_pin_files[i], err) ||
		    !token_set_up(&plan->configs[i], plan->so_pin_files[i], ch_view(root.data, root.size),
				  &plan->states[i], err))
			return false;
		printf("HSM '%s': token '%s' initialised with the domain's keys\n", plan->configs[i].name,
		       plan->configs[i].token_label);
	}
	return check_same_domain(plan, err);
}

static bool init(const struct vault_config *config, struct ch_error *err)
{
	struct plan plan = { .configs = config->hsms.items, .count = config->hsms.count };
	bool done = true;

	for (size_t i = 0; i < plan.count; i++) {
		plan.so_pin_files[i] = so_pin_path(&plan.configs[i]);
		done = done && ensure_pin(plan.configs[i].pin_file, err);
	}
	done = done && look_at_all(&plan, err);
	if (done && count_domains(&plan) == plan.count) {
		done = check_same_domain(&plan, err);
		if (done)
			printf("%zu HSMs are initialised already: left as they are\n", plan.count);
	} else if (done) {
		done = make_all(&plan, err);
	}
	for (size_t i = 0; i < plan.count; i++)
		free(plan.so_pin_files[i]);
	return done;
}

int vault_init_hsms(int argc, char **argv)
{
	struct vault_config config = CH_NONE;
	const char *path = config_path(argc, argv);
	struct ch_error err = CH_NONE;
	bool done;

	if (!path) {
		fprintf(stderr, "usage: chancery-vault --config FILE " VAULT_INIT_OPTION "\n");
		return 2;
	}
	done = ch_conf_read_file(&vault_schema, path, &config, &err) && init(&config, &err);
	ch_conf_free(&vault_schema, &config);
	if (!done)
		fprintf(stderr, "chancery-vault: %s\n", err.message);
	return done ? 0 : 1;
}
