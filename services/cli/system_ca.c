/* SPDX-License-Identifier: Apache-2.0 */
/* system_ca.c: `chancery system-ca`: the CA of the daemons' identities and of the gateway's HTTPS
 * certificate. */
#include "cli.h"
#include "file_ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DAYS 36500

bool cli_system_ca_init(struct cli *cli, struct ch_error *err)
{
	const char *directory;
	int64_t days;

	return cli_require(cli, "directory", &directory, err) &&
	       cli_number(cli, "days", 3650, 1, MAX_DAYS, &days, err) &&
	       file_ca_init(directory, "system-ca", "Chancery System CA", days, err);
}

static bool make_directory(const char *path, struct ch_error *err)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return ch_fail_errno(err, CH_INTERNAL, errno, "directory '%s'", path);
	return true;
}

bool cli_system_ca_issue(struct cli *cli, struct ch_error *err)
{
	struct file_ca_request request = { .name = "system-ca",
					   .extended_key_usage = "clientAuth,serverAuth" };
	const char *service, *instance, *out;
	CH_AUTO(ch_string) names = NULL;
	CH_AUTO(ch_string) certificate_path = NULL;
	CH_AUTO(ch_string) key_path = NULL;

	if (!cli_require(cli, "directory", &request.directory, err) ||
	    !cli_require(cli, "service", &service, err) || !cli_require(cli, "instance", &instance, err) ||
	    !cli_require(cli, "out", &out, err) ||
	    !cli_number(cli, "days", 825, 1, MAX_DAYS, &request.days, err) ||
	    !file_ca_check_name("instance", instance, err) || !make_directory(out, err))
		return false;
	names = ch_format("URI:chancery:service/%s/%s,DNS:%s.chancery.internal", service, instance, service);
	certificate_path = ch_format("%s/certificate.pem", out);
	key_path = ch_format("%s/key.pem", out);
	request.common_name = instance;
	request.subject_alt_names = names;
	request.certificate_path = certificate_path;
	request.key_path = key_path;
	return file_ca_issue(&request, err);
}

/* Letters, digits, dots, hyphens and a leading "*.": nothing that the configuration syntax would read as its
 * own. */
static bool check_dns(const char *name, struct ch_error *err)
{
	const char *rest = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
	size_t size = strlen(rest);

	if (size == 0 || size > 253 ||
	    strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != size)
		return ch_fail(err, CH_INVALID, "--dns '%s' is not a DNS name", name);
	return true;
}

static bool add_https_names(struct cli *cli, struct ch_buffer *names, struct ch_error *err)
{
	uint8_t address[16];
	const char *value;

	for (size_t i = 0; (value = cli_value_at(cli, "dns", i)); i++) {
		if (!check_dns(value, err))
			return false;
		ch_buffer_printf(names, "%sDNS:%s", names->used ? "," : "", value);
	}
	for (size_t i = 0; (value = cli_value_at(cli, "ip", i)); i++) {
		if (inet_pton(AF_INET, value, address) != 1 && inet_pton(AF_INET6, value, address) != 1)
			return ch_fail(err, CH_INVALID, "--ip '%s' is not an address", value);
		ch_buffer_printf(names, "%sIP:%s", names->used ? "," : "", value);
	}
	if (!names->used)
		return ch_fail(err, CH_INVALID, "at least one --dns or --ip is needed");
	return true;
}

bool cli_system_ca_issue_https(struct cli *cli, struct ch_error *err)
{
	struct file_ca_request request = { .name = "system-ca", .extended_key_usage = "serverAuth" };
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) names = NULL;
	CH_AUTO(ch_string) certificate_path = NULL;
	CH_AUTO(ch_string) key_path = NULL;
	const char *out;

	if (!cli_require(cli, "directory", &request.directory, err) || !cli_require(cli, "out", &out, err) ||
	    !cli_number(cli, "days", 825, 1, MAX_DAYS, &request.days, err) ||
	    !add_https_names(cli, &buffer, err) || !make_directory(out, err))
		return false;
	names = ch_buffer_steal_text(&buffer);
	certificate_path = ch_format("%s/https-certificate.pem", out);
	key_path = ch_format("%s/https-key.pem", out);
	request.common_name = "Chancery gateway";
	request.subject_alt_names = names;
	request.certificate_path = certificate_path;
	request.key_path = key_path;
	return file_ca_issue(&request, err);
}
