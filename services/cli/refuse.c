/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refuse.c: `chancery system-ca revoke|publish` and `operator revoke`: identities of daemons and certificates
 * of operators that nobody is to believe any more. Their CA signs a CRL (RFC 5280 §5) with a rising number;
 * the vaults take it, and every daemon from them.
 */
#include "cli.h"
#include "file_ca.h"
#include "refused_list.h"
#include "system_ca.h"
#include "vault_connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whose certificates a command refuses. */
struct refuser {
	const char *const *cas; /* names of files in the directory; the first must be there */
	size_t ca_count;
	const char *name_option; /* what names a holder: the end of the URI in its certificate */
	const char *list_name;
	const char *honoured; /* when the vaults have it */
};
static const char *const system_cas[] = { SYSTEM_CA, SYSTEM_CA_OLD };
static const struct refuser of_daemons = { system_cas, CH_COUNT(system_cas), "instance",
					   "list of refused identities",
					   "every daemon honours it within 10 s" };
static const char *const operators_cas[] = { OPERATORS_CA };
static const struct refuser of_operators = { operators_cas, CH_COUNT(operators_cas), "name",
					     "list of refused operators",
					     "every gateway and vault honours it within 10 s" };
static const char *const all_lists[] = { SYSTEM_CA, SYSTEM_CA_OLD, OPERATORS_CA };

/* --- with the vaults --------------------------------------------------------------------------------------
 */

static bool call_vault(struct vault_connection *connection, Chancery__PayloadType type,
		       const ProtobufCMessage *request, ProtobufCMessage **reply, struct ch_error *err)
{
	const struct ch_bus_call call = {
		.request_type = type,
		.request = request,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_REFUSED_IDENTITIES_REPLY,
		.reply_descriptor = &chancery__refused_identities_reply__descriptor,
	};

	return vault_connection_call(connection, &call, reply, err);
}

/* The list that the vaults hold may be newer than the file: it was lost, or is a copy on another machine. */
static bool take_held(struct vault_connection *connection, struct refused_list *list, struct ch_error *err)
{
	Chancery__GetRefusedIdentitiesRequest request = CHANCERY__GET_REFUSED_IDENTITIES_REQUEST__INIT;
	const Chancery__RefusedIdentitiesReply *held;
	CH_AUTO(ch_proto) reply = NULL;

	request.of_other_cas = true;
	if (!call_vault(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_REFUSED_IDENTITIES, &request.base,
			&reply, err))
		return false;
	held = (const Chancery__RefusedIdentitiesReply *)reply;
	for (size_t i = 0; i < held->n_crls; i++)
		refused_list_take_newer(list, ch_view(held->crls[i].data, held->crls[i].len));
	return true;
}

static bool bring(struct vault_connection *connection, struct ch_view crl, struct ch_error *err)
{
	Chancery__PutRefusedIdentitiesRequest request = CHANCERY__PUT_REFUSED_IDENTITIES_REQUEST__INIT;
	ProtobufCBinaryData member = { crl.size, (uint8_t *)(uintptr_t)crl.data };
	CH_AUTO(ch_proto) reply = NULL;

	request.crls = &member;
	request.n_crls = 1;
	return call_vault(connection, CHANCERY__PAYLOAD_TYPE__PAYLOAD_PUT_REFUSED_IDENTITIES, &request.base,
			  &reply, err);
}

/* --- which ------------------------------------------------------------------------------------------------
 */

struct wanted {
	const char *name;   /* "ocsp-2" or "ocsp/ocsp-2"; "alice" or "default/officer/alice" */
	const char *serial; /* hex */
	struct refused_list *list;
	const char *reason;
	size_t added, known;
	struct ch_error *err;
	bool failed;
};

static bool add(struct wanted *wanted, const char *serial, const char *who)
{
	bool is_new = false;

	if (wanted->failed || !refused_list_add(wanted->list, serial, wanted->reason, &is_new, wanted->err)) {
		wanted->failed = true;
		return false;
	}
	wanted->added += is_new;
	wanted->known += !is_new;
	printf("%s  serial %s: %s\n", who, serial, is_new ? "refused" : "is refused already");
	return true;
}

/* What follows "chancery:service/" or "chancery:operator/". */
static const char *who_of(const char *uri)
{
	static const char head[] = "chancery:";
	const char *slash = strncmp(uri, head, sizeof(head) - 1) == 0 ? strchr(uri, '/') : NULL;

	return slash ? slash + 1 : uri;
}

static bool ends_with_name(const char *who, const char *name)
{
	size_t size = strlen(who), name_size = strlen(name);

	return name_size && size >= name_size && strcmp(who + size - name_size, name) == 0 &&
	       (size == name_size || who[size - name_size - 1] == '/');
}

static void add_where_wanted(void *context, const struct file_ca_line *line)
{
	struct wanted *wanted = context;
	const char *who = who_of(line->uri);

	if ((wanted->name && ends_with_name(who, wanted->name)) ||
	    (wanted->serial && strcasecmp(line->serial, wanted->serial) == 0))
		(void)add(wanted, line->serial, who);
}

/* A certificate that was issued by this CA, whether its directory lists it or not. */
static bool add_certificate(struct wanted *wanted, const char *file, struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(ch_string) serial = NULL;
	const ASN1_INTEGER *number;

	if (!ch_certificate_read_pem_file(file, &certificate, err))
		return false;
	if (X509_verify(certificate, X509_get0_pubkey(wanted->list->ca)) != 1)
		return true; /* of the other CA */
	number = X509_get0_serialNumber(certificate);
	serial = ch_hex(ch_view(ASN1_STRING_get0_data(number), (size_t)ASN1_STRING_length(number)));
	return add(wanted, serial, file);
}

/* One CA's list: read, added to, signed with the next number, written, brought. *found: holders named. */
static bool refuse_of(struct cli *cli, const struct refuser *refuser, const char *directory, const char *ca,
		      struct vault_connection *connection, size_t *found, struct ch_error *err)
{
	CH_AUTO(refused_list) list = CH_NONE;
	struct wanted wanted = { .name = cli_value(cli, refuser->name_option),
				 .serial = cli_value(cli, "serial"),
				 .list = &list,
				 .reason = cli_value_or(cli, "reason", "keyCompromise"),
				 .err = err };
	const char *file = cli_value(cli, "certificate");
	CH_AUTO(ch_bytes) crl = CH_NONE;

	if (!refused_list_open(directory, ca, &list, err) ||
	    (connection && !take_held(connection, &list, err)))
		return false;
	if (file ? !add_certificate(&wanted, file, err)
		 : !file_ca_each_issued(directory, ca, add_where_wanted, &wanted, err) || wanted.failed)
		return false;
	*found += wanted.added + wanted.known;
	if (wanted.added + wanted.known == 0)
		return true;
	if (!refused_list_save(&list, wanted.added > 0, &crl, err) ||
	    (connection && !bring(connection, ch_view_of(&crl), err)))
		return false;
	printf("%s: number %s, ", refuser->list_name, list.number_text);
	if (connection)
		printf("the vaults have it; %s\n", refuser->honoured);
	else
		printf("no vault was told: chancery system-ca publish\n");
	return true;
}

static bool ca_is_there(const char *directory, const char *name)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s.key", directory, name);

	return access(path, F_OK) == 0;
}

static bool open_where_configured(struct cli *cli, struct vault_connection **connection, struct ch_error *err)
{
	return !cli_value(cli, "vault") || vault_connection_open(cli, connection, err);
}

static bool refuse(struct cli *cli, const struct refuser *refuser, struct ch_error *err)
{
	CH_AUTO(vault_connection) connection = NULL;
	const char *directory;
	size_t found = 0, ways = 0;

	ways = (size_t)(cli_value(cli, refuser->name_option) != NULL) +
	       (size_t)(cli_value(cli, "serial") != NULL) + (size_t)(cli_value(cli, "certificate") != NULL);
	if (!cli_require(cli, "directory", &directory, err))
		return false;
	if (ways != 1) {
		cli->exit_code = CLI_EXIT_USAGE;
		return ch_fail(err, CH_INVALID, "one of --%s, --certificate and --serial is needed",
			       refuser->name_option);
	}
	if (!open_where_configured(cli, &connection, err))
		return false;
	for (size_t i = 0; i < refuser->ca_count; i++)
		if ((i == 0 || ca_is_there(directory, refuser->cas[i])) &&
		    !refuse_of(cli, refuser, directory, refuser->cas[i], connection, &found, err))
			return false;
	return found || ch_fail(err, CH_NOT_FOUND,
				"'%s/%s' issued no such certificate, as far as its list says: name the "
				"certificate's file with --certificate",
				directory, refuser->cas[0]);
}

bool cli_system_ca_revoke(struct cli *cli, struct ch_error *err)
{
	return refuse(cli, &of_daemons, err);
}

bool cli_operator_revoke(struct cli *cli, struct ch_error *err)
{
	return refuse(cli, &of_operators, err);
}

bool cli_system_ca_publish(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(vault_connection) connection = NULL;
	const char *directory;
	size_t count = 0;

	if (!cli_require(cli, "directory", &directory, err) || !vault_connection_open(cli, &connection, err))
		return false;
	for (size_t i = 0; i < CH_COUNT(all_lists); i++) {
		CH_AUTO(ch_string) path = ch_format("%s/%s.crl", directory, all_lists[i]);
		CH_AUTO(ch_bytes) text = CH_NONE;
		CH_AUTO(ch_bytes) crl = CH_NONE;

		if (access(path, F_OK) != 0)
			continue;
		if (!ch_read_file(path, REFUSED_LIST_FILE_CAP, &text, err) ||
		    !ch_pem_read(ch_view_of(&text), "X509 CRL", &crl, err) ||
		    !bring(connection, ch_view_of(&crl), err))
			return ch_fail_in(err, "'%s'", path);
		printf("'%s': the vaults have it\n", path);
		count++;
	}
	return count ||
	       ch_fail(err, CH_NOT_FOUND, "there is no list of refused identities in '%s'", directory);
}
