/* SPDX-License-Identifier: Apache-2.0 */
/* issuer_routes_test.c: who may send what to the issuer: the gateway alone, every message. */
#include "routes.h"

#include "issuer.h"

static void the_gateway_alone_asks_the_issuer(void **state)
{
	assert_true(issuer_route_count > 0);
	for (size_t i = 0; i < issuer_route_count; i++)
		assert_senders(&issuer_routes[i], "gateway");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gateway_alone_asks_the_issuer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
