/* SPDX-License-Identifier: Apache-2.0 */
/* policy_state_test.c: the states of a key, the ways between them, and what a key's policy narrows. */
#include "key_states.h"

#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PURPOSE(name) CHANCERY__PURPOSE__PURPOSE_##name

static const char *const names[] = { "pre-active", "active",    "suspended", "compromised",
				     "retired",    "destroyed", "stopped" };

/* '-': no way; 'a': with officers' approval; 'n': none needed (NIST SP 800-57 Part 1 Rev. 5 §7). */
static void the_ways_are_these_and_no_others(void **state)
{
	static const char *const expected[] = {
		/* to: pre-active, active, suspended, compromised, retired, destroyed, stopped */
		[0] = "-a-n-a-", /* from pre-active */
		[1] = "--nna-n", /* active */
		[2] = "-a-na-a", /* suspended */
		[3] = "-----a-", /* compromised */
		[4] = "---n-a-", /* retired */
		[5] = "-------", /* destroyed */
		[6] = "-anna--", /* stopped */
	};

	(void)state;
	for (size_t from = 0; from < CH_COUNT(names); from++)
		for (size_t to = 0; to < CH_COUNT(names); to++) {
			const struct vault_transition *way = vault_transition_find(names[from], names[to]);
			char is = !way ? '-' : way->needs_approval ? 'a' : 'n';

			if (is != expected[from][to])
				fail_msg("%s to %s is '%c'", names[from], names[to], is);
		}
}

static void only_an_active_key_signs_and_a_stopped_or_retired_one_tells_status(void **state)
{
	(void)state;
	for (int purpose = 1; purpose <= 8; purpose++)
		for (size_t i = 0; i < CH_COUNT(names); i++) {
			bool active = strcmp(names[i], "active") == 0;
			bool alone = strcmp(names[i], "retired") == 0 || strcmp(names[i], "stopped") == 0;
			/* of the certificates, responders' alone: purpose_end_entity_test.c */
			bool status = alone &&
				      (purpose == PURPOSE(CRL) || purpose == PURPOSE(END_ENTITY_CERTIFICATE));

			assert_int_equal(vault_state_tells_status_alone(names[i]), alone);
			assert_int_equal(vault_state_signs(names[i], (Chancery__Purpose)purpose),
					 active || status);
		}
	for (size_t i = 0; i < CH_COUNT(names); i++)
		assert_int_equal(vault_state_may_be_certified(names[i]), i < 2);
	assert_false(vault_state_signs("ACTIVE", PURPOSE(CRL)));
	assert_false(vault_state_signs("", PURPOSE(CRL)));
}

static void a_state_says_where_it_leads(void **state)
{
	CH_AUTO(ch_string) active = vault_transitions_from("active");
	CH_AUTO(ch_string) destroyed = vault_transitions_from("destroyed");

	(void)state;
	assert_string_equal(active, "suspended, compromised, retired, stopped");
	assert_string_equal(destroyed, "nothing");
	assert_false(vault_state_known("deactivated"));
}

/* What becomes of the key when its CA is stopped, started again, retired, revoked. */
static void a_cas_key_follows_the_ca(void **state)
{
	const struct {
		const char *from, *ca_state, *reason, *to;
	} cases[] = {
		{ "active", "suspended", "", "stopped" },
		{ "stopped", "suspended", "", "stopped" },
		{ "suspended", "suspended", "", "suspended" }, /* is weaker already */
		{ "compromised", "suspended", "", "compromised" },
		{ "stopped", "active", "", "active" },
		{ "compromised", "active", "", "active" }, /* there is no such way */
		{ "stopped", "retired", "", "retired" },
		{ "active", "revoked", "superseded", "retired" },
		{ "stopped", "revoked", "cACompromise", "compromised" },
		{ "active", "revoked", "keyCompromise", "compromised" },
		{ "compromised", "revoked", "superseded", "compromised" },
		{ "destroyed", "revoked", "cACompromise", "destroyed" },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++)
		assert_string_equal(vault_ca_key_state(cases[i].from, cases[i].ca_state, cases[i].reason),
				    cases[i].to);
	assert_null(vault_ca_key_state("active", "pending", ""));
	assert_null(vault_transition_find("compromised", "active"));
	assert_true(vault_transition_find("stopped", "active")->needs_approval);
}

/* --- limits --- */

static char *issuer[] = { "issuer" }, *crl[] = { "crl" }, *ocsp[] = { "ocsp" },
	    *crl_twice[] = { "crl", "crl" }, *both[] = { "issuer", "crl" };
static char *ecdsa[] = { "ecdsa-with-SHA256" }, *rsa[] = { "sha256WithRSAEncryption" };

static struct vault_key ca_key(void)
{
	return (struct vault_key){ .key_id = "k",
				   .algorithm = ch_algorithm_find("ecdsa-p256"),
				   .purposes = 1u << PURPOSE(END_ENTITY_CERTIFICATE) | 1u << PURPOSE(CRL),
				   .state = "active" };
}

static const char *refusal(const struct vault_key *key, Chancery__Purpose purpose, const char *service)
{
	const char *reason = "allowed";
	struct ch_error err;

	return vault_limits_check(key, vault_purpose_find(purpose), service, &reason, &err) ? "allowed"
											    : reason;
}

static void a_key_signs_for_its_purposes_callers_and_algorithms(void **state)
{
	struct vault_key key = ca_key();

	(void)state;
	assert_string_equal(refusal(&key, PURPOSE(CRL), "crl"), "allowed");
	assert_string_equal(refusal(&key, PURPOSE(OCSP), "ocsp"), "key-purpose");
	strcpy(key.state, "suspended");
	assert_string_equal(refusal(&key, PURPOSE(CRL), "crl"), "key-state");
	strcpy(key.state, "active");
	key.callers = issuer;
	key.caller_count = 1;
	assert_string_equal(refusal(&key, PURPOSE(END_ENTITY_CERTIFICATE), "issuer"), "allowed");
	assert_string_equal(refusal(&key, PURPOSE(CRL), "crl"), "key-caller");
	key.signature_algorithms = rsa;
	key.signature_algorithm_count = 1;
	assert_string_equal(refusal(&key, PURPOSE(END_ENTITY_CERTIFICATE), "issuer"), "signature-algorithm");
}

static void the_key_says_how_it_is_audited_else_its_purpose(void **state)
{
	struct vault_key key = ca_key();
	const struct vault_purpose *purpose = vault_purpose_find(PURPOSE(CRL));

	(void)state;
	assert_int_equal(vault_limits_each_audited(&key, purpose), purpose->each_audited);
	strcpy(key.audit_mode, "summary");
	assert_false(vault_limits_each_audited(&key, purpose));
	strcpy(key.audit_mode, "each");
	assert_true(vault_limits_each_audited(&key, vault_purpose_find(PURPOSE(OCSP))));
}

static void a_policy_that_no_key_can_have_is_refused_by_name(void **state)
{
	const struct vault_key key = ca_key();
	const struct {
		Chancery__KeyPolicy policy;
		const char *words;
	} rows[] = {
#define POLICY(...) \
	{ .base = PROTOBUF_C_MESSAGE_INIT(&chancery__key_policy__descriptor), .audit_mode = "", __VA_ARGS__ }
		{ POLICY(.callers = ocsp, .n_callers = 1), "callers" },
		{ POLICY(.callers = crl_twice, .n_callers = 2), "callers: 'crl' twice" },
		{ POLICY(.signature_algorithms = rsa, .n_signature_algorithms = 1), "signature_algorithms" },
		{ POLICY(.max_validity_seconds = -1), "max_validity_seconds" },
		{ POLICY(.max_validity_seconds = INT64_MAX), "max_validity_seconds" },
		{ POLICY(.quota_burst = 1), "quota_per_hour" },
		{ POLICY(.quota_per_hour = 1), "quota_burst" },
		{ POLICY(.quota_burst = UINT32_MAX, .quota_per_hour = 1), "quota" },
		{ POLICY(.approvals_required = 17), "approvals_required" },
		{ { .base = PROTOBUF_C_MESSAGE_INIT(&chancery__key_policy__descriptor),
		    .audit_mode = "none" },
		  "audit_mode" },
	};

	(void)state;
	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		struct ch_error err = CH_NONE;

		assert_false(vault_policy_valid(&rows[i].policy, &key, &err));
		assert_int_equal(err.code, CH_INVALID);
		if (!strstr(err.message, rows[i].words))
			fail_msg("'%s' does not name %s", err.message, rows[i].words);
	}
}

static void a_policy_goes_into_a_key_and_comes_out_the_same(void **state)
{
	const Chancery__KeyPolicy policy =
		POLICY(.callers = crl, .n_callers = 1, .signature_algorithms = ecdsa,
		       .n_signature_algorithms = 1, .max_validity_seconds = 3600, .quota_burst = 5,
		       .quota_per_hour = 7, .approvals_required = 2);
	struct vault_key key = ca_key();
	Chancery__KeyPolicy *out;
	struct ch_error err;

	(void)state;
	const Chancery__KeyPolicy two_callers = POLICY(.callers = both, .n_callers = 2);

	assert_true(vault_policy_valid(&two_callers, &key, &err));
	assert_true(vault_policy_valid(&policy, &key, &err));
	vault_policy_set(&key, &policy);
	assert_int_equal(key.max_certificate_validity_us, CH_HOUR);
	assert_int_equal(key.max_validity_us, 0); /* its CRLs' limit is another */
	out = vault_policy_message(&key);
	assert_string_equal(out->callers[0], "crl");
	assert_string_equal(out->signature_algorithms[0], "ecdsa-with-SHA256");
	assert_int_equal(out->max_validity_seconds, 3600);
	assert_int_equal(out->quota_burst, 5);
	assert_int_equal(out->quota_per_hour, 7);
	assert_int_equal(out->approvals_required, 2);
	chancery__key_policy__free_unpacked(out, NULL);
	vault_key_free(&key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ways_are_these_and_no_others),
		cmocka_unit_test(only_an_active_key_signs_and_a_stopped_or_retired_one_tells_status),
		cmocka_unit_test(a_cas_key_follows_the_ca),
		cmocka_unit_test(a_state_says_where_it_leads),
		cmocka_unit_test(a_key_signs_for_its_purposes_callers_and_algorithms),
		cmocka_unit_test(the_key_says_how_it_is_audited_else_its_purpose),
		cmocka_unit_test(a_policy_that_no_key_can_have_is_refused_by_name),
		cmocka_unit_test(a_policy_goes_into_a_key_and_comes_out_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
