/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c: the command table. A new command is a row here and a function in the file of its noun; help,
 * completion and parsing follow from the row. */
#include "cli.h"

static const struct cli_option connect_options[] = {
	{ "url", "URL", "the suite's HTTPS base", "CHANCERY_URL", NULL, CLI_VALUES_NONE },
	{ "ca-file", "FILE", "PEM that the suite's HTTPS certificate is verified against", "CHANCERY_CA_FILE",
	  NULL, CLI_VALUES_FILE },
	{ "cert", "FILE", "PEM client certificate of the operator who asks", "CHANCERY_CERT", NULL,
	  CLI_VALUES_FILE },
	{ "key", "FILE", "PEM private key of that certificate", "CHANCERY_KEY", NULL, CLI_VALUES_FILE },
};
const struct cli_options cli_connect_options = CLI_OPTIONS(connect_options);

static const struct cli_option json_options[] = {
	{ "json", NULL, "print JSON instead of a table", NULL, NULL, CLI_VALUES_NONE },
};
const struct cli_options cli_json_options = CLI_OPTIONS(json_options);

#define OPTION_DIRECTORY                                                                  \
	{                                                                                 \
		"directory", "DIR", "where the CA's certificate and key are", NULL, NULL, \
			CLI_VALUES_DIRECTORY                                              \
	}
#define OPTION_DAYS(text)                                                   \
	{                                                                   \
		"days", "N", "validity, " text, NULL, NULL, CLI_VALUES_NONE \
	}
#define OPTION_OUT(text)                                              \
	{                                                             \
		"out", "PATH", text, NULL, NULL, CLI_VALUES_DIRECTORY \
	}

static const struct cli_option file_ca_init_options[] = { OPTION_DIRECTORY, OPTION_DAYS("default 3650") };
static const struct cli_option system_ca_issue_options[] = {
	OPTION_DIRECTORY,
	{ "service", "NAME", "the daemon's service", NULL, "gateway|issuer|ocsp|tsa|crl|audit|vault|operator",
	  CLI_VALUES_NONE },
	{ "instance", "NAME", "the daemon's instance, such as ocsp-1", NULL, NULL, CLI_VALUES_NONE },
	OPTION_DAYS("default 825"),
	OPTION_OUT("directory for certificate.pem and key.pem"),
};
static const struct cli_option system_ca_https_options[] = {
	OPTION_DIRECTORY,
	{ "dns", "NAME", "a DNS name of the gateway; may be repeated", NULL, NULL, CLI_VALUES_NONE },
	{ "ip", "ADDRESS", "an address of the gateway; may be repeated", NULL, NULL, CLI_VALUES_NONE },
	OPTION_DAYS("default 825"),
	OPTION_OUT("directory for https-certificate.pem and https-key.pem"),
};
static const struct cli_option operator_issue_options[] = {
	OPTION_DIRECTORY,
	{ "name", "NAME", "the operator's name", NULL, NULL, CLI_VALUES_NONE },
	{ "role", "ROLE", "what the operator may do; may be repeated", NULL, "requester|officer",
	  CLI_VALUES_NONE },
	{ "tenant", "TENANT", "the operator's tenant, default 'default'", NULL, NULL, CLI_VALUES_NONE },
	OPTION_DAYS("default 365"),
	OPTION_OUT("prefix of the files PATH.pem and PATH.key"),
};

const struct cli_command cli_commands[] = {
	{ "system-ca", "init", "", "Make the CA of the daemons' identities",
	  CLI_OPTIONS(file_ca_init_options), false, false, 0, 0, CLI_VALUES_NONE, cli_system_ca_init },
	{ "system-ca", "issue", "", "Issue a daemon instance's identity",
	  CLI_OPTIONS(system_ca_issue_options), false, false, 0, 0, CLI_VALUES_NONE, cli_system_ca_issue },
	{ "system-ca", "issue-https", "", "Issue the gateway's HTTPS certificate",
	  CLI_OPTIONS(system_ca_https_options), false, false, 0, 0, CLI_VALUES_NONE,
	  cli_system_ca_issue_https },
	{ "operator", "init", "", "Make the CA of operators' client certificates",
	  CLI_OPTIONS(file_ca_init_options), false, false, 0, 0, CLI_VALUES_NONE, cli_operator_init },
	{ "operator", "issue", "", "Issue an operator's client certificate",
	  CLI_OPTIONS(operator_issue_options), false, false, 0, 0, CLI_VALUES_NONE, cli_operator_issue },
	{ "completion",
	  "bash",
	  "",
	  "Print the completion script for bash",
	  { NULL, 0 },
	  false,
	  false,
	  0,
	  0,
	  CLI_VALUES_NONE,
	  cli_completion_bash },
};
const size_t cli_command_count = CH_COUNT(cli_commands);
