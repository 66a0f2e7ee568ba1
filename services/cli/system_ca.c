/* SPDX-License-Identifier: Apache-2.0 */
/* system_ca.c: `chancery system-ca init|issue`: the CA of the daemons' identities. */
#include "cli.h"
#include "file_ca.h"
#include "system_ca.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

bool cli_system_ca_init(struct cli *cli, struct ch_error *err)
{
	const char *directory;
	int64_t days;

	return cli_require(cli, "directory", &directory, err) &&
	       cli_number(cli, "days", 3650, 1, SYSTEM_CA_MAX_DAYS, &days, err) &&
	       file_ca_init(directory, SYSTEM_CA, "Chancery System CA", days, err);
}

bool system_ca_make_directory(const char *path, struct ch_error *err)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return ch_fail_errno(err, CH_INTERNAL, errno, "directory '%s'", path);
	return true;
}

bool cli_system_ca_issue(struct cli *cli, struct ch_error *err)
{
	struct file_ca_request request = { .name = SYSTEM_CA,
					   .extended_key_usage = "clientAuth,serverAuth",
					   .listed = true };
	const char *service, *instance, *out;
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) names = NULL;
	CH_AUTO(ch_string) certificate_path = NULL;
	CH_AUTO(ch_string) key_path = NULL;

	if (!cli_require(cli, "directory", &request.directory, err) ||
	    !cli_require(cli, "service", &service, err) || !cli_require(cli, "instance", &instance, err) ||
	    !cli_require(cli, "out", &out, err) ||
	    !cli_number(cli, "days", 825, 1, SYSTEM_CA_MAX_DAYS, &request.days, err) ||
	    !file_ca_check_name("instance", instance, err) || !system_ca_make_directory(out, err))
		return false;
	ch_buffer_printf(&buffer, "URI:chancery:service/%s/%s,DNS:%s.chancery.internal", service, instance,
			 service);
	if (!system_ca_add_names(cli, &buffer, err))
		return false;
	names = ch_buffer_steal_text(&buffer);
	certificate_path = ch_format("%s/certificate.pem", out);
	key_path = ch_format("%s/key.pem", out);
	request.common_name = instance;
	request.subject_alt_names = names;
	request.certificate_path = certificate_path;
	request.key_path = key_path;
	return file_ca_issue(&request, err);
}
