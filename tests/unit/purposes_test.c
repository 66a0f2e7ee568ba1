/* SPDX-License-Identifier: Apache-2.0 */
/* purposes_test.c: the table of what the vault signs, and who may ask for it. */
#include "purpose_fixture.h"

static void each_purpose_has_its_callers(void **state)
{
	static const struct {
		Chancery__Purpose purpose;
		const char *service;
		bool allowed;
	} cases[] = {
		{ CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE, "issuer", true },
		{ CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE, "operator", false },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE, "operator", true },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE, "gateway", false },
		{ CHANCERY__PURPOSE__PURPOSE_CRL, "operator", true },
		{ CHANCERY__PURPOSE__PURPOSE_CRL, "issuer", false },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CSR, "issuer", true },
		{ CHANCERY__PURPOSE__PURPOSE_CA_CSR, "ocsp", false },
		{ CHANCERY__PURPOSE__PURPOSE_SERVICE_IDENTITY, "tsa", true },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++)
		assert_int_equal(vault_purpose_allows(vault_purpose_find(cases[i].purpose), cases[i].service),
				 cases[i].allowed);
}

static void each_purpose_has_a_name_and_a_check(void **state)
{
	(void)state;
	for (int number = 1; number <= 8; number++) {
		const struct vault_purpose *row = vault_purpose_find((Chancery__Purpose)number);

		assert_non_null(row);
		assert_non_null(row->check);
		assert_non_null(row->name);
	}
	assert_null(vault_purpose_find(CHANCERY__PURPOSE__PURPOSE_NONE));
	assert_null(vault_purpose_find((Chancery__Purpose)9));
	assert_non_null(vault_purpose_at(7));
	assert_null(vault_purpose_at(8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_purpose_has_its_callers),
		cmocka_unit_test(each_purpose_has_a_name_and_a_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
