/* SPDX-License-Identifier: Apache-2.0 */
/* help.c: what --help prints, made from the command table. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define COLUMN 34

bool cli_noun_known(const char *noun)
{
	for (size_t i = 0; i < cli_command_count; i++)
		if (strcmp(cli_commands[i].noun, noun) == 0)
			return true;
	return false;
}

size_t cli_verb_words(const struct cli_command *command, size_t count, const char *const *words)
{
	const char *rest = command->verb;

	for (size_t i = 0; i < count && words[i]; i++) {
		size_t size = strcspn(rest, " ");

		if (size == 0 || strlen(words[i]) != size || strncmp(words[i], rest, size) != 0)
			return 0;
		rest += size;
		if (*rest == '\0')
			return i + 1;
		rest++;
	}
	return 0;
}

static void print_command(const struct cli_command *command)
{
	CH_AUTO(ch_string)
	line = ch_format("%s%s%s%s%s", command->noun, command->verb[0] ? " " : "", command->verb,
			 command->arguments[0] ? " " : "", command->arguments);

	printf("  %-*s %s\n", COLUMN, line, command->summary);
}

static void print_exit_codes(void)
{
	printf("\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 unavailable (a retry "
	       "may help),\n"
	       "6 the command worked and found something that is not in order.\n");
}

void cli_help(void)
{
	printf("chancery: the command of the Chancery certificate authority suite\n\n"
	       "Usage: chancery COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n");
	for (size_t i = 0; i < cli_command_count; i++)
		print_command(&cli_commands[i]);
	printf("\n`chancery COMMAND --help` shows a command's options; man chancery describes all.\n"
	       "CHANCERY_URL, CHANCERY_CA_FILE, CHANCERY_CERT and CHANCERY_KEY say where the suite is and "
	       "who asks.\n");
	print_exit_codes();
}

void cli_help_noun(const char *noun)
{
	printf("Usage: chancery %s COMMAND [OPTIONS] [ARGUMENTS]\n\nCommands:\n", noun);
	for (size_t i = 0; i < cli_command_count; i++)
		if (strcmp(cli_commands[i].noun, noun) == 0)
			print_command(&cli_commands[i]);
	print_exit_codes();
}

static void print_option(void *context, const struct cli_option *option)
{
	CH_AUTO(ch_string)
	left = ch_format("--%s%s%s", option->name, option->value ? " " : "",
			 option->value ? option->value : "");

	(void)context;
	printf("  %-*s %s", COLUMN, left, option->help);
	if (option->choices)
		printf(" (%s)", option->choices);
	if (option->environment)
		printf(" [$%s]", option->environment);
	printf("\n");
}

void cli_help_command(const struct cli_command *command)
{
	printf("Usage: chancery %s%s%s [OPTIONS]%s%s\n\n%s.\n\nOptions:\n", command->noun,
	       command->verb[0] ? " " : "", command->verb, command->arguments[0] ? " " : "",
	       command->arguments, command->summary);
	cli_each_option(command, print_option, NULL);
	printf("  %-*s %s\n", COLUMN, "--help", "show this");
	print_exit_codes();
}
