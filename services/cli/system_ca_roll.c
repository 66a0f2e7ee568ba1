/* SPDX-License-Identifier: Apache-2.0 */
/*
 * system_ca_roll.c: `chancery system-ca renew|roll`: another certificate for an identity, and another system
 * CA in the place of the one that there is. docs/operations.md has the order of the steps.
 */
#include "cli.h"
#include "clock/clock.h"
#include "file_ca.h"
#include "system_ca.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_CAP 65536

/* --- renew ------------------------------------------------------------------------------------------------
 */

/* Nobody gets a name by this command that the CA, or the one before, did not give it. */
static bool is_ours(const char *directory, const char *name, X509 *certificate)
{
	CH_AUTO(X509) ca = NULL;
	struct ch_error err;

	return file_ca_load(directory, name, &ca, NULL, &err) &&
	       X509_verify(certificate, X509_get0_pubkey(ca)) == 1;
}

static char *common_name_of(X509 *certificate)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
	const ASN1_STRING *value = at < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));

	return value ? ch_strndup((const char *)ASN1_STRING_get0_data(value),
				  (size_t)ASN1_STRING_length(value))
		     : ch_strdup("");
}

bool cli_system_ca_renew(struct cli *cli, struct ch_error *err)
{
	struct file_ca_request request = { .name = SYSTEM_CA,
					   .extended_key_usage = "clientAuth,serverAuth",
					   .listed = true };
	CH_AUTO(ch_string) certificate_path = NULL;
	CH_AUTO(ch_string) key_path = NULL;
	CH_AUTO(ch_string) common_name = NULL;
	CH_AUTO(X509) held = NULL;
	const char *out;

	if (!cli_require(cli, "directory", &request.directory, err) || !cli_require(cli, "out", &out, err) ||
	    !cli_number(cli, "days", 825, 1, SYSTEM_CA_MAX_DAYS, &request.days, err))
		return false;
	certificate_path = ch_format("%s/certificate.pem", out);
	key_path = ch_format("%s/key.pem", out);
	if (!ch_certificate_read_pem_file(certificate_path, &held, err))
		return false;
	if (!is_ours(request.directory, SYSTEM_CA, held) && !is_ours(request.directory, SYSTEM_CA_OLD, held))
		return ch_fail(err, CH_DENIED, "'%s' was not issued by the system CA in '%s'",
			       certificate_path, request.directory);
	request.names = X509_get_ext(held, X509_get_ext_by_NID(held, NID_subject_alt_name, -1));
	if (!request.names)
		return ch_fail(err, CH_INVALID, "'%s' has no names", certificate_path);
	common_name = common_name_of(held);
	request.common_name = common_name;
	request.certificate_path = certificate_path;
	request.key_path = key_path;
	return file_ca_issue(&request, err);
}

/* --- roll -------------------------------------------------------------------------------------------------
 */

static char *path_of(const char *directory, const char *name, const char *end)
{
	return ch_format("%s/%s%s", directory, name, end);
}

static bool write_certificates(const char *path, X509 *first, X509 *second, struct ch_error *err)
{
	CH_AUTO(ch_buffer) text = CH_NONE;
	X509 *const all[] = { first, second };

	for (size_t i = 0; i < CH_COUNT(all); i++) {
		CH_AUTO(ch_bytes) der = CH_NONE;

		if (!all[i])
			continue;
		if (!ch_certificate_der(all[i], &der, err))
			return false;
		ch_pem_add(&text, "CERTIFICATE", ch_view_of(&der));
	}
	return file_ca_write(path, ch_buffer_view(&text), 0444, err);
}

/* A file that need not be there. */
static bool move(const char *directory, const char *end, struct ch_error *err)
{
	CH_AUTO(ch_string) from = path_of(directory, SYSTEM_CA, end);
	CH_AUTO(ch_string) to = path_of(directory, SYSTEM_CA_OLD, end);

	return rename(from, to) == 0 || errno == ENOENT ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "'%s'", from);
}

static bool begin_roll(const char *directory, int64_t days, struct ch_error *err)
{
	CH_AUTO(ch_string) old_certificate = path_of(directory, SYSTEM_CA_OLD, ".pem");
	CH_AUTO(ch_string) old_key = path_of(directory, SYSTEM_CA_OLD, ".key");
	CH_AUTO(ch_string) trust = path_of(directory, SYSTEM_CA, ".pem");
	CH_AUTO(ch_string) key_path = path_of(directory, SYSTEM_CA, ".key");
	CH_AUTO(X509) before = NULL;
	CH_AUTO(X509) fresh = NULL;
	CH_AUTO(EVP_PKEY) before_key = NULL;
	CH_AUTO(EVP_PKEY) fresh_key = NULL;

	if (access(old_certificate, F_OK) == 0)
		return ch_fail(err, CH_CONFLICT,
			       "'%s' is there: a roll-over is under way, end it with --finish",
			       old_certificate);
	if (!file_ca_load(directory, SYSTEM_CA, &before, &before_key, err) ||
	    !file_ca_make("Chancery System CA", days, &fresh, &fresh_key, err) ||
	    !file_ca_write_key(old_key, before_key, err) ||
	    !write_certificates(old_certificate, before, NULL, err) || !move(directory, ".issued", err) ||
	    !move(directory, ".crl", err) || !file_ca_write_key(key_path, fresh_key, err) ||
	    !write_certificates(trust, fresh, before, err))
		return false;
	printf("'%s' holds the new system CA and the one before.\n"
	       "1. Bring it to every host; wait until chancery_identity_trusted_cas is 2 on every daemon.\n"
	       "2. chancery system-ca renew for every identity.\n"
	       "3. chancery system-ca roll --finish, and bring the file to every host again.\n",
	       trust);
	return true;
}

struct unrenewed {
	const char *directory;
	char now[CH_TIME_TEXT_SIZE];
	const char *uri; /* that is looked for */
	bool found;
	char missing[128];
	struct ch_error *err;
	bool failed;
};

static void is_it(void *context, const struct file_ca_line *line)
{
	struct unrenewed *unrenewed = context;

	unrenewed->found = unrenewed->found || strcmp(line->uri, unrenewed->uri) == 0;
}

/* RFC 3339 in UTC: texts compare as times do. */
static void look_for(void *context, const struct file_ca_line *line)
{
	struct unrenewed *unrenewed = context;

	if (strcmp(line->not_after, unrenewed->now) < 0 || unrenewed->missing[0] || unrenewed->failed)
		return;
	unrenewed->uri = line->uri;
	unrenewed->found = false;
	unrenewed->failed =
		!file_ca_each_issued(unrenewed->directory, SYSTEM_CA, is_it, unrenewed, unrenewed->err);
	if (!unrenewed->found)
		snprintf(unrenewed->missing, sizeof(unrenewed->missing), "%s", line->uri);
}

static bool all_renewed(const char *directory, struct ch_error *err)
{
	struct unrenewed unrenewed = { .directory = directory, .err = err };

	ch_time_text(ch_clock_now_us(ch_clock_system()), unrenewed.now);
	if (!file_ca_each_issued(directory, SYSTEM_CA_OLD, look_for, &unrenewed, err) || unrenewed.failed)
		return false;
	return !unrenewed.missing[0] || ch_fail(err, CH_CONFLICT,
						"%s has no identity of the new system CA yet: renew it, or "
						"give --force where it is gone",
						unrenewed.missing);
}

/* Events that the old CA's identities signed verify by it for ever: it is kept, without its key. */
static bool retire(const char *directory, X509 *old, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/" SYSTEM_CA_RETIRED, directory);
	CH_AUTO(ch_bytes) before = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_buffer) text = CH_NONE;

	if (access(path, F_OK) == 0 && !ch_read_file(path, FILE_CAP, &before, err))
		return false;
	if (!ch_certificate_der(old, &der, err))
		return false;
	ch_buffer_add_view(&text, ch_view_of(&before));
	ch_pem_add(&text, "CERTIFICATE", ch_view_of(&der));
	return file_ca_write(path, ch_buffer_view(&text), 0444, err);
}

static bool finish_roll(const char *directory, bool force, struct ch_error *err)
{
	static const char *const ends[] = { ".key", ".issued", ".crl", ".pem" };
	CH_AUTO(ch_string) trust = path_of(directory, SYSTEM_CA, ".pem");
	CH_AUTO(X509) now = NULL;
	CH_AUTO(X509) old = NULL;

	if (!file_ca_load(directory, SYSTEM_CA_OLD, &old, NULL, err))
		return ch_fail_in(err, "no roll-over is under way");
	if (!file_ca_load(directory, SYSTEM_CA, &now, NULL, err) ||
	    (!force && !all_renewed(directory, err)) || !retire(directory, old, err) ||
	    !write_certificates(trust, now, NULL, err))
		return false;
	for (size_t i = 0; i < CH_COUNT(ends); i++) {
		CH_AUTO(ch_string) path = path_of(directory, SYSTEM_CA_OLD, ends[i]);

		if (unlink(path) != 0 && errno != ENOENT)
			return ch_fail_errno(err, CH_INTERNAL, errno, "'%s'", path);
	}
	printf("'%s' holds the new system CA alone: bring it to every host. The one before is in '%s/%s', "
	       "for "
	       "chancery audit verify.\n",
	       trust, directory, SYSTEM_CA_RETIRED);
	return true;
}

bool cli_system_ca_roll(struct cli *cli, struct ch_error *err)
{
	const char *directory;
	int64_t days;

	if (!cli_require(cli, "directory", &directory, err) ||
	    !cli_number(cli, "days", 3650, 1, SYSTEM_CA_MAX_DAYS, &days, err))
		return false;
	return cli_flag(cli, "finish") ? finish_roll(directory, cli_flag(cli, "force"), err)
				       : begin_roll(directory, days, err);
}
