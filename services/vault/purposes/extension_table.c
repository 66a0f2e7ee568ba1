/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extension_table.c: which extensions the vault signs, and where. What is not in the table gives a
 * certificate or an answer a meaning that the vault's checks do not know of; it is signed only where officers
 * put its OID into the key's sealed policy (extra_extensions). Each purpose asks here. A new extension is a
 * row.
 */
#include "purposes.h"

#include <string.h>

#define IN(place) (1u << VAULT_IN_##place)
#define NEVER     (1u << 31) /* whatever a key's policy says */

#define CERTIFICATES (IN(END_ENTITY) | IN(CA_CERTIFICATE) | IN(SERVICE_IDENTITY))
#define REQUESTED    (CERTIFICATES | IN(CA_CSR))

/* Content octets of the arcs. */
#define CE(last)                   \
	3,                         \
	{                          \
		0x55, 0x1d, (last) \
	} /* 2.5.29: RFC 5280 §4.2.1 */
#define PE(last)                                                 \
	8,                                                       \
	{                                                        \
		0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, (last) \
	} /* id-pe: RFC 5280 §4.2.2 */
#define OCSP(last)                                                     \
	9,                                                             \
	{                                                              \
		0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, (last) \
	} /* RFC 6960 §4.4 */
#define NETSCAPE(last)                                                 \
	9,                                                             \
	{                                                              \
		0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, (last) \
	}

static const struct row {
	const char *name;
	uint8_t size;
	uint8_t oid[12];
	unsigned places;
} rows[] = {
	/* clang-format off */
	{ "subjectKeyIdentifier",     CE(14), REQUESTED },
	{ "keyUsage",                 CE(15), REQUESTED },
	{ "subjectAltName",           CE(17), REQUESTED },
	{ "issuerAltName",            CE(18), IN(CA_CERTIFICATE) | IN(CRL) },
	{ "basicConstraints",         CE(19), REQUESTED },
	{ "cRLNumber",                CE(20), IN(CRL) },
	{ "reasonCode",               CE(21), IN(CRL_ENTRY) | IN(SINGLE_RESPONSE) },
	{ "invalidityDate",           CE(24), IN(CRL_ENTRY) | IN(SINGLE_RESPONSE) },
	{ "deltaCRLIndicator",        CE(27), IN(CRL) },
	{ "issuingDistributionPoint", CE(28), IN(CRL) },
	{ "nameConstraints",          CE(30), IN(CA_CERTIFICATE) | IN(CA_CSR) },
	{ "cRLDistributionPoints",    CE(31), CERTIFICATES },
	{ "certificatePolicies",      CE(32), REQUESTED },
	{ "policyMappings",           CE(33), IN(CA_CERTIFICATE) },
	{ "authorityKeyIdentifier",   CE(35), CERTIFICATES | IN(CRL) },
	{ "policyConstraints",        CE(36), IN(CA_CERTIFICATE) | IN(CA_CSR) },
	{ "extendedKeyUsage",         CE(37), REQUESTED },
	{ "freshestCRL",              CE(46), IN(END_ENTITY) | IN(CA_CERTIFICATE) | IN(CRL) },
	{ "inhibitAnyPolicy",         CE(54), IN(CA_CERTIFICATE) | IN(CA_CSR) },
	{ "authorityInfoAccess",      PE(1),  CERTIFICATES | IN(CRL) },
	{ "subjectInfoAccess",        PE(11), IN(CA_CERTIFICATE) | IN(CA_CSR) },
	{ "tlsfeature",               PE(24), IN(END_ENTITY) }, /* RFC 7633 */
	{ "nonce",                    OCSP(2), IN(OCSP_RESPONSE) },
	{ "archiveCutoff",            OCSP(6), IN(SINGLE_RESPONSE) },
	{ "extendedRevoke",           OCSP(9), IN(OCSP_RESPONSE) },
	{ "ocspNoCheck",              OCSP(5), IN(END_ENTITY) }, /* beside id-kp-OCSPSigning alone: purpose_end_entity.c */
	{ "nsCertType",               NETSCAPE(1), NEVER },      /* its sslCA and objCA make a CA of an end entity */
	/* clang-format on */
};

static const struct row *find_row(struct ch_view oid)
{
	for (size_t i = 0; i < CH_COUNT(rows); i++)
		if (ch_view_equal(oid, ch_view(rows[i].oid, rows[i].size)))
			return &rows[i];
	return NULL;
}

bool vault_extension_is_never_signed(struct ch_view oid)
{
	const struct row *row = find_row(oid);

	return row && row->places & NEVER;
}

static bool is_extra(const struct vault_key *key, const char *dotted)
{
	for (size_t i = 0; i < key->extra_extension_count; i++)
		if (strcmp(key->extra_extensions[i], dotted) == 0)
			return true;
	return false;
}

bool vault_check_extensions(struct vault_check *check, const struct vault_extensions *extensions,
			    enum vault_place place, struct ch_error *err)
{
	static const char *const places[] = {
		[VAULT_IN_END_ENTITY] = "an end-entity certificate",
		[VAULT_IN_CA_CERTIFICATE] = "a CA certificate",
		[VAULT_IN_SERVICE_IDENTITY] = "a service's identity",
		[VAULT_IN_CA_CSR] = "a CA's certification request",
		[VAULT_IN_CRL] = "a CRL",
		[VAULT_IN_CRL_ENTRY] = "an entry of a CRL",
		[VAULT_IN_OCSP_RESPONSE] = "an OCSP response",
		[VAULT_IN_SINGLE_RESPONSE] = "a SingleResponse",
		[VAULT_IN_TST_INFO] = "a TSTInfo",
	};

	for (size_t i = 0; i < extensions->count; i++) {
		const struct row *row = find_row(extensions->items[i].oid);
		CH_AUTO(ch_string) dotted = NULL;

		if (row && row->places & 1u << place)
			continue;
		dotted = ch_der_oid_text(extensions->items[i].oid);
		if (dotted && !(row && row->places & NEVER) && is_extra(check->key, dotted))
			continue;
		return vault_refuse(check, "extension", err, "extension %s%s%s%s is not signed in %s%s",
				    dotted ? dotted : "?", row ? " (" : "", row ? row->name : "",
				    row ? ")" : "", places[place],
				    row && row->places & NEVER ? "" : ": the key's policy does not name it");
	}
	return true;
}
