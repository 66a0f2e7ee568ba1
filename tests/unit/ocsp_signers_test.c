/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_signers_test.c: whom the OCSP responder does not believe any more, and what it says and serves then
 * (services/ocsp/authority.c, status.c, cache.c). */
#include "ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795255200) * CH_SECOND)

/* CAs 1 and 2, each with responders a and b, valid from NOW for a day. */
static struct ocsp_authorities *two_cas(void)
{
	struct ocsp_authorities *authorities = ocsp_authorities_new(2);

	for (size_t i = 0; i < 2; i++) {
		struct ocsp_authority *authority = &authorities->items[i];

		authority->ca_id = (int64_t)i + 1;
		authority->had_responder = true;
		memcpy(authority->name, i ? "two" : "one", 4);
		authority->responders = ch_alloc(2 * sizeof(*authority->responders));
		authority->responder_count = 2;
		for (size_t r = 0; r < 2; r++) {
			authority->responders[r].not_before_us = NOW;
			authority->responders[r].not_after_us = NOW + CH_DAY;
			memset(authority->responders[r].certificate_sha256, (int)(16 * i + r), 32);
		}
	}
	return authorities;
}
CH_DEFINE_AUTO_POINTER(authorities, struct ocsp_authorities, ocsp_authorities_release)

struct seen {
	size_t count;
	int64_t ca_id;
	const struct ocsp_responder *responder;
};

static void see(void *context, const struct ocsp_authority *authority, const struct ocsp_responder *responder)
{
	struct seen *seen = context;

	seen->count++;
	seen->ca_id = authority->ca_id;
	seen->responder = responder;
}

static void nothing_is_lost_while_all_is_as_it_was_or_more(void **state)
{
	CH_AUTO(authorities) before = two_cas();
	CH_AUTO(authorities) now = two_cas();

	before->items[0].responder_count = 1;
	assert_int_equal(ocsp_authorities_lost(before, now, NULL, NULL), 0);
}

static void a_responder_that_is_there_no_more_is_lost(void **state)
{
	CH_AUTO(authorities) before = two_cas();
	CH_AUTO(authorities) now = two_cas();
	struct seen seen = CH_NONE;

	now->items[1].responder_count = 1;
	assert_int_equal(ocsp_authorities_lost(before, now, see, &seen), 1);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.ca_id, 2);
	assert_ptr_equal(seen.responder, &before->items[1].responders[1]);
	/* The same certificate of another CA is no substitute. */
	memset(now->items[0].responders[1].certificate_sha256, 17, 32);
	assert_int_equal(ocsp_authorities_lost(before, now, NULL, NULL), 2);
}

static void a_ca_that_vanishes_takes_its_responders_with_it(void **state)
{
	CH_AUTO(authorities) before = two_cas();
	CH_AUTO(authorities) now = two_cas();

	now->items[1].ca_id = 3;
	assert_int_equal(ocsp_authorities_lost(before, now, NULL, NULL), 2);
}

static void a_compromise_of_the_ca_is_a_loss_once(void **state)
{
	CH_AUTO(authorities) before = two_cas();
	CH_AUTO(authorities) now = two_cas();
	struct seen seen = CH_NONE;

	now->items[0].compromised_at_us = NOW;
	assert_int_equal(ocsp_authorities_lost(before, now, see, &seen), 1);
	assert_int_equal(seen.ca_id, 1);
	assert_null(seen.responder);
	before->items[0].compromised_at_us = NOW;
	assert_int_equal(ocsp_authorities_lost(before, now, NULL, NULL), 0);
}

static void silence_is_told_of_cas_that_had_a_responder(void **state)
{
	CH_AUTO(authorities) now = two_cas();
	size_t served;
	char why[128];

	assert_int_equal(ocsp_authorities_silent(now, NOW, &served, why, sizeof(why)), 0);
	assert_int_equal(served, 2);
	assert_string_equal(why, "");
	now->items[1].responder_count = 0;
	memcpy(now->items[1].obstacle, "its key is compromised", 23);
	assert_int_equal(ocsp_authorities_silent(now, NOW, &served, why, sizeof(why)), 1);
	assert_int_equal(served, 1);
	assert_string_equal(why, "CA 'two' has no responder: its key is compromised");
	now->items[1].had_responder = false; /* a new CA, or one that has none by its document */
	assert_int_equal(ocsp_authorities_silent(now, NOW, &served, why, sizeof(why)), 0);
	assert_int_equal(ocsp_authorities_silent(now, NOW + CH_DAY, &served, why, sizeof(why)), 1);
	assert_int_equal(served, 0);
	assert_string_equal(why, "CA 'one' has no responder: its certificate has ended");
}

/* RFC 6960 §2.7 */
static void a_compromised_ca_has_issued_nothing_that_is_good(void **state)
{
	const struct {
		enum ocsp_status status;
		int64_t revoked_at;
		int reason;
		enum ocsp_status expected;
		int64_t expected_at;
		int expected_reason;
	} cases[] = {
		{ OCSP_GOOD, 0, 0, OCSP_REVOKED, NOW, 2 },
		{ OCSP_UNKNOWN, 0, 0, OCSP_UNKNOWN, 0, 0 },
		{ OCSP_REVOKED, NOW - CH_DAY, 4, OCSP_REVOKED, NOW - CH_DAY, 4 },
		/* on hold: not to be released any more */
		{ OCSP_REVOKED, NOW - CH_DAY, 6, OCSP_REVOKED, NOW - CH_DAY, 2 },
		{ OCSP_REVOKED, NOW + CH_DAY, 6, OCSP_REVOKED, NOW, 2 },
	};

	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		struct ocsp_certificate_status status = { .status = cases[i].status,
							  .revoked_at_us = cases[i].revoked_at,
							  .reason = cases[i].reason };

		ocsp_status_of_compromised_ca(&status, NOW);
		assert_int_equal(status.status, cases[i].expected);
		assert_int_equal(status.revoked_at_us, cases[i].expected_at);
		assert_int_equal(status.reason, cases[i].expected_reason);
	}
}

/* --- the cache --- */

static const uint8_t signer_a[32] = { 'a' }, signer_b[32] = { 'b' };

static struct ch_cert_id id_of(int64_t ca_id, int number, char text[32])
{
	snprintf(text, 32, "%08d%08d", (int)ca_id, number);
	return (struct ch_cert_id){ .whole = ch_view(text, 16), .serial = ch_view(text + 8, 8) };
}

static void keep(struct ocsp_cache *cache, int64_t ca_id, int number, const uint8_t signer[32],
		 int64_t version)
{
	struct ch_bytes response = { ch_alloc(10), 10 };
	const struct ocsp_single_response single = {
		.window = { .this_update_us = NOW, .next_update_us = NOW + CH_HOUR, .from_us = NOW }
	};
	CH_AUTO(ocsp_answer) answer = ocsp_answer_new(response, &single);
	char text[32];
	const struct ch_cert_id id = id_of(ca_id, number, text);

	memcpy(answer->signer, signer, 32);
	answer->signers_version = version;
	ocsp_cache_keep(cache, ca_id, &id, answer, 0, NOW);
}

static bool has(struct ocsp_cache *cache, int64_t ca_id, int number)
{
	char text[32];
	const struct ch_cert_id id = id_of(ca_id, number, text);
	CH_AUTO(ocsp_answer) answer = ocsp_cache_find(cache, &id, NOW);

	return answer != NULL;
}

static void what_a_lost_responder_signed_is_served_no_more(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct ocsp_cache *cache = ocsp_cache_new(1 << 20, metrics);

	for (int i = 0; i < 40; i++) /* in every shard */
		keep(cache, 1, i, i % 2 ? signer_a : signer_b, 0);
	keep(cache, 2, 1, signer_a, 0);
	ocsp_cache_drop_signed(cache, 1, 1, signer_a);
	for (int i = 0; i < 40; i++)
		assert_int_equal(has(cache, 1, i), i % 2 == 0);
	assert_true(has(cache, 2, 1));
	/* A signature that was under way meanwhile is not kept; what is chosen from now on is. */
	keep(cache, 1, 1, signer_a, 0);
	assert_false(has(cache, 1, 1));
	keep(cache, 1, 1, signer_b, 1);
	assert_true(has(cache, 1, 1));
	/* The CA itself: whoever signed. */
	ocsp_cache_drop_signed(cache, 2, 1, NULL);
	for (int i = 0; i < 40; i++)
		assert_false(has(cache, 1, i));
	assert_true(has(cache, 2, 1));
	ocsp_cache_free(cache);
	ch_metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_while_all_is_as_it_was_or_more),
		cmocka_unit_test(a_responder_that_is_there_no_more_is_lost),
		cmocka_unit_test(a_ca_that_vanishes_takes_its_responders_with_it),
		cmocka_unit_test(a_compromise_of_the_ca_is_a_loss_once),
		cmocka_unit_test(silence_is_told_of_cas_that_had_a_responder),
		cmocka_unit_test(a_compromised_ca_has_issued_nothing_that_is_good),
		cmocka_unit_test(what_a_lost_responder_signed_is_served_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
