/* SPDX-License-Identifier: Apache-2.0 */
/* policy_seal_test.c: what a key row's seal covers: every member has its part in the octets, one content has
 * one form, and a default that is left out leaves older seals valid. */
#include "policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *one[] = { "ocsp" }, *other[] = { "crl" }, *both[] = { "ocsp", "crl" };

static struct vault_key sample(void)
{
	struct vault_key key = { .key_id = "00112233445566778899aabbccddeeff",
				 .tenant = "default",
				 .label = "Example Root CA",
				 .algorithm = ch_algorithm_find("ecdsa-p256"),
				 .purposes = 1u << 1 | 1u << 2,
				 .residency = one,
				 .residency_count = 1,
				 .state = "active",
				 .ca_path_length = -1,
				 .policy_version = 1 };

	return key;
}

static struct ch_bytes packed_of(struct vault_key key)
{
	return vault_key_pack(&key);
}

static void one_content_has_one_form(void **state)
{
	CH_AUTO(ch_bytes) first = packed_of(sample());
	CH_AUTO(ch_bytes) second = packed_of(sample());

	(void)state;
	assert_true(first.size > 0);
	assert_true(ch_view_equal(ch_view_of(&first), ch_view_of(&second)));
}

#define CHANGES(...)                                                        \
	do {                                                                \
		struct vault_key key = sample();                            \
		CH_AUTO(ch_bytes) before = packed_of(key);                  \
		__VA_ARGS__;                                                \
		CH_AUTO(ch_bytes) after = packed_of(key);                   \
		if (ch_view_equal(ch_view_of(&before), ch_view_of(&after))) \
			fail_msg("%s changes nothing", #__VA_ARGS__);       \
	} while (0)

static void every_member_has_its_part(void **state)
{
	uint8_t octet = 7;
	struct ch_bytes bytes = { &octet, 1 };

	(void)state;
	CHANGES(key.key_id[0] = 'f');
	CHANGES(strcpy(key.tenant, "other"));
	CHANGES(key.request_id = bytes);
	CHANGES(key.label = "Another");
	CHANGES(key.algorithm = ch_algorithm_find("rsa-2048"));
	CHANGES(key.purposes |= 1u << 3);
	CHANGES(key.subject_der = bytes);
	CHANGES(key.public_key_info = bytes);
	CHANGES(key.public_key_sha256[31] = 1);
	CHANGES(key.residency = other);
	CHANGES(key.residency = both, key.residency_count = 2);
	CHANGES(key.single_copy_accepted = true);
	CHANGES(strcpy(key.state, "retired"));
	CHANGES(key.state_changed_at_us = 1);
	CHANGES(key.ca_not_before_us = 1);
	CHANGES(key.ca_not_after_us = 1);
	CHANGES(key.ca_path_length = 0);
	CHANGES(key.timestamp_policies = one, key.timestamp_policy_count = 1);
	CHANGES(key.checkpoint_origin = "here");
	CHANGES(key.max_validity_us = 1);
	CHANGES(key.created_at_us = 1);
	CHANGES(key.policy_version = 2);
	CHANGES(key.callers = one, key.caller_count = 1);
	CHANGES(key.signature_algorithms = one, key.signature_algorithm_count = 1);
	CHANGES(key.max_certificate_validity_us = 1);
	CHANGES(key.quota_burst = 1);
	CHANGES(key.quota_per_hour = 1);
	CHANGES(key.approvals_required = 1);
	CHANGES(strcpy(key.audit_mode, "each"));
	CHANGES(key.extra_extensions = one, key.extra_extension_count = 1);
	CHANGES(key.signatures_unverified = true);
}

/* A list that ends earlier and another that begins with its last item are not the same octets. */
static void what_moves_from_one_list_to_another_changes_it(void **state)
{
	struct vault_key a = sample(), b = sample();
	CH_AUTO(ch_bytes) first = CH_NONE, second = CH_NONE;

	(void)state;
	a.callers = one;
	a.caller_count = 1;
	b.signature_algorithms = one;
	b.signature_algorithm_count = 1;
	first = packed_of(a);
	second = packed_of(b);
	assert_false(ch_view_equal(ch_view_of(&first), ch_view_of(&second)));
}

/* The octets of a row of today: whoever changes them unseals every key that exists. */
static void the_form_of_today_stays(void **state)
{
	static const char expected[] =
		"0a2030303131323233333434353536363737383839396161626263636464656566661207646566617"
		"56c74220f4578616d706c6520526f6f742043412a0a65636473612d7032353632020102";
	CH_AUTO(ch_bytes) packed = packed_of(sample());
	CH_AUTO(ch_string) text = ch_hex(ch_view_of(&packed));

	(void)state;
	assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
}

static void a_number_is_bound_to_its_key_and_bytes(void **state)
{
	static const uint8_t hash[32] = { 1 };
	struct ch_view tbs = { hash, sizeof(hash) }, none = CH_NONE;
	CH_AUTO(ch_bytes) a = vault_number_pack("k1", "12", tbs);
	CH_AUTO(ch_bytes) b = vault_number_pack("k1", "2", tbs);
	CH_AUTO(ch_bytes) c = vault_number_pack("k11", "2", tbs);
	CH_AUTO(ch_bytes) d = vault_number_pack("k1", "12", none);

	(void)state;
	assert_false(ch_view_equal(ch_view_of(&a), ch_view_of(&b)));
	assert_false(ch_view_equal(ch_view_of(&a), ch_view_of(&c)));
	assert_false(ch_view_equal(ch_view_of(&b), ch_view_of(&c)));
	assert_false(ch_view_equal(ch_view_of(&a), ch_view_of(&d)));
}

static void numbers_compare_by_value(void **state)
{
	(void)state;
	assert_true(vault_number_compare("9", "10") < 0);
	assert_true(vault_number_compare("10", "9") > 0);
	assert_int_equal(vault_number_compare("1427247692705959881058285969449495136382746624",
					      "1427247692705959881058285969449495136382746624"),
			 0);
	assert_true(vault_number_compare("1427247692705959881058285969449495136382746623",
					 "1427247692705959881058285969449495136382746624") < 0);
	assert_true(vault_number_compare("0", "1") < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_content_has_one_form),
		cmocka_unit_test(every_member_has_its_part),
		cmocka_unit_test(what_moves_from_one_list_to_another_changes_it),
		cmocka_unit_test(the_form_of_today_stays),
		cmocka_unit_test(a_number_is_bound_to_its_key_and_bytes),
		cmocka_unit_test(numbers_compare_by_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
