/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_extensions_test.c: which extensions the vault signs where, and what a key's sealed policy adds. */
#include "purpose_fixture.h"

/* Asks for one extension at one place. */
static bool ask_extension(struct fixture *fixture, const char *oid, enum vault_place place)
{
	static const uint8_t null[] = { 0x05, 0x00 };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) list = CH_NONE;
	struct vault_extensions extensions;

	ch_extension_put(&writer, oid, false, ch_view(null, sizeof(null)));
	list = ch_der_done(&writer);
	fixture->err = (struct ch_error)CH_NONE;
	fixture->check = (struct vault_check){ .key = &fixture->key, .reason = "malformed" };
	assert_true(vault_read_extension_list(ch_view_of(&list), &extensions, &fixture->err));
	return vault_check_extensions(&fixture->check, &extensions, place, &fixture->err);
}

#define PLACES (VAULT_IN_TST_INFO + 1)
#define EE     1u << VAULT_IN_END_ENTITY
#define CA     1u << VAULT_IN_CA_CERTIFICATE
#define ID     1u << VAULT_IN_SERVICE_IDENTITY
#define CSR    1u << VAULT_IN_CA_CSR
#define CRL    1u << VAULT_IN_CRL
#define ENTRY  1u << VAULT_IN_CRL_ENTRY
#define OCSP   1u << VAULT_IN_OCSP_RESPONSE
#define SINGLE 1u << VAULT_IN_SINGLE_RESPONSE

static void each_extension_stands_where_it_belongs_and_nowhere_else(void **state)
{
	static const struct {
		const char *oid;
		unsigned places;
	} cases[] = {
		{ "2.5.29.9", 0 }, /* subjectDirectoryAttributes */
		{ "2.5.29.14", EE | CA | ID | CSR },
		{ "2.5.29.15", EE | CA | ID | CSR },
		{ "2.5.29.16", 0 }, /* privateKeyUsagePeriod */
		{ "2.5.29.17", EE | CA | ID | CSR },
		{ "2.5.29.18", CA | CRL },
		{ "2.5.29.19", EE | CA | ID | CSR },
		{ "2.5.29.20", CRL },
		{ "2.5.29.21", ENTRY | SINGLE },
		{ "2.5.29.24", ENTRY | SINGLE },
		{ "2.5.29.27", CRL },
		{ "2.5.29.28", CRL },
		{ "2.5.29.29", 0 }, /* certificateIssuer: another CA's certificates would be revoked */
		{ "2.5.29.30", CA | CSR },
		{ "2.5.29.31", EE | CA | ID },
		{ "2.5.29.32", EE | CA | ID | CSR },
		{ "2.5.29.33", CA },
		{ "2.5.29.35", EE | CA | ID | CRL },
		{ "2.5.29.36", CA | CSR },
		{ "2.5.29.37", EE | CA | ID | CSR },
		{ "2.5.29.46", EE | CA | CRL },
		{ "2.5.29.54", CA | CSR },
		{ "1.3.6.1.5.5.7.1.1", EE | CA | ID | CRL },
		{ "1.3.6.1.5.5.7.1.3", 0 }, /* qcStatements */
		{ "1.3.6.1.5.5.7.1.11", CA | CSR },
		{ "1.3.6.1.5.5.7.1.24", EE },
		{ "1.3.6.1.5.5.7.1.25", 0 },
		{ "1.3.6.1.5.5.7.48.1.2", OCSP },
		{ "1.3.6.1.5.5.7.48.1.5", EE },
		{ "1.3.6.1.5.5.7.48.1.6", SINGLE },
		{ "1.3.6.1.5.5.7.48.1.9", OCSP },
		{ "2.16.840.1.113730.1.1", 0 },   /* nsCertType */
		{ "1.3.6.1.4.1.311.20.2", 0 },    /* a certificate template's name */
		{ "1.3.6.1.4.1.11129.2.4.3", 0 }, /* a precertificate's poison */
		{ "0.4.0.19422.1.1", 0 },         /* ETSI EN 319 422's qualified timestamp */
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < CH_COUNT(cases); i++)
		for (unsigned place = 0; place < PLACES; place++) {
			bool wanted = cases[i].places & 1u << place;

			if (ask_extension(fixture, cases[i].oid, (enum vault_place)place) != wanted)
				fail_msg("%s at %u was %s", cases[i].oid, place,
					 wanted ? "refused" : "allowed");
			if (!wanted)
				assert_refused(fixture, "extension", cases[i].oid);
		}
}

static void a_keys_policy_names_what_the_table_does_not(void **state)
{
	struct fixture *fixture = *state;

	assert_true(ask_extension(fixture, "1.2.3.4", VAULT_IN_END_ENTITY));
	assert_true(ask_extension(fixture, "1.2.3.4", VAULT_IN_TST_INFO));
	assert_false(ask_extension(fixture, "1.2.3.40", VAULT_IN_END_ENTITY));
	assert_refused(fixture, "extension",
		       "extension 1.2.3.40 is not signed in an end-entity certificate: the key's policy");
	assert_int_equal(fixture->err.code, CH_DENIED);
}

/* sslCA and objCA of nsCertType make some readers take a certificate for a CA's. */
static void no_policy_allows_netscapes_certificate_type(void **state)
{
	static const uint8_t oid[] = { 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x01 };
	struct fixture *fixture = *state;

	free(fixture->key.extra_extensions[0]);
	fixture->key.extra_extensions[0] = ch_strdup("2.16.840.1.113730.1.1");
	for (unsigned place = 0; place < PLACES; place++)
		assert_false(ask_extension(fixture, "2.16.840.1.113730.1.1", (enum vault_place)place));
	assert_refused(fixture, "extension", "(nsCertType) is not signed");
	assert_true(vault_extension_is_never_signed(ch_view(oid, sizeof(oid))));
	assert_false(vault_extension_is_never_signed(ch_view(oid, sizeof(oid) - 1)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEY(each_extension_stands_where_it_belongs_and_nowhere_else),
		WITH_KEY(a_keys_policy_names_what_the_table_does_not),
		WITH_KEY(no_policy_allows_netscapes_certificate_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
