/* SPDX-License-Identifier: Apache-2.0 */
/* audit_routes_test.c: who may send what to the audit log: daemons append, the gateway reads. */
#include "routes.h"

#include "audit.h"

static void daemons_append_and_the_gateway_reads(void **state)
{
	static const struct route_rule rules[] = {
		{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPEND_EVENTS, "gateway issuer ocsp tsa crl audit vault" },
		{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_EVENTS, "gateway" },
		{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_QUARANTINE, "gateway" },
	};

	assert_routes(audit_routes, audit_route_count, rules, CH_COUNT(rules));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(daemons_append_and_the_gateway_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
