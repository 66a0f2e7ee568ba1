/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_routes_test.c: who may send what to the vault. A daemon stands in a row only where its code sends
 * that message. The gateway, which reads what strangers send, carries officers' approvals and keeps sealed
 * secrets, and changes nothing of a key.
 */
#include "routes.h"

#include "vault.h"

#define RULE(payload, senders)                                     \
	{                                                          \
		CHANCERY__PAYLOAD_TYPE__PAYLOAD_##payload, senders \
	}

static void each_message_has_the_senders_whose_code_sends_it(void **state)
{
	static const struct route_rule rules[] = {
		/* Each daemon its own identity; more by purpose: purposes.c. */
		RULE(SIGN, "gateway issuer ocsp tsa crl audit operator"),
		RULE(GENERATE_KEY, "issuer audit operator"),
		RULE(LIST_KEYS, "operator"),
		RULE(VAULT_STATUS, "operator"),
		RULE(PROPOSE_ACTION, "issuer operator"),
		RULE(APPROVE_ACTION, "gateway operator"),
		RULE(GET_ACTION, "gateway operator"),
		RULE(LIST_ACTIONS, "gateway operator"),
		RULE(GET_QUORUM, "operator"),
		RULE(CHANGE_QUORUM, "operator"),
		RULE(CHANGE_KEY_STATE, "operator"),
		/* Weaker without officers, stronger with them: docs/paths/revocation.md. */
		RULE(CHANGE_CA_KEY, "issuer"),
		RULE(CHANGE_KEY_POLICY, "operator"),
		RULE(EXPORT_KEY, "operator"),
		RULE(HSM_CONTROL, "operator"),
		RULE(REPLACE_HSM, "operator"),
		/* What a daemon keeps at rest: docs/paths/secrets.md. */
		RULE(SEAL, "gateway issuer ocsp tsa crl audit"),
		RULE(OPEN, "gateway issuer ocsp tsa crl audit"),
		RULE(RESEAL, "gateway issuer ocsp tsa crl audit"),
		RULE(RANDOM, "gateway issuer ocsp tsa crl audit"),
		RULE(ROTATE_DATA_KEY, "operator"),
		/* libcommon/identities of every daemon, and `chancery system-ca`. */
		RULE(GET_REFUSED_IDENTITIES, "gateway issuer ocsp tsa crl audit operator"),
		RULE(PUT_REFUSED_IDENTITIES, "gateway issuer ocsp tsa crl audit operator"),
	};

	assert_routes(vault_routes, vault_route_count, rules, CH_COUNT(rules));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_message_has_the_senders_whose_code_sends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
