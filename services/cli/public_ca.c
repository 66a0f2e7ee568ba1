/* SPDX-License-Identifier: Apache-2.0 */
/*
 * public_ca.c: `chancery public-ca`: the CA of the gateway's HTTPS certificate, which clients trust. It is
 * not the system CA: what a client trusts says nothing about daemons, and the other way round.
 */
#include "cli.h"
#include "file_ca.h"
#include "system_ca.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define NAME "public-ca"

bool cli_public_ca_init(struct cli *cli, struct ch_error *err)
{
	const char *directory;
	int64_t days;

	return cli_require(cli, "directory", &directory, err) &&
	       cli_number(cli, "days", 3650, 1, SYSTEM_CA_MAX_DAYS, &days, err) &&
	       file_ca_init(directory, NAME, "Chancery public TLS CA", days, err);
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

bool system_ca_add_names(struct cli *cli, struct ch_buffer *names, struct ch_error *err)
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
	return true;
}

bool cli_public_ca_issue(struct cli *cli, struct ch_error *err)
{
	struct file_ca_request request = { .name = NAME, .extended_key_usage = "serverAuth" };
	CH_AUTO(ch_buffer) buffer = CH_NONE;
	CH_AUTO(ch_string) names = NULL;
	CH_AUTO(ch_string) certificate_path = NULL;
	CH_AUTO(ch_string) key_path = NULL;
	const char *out;

	if (!cli_require(cli, "directory", &request.directory, err) || !cli_require(cli, "out", &out, err) ||
	    !cli_number(cli, "days", 825, 1, SYSTEM_CA_MAX_DAYS, &request.days, err) ||
	    !system_ca_add_names(cli, &buffer, err) || !system_ca_make_directory(out, err))
		return false;
	if (!buffer.used)
		return ch_fail(err, CH_INVALID, "at least one --dns or --ip is needed");
	names = ch_buffer_steal_text(&buffer);
	certificate_path = ch_format("%s/https-certificate.pem", out);
	key_path = ch_format("%s/https-key.pem", out);
	request.common_name = "Chancery gateway";
	request.subject_alt_names = names;
	request.certificate_path = certificate_path;
	request.key_path = key_path;
	return file_ca_issue(&request, err);
}
