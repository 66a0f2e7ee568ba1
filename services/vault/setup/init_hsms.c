/* SPDX-License-Identifier: Apache-2.0 */
/*
 * init_hsms.c: `chancery-vault --config FILE --init-hsms`: tokens, PINs, and the keys of one domain in each
 * HSM. Their root secret is made here in locked memory, split to custodians and forgotten; `--init-hsm NAME
 * --share FILE…` makes it again for a new or wiped HSM. No file ever holds it whole. Run again, both change
 * nothing.
 */
#include "vault.h"

#include "domain_fits.h"
#include "domain_keys.h"
#include "hsm_user.h"
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
	const struct vault_config *config;
	const struct hsm_config *configs;
	size_t count;
	bool sandbox;
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

/* By the HSM's own user, where it has one: the directory is that user's, and root would follow its links. */
static bool ensure_pin_of(const struct hsm_config *config, const char *path, struct ch_error *err)
{
	bool made;

	if (!config->listener)
		return ensure_pin(path, err);
	if (!hsm_user_act_as(config->user, err))
		return false;
	made = ensure_pin(path, err);
	hsm_user_act_as_root();
	return made;
}

/* Looks, or with the root secret makes. */
static bool set_up(struct plan *plan, size_t i, struct ch_view root, struct ch_error *err)
{
	const struct token_order order = { .config = &plan->configs[i],
					   .so_pin_file = plan->so_pin_files[i],
					   .root = root,
					   .sandbox = plan->sandbox };

	return token_set_up(&order, &plan->states[i], err);
}

static bool look_at(struct plan *plan, size_t i, struct ch_error *err)
{
	return set_up(plan, i, (struct ch_view)CH_NONE, err);
}

static bool look_at_all(struct plan *plan, struct ch_error *err)
{
	for (size_t i = 0; i < plan->count; i++)
		if (!look_at(plan, i, err))
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
	const struct hsm_config *config = &plan->configs[i];

	if (!ensure_pin_of(config, config->pin_file, err) ||
	    !ensure_pin_of(config, plan->so_pin_files[i], err) || !set_up(plan, i, root, err))
		return false;
	printf("HSM '%s': token '%s' initialised with the domain's keys\n", config->name,
	       config->token_label);
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
		if (!ensure_pin_of(&plan->configs[i], plan->configs[i].pin_file, err))
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

/* Against an HSM's own key-encryption key. *known only grows. */
static bool check_hsm(const struct plan *plan, size_t i, const uint8_t check[3], bool *known,
		      struct ch_error *err)
{
	if (!plan->states[i].has_domain)
		return true;
	*known = true;
	return memcmp(plan->states[i].domain_check, check, sizeof(plan->states[i].domain_check)) == 0 ||
	       ch_fail(err, CH_CONFLICT,
		       "the shares are of another suite: HSM '%s' is of another domain than they make. "
		       "Nothing was changed",
		       plan->configs[i].name);
}

/* As the vault's user, whose the database's role is. */
static bool fits_database(const struct plan *plan, struct ch_view root, bool *known, struct ch_error *err)
{
	bool done, is_root = false;

	for (size_t i = 0; i < plan->count; i++)
		is_root = is_root || (plan->configs[i].listener && geteuid() == 0);
	if (is_root && !hsm_user_act_as(plan->config->user, err))
		return false;
	done = domain_fits_database(plan->config, root, known, err);
	if (is_root)
		hsm_user_act_as_root();
	return done;
}

/*
 * Before anything is written: against every HSM that can be looked at, and where there is none against the
 * database. A suite that has neither yet has nothing to lose.
 */
static bool check_fits(struct plan *plan, size_t at, struct ch_view root, struct ch_error *err)
{
	bool known = false;
	uint8_t check[3];

	if (!domain_check_value(root, check, err) || !look_at(plan, at, err) ||
	    !check_hsm(plan, at, check, &known, err))
		return false;
	for (size_t i = 0; i < plan->count; i++) {
		struct ch_error ignored;

		if (i != at && look_at(plan, i, &ignored) && !check_hsm(plan, i, check, &known, err))
			return false;
	}
	if (known)
		return true;
	if (!fits_database(plan, root, &known, err))
		return ch_fail_in(err, "no other HSM can be looked at");
	if (!known)
		printf("neither another HSM nor a key in the database is there to hold the shares against\n");
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
	if (!ensure_pin_of(&plan->configs[at], plan->configs[at].pin_file, err) ||
	    !combine(options, &root, err) || !check_fits(plan, at, ch_view(root.data, root.size), err))
		return false;
	if (!plan->states[at].has_domain)
		return make_token(plan, at, ch_view(root.data, root.size), err);
	printf("HSM '%s' is initialised already: left as it is\n", options->hsm);
	return true;
}

/* --- the command --- */

static bool init(const struct vault_config *config, const struct init_options *options, struct ch_error *err)
{
	struct plan plan = { .config = config,
			     .configs = config->hsms.items,
			     .count = config->hsms.count,
			     .sandbox = config->common.sandbox };
	bool done;

	if (!hsm_config_check(plan.configs, plan.count, config->common.identity.key, err))
		return false;
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
