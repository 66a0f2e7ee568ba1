/* SPDX-License-Identifier: Apache-2.0 */
/* options.c: parses "--name value", "--name=value", flags and arguments by the row of the command table. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct search {
	const char *name;
	size_t size;
	const struct cli_option *found;
};

static void each_of(const struct cli_options *options, void (*each)(void *, const struct cli_option *),
		    void *context)
{
	for (size_t i = 0; i < options->count; i++)
		each(context, &options->items[i]);
}

void cli_each_option(const struct cli_command *command,
		     void (*each)(void *context, const struct cli_option *option), void *context)
{
	each_of(&command->own, each, context);
	if (command->connects)
		each_of(&cli_connect_options, each, context);
	if (command->vault)
		each_of(&cli_vault_options, each, context);
	if (command->connects || command->vault || command->json)
		each_of(&cli_json_options, each, context);
}

static void match(void *context, const struct cli_option *option)
{
	struct search *search = context;

	if (strlen(option->name) == search->size && strncmp(option->name, search->name, search->size) == 0)
		search->found = option;
}

static const struct cli_option *find_option(const struct cli_command *command, const char *name, size_t size)
{
	struct search search = { .name = name, .size = size };

	cli_each_option(command, match, &search);
	return search.found;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t size = strlen(value);

	for (const char *at = choices; at; at = strchr(at, '|')) {
		if (*at == '|')
			at++;
		if (size && strncmp(at, value, size) == 0 && (at[size] == '|' || at[size] == '\0'))
			return true;
	}
	return false;
}

static bool add_value(struct cli *cli, const struct cli_option *option, const char *value,
		      struct ch_error *err)
{
	if (value && option->choices && !is_choice(option->choices, value))
		return ch_fail(err, CH_INVALID, "--%s '%s' is not one of %s", option->name, value,
			       option->choices);
	cli->values[cli->value_count].option = option;
	cli->values[cli->value_count].value = value;
	cli->value_count++;
	return true;
}

/* words[*at] begins with "--"; takes the value that follows where the option has one. */
static bool parse_option(struct cli *cli, int count, char **words, int *at, struct ch_error *err)
{
	const char *name = words[*at] + 2;
	size_t size = strcspn(name, "=");
	const struct cli_option *option = find_option(cli->command, name, size);
	const char *value = NULL;

	if (!option)
		return ch_fail(err, CH_INVALID, "unknown option '--%.*s'", (int)size, name);
	if (name[size] == '=') {
		if (!option->value)
			return ch_fail(err, CH_INVALID, "--%s takes no value", option->name);
		value = name + size + 1;
	} else if (option->value) {
		if (*at + 1 >= count)
			return ch_fail(err, CH_INVALID, "--%s needs a value: %s", option->name,
				       option->value);
		value = words[++*at];
	}
	return add_value(cli, option, value, err);
}

bool cli_parse(struct cli *cli, int count, char **words, struct ch_error *err)
{
	bool options_end = false;

	cli->arguments = ch_alloc(((size_t)count + 1) * sizeof(*cli->arguments));
	cli->values = ch_alloc(((size_t)count + 1) * sizeof(*cli->values));
	for (int at = 0; at < count; at++) {
		if (!options_end && strcmp(words[at], "--") == 0)
			options_end = true;
		else if (!options_end && strncmp(words[at], "--", 2) == 0) {
			if (!parse_option(cli, count, words, &at, err))
				return false;
		} else if (!options_end && words[at][0] == '-' && words[at][1] != '\0') {
			return ch_fail(err, CH_INVALID, "unknown option '%s'", words[at]);
		} else if (cli->argument_count >= cli->command->max_arguments) {
			return ch_fail(err, CH_INVALID, "one argument too many: '%s'", words[at]);
		} else {
			cli->arguments[cli->argument_count++] = words[at];
		}
	}
	if (cli->argument_count < cli->command->min_arguments)
		return ch_fail(err, CH_INVALID, "it needs %s", cli->command->arguments);
	return true;
}

void cli_free(struct cli *cli)
{
	free(cli->arguments);
	free(cli->values);
	cli->arguments = NULL;
	cli->values = NULL;
}

const char *cli_value_at(const struct cli *cli, const char *name, size_t n)
{
	for (size_t i = 0; i < cli->value_count; i++)
		if (strcmp(cli->values[i].option->name, name) == 0 && n-- == 0)
			return cli->values[i].value;
	return NULL;
}

const char *cli_value(const struct cli *cli, const char *name)
{
	const struct cli_option *option = find_option(cli->command, name, strlen(name));
	const char *environment = option && option->environment ? getenv(option->environment) : NULL;

	for (size_t i = cli->value_count; i > 0; i--)
		if (strcmp(cli->values[i - 1].option->name, name) == 0)
			return cli->values[i - 1].value;
	return environment && environment[0] ? environment : NULL;
}

const char *cli_value_or(const struct cli *cli, const char *name, const char *fallback)
{
	const char *value = cli_value(cli, name);

	return value ? value : fallback;
}

bool cli_flag(const struct cli *cli, const char *name)
{
	for (size_t i = 0; i < cli->value_count; i++)
		if (strcmp(cli->values[i].option->name, name) == 0)
			return true;
	return false;
}

bool cli_require(struct cli *cli, const char *name, const char **value, struct ch_error *err)
{
	const struct cli_option *option = find_option(cli->command, name, strlen(name));

	*value = cli_value(cli, name);
	if (*value)
		return true;
	cli->exit_code = CLI_EXIT_USAGE;
	if (option && option->environment)
		return ch_fail(err, CH_INVALID, "--%s is missing (or %s in the environment)", name,
			       option->environment);
	return ch_fail(err, CH_INVALID, "--%s is missing", name);
}

bool cli_number(struct cli *cli, const char *name, int64_t fallback, int64_t min, int64_t max,
		int64_t *number, struct ch_error *err)
{
	const char *text = cli_value(cli, name);
	char *end = NULL;
	long long value;

	*number = fallback;
	if (!text)
		return true;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max) {
		cli->exit_code = CLI_EXIT_USAGE;
		return ch_fail(err, CH_INVALID, "--%s '%s' is not a number from %lld to %lld", name, text,
			       (long long)min, (long long)max);
	}
	*number = value;
	return true;
}
