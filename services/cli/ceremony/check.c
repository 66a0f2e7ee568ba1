/* SPDX-License-Identifier: Apache-2.0 */
/* check.c: `chancery ceremony check`: prints all that a ceremony would make, down to the TBSCertificates. It
 * asks no vault: keys and serial numbers are stand-ins. */
#include "ceremony.h"

#include "../approval.h"
#include "cli.h"

#include <stdio.h>
#include <string.h>

#define HEX_OCTETS 40 /* on a line */

static void print_fields(const char *kind, const struct ch_action_field *fields, size_t count)
{
	printf("  officers approve: %s\n", kind);
	for (size_t i = 0; i < count; i++)
		printf("    %s: %s\n", fields[i].name, fields[i].value);
}

static void print_octets(struct ch_view octets)
{
	for (size_t at = 0; at < octets.size; at += HEX_OCTETS) {
		size_t size = octets.size - at < HEX_OCTETS ? octets.size - at : HEX_OCTETS;
		CH_AUTO(ch_string) line = ch_hex(ch_view(octets.data + at, size));

		printf("    %s\n", line);
	}
}

static void print_key(const struct ch_ca *ca)
{
	struct ch_action_field fields[CH_CA_KEY_FIELDS];

	ch_ca_key_fields(ca, fields);
	print_fields(ch_action_kind_name(CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY), fields,
		     CH_COUNT(fields));
}

static bool print_certificate(const struct ch_ca *ca, const struct ch_ca *parent, struct ch_error *err)
{
	CH_AUTO(ch_string) key =
		ch_format("(the key of %s)", parent ? parent->document.name : ca->document.name);
	struct ch_ca_certificate_fields named;
	CH_AUTO(X509) certificate = NULL;

	if (!ch_ca_certificate_fields(ca, parent, &named, err) ||
	    !approval_open(ch_view_of(&ca->tbs_certificate), &certificate, err))
		return false;
	named.fields[0].value = key;
	print_fields(ch_action_kind_name(CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE), named.fields,
		     CH_COUNT(named.fields));
	approval_print(stdout, certificate);
	printf("  TBSCertificate, %zu octets:\n", ca->tbs_certificate.size);
	print_octets(ch_view_of(&ca->tbs_certificate));
	return true;
}

static bool print_crl(const struct ceremony_plan *plan, const struct ceremony_made_crl *crl,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) key = ch_format("(the key of %s)", crl->asked->ca);
	struct ceremony_crl_fields named;

	if (!ceremony_crl_fields(plan, crl, &named, err))
		return false;
	named.fields[0].value = key;
	print_fields(ch_action_kind_name(CHANCERY__ACTION_KIND__ACTION_CRL), named.fields,
		     CH_COUNT(named.fields));
	if (!ceremony_print_crl(stdout, plan, crl, err))
		return false;
	printf("  TBSCertList, %zu octets:\n", crl->tbs.size);
	print_octets(ch_view_of(&crl->tbs));
	return true;
}

static void print_publications(const struct ceremony_file *file)
{
	const struct ceremony_publication *items = file->publish.items;

	printf("\nPublished:\n");
	for (size_t i = 0; i < file->publish.count; i++)
		printf("  %s: %s of %s%s%s\n", items[i].file,
		       strcmp(items[i].form, "crl") ? "certificate" : "CRL", items[i].ca,
		       strcmp(items[i].form, "crl") ? ", " : "",
		       strcmp(items[i].form, "crl") ? items[i].form : "");
	if (!file->publish.count)
		printf("  nothing\n");
}

bool cli_ceremony_check(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ceremony_document) document = CH_NONE;
	CH_AUTO(ceremony_plan) plan = CH_NONE;
	size_t step = 0;

	if (!ceremony_read(cli->arguments[0], &document, err) || !ceremony_rehearse(&document, &plan, err))
		return false;
	printf("Ceremony '%s' of tenant '%s'\nSHA-256 of the document: %s\n", document.file.name,
	       document.file.tenant, document.sha256);
	printf("Keys, serial numbers and times below stand in for those that the ceremony makes.\n");
	for (size_t i = plan.existing; i < plan.count; i++) {
		const struct ch_ca *ca = &plan.cas[i], *parent = ceremony_parent(&plan, ca);

		printf("\nStep %zu: key of '%s', in the vault's HSMs\n", ++step, ca->document.name);
		print_key(ca);
		printf("\nStep %zu: certificate of '%s', signed by %s%s\n", ++step, ca->document.name,
		       parent ? "the key of " : "its own key", parent ? parent->document.name : "");
		if (!print_certificate(ca, parent, err))
			return false;
	}
	for (size_t i = 0; i < plan.crl_count; i++) {
		printf("\nStep %zu: CRL of '%s'\n", ++step, plan.crls[i].asked->ca);
		if (!print_crl(&plan, &plan.crls[i], err))
			return false;
	}
	print_publications(&document.file);
	return true;
}
