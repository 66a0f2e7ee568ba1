/* SPDX-License-Identifier: Apache-2.0 */
/* main.c: finds the command, parses its options, runs it, and turns an error into a line and an exit code. */
#include "cli.h"

#include "text/text.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *word, const char *a, const char *b)
{
	return word && (strcmp(word, a) == 0 || strcmp(word, b) == 0);
}

/* *used receives how many words, the noun's included, name the command. */
static const struct cli_command *find_command(int count, const char *const *words, int *used)
{
	for (size_t i = 0; i < cli_command_count; i++) {
		const struct cli_command *command = &cli_commands[i];

		if (strcmp(command->noun, words[0]) != 0)
			continue;
		*used = 1 + (int)cli_verb_words(command, (size_t)count - 1, words + 1);
		if (command->verb[0] == '\0' || *used > 1)
			return command;
	}
	return NULL;
}

static int exit_code_of(const struct ch_error *err)
{
	switch (err->code) {
	case CH_NOT_FOUND:
		return CLI_EXIT_NOT_FOUND;
	case CH_DENIED:
	case CH_UNAUTHENTICATED:
		return CLI_EXIT_DENIED;
	case CH_EXHAUSTED:
	case CH_EXPIRED:
	case CH_UNAVAILABLE:
		return CLI_EXIT_UNAVAILABLE;
	default:
		return CLI_EXIT_FAILED;
	}
}

static int unknown_command(const char *noun, const char *verb)
{
	if (!cli_noun_known(noun))
		fprintf(stderr, "chancery: there is no command '%s' (chancery --help lists them)\n", noun);
	else if (!verb)
		cli_help_noun(noun);
	else
		fprintf(stderr, "chancery: there is no command '%s %s' (chancery %s --help lists them)\n",
			noun, verb, noun);
	return CLI_EXIT_USAGE;
}

static bool asks_for_help(int count, char **words)
{
	for (int i = 0; i < count; i++) {
		if (strcmp(words[i], "--") == 0)
			return false;
		if (is(words[i], "--help", "-h"))
			return true;
	}
	return false;
}

static int run(const struct cli_command *command, int count, char **words)
{
	struct cli cli = { .command = command };
	struct ch_error err = CH_NONE;
	int exit_code;

	if (!cli_parse(&cli, count, words, &err)) {
		CH_AUTO(ch_string) message = ch_text_escape(ch_view_text(err.message));

		fprintf(stderr, "chancery: %s (chancery %s%s%s --help)\n", message, command->noun,
			command->verb[0] ? " " : "", command->verb);
		exit_code = CLI_EXIT_USAGE;
	} else if (!command->run(&cli, &err)) {
		CH_AUTO(ch_string) message = ch_text_escape_lines(ch_view_text(err.message));

		fflush(stdout);
		fprintf(stderr, "chancery: %s\n", message);
		exit_code = cli.exit_code == CLI_EXIT_USAGE ? CLI_EXIT_USAGE : exit_code_of(&err);
	} else {
		exit_code = cli.exit_code;
	}
	cli_free(&cli);
	if (fflush(stdout) != 0 && exit_code == CLI_EXIT_DONE)
		exit_code = CLI_EXIT_FAILED;
	return exit_code;
}

int main(int argc, char **argv)
{
	const char *noun = argc > 1 ? argv[1] : NULL;
	const char *verb = argc > 2 ? argv[2] : NULL;
	const struct cli_command *command;
	int used;

	if (!noun) {
		cli_help();
		return CLI_EXIT_USAGE;
	}
	if (is(noun, "--help", "-h") || is(noun, "help", "help")) {
		cli_help();
		return CLI_EXIT_DONE;
	}
	if (is(noun, "--version", "-V")) {
		printf("chancery %s\n", CHANCERY_VERSION);
		return CLI_EXIT_DONE;
	}
	command = find_command(argc - 1, (const char *const *)argv + 1, &used);
	if (!command && cli_noun_known(noun) && verb && asks_for_help(argc - 2, argv + 2)) {
		cli_help_noun(noun);
		return CLI_EXIT_DONE;
	}
	if (!command)
		return unknown_command(noun, verb);
	used++; /* the program's name */
	if (asks_for_help(argc - used, argv + used)) {
		cli_help_command(command);
		return CLI_EXIT_DONE;
	}
	return run(command, argc - used, argv + used);
}
