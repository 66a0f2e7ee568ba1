/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h: the `chancery` command. main.c finds the row of the command table (commands.c) that the first words
 * name; options.c parses what follows by that row; the row's function does the work, one file per noun. It
 * prints to standard output and returns an error, which main.c prints and turns into the exit code.
 */
#ifndef CHANCERY_CLI_H
#define CHANCERY_CLI_H

#include "err/err.h"
#include "mem/mem.h"

/* Documented in docs/man/chancery.1: never renumber. */
enum cli_exit {
	CLI_EXIT_DONE = 0,
	CLI_EXIT_FAILED = 1,
	CLI_EXIT_USAGE = 2,
	CLI_EXIT_NOT_FOUND = 3,
	CLI_EXIT_DENIED = 4,
	CLI_EXIT_UNAVAILABLE = 5,
	CLI_EXIT_FINDINGS = 6, /* the command worked and what it looked at is not in order */
};

/* Where a shell completes an option's value or an argument from. */
enum cli_values { CLI_VALUES_NONE, CLI_VALUES_FILE, CLI_VALUES_DIRECTORY };

struct cli_option {
	const char *name;  /* "--validity" without the dashes */
	const char *value; /* what stands for the value in the help: "DAYS"; NULL: a flag */
	const char *help;
	const char *environment; /* variable that is read when the option is absent; NULL: none */
	const char *choices;     /* "a|b|c"; NULL: any value */
	enum cli_values values;
};

/* A list of options that several commands share. */
struct cli_options {
	const struct cli_option *items;
	size_t count;
};
#define CLI_OPTIONS(array)               \
	{                                \
		(array), CH_COUNT(array) \
	}

struct cli;
struct cli_command {
	const char *noun;
	const char *verb;      /* "" : the noun alone is the command; may be two words: "key list" */
	const char *arguments; /* as the help shows them: "FILE…" */
	const char *summary;   /* one line */
	struct cli_options own;
	bool connects; /* also takes the options of a client of the REST interface, and --json */
	bool vault;    /* also takes the options of a connection to the vaults' bus, and --json */
	bool json;     /* also takes --json */
	size_t min_arguments;
	size_t max_arguments;
	enum cli_values argument_values;
	bool (*run)(struct cli *cli, struct ch_error *err);
};
#define CLI_ANY_NUMBER SIZE_MAX

/* commands.c: the table, and the options that `connects`, `vault` and `json` stand for. */
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
extern const struct cli_options cli_connect_options, cli_vault_options, cli_json_options;

struct cli_value {
	const struct cli_option *option;
	const char *value;
};

/* One run of the program. Owned by main(). */
struct cli {
	const struct cli_command *command;
	const char **arguments;
	size_t argument_count;
	struct cli_value *values;
	size_t value_count;
	int exit_code; /* what a run that returns true ends with; CLI_EXIT_USAGE also where it returns false
			*/
};

/* options.c: CH_INVALID names the option or argument at fault. Strings are borrowed from argv. */
CH_MUST_USE bool cli_parse(struct cli *cli, int count, char **words, struct ch_error *err);
void cli_free(struct cli *cli);
/* The value of an option, else of its environment variable, else NULL. The last one given counts. */
const char *cli_value(const struct cli *cli, const char *name);
const char *cli_value_or(const struct cli *cli, const char *name, const char *fallback);
/* The n-th value of an option that may be repeated; NULL past the end. Not from the environment. */
const char *cli_value_at(const struct cli *cli, const char *name, size_t n);
bool cli_flag(const struct cli *cli, const char *name);
CH_MUST_USE bool cli_require(struct cli *cli, const char *name, const char **value, struct ch_error *err);
CH_MUST_USE bool cli_number(struct cli *cli, const char *name, int64_t fallback, int64_t min, int64_t max,
			    int64_t *number, struct ch_error *err);
/* Calls `each` for every option that a command takes. */
void cli_each_option(const struct cli_command *command,
		     void (*each)(void *context, const struct cli_option *option), void *context);

/* help.c */
void cli_help(void);
void cli_help_noun(const char *noun);
void cli_help_command(const struct cli_command *command);
bool cli_noun_known(const char *noun);
/* How many of the words (after the noun) the command's verb is; 0: another command, or the noun alone. */
size_t cli_verb_words(const struct cli_command *command, size_t count, const char *const *words);

/* One function per row of the table, in the file of its noun. */
bool cli_system_ca_init(struct cli *cli, struct ch_error *err);
bool cli_system_ca_issue(struct cli *cli, struct ch_error *err);
bool cli_system_ca_renew(struct cli *cli, struct ch_error *err);
bool cli_system_ca_revoke(struct cli *cli, struct ch_error *err);
bool cli_operator_revoke(struct cli *cli, struct ch_error *err);
bool cli_system_ca_publish(struct cli *cli, struct ch_error *err);
bool cli_system_ca_roll(struct cli *cli, struct ch_error *err);
bool cli_public_ca_init(struct cli *cli, struct ch_error *err);
bool cli_public_ca_issue(struct cli *cli, struct ch_error *err);
bool cli_operator_init(struct cli *cli, struct ch_error *err);
bool cli_operator_issue(struct cli *cli, struct ch_error *err);
bool cli_db_migrate(struct cli *cli, struct ch_error *err);
bool cli_ca_create(struct cli *cli, struct ch_error *err);
bool cli_ca_list(struct cli *cli, struct ch_error *err);
bool cli_ca_suspend(struct cli *cli, struct ch_error *err); /* ca_change.c */
bool cli_ca_activate(struct cli *cli, struct ch_error *err);
bool cli_ca_retire(struct cli *cli, struct ch_error *err);
bool cli_ca_revoke(struct cli *cli, struct ch_error *err);
bool cli_key_block(struct cli *cli, struct ch_error *err); /* key.c */
bool cli_key_report(struct cli *cli, struct ch_error *err);
bool cli_ca_show(struct cli *cli, struct ch_error *err);
bool cli_ceremony_check(struct cli *cli, struct ch_error *err);
bool cli_ceremony_run(struct cli *cli, struct ch_error *err);
bool cli_ceremony_sign(struct cli *cli, struct ch_error *err);
bool cli_approve(struct cli *cli, struct ch_error *err);
bool cli_action_list(struct cli *cli, struct ch_error *err);
bool cli_action_show(struct cli *cli, struct ch_error *err);
bool cli_quorum_show(struct cli *cli, struct ch_error *err);
bool cli_quorum_change(struct cli *cli, struct ch_error *err);
bool cli_profile_apply(struct cli *cli, struct ch_error *err);
bool cli_profile_list(struct cli *cli, struct ch_error *err);
bool cli_profile_show(struct cli *cli, struct ch_error *err);
bool cli_certificate_issue(struct cli *cli, struct ch_error *err);
bool cli_certificate_show(struct cli *cli, struct ch_error *err);
bool cli_certificate_list(struct cli *cli, struct ch_error *err);
bool cli_certificate_revoke(struct cli *cli, struct ch_error *err);
bool cli_certificate_suspend(struct cli *cli, struct ch_error *err);
bool cli_certificate_reinstate(struct cli *cli, struct ch_error *err);
bool cli_crl_generate(struct cli *cli, struct ch_error *err);
bool cli_crl_show(struct cli *cli, struct ch_error *err);
bool cli_audit_list(struct cli *cli, struct ch_error *err);
bool cli_audit_content(struct cli *cli, struct ch_error *err);
bool cli_audit_quarantine(struct cli *cli, struct ch_error *err);
bool cli_audit_verify(struct cli *cli, struct ch_error *err);
bool cli_vault_key_list(struct cli *cli, struct ch_error *err);
bool cli_vault_key_show(struct cli *cli, struct ch_error *err);
bool cli_vault_key_activate(struct cli *cli, struct ch_error *err);
bool cli_hsm_status(struct cli *cli, struct ch_error *err);
bool cli_hsm_replace(struct cli *cli, struct ch_error *err);
bool cli_hsm_disable(struct cli *cli, struct ch_error *err);
bool cli_hsm_enable(struct cli *cli, struct ch_error *err);
bool cli_vault_key_suspend(struct cli *cli, struct ch_error *err);
bool cli_vault_key_retire(struct cli *cli, struct ch_error *err);
bool cli_vault_key_compromise(struct cli *cli, struct ch_error *err);
bool cli_vault_key_destroy(struct cli *cli, struct ch_error *err);
bool cli_vault_key_set_policy(struct cli *cli, struct ch_error *err);
bool cli_vault_key_export(struct cli *cli, struct ch_error *err);
bool cli_vault_approve(struct cli *cli, struct ch_error *err);
bool cli_vault_status(struct cli *cli, struct ch_error *err);
bool cli_status(struct cli *cli, struct ch_error *err);
bool cli_completion_bash(struct cli *cli, struct ch_error *err);

#endif
