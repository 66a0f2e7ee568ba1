/* SPDX-License-Identifier: Apache-2.0 */
/* arguments.c: the command line that all daemons share. Called by daemon.c. */
#include "daemon/internal.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum option_id { OPTION_CONFIG = 1, OPTION_CHECK, OPTION_HELP_CONFIG, OPTION_VERSION, OPTION_HELP };

static const struct option options[] = {
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "check-config", no_argument, NULL, OPTION_CHECK },
	{ "help-config", no_argument, NULL, OPTION_HELP_CONFIG },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ NULL, 0, NULL, 0 },
};

bool ch_daemon_arguments_read(int argc, char **argv, struct ch_daemon_arguments *arguments,
			      struct ch_error *err)
{
	int option;

	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPTION_CONFIG:
			arguments->config = optarg;
			break;
		case OPTION_CHECK:
			arguments->check_config = true;
			break;
		case OPTION_HELP_CONFIG:
			arguments->help_config = true;
			break;
		case OPTION_VERSION:
			arguments->version = true;
			break;
		case OPTION_HELP:
			arguments->help = true;
			break;
		default:
			return ch_fail(err, CH_INVALID,
				       "'%s' is not an option, or lacks its value (see --help)",
				       argv[optind - 1]);
		}
	}
	if (optind < argc)
		return ch_fail(err, CH_INVALID, "'%s' is not expected here (see --help)", argv[optind]);
	if (!arguments->config && !arguments->help && !arguments->version && !arguments->help_config)
		return ch_fail(err, CH_INVALID, "--config FILE is missing (see --help)");
	return true;
}

bool ch_daemon_arguments_answer(const struct ch_daemon_definition *definition,
				const struct ch_daemon_arguments *arguments)
{
	if (arguments->help) {
		printf("chancery-%s: %s\n\n"
		       "Usage: chancery-%s --config FILE [--check-config]\n\n"
		       "  --config FILE    read this configuration and run\n"
		       "  --check-config   only read it; exit 0 where it is right\n"
		       "  --help-config    print the reference of all configuration keys\n"
		       "  --version        print the version\n"
		       "  --help           print this\n",
		       definition->service, definition->summary, definition->service);
		return true;
	}
	if (arguments->version) {
		printf("chancery-%s %s\n", definition->service, CHANCERY_VERSION);
		return true;
	}
	if (arguments->help_config) {
		CH_AUTO(ch_string) text = ch_conf_describe(definition->schema);

		printf("| key | type | default | range | meaning |\n|---|---|---|---|---|\n%s", text);
		return true;
	}
	return false;
}
