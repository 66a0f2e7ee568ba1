/* SPDX-License-Identifier: Apache-2.0 */
/* policy_test.c: which requests a profile and a CA allow, and what a refusal says. */
#include "issuer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SERVER                                             \
	"extended_key_usage: [serverAuth]\n"               \
	"subject: { allowed: [CN, O, C], required: [] }\n" \
	"subject_alt_names: { allowed: [dns, ip], minimum: 1, maximum: 3, dns_suffixes: [] }\n"

/* One request against one profile. What is 0 or NULL is the usual. */
struct attempt {
	const char *profile, *key, *subject, *sans;
	bool ca_true;
	int64_t validity_seconds;
	int64_t now_us;
};

static bool try_it(const struct attempt *attempt, struct ch_order *order, struct ch_error *err)
{
	struct fixture fixture;
	CH_AUTO(ch_profile) profile = CH_NONE;
	CH_AUTO(ch_csr) csr = CH_NONE;
	EVP_PKEY *key = fixture_key(attempt->key ? attempt->key : "ecdsa-p256");
	struct ch_bytes der = fixture_csr(key, attempt->subject ? attempt->subject : "CN=www.example.com",
					  attempt->sans && !attempt->sans[0] ? NULL
					  : attempt->sans                    ? attempt->sans
									     : "DNS:www.example.com",
					  attempt->ca_true);
	struct ch_policy_request request = { .csr = &csr, .validity_seconds = attempt->validity_seconds };
	bool allowed;

	fixture_begin(&fixture);
	fixture_profile(&profile, attempt->profile ? attempt->profile : SERVER);
	allowed = ch_csr_read(ch_view_of(&der), &csr, err) &&
		  ch_policy_check(&profile, &fixture.ca, &request, attempt->now_us ? attempt->now_us : NOW,
				  order, err);
	ch_bytes_free(&der);
	EVP_PKEY_free(key);
	fixture_end(&fixture);
	return allowed;
}

static struct ch_order assert_allowed(struct attempt attempt)
{
	struct ch_error err = CH_NONE;
	struct ch_order order = CH_NONE;

	if (!try_it(&attempt, &order, &err))
		fail_msg("refused: %s", err.message);
	return order; /* its views are gone; its times are not */
}

static void assert_refused(struct attempt attempt, const char *part)
{
	struct ch_error err = CH_NONE;
	struct ch_order order;

	if (try_it(&attempt, &order, &err))
		fail_msg("allowed, and should be refused: %s", part);
	if (err.code != CH_INVALID || !strstr(err.message, part))
		fail_msg("'%s' (code %d) does not say '%s'", err.message, (int)err.code, part);
}

static void a_proper_request_is_allowed(void **state)
{
	struct ch_order order = assert_allowed((struct attempt)CH_NONE);

	assert_true(order.not_before_us == NOW - CH_MINUTE);
	assert_true(order.not_after_us == NOW + 90 * CH_DAY - CH_SECOND);
}

static void ca_true_is_refused(void **state)
{
	assert_refused((struct attempt){ .ca_true = true }, "CA:TRUE");
}

static void keys_outside_the_profile_are_refused(void **state)
{
	assert_refused((struct attempt){ .key = "rsa-1024" }, "RSA 1024");
	assert_refused((struct attempt){ .key = "secp256k1" }, "secp256k1");
	assert_refused((struct attempt){ .key = "ecdsa-p384" },
		       "public key (ecdsa-p384) is not accepted: rsa-2048, ecdsa-p256");
	assert_allowed((struct attempt){ .key = "ed25519" });
	assert_allowed((struct attempt){ .key = "rsa-2048" });
}

static void the_cas_own_key_is_refused(void **state)
{
	struct fixture fixture;
	CH_AUTO(ch_profile) profile = CH_NONE;
	CH_AUTO(ch_csr) csr = CH_NONE;
	struct ch_error err = CH_NONE;
	struct ch_bytes der;
	struct ch_policy_request request = { .csr = &csr };
	struct ch_order order;

	fixture_begin(&fixture);
	fixture_profile(&profile, SERVER);
	der = fixture_csr(fixture.ca_key, "CN=a", "DNS:a.example", false);
	assert_true(ch_csr_read(ch_view_of(&der), &csr, &err));
	assert_false(ch_policy_check(&profile, &fixture.ca, &request, NOW, &order, &err));
	assert_string_equal(err.message, "public key is the CA's own");
	ch_bytes_free(&der);
	fixture_end(&fixture);
}

static void subject_attributes_follow_the_profile(void **state)
{
	assert_allowed((struct attempt){ .subject = "CN=a,O=b,C=CH" });
	assert_refused((struct attempt){ .subject = "CN=a,OU=b" },
		       "subject attribute OU is not allowed (allowed: CN, O, C)");
	assert_refused((struct attempt){ .subject = "CN=a,CN=b" }, "subject attribute CN stands twice");
	assert_refused((struct attempt){ .subject = "CN=a,dnQualifier=x" },
		       "subject attribute 2.5.4.46 is not allowed");
	assert_refused((struct attempt){ .subject = "O=b",
					 .profile = "subject: { allowed: [CN, O], required: [CN] }\n"
						    "subject_alt_names: { allowed: [dns] }\n" },
		       "lacks the required attribute CN");
}

/* RFC 5280 §4.1.2.6: an empty subject needs a subject alternative name. */
static void an_empty_subject_needs_an_alternative_name(void **state)
{
	assert_allowed((struct attempt){ .subject = "" });
	assert_refused(
		(struct attempt){ .subject = "", .sans = "", .profile = "subject: { allowed: [CN] }\n" },
		"neither a subject nor");
}

static void alternative_names_follow_the_profile(void **state)
{
	assert_allowed((struct attempt){ .sans = "DNS:a.example,IP:192.0.2.1,IP:2001:db8::1" });
	assert_allowed((struct attempt){ .sans = "DNS:*.example.com" });
	assert_refused((struct attempt){ .sans = "email:a@example.com" },
		       "email:a@example.com is not allowed (allowed: dns, ip)");
	assert_refused((struct attempt){ .sans = "" }, "0 subject alternative names, at least 1 needed");
	assert_refused((struct attempt){ .sans = "DNS:a.example,DNS:b.example,DNS:c.example,DNS:d.example" },
		       "4 subject alternative names, at most 3");
	assert_allowed(
		(struct attempt){ .sans = "DNS:a.example,DNS:A.example" }); /* once in the certificate */
	assert_refused((struct attempt){ .sans = "DNS:a_b.example" }, "a_b.example");
	assert_refused((struct attempt){ .sans = "DNS:a.*.example" }, "a.*.example");
}

static void dns_names_must_end_in_a_suffix_at_a_label(void **state)
{
#define SUFFIX \
	"subject: { allowed: [CN] }\nsubject_alt_names: { allowed: [dns], dns_suffixes: [example.com] }\n"
	assert_allowed((struct attempt){ .profile = SUFFIX, .sans = "DNS:www.Example.COM" });
	assert_allowed((struct attempt){ .profile = SUFFIX, .sans = "DNS:example.com" });
	assert_refused((struct attempt){ .profile = SUFFIX, .sans = "DNS:badexample.com" },
		       "ends in none of: example.com");
}

static void validity_is_bounded_by_profile_and_ca(void **state)
{
	struct ch_order order;

	order = assert_allowed((struct attempt){ .validity_seconds = 3600 });
	assert_true(order.not_after_us == NOW + CH_HOUR - CH_SECOND);
	order = assert_allowed((struct attempt){ .validity_seconds = 398 * 86400 });
	assert_true(order.not_after_us - order.not_before_us == 398 * CH_DAY - CH_SECOND);
	assert_refused((struct attempt){ .validity_seconds = 398 * 86400 + 1 },
		       "exceeds the profile's maximum");
	assert_refused((struct attempt){ .validity_seconds = -1 }, "-1 s");

	/* 30 days before the CA's end: the default is shortened, what was asked for is refused. */
	order = assert_allowed((struct attempt){ .now_us = NOW + (5 * 365 - 31) * CH_DAY });
	assert_true(order.not_after_us == NOW - CH_DAY + 5 * 365 * CH_DAY - CH_SECOND);
	assert_refused(
		(struct attempt){ .now_us = NOW + (5 * 365 - 31) * CH_DAY, .validity_seconds = 60 * 86400 },
		"beyond the CA's end");
	assert_refused((struct attempt){ .now_us = NOW + 5 * 365 * CH_DAY }, "has expired");
}

static void not_before_is_not_before_the_cas(void **state)
{
	struct ch_order order = assert_allowed((struct attempt){ .now_us = NOW - CH_DAY + CH_SECOND });

	assert_true(order.not_before_us == NOW - CH_DAY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_proper_request_is_allowed),
		cmocka_unit_test(ca_true_is_refused),
		cmocka_unit_test(keys_outside_the_profile_are_refused),
		cmocka_unit_test(the_cas_own_key_is_refused),
		cmocka_unit_test(subject_attributes_follow_the_profile),
		cmocka_unit_test(an_empty_subject_needs_an_alternative_name),
		cmocka_unit_test(alternative_names_follow_the_profile),
		cmocka_unit_test(dns_names_must_end_in_a_suffix_at_a_label),
		cmocka_unit_test(validity_is_bounded_by_profile_and_ca),
		cmocka_unit_test(not_before_is_not_before_the_cas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
