/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init_hsms.c: `chancery-vault --config FILE --init-hsms`: tokens, PINs, and the keys of one domain in each
 * HSM. Their root secret is made here in locked memory, split to custodians and forgotten; `--init-hsm NAME
 * --share FILE…` makes it again for a new or wiped HSM. No file ever holds it whole. Run again, both change
 * nothing.
 */
#include "vault.h"

#include "domain_keys.h"
#include "init_options.h"
#include "init_token.h"
#include "share_files.h"

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

static bool make_token(struct plan *plan, size_t i, struct ch_view root, struct ch_error *err)
{
	if (!ensure_pin(plan->configs[i].pin_file, err) || !ensure_pin(plan->so_pin_files[i], err) ||
	    !token_set_up(&plan->configs[i], plan->so_pin_files[i], root, &plan->states[i], err))
		return false;
	printf("HSM '%s': token '%s' initialised with the domain's keys\n", plan->configs[i].name,
	       plan->configs[i].token_label);
	return true;
}

/* --- all of them, with a new root secret --- */

/* The shares are written before any HSM gets the secret: a domain whose shares are lost could never grow. */
static bool hand_to_custodians(const struct init_options *options, struct ch_view root, struct ch_error *err)
{
	struct share shares[SHARES_MAX];
	bool done = shares_split(root, options->threshold, options->count, shares, err) &&
		    share_files_write(options->share_directory,
				      options->custodian_count ? options->custodians : NULL, shares,
				      options->count, err);

	ch_wipe(shares, sizeof(shares));
	if (!done)
		return false;
	printf("%u shares of the root secret in '%s', of which any %u set up another HSM: give each to its "
	       "custodian%s\n",
	       options->count, options->share_directory, options->threshold,
	       options->custodian_count ? "" : ", and keep none here");
	return true;
}

static bool make_all(struct plan *plan, const struct init_options *options, struct ch_error *err)
{
	CH_AUTO(ch_secret) root = CH_NONE;

	if (!options->share_directory)
		return ch_fail(
			err, CH_INVALID,
			"--share-directory is missing: where custodians' shares of the root secret go");
	if (!check_may_make(plan, err) || !ch_secret_new(DOMAIN_ROOT_SIZE, &root, err))
		return false;
	ch_random(root.data, root.size);
	if (!hand_to_custodians(options, ch_view(root.data, root.size), err))
		return false;
	for (size_t i = 0; i < plan->count; i++)
		if (!make_token(plan, i, ch_view(root.data, root.size), err))
			return false;
	return check_same_domain(plan, err);
}

static bool init_all(struct plan *plan, const struct init_options *options, struct ch_error *err)
{
	for (size_t i = 0; i < plan->count; i++)
		if (!ensure_pin(plan->configs[i].pin_file, err))
			return false;
	if (!look_at_all(plan, err))
		return false;
	if (count_domains(plan) != plan->count)
		return make_all(plan, options, err);
	if (!check_same_domain(plan, err))
		return false;
	printf("%zu HSMs are initialised already: left as they are\n", plan->count);
	return true;
}

/* --- one, with custodians' shares --- */

static bool combine(const struct init_options *options, struct ch_secret *root, struct ch_error *err)
{
	struct share shares[SHARES_MAX];
	bool done = true;

	for (size_t i = 0; done && i < options->share_count; i++)
		done = share_file_read(options->shares[i], &shares[i], err);
	done = done && shares_combine(shares, options->share_count, root, err);
	ch_wipe(shares, sizeof(shares));
	return done;
}

/* Against any other HSM that can be looked at now. */
static bool check_fits(struct plan *plan, size_t made, struct ch_error *err)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct ch_error ignored;

		if (i == made ||
		    !token_set_up(&plan->configs[i], plan->so_pin_files[i], (struct ch_view)CH_NONE,
				  &plan->states[i], &ignored) ||
		    !plan->states[i].has_domain)
			continue;
		if (memcmp(plan->states[i].domain_check, plan->states[made].domain_check,
			   sizeof(plan->states[i].domain_check)) != 0)
			return ch_fail(err, CH_CONFLICT,
				       "HSM '%s' is now of another domain than HSM '%s': the shares are of "
				       "another suite",
				       plan->configs[made].name, plan->configs[i].name);
	}
	return true;
}

static bool init_one(struct plan *plan, const struct init_options *options, struct ch_error *err)
{
	CH_AUTO(ch_secret) root = CH_NONE;
	size_t at = 0;

	while (at < plan->count && strcmp(plan->configs[at].name, options->hsm) != 0)
		at++;
	if (at == plan->count)
		return ch_fail(err, CH_NOT_FOUND, "HSM '%.64s' is not in the configuration", options->hsm);
	if (!ensure_pin(plan->configs[at].pin_file, err) || !combine(options, &root, err) ||
	    !token_set_up(&plan->configs[at], plan->so_pin_files[at], (struct ch_view)CH_NONE,
			  &plan->states[at], err))
		return false;
	if (plan->states[at].has_domain)
		printf("HSM '%s' is initialised already: left as it is\n", options->hsm);
	else if (!make_token(plan, at, ch_view(root.data, root.size), err))
		return false;
	return check_fits(plan, at, err);
}

/* --- the command --- */

static bool init(const struct vault_config *config, const struct init_options *options, struct ch_error *err)
{
	struct plan plan = { .configs = config->hsms.items, .count = config->hsms.count };
	bool done;

	for (size_t i = 0; i < plan.count; i++)
		plan.so_pin_files[i] = so_pin_path(&plan.configs[i]);
	done = options->hsm ? init_one(&plan, options, err) : init_all(&plan, options, err);
	for (size_t i = 0; i < plan.count; i++)
		free(plan.so_pin_files[i]);
	return done;
}

int vault_init_hsms(int argc, char **argv)
{
	struct vault_config config = CH_NONE;
	struct init_options options;
	struct ch_error err = CH_NONE;
	bool done;

	if (!init_options_read(argc, argv, &options, &err)) {
		fprintf(stderr, "chancery-vault: %s\n" INIT_USAGE, err.message);
		return 2;
	}
	done = ch_conf_read_file(&vault_schema, options.config, &config, &err) &&
	       init(&config, &options, &err);
	ch_conf_free(&vault_schema, &config);
	if (!done)
		fprintf(stderr, "chancery-vault: %s\n", err.message);
	return done ? 0 : 1;
}
