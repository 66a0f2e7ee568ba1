/* SPDX-License-Identifier: Apache-2.0 */
/* operator.c: `chancery operator`: client certificates of people and programs (libcommon/x509/operator.h
 * reads them). */
#include "cli.h"
#include "file_ca.h"

#define MAX_DAYS 36500

bool cli_operator_init(struct cli *cli, struct ch_error *err)
{
	const char *directory;
	int64_t days;

	return cli_require(cli, "directory", &directory, err) &&
	       cli_number(cli, "days", 3650, 1, MAX_DAYS, &days, err) &&
	       file_ca_init(directory, OPERATORS_CA, "Chancery Operators CA", days, err);
}

static bool add_roles(struct cli *cli, struct ch_buffer *roles, struct ch_error *err)
{
	const char *role;

	for (size_t i = 0; (role = cli_value_at(cli, "role", i)); i++)
		ch_buffer_printf(roles, "%s%s", i ? "+" : "", role);
	if (!roles->used)
		return ch_fail(err, CH_INVALID, "--role is missing");
	return true;
}

bool cli_operator_issue(struct cli *cli, struct ch_error *err)
{
	struct file_ca_request request = { .name = OPERATORS_CA,
					   .extended_key_usage = "clientAuth",
					   .listed = true };
	const char *tenant = cli_value_or(cli, "tenant", "default");
	const char *name, *out;
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) roles = NULL;
	CH_AUTO(ch_string) names = NULL;
	CH_AUTO(ch_string) certificate_path = NULL;
	CH_AUTO(ch_string) key_path = NULL;

	if (!cli_require(cli, "directory", &request.directory, err) ||
	    !cli_require(cli, "name", &name, err) || !cli_require(cli, "out", &out, err) ||
	    !cli_number(cli, "days", 365, 1, MAX_DAYS, &request.days, err) || !add_roles(cli, &buffer, err) ||
	    !file_ca_check_name("name", name, err) || !file_ca_check_name("tenant", tenant, err))
		return false;
	roles = ch_buffer_steal_text(&buffer);
	names = ch_format("URI:chancery:operator/%s/%s/%s", tenant, roles, name);
	certificate_path = ch_format("%s.pem", out);
	key_path = ch_format("%s.key", out);
	request.common_name = name;
	request.subject_alt_names = names;
	request.certificate_path = certificate_path;
	request.key_path = key_path;
	return file_ca_issue(&request, err);
}
