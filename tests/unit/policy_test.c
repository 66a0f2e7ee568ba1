/* SPDX-License-Identifier: Apache-2.0 */
/* policy_test.c: which requests a profile and a CA allow, and what a refusal says. */
#include "issuer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SERVER                                                               \
	"extended_key_usage: [serverAuth]\n"                                 \
	"subject: { allowed: [CN, O, C], required: [], common_name: any }\n" \
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

/* zlint e_subject_common_name_not_exactly_from_san; with serverAuth nobody has to ask for it. */
static void a_servers_common_name_is_one_of_its_alternative_names(void **state)
{
#define SERVER_AUTO                                                      \
	"extended_key_usage: [serverAuth]\nsubject: { allowed: [CN] }\n" \
	"subject_alt_names: { allowed: [dns, ip], maximum: 3 }\n"
	assert_allowed((struct attempt){ .profile = SERVER_AUTO });
	assert_allowed((struct attempt){ .profile = SERVER_AUTO, .subject = "" });
	assert_allowed((struct attempt){
		.profile = SERVER_AUTO, .subject = "CN=192.0.2.1", .sans = "DNS:a.example,IP:192.0.2.1" });
	assert_refused((struct attempt){ .profile = SERVER_AUTO, .subject = "CN=evil.example" },
		       "CN 'evil.example' is none of the dns and ip names");
	assert_allowed((struct attempt){ .profile = SERVER_AUTO, .subject = "CN=WWW.example.com" });
	assert_allowed(
		(struct attempt){ .profile = "extended_key_usage: [clientAuth]\nsubject: { allowed: [CN] }\n"
					     "subject_alt_names: { allowed: [dns] }\n",
				  .subject = "CN=Alice" });
	assert_refused((struct attempt){ .profile = "subject: { allowed: [CN], common_name: san }\n"
						    "subject_alt_names: { allowed: [dns] }\n",
					 .subject = "CN=Alice" },
		       "CN 'Alice'");
#undef SERVER_AUTO
}

/* RFC 4343: in either case it is the same name. Letter for letter as the alternative name in what is signed.
 */
static void a_common_name_is_spelt_as_its_alternative_name(void **state)
{
	static const char *const names[][2] = {
		{ "CN=WEB01.Example.COM,O=Web01.Example", "CN=web01.example.com,O=Web01.Example" },
		{ "CN=WEB02.example.com", "CN=WEB02.example.com" }, /* another host */
		{ "CN=WEB01", "CN=WEB01" },
	};
	CH_AUTO(ch_sans) sans = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(ch_sans_add(&sans, "dns", "Web01.Example.com", &err));
	assert_true(ch_sans_add(&sans, "email", "WEB02@example.com", &err));
	for (size_t i = 0; i < CH_COUNT(names); i++) {
		CH_AUTO(ch_bytes) subject = CH_NONE, expected = CH_NONE;

		assert_true(ch_name_parse(names[i][0], &subject, &err));
		assert_true(ch_name_parse(names[i][1], &expected, &err));
		ch_names_follow_sans(&subject, &sans);
		assert_true(ch_view_equal(ch_view_of(&subject), ch_view_of(&expected)));
	}
}

/* Wherever a reader looks for a host. */
static void suffixes_and_ranges_bind_every_host(void **state)
{
#define BOUND                                                                                           \
	"subject: { allowed: [CN, emailAddress] }\n"                                                    \
	"subject_alt_names: { allowed: [dns, ip, email, uri], dns_suffixes: [example.com], ip_ranges: " \
	"[192.0.2.0/25, '2001:db8::/33'] }\n"
	assert_allowed(
		(struct attempt){ .profile = BOUND,
				  .subject = "CN=www.example.com,emailAddress=a@example.com",
				  .sans = "DNS:a.example.com,IP:192.0.2.127,IP:2001:db8::1,"
					  "email:a@mail.example.com,URI:https://x@w.example.com:1/p" });
	assert_allowed((struct attempt){ .profile = BOUND, .subject = "CN=Alice A. Example" });
	assert_allowed((struct attempt){ .profile = BOUND, .subject = "", .sans = "URI:urn:x:y" });
	assert_refused((struct attempt){ .profile = BOUND, .subject = "CN=www.evil.example" }, "CN www.evil");
	assert_refused((struct attempt){ .profile = BOUND, .subject = "CN=*.evil.example" }, "CN *.evil");
	assert_refused((struct attempt){ .profile = BOUND, .subject = "CN=a@evil.example" }, "CN evil");
	assert_refused((struct attempt){ .profile = BOUND, .subject = "CN=https://evil.example/" },
		       "CN evil");
	assert_refused((struct attempt){ .profile = BOUND, .subject = "CN=203.0.113.1" }, "CN 203.0.113.1");
	assert_refused((struct attempt){ .profile = BOUND, .subject = "emailAddress=a@evil.example" },
		       "emailAddress evil.example ends in none of: example.com");
	assert_refused((struct attempt){ .profile = BOUND, .subject = "emailAddress=nobody" },
		       "not a mailbox");
	assert_refused((struct attempt){ .profile = BOUND, .sans = "email:a@notexample.com" },
		       "email:notexample");
	assert_refused((struct attempt){ .profile = BOUND, .sans = "URI:https://evil.example/x@example.com" },
		       "uri:evil.example");
	assert_refused((struct attempt){ .profile = BOUND, .sans = "URI:https://203.0.113.1/" },
		       "203.0.113.1");
	assert_refused((struct attempt){ .profile = BOUND, .sans = "URI:https://[2001:db9::1]/" },
		       "2001:db9");
	assert_refused((struct attempt){ .profile = BOUND, .sans = "IP:192.0.2.128" },
		       "ip:192.0.2.128 is in none of: 192.0.2.0/25");
	assert_refused((struct attempt){ .profile = BOUND, .sans = "IP:2001:db8:8000::1" }, "is in none of");
#undef BOUND
}

static void ranges_are_prefixes(void **state)
{
	static const struct {
		const char *range, *in, *out;
	} good[] = {
		{ "0.0.0.0/0", "203.0.113.9", "::1" },
		{ "10.0.0.0/8", "10.255.0.1", "11.0.0.0" },
		{ "192.0.2.7/32", "192.0.2.7", "192.0.2.6" },
		{ "192.0.2.96/27", "192.0.2.127", "192.0.2.128" },
		{ "::/0", "2001:db8::1", "192.0.2.1" },
		{ "2001:db8::/127", "2001:db8::1", "2001:db8::2" },
	};
	static const char *const bad[] = { "",           "192.0.2.0", "192.0.2.0/33", "192.0.2.1/24",
					   "192.0.2.0/", "a/8",       "192.0.2.0/8x", "2001:db8::1/64",
					   "::/129",     "/8",        "::/-1",        "192.0.2.0/ 8" };
	bool valid;

	for (size_t i = 0; i < CH_COUNT(good); i++) {
		assert_true(ch_ip_range_contains(good[i].range, good[i].in, &valid) && valid);
		assert_false(ch_ip_range_contains(good[i].range, good[i].out, &valid));
		assert_true(valid);
	}
	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		assert_false(ch_ip_range_contains(bad[i], "192.0.2.1", &valid));
		assert_false(valid);
	}
}

static void a_cas_name_is_nobody_elses(void **state)
{
#define ANY "subject: { allowed: [CN, O, C] }\nsubject_alt_names: { allowed: [dns] }\n"
	assert_refused((struct attempt){ .profile = ANY, .subject = "C=CH,O=Example,CN=Example Issuing CA" },
		       "is the name of CA 'example-issuing'");
	assert_refused((struct attempt){ .profile = ANY, .subject = "C=CH,O=EXAMPLE,CN=example  issuing ca" },
		       "is the name of CA 'example-issuing'");
	assert_allowed(
		(struct attempt){ .profile = ANY, .subject = "C=CH,O=Example,CN=Example Issuing CA 2" });
	assert_refused((struct attempt){ .profile = ANY, .subject = "CN=a,C=QQ" }, "no country");
	assert_refused((struct attempt){ .profile = ANY, .subject = "CN=a " }, "begins or ends with a space");
#undef ANY
}

/* RFC 5890 §2.3.2.1 */
static void a_labels_decode(void **state)
{
	assert_allowed((struct attempt){ .sans = "DNS:xn--bcher-kva.example,DNS:XN--FIQS8S.example" });
	assert_refused((struct attempt){ .sans = "DNS:xn--0.example" }, "no A-label");
	assert_refused((struct attempt){ .sans = "DNS:*.xn--abc.example" }, "no A-label");
	assert_refused((struct attempt){ .sans = "DNS:ab--cd.example" }, "no A-label");
	assert_refused((struct attempt){ .sans = "DNS:xn--.example" }, "example");
}

/* CA/Browser Forum BR §6.3.2: the caps fall at midnight UTC. */
static void browsers_caps_fall_by_date(void **state)
{
#define CAPPED                                                           \
	"extended_key_usage: [serverAuth]\nsubject: { allowed: [CN] }\n" \
	"subject_alt_names: { allowed: [dns] }\n"
#define MARCH_15_2026 INT64_C(1773532800)
#define MARCH_15_2027 INT64_C(1805068800)
#define MARCH_15_2029 INT64_C(1868227200)
	static const struct {
		int64_t at_s, days;
	} days[] = { { MARCH_15_2026 - 1, 398 }, { MARCH_15_2026, 200 },     { MARCH_15_2027 - 1, 200 },
		     { MARCH_15_2027, 100 },     { MARCH_15_2029 - 1, 100 }, { MARCH_15_2029, 47 } };
	struct fixture fixture;
	CH_AUTO(ch_profile) profile = CH_NONE;
	struct ch_error err = CH_NONE;
	struct ch_order order;

	fixture_begin(&fixture);
	fixture_profile(&profile, CAPPED);
	fixture.ca.not_before_us = 0;
	fixture.ca.not_after_us = INT64_C(4102444800) * CH_SECOND;
	for (size_t i = 0; i < CH_COUNT(days); i++) {
		int64_t now_us = days[i].at_s * CH_SECOND;

		free(profile.validity.caps);
		profile.validity.caps = ch_strdup("browsers");
		assert_true(ch_policy_validity(&profile, &fixture.ca, days[i].days * CH_DAY, now_us, &order,
					       &err));
		assert_true(order.not_after_us - order.not_before_us == days[i].days * CH_DAY - CH_SECOND);
		assert_int_equal(ch_policy_validity(&profile, &fixture.ca, days[i].days * CH_DAY + CH_SECOND,
						    now_us, &order, &err),
				 false);
		assert_true(ch_policy_validity(&profile, &fixture.ca, 0, now_us, &order, &err));
		assert_true(order.not_after_us - order.not_before_us <= days[i].days * CH_DAY - CH_SECOND);
		free(profile.validity.caps);
		profile.validity.caps = ch_strdup("none");
		assert_true(ch_policy_validity(&profile, &fixture.ca, 398 * CH_DAY, now_us, &order, &err));
	}
	fixture_end(&fixture);
#undef CAPPED
#undef MARCH_15_2026
#undef MARCH_15_2027
#undef MARCH_15_2029
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
		cmocka_unit_test(a_servers_common_name_is_one_of_its_alternative_names),
		cmocka_unit_test(a_common_name_is_spelt_as_its_alternative_name),
		cmocka_unit_test(suffixes_and_ranges_bind_every_host),
		cmocka_unit_test(ranges_are_prefixes),
		cmocka_unit_test(a_cas_name_is_nobody_elses),
		cmocka_unit_test(a_labels_decode),
		cmocka_unit_test(browsers_caps_fall_by_date),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
