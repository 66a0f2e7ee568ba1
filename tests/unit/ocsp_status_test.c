/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_status_test.c: what is said of a certificate by its row and the revocation log, and which serials
 * without a tag are looked up (services/ocsp/status.c, authority.c). */
#include "ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void the_log_decides_and_a_row_alone_makes_nothing_good(void **state)
{
	static const struct {
		const char *row, *logged;
		enum ocsp_status status;
	} cases[] = {
		{ "issued", "", OCSP_GOOD },
		{ "issued", "reinstated", OCSP_GOOD },
		{ "issued", "revoked", OCSP_REVOKED }, /* somebody has turned the row back */
		{ "issued", "suspended", OCSP_REVOKED },
		{ "suspended", "suspended", OCSP_REVOKED },
		{ "revoked", "revoked", OCSP_REVOKED },
		{ "revoked", "", OCSP_REVOKED }, /* and no entry: of before there was a log of it */
		{ "suspended", "", OCSP_REVOKED },
		{ "revoked", "reinstated", OCSP_UNKNOWN },
		{ "suspended", "reinstated", OCSP_UNKNOWN },
		{ "pending", "", OCSP_UNKNOWN },
		{ "cancelled", "", OCSP_UNKNOWN },
		{ "", "", OCSP_UNKNOWN },
		{ "pending", "revoked", OCSP_REVOKED },
		{ "cancelled", "revoked", OCSP_REVOKED },
		{ "", "revoked", OCSP_REVOKED }, /* never issued here, or lost with a database */
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++)
		if (ocsp_status_of(cases[i].row, cases[i].logged) != cases[i].status)
			fail_msg("'%s', in the log '%s': %d", cases[i].row, cases[i].logged,
				 (int)ocsp_status_of(cases[i].row, cases[i].logged));
}

static void a_serial_that_was_revoked_without_a_tag_is_looked_up(void **state)
{
	/* As PostgreSQL sorts octets. */
	static const char *const serials[] = { "\x01", "\x01\x02", "\x01\x02\x03", "\x02", "\x7f\x7f" };
	CH_AUTO(ocsp_authorities) authorities = ocsp_authorities_new(1);
	struct ocsp_authority *authority = &authorities->items[0];

	assert_false(ocsp_authority_is_untagged(authority, ch_view_text(serials[0])));
	for (size_t i = 0; i < CH_COUNT(serials); i++)
		ocsp_authority_add_untagged(authority, ch_view_text(serials[i]));
	for (size_t i = 0; i < CH_COUNT(serials); i++)
		assert_true(ocsp_authority_is_untagged(authority, ch_view_text(serials[i])));
	assert_false(ocsp_authority_is_untagged(authority, ch_view_text("\x02\x01")));
	assert_false(ocsp_authority_is_untagged(authority, ch_view_text("\x7f")));
	assert_false(ocsp_authority_is_untagged(authority, ch_view_text("\x01\x02\x03\x04")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_decides_and_a_row_alone_makes_nothing_good),
		cmocka_unit_test(a_serial_that_was_revoked_without_a_tag_is_looked_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
