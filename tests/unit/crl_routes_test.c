/* SPDX-License-Identifier: Apache-2.0 */
/* crl_routes_test.c: who may ask the crl daemon for what: the gateway alone. */
#include "routes.h"

#include "crl.h"

static void the_gateway_alone_asks_for_crls(void **state)
{
	static const struct route_rule rules[] = {
		{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_CRL, "gateway" },
		{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_CRL, "gateway" },
	};

	assert_routes(crl_routes, crl_route_count, rules, CH_COUNT(rules));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gateway_alone_asks_for_crls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
