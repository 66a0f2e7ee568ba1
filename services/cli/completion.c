/* SPDX-License-Identifier: Apache-2.0 */
/* completion.c: `chancery completion bash`: a completion script made from the command table, so that it
 * cannot fall behind it. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static void print_name(void *context, const struct cli_option *option)
{
	(void)context;
	printf("--%s ", option->name);
}

static void print_value_case(void *context, const struct cli_option *option)
{
	const struct cli_command *command = context;

	if (!option->value)
		return;
	printf("\t'%s %s --%s') ", command->noun, command->verb, option->name);
	if (option->choices) {
		printf("words='");
		for (const char *at = option->choices; *at; at++)
			putchar(*at == '|' ? ' ' : *at);
		printf("' ;;\n");
	} else {
		printf("kind=%s ;;\n", option->values == CLI_VALUES_FILE        ? "file"
				       : option->values == CLI_VALUES_DIRECTORY ? "directory"
										: "none");
	}
}

static bool first_of_noun(size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(cli_commands[i].noun, cli_commands[index].noun) == 0)
			return false;
	return true;
}

static bool same_first_word(size_t a, size_t b)
{
	size_t size = strcspn(cli_commands[a].verb, " ");

	return strcmp(cli_commands[a].noun, cli_commands[b].noun) == 0 &&
	       strcspn(cli_commands[b].verb, " ") == size &&
	       strncmp(cli_commands[a].verb, cli_commands[b].verb, size) == 0;
}

static bool first_with_word(size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (same_first_word(i, index))
			return false;
	return true;
}

static void print_first_word(size_t index)
{
	if (first_with_word(index))
		printf("%.*s ", (int)strcspn(cli_commands[index].verb, " "), cli_commands[index].verb);
}

static void print_nouns(void)
{
	printf("\t\twords='");
	for (size_t i = 0; i < cli_command_count; i++)
		if (first_of_noun(i))
			printf("%s ", cli_commands[i].noun);
	printf("--help --version'\n");
}

static void print_verbs(void)
{
	printf("\tcase $noun in\n");
	for (size_t i = 0; i < cli_command_count; i++) {
		if (!first_of_noun(i) || cli_commands[i].verb[0] == '\0')
			continue;
		printf("\t%s) words='", cli_commands[i].noun);
		for (size_t k = i; k < cli_command_count; k++)
			if (strcmp(cli_commands[k].noun, cli_commands[i].noun) == 0)
				print_first_word(k);
		printf("--help' ;;\n");
	}
	printf("\tesac\n");
}

/* The second words of verbs that have two: 'vault key') words='list show …' */
static void print_second_words(void)
{
	printf("\tcase \"$noun $verb\" in\n");
	for (size_t i = 0; i < cli_command_count; i++) {
		size_t size = strcspn(cli_commands[i].verb, " ");

		if (cli_commands[i].verb[size] == '\0' || !first_with_word(i))
			continue;
		printf("\t'%s %.*s') group=yes words='", cli_commands[i].noun, (int)size,
		       cli_commands[i].verb);
		for (size_t k = i; k < cli_command_count; k++)
			if (same_first_word(i, k))
				printf("%s ", cli_commands[k].verb + size + 1);
		printf("' ;;\n");
	}
	printf("\tesac\n");
}

static void print_options(void)
{
	printf("\tcase \"$noun $verb\" in\n");
	for (size_t i = 0; i < cli_command_count; i++) {
		printf("\t'%s %s') options='", cli_commands[i].noun, cli_commands[i].verb);
		cli_each_option(&cli_commands[i], print_name, NULL);
		printf("--help'; arguments=%s ;;\n",
		       cli_commands[i].argument_values == CLI_VALUES_FILE ? "file" : "none");
	}
	printf("\tesac\n\tcase \"$noun $verb $previous\" in\n");
	for (size_t i = 0; i < cli_command_count; i++)
		cli_each_option(&cli_commands[i], print_value_case, (void *)(uintptr_t)&cli_commands[i]);
	printf("\tesac\n");
}

static void print_single_nouns(void)
{
	for (size_t i = 0; i < cli_command_count; i++)
		if (cli_commands[i].verb[0] == '\0')
			printf("%s%s", i ? "|" : "", cli_commands[i].noun);
}

bool cli_completion_bash(struct cli *cli, struct ch_error *err)
{
	(void)cli;
	(void)err;
	printf("# bash completion of chancery; made by `chancery completion bash`.\n"
	       "_chancery() {\n"
	       "\tlocal current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	       "\tlocal noun=${COMP_WORDS[1]} verb=${COMP_WORDS[2]} words='' options='' arguments=none "
	       "kind='' group=''\n"
	       "\tCOMPREPLY=()\n"
	       "\tif ((COMP_CWORD == 1)); then\n");
	print_nouns();
	printf("\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n\t\treturn\n\tfi\n");
	printf("\tcase $noun in ''");
	print_single_nouns();
	printf(") verb='' ;; esac\n");
	printf("\tif ((COMP_CWORD == 2)) && [[ -n $verb || -z $current ]]; then\n");
	print_verbs();
	printf("\t\tif [[ -n $words ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$current\")); return; "
	       "fi\n\tfi\n");
	print_second_words();
	printf("\tif [[ -n $group ]] && ((COMP_CWORD == 3)); then COMPREPLY=($(compgen -W \"$words\" -- "
	       "\"$current\")); return; fi\n"
	       "\tif [[ -n $group ]]; then verb=\"$verb ${COMP_WORDS[3]}\"; fi\n"
	       "\twords=''\n");
	print_options();
	printf("\tif [[ -z $kind && -z $words ]]; then\n"
	       "\t\tkind=$arguments\n"
	       "\t\tif [[ $current == -* || $arguments == none ]]; then words=$options; kind=''; fi\n"
	       "\tfi\n"
	       "\tcase $kind in\n"
	       "\tfile) COMPREPLY=($(compgen -f -- \"$current\")) ;;\n"
	       "\tdirectory) COMPREPLY=($(compgen -d -- \"$current\")) ;;\n"
	       "\t*) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;;\n"
	       "\tesac\n"
	       "}\n"
	       "complete -o filenames -F _chancery chancery\n");
	return true;
}
