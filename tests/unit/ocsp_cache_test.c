/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_cache_test.c: what the cache of answers keeps, and what it must never give back. */
#include "ocsp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795255200) * CH_SECOND)

struct fixture {
	struct ch_metrics *metrics;
	struct ocsp_cache *cache;
};

static int make_cache(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	f->metrics = ch_metrics_new();
	f->cache = ocsp_cache_new(1 << 20, f->metrics);
	*state = f;
	return 0;
}

static int free_cache(void **state)
{
	struct fixture *f = *state;

	ocsp_cache_free(f->cache);
	ch_metrics_free(f->metrics);
	free(f);
	return 0;
}

/* A CertID as cache.c sees it: octets and a serial. Lives until the next but seven. */
static struct ch_cert_id id_of(int number, enum ch_cert_id_hash hash)
{
	static char texts[8][64];
	static int turn;
	char *text = texts[turn++ % 8];
	struct ch_cert_id id = { .hash = hash };

	snprintf(text, 64, "%016d%s", number, hash == CH_CERT_ID_SHA1 ? "sha1" : "sha256");
	id.whole = ch_view_text(text);
	id.serial = ch_view(text, 16);
	return id;
}

/* An answer of `size` octets about a certificate that is good, given out from `from_us` on, valid for an
 * hour. */
static struct ocsp_answer *answer_from(int64_t from_us, size_t size)
{
	const struct ocsp_single_response single = {
		.cert_id = ch_view_text("certificate"),
		.status = { .status = OCSP_GOOD },
		.window = { .this_update_us = from_us,
			    .next_update_us = from_us + CH_HOUR,
			    .from_us = from_us,
			    .renew_at_us = from_us + CH_HOUR / 2,
			    .stale_at_us = from_us + CH_HOUR / 2 + CH_MINUTE },
	};

	return ocsp_answer_new((struct ch_bytes){ ch_alloc(size), size }, &single);
}

static void keep(struct fixture *f, int number, enum ch_cert_id_hash hash, int64_t log_sequence)
{
	const struct ch_cert_id id = id_of(number, hash);
	CH_AUTO(ocsp_answer) answer = answer_from(NOW, 1000);

	memcpy(answer->response.data, &number, sizeof(number));
	ocsp_cache_keep(f->cache, 1, &id, answer, log_sequence, NOW);
}

static bool has(struct fixture *f, int number, enum ch_cert_id_hash hash, int64_t now_us)
{
	const struct ch_cert_id id = id_of(number, hash);
	CH_AUTO(ocsp_answer) answer = ocsp_cache_find(f->cache, &id, now_us);
	int found = -1;

	if (!answer)
		return false;
	memcpy(&found, answer->response.data, sizeof(found));
	assert_int_equal(found, number);
	return true;
}

static uint64_t gauge(struct fixture *f, const char *name)
{
	return ch_metric_value(ch_metrics_gauge(f->metrics, name, "", ""));
}

static void an_answer_is_found_by_its_cert_id_until_its_next_update(void **state)
{
	struct fixture *f = *state;

	assert_false(has(f, 1, CH_CERT_ID_SHA1, NOW));
	keep(f, 1, CH_CERT_ID_SHA1, 0);
	assert_true(has(f, 1, CH_CERT_ID_SHA1, NOW));
	assert_false(has(f, 1, CH_CERT_ID_SHA256, NOW));
	assert_false(has(f, 2, CH_CERT_ID_SHA1, NOW));
	assert_true(has(f, 1, CH_CERT_ID_SHA1, NOW + CH_HOUR - 1));
	assert_false(has(f, 1, CH_CERT_ID_SHA1, NOW + CH_HOUR));
	assert_int_equal(gauge(f, "chancery_ocsp_cache_entries"), 0);
}

static void a_status_change_drops_every_answer_about_the_certificate(void **state)
{
	struct fixture *f = *state;

	keep(f, 1, CH_CERT_ID_SHA1, 5);
	keep(f, 1, CH_CERT_ID_SHA256, 5);
	keep(f, 2, CH_CERT_ID_SHA1, 5);
	ocsp_cache_drop(f->cache, 6, 1, id_of(1, CH_CERT_ID_SHA1).serial);
	assert_false(has(f, 1, CH_CERT_ID_SHA1, NOW));
	assert_false(has(f, 1, CH_CERT_ID_SHA256, NOW));
	assert_true(has(f, 2, CH_CERT_ID_SHA1, NOW));
	/* Another CA's certificate with the same serial is another certificate. */
	ocsp_cache_drop(f->cache, 7, 2, id_of(2, CH_CERT_ID_SHA1).serial);
	assert_true(has(f, 2, CH_CERT_ID_SHA1, NOW));
}

/* A worker read "good" at sequence 5, the follower saw the revocation at 6, then the worker had its
 * signature. */
static void an_answer_from_before_the_change_is_not_kept_after_it(void **state)
{
	struct fixture *f = *state;

	ocsp_cache_drop(f->cache, 6, 1, id_of(1, CH_CERT_ID_SHA1).serial);
	keep(f, 1, CH_CERT_ID_SHA1, 5);
	assert_false(has(f, 1, CH_CERT_ID_SHA1, NOW));
	keep(f, 1, CH_CERT_ID_SHA1, 6);
	assert_true(has(f, 1, CH_CERT_ID_SHA1, NOW));
}

static void all_can_be_dropped(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 100; i++)
		keep(f, i, CH_CERT_ID_SHA1, 3);
	assert_int_equal(gauge(f, "chancery_ocsp_cache_entries"), 100);
	ocsp_cache_drop_all(f->cache, 9);
	assert_int_equal(gauge(f, "chancery_ocsp_cache_entries"), 0);
	assert_int_equal(gauge(f, "chancery_ocsp_cache_bytes"), 0);
	keep(f, 1, CH_CERT_ID_SHA1, 8);
	assert_false(has(f, 1, CH_CERT_ID_SHA1, NOW));
}

static void memory_is_bounded_and_the_least_used_goes_first(void **state)
{
	struct fixture *f = *state;

	keep(f, 0, CH_CERT_ID_SHA1, 0);
	for (int i = 1; i < 5000; i++) {
		keep(f, i, CH_CERT_ID_SHA1, 0);
		assert_true(has(f, 0, CH_CERT_ID_SHA1, NOW)); /* used all the time */
	}
	assert_true(gauge(f, "chancery_ocsp_cache_bytes") <= 1 << 20);
	assert_in_range(gauge(f, "chancery_ocsp_cache_entries"), 100, 1 << 10);
	assert_false(has(f, 1, CH_CERT_ID_SHA1, NOW));
	assert_true(has(f, 4999, CH_CERT_ID_SHA1, NOW));
}

static void a_newer_answer_takes_the_place_of_the_older(void **state)
{
	struct fixture *f = *state;
	const struct ch_cert_id id = id_of(1, CH_CERT_ID_SHA1);
	CH_AUTO(ocsp_answer) held = NULL;

	keep(f, 1, CH_CERT_ID_SHA1, 0);
	held = ocsp_cache_find(f->cache, &id, NOW);
	keep(f, 1, CH_CERT_ID_SHA1, 0);
	assert_int_equal(gauge(f, "chancery_ocsp_cache_entries"), 1);
	/* Who was being sent the older one still has it. */
	assert_int_equal(held->response.size, 1000);
	ocsp_cache_drop_all(f->cache, 1);
	assert_int_equal(held->response.data[0], 1);
}

/* Numbers from a request must not choose how much is copied. */
static void what_is_too_long_to_be_ours_is_not_kept(void **state)
{
	struct fixture *f = *state;
	uint8_t octets[512] = { 0 };
	struct ch_cert_id id = { .whole = ch_view(octets, sizeof(octets)), .serial = ch_view(octets, 16) };
	CH_AUTO(ocsp_answer) answer = answer_from(NOW, 4);

	ocsp_cache_keep(f->cache, 1, &id, answer, 0, NOW);
	assert_null(ocsp_cache_find(f->cache, &id, NOW));
	id.whole = ch_view(octets, 64);
	id.serial = ch_view(octets, 21);
	ocsp_cache_keep(f->cache, 1, &id, answer, 0, NOW);
	assert_null(ocsp_cache_find(f->cache, &id, NOW));
	ocsp_cache_drop(f->cache, 1, 1, ch_view(octets, 400));
	assert_int_equal(gauge(f, "chancery_ocsp_cache_entries"), 0);
}

static const struct ocsp_single_response said = {
	.cert_id = { (const uint8_t *)"certificate", 11 },
	.status = { .status = OCSP_REVOKED, .revoked_at_us = NOW - CH_DAY, .reason = 1 },
	.window = { .this_update_us = NOW,
		    .next_update_us = NOW + CH_HOUR,
		    .from_us = NOW + CH_SECOND,
		    .renew_at_us = NOW + CH_HOUR / 2 },
};

static char *etag_of(const struct ocsp_single_response *single, char octet)
{
	CH_AUTO(ocsp_answer)
	answer = ocsp_answer_new((struct ch_bytes){ (uint8_t *)ch_strdup((char[]){ octet, 0 }), 1 }, single);

	return ch_strdup(answer->etag);
}

/* RFC 5019 §6.2: dates as HTTP has them. */
static void an_answer_carries_its_http_headers(void **state)
{
	CH_AUTO(ocsp_answer)
	answer = ocsp_answer_new((struct ch_bytes){ (uint8_t *)ch_strdup("a"), 1 }, &said);

	assert_string_equal(answer->last_modified, "Sat, 21 Nov 2026 10:00:00 GMT");
	assert_string_equal(answer->expires, "Sat, 21 Nov 2026 11:00:00 GMT");
	assert_int_equal(strlen(answer->etag), 36);
	assert_memory_equal(answer->etag, "W/\"", 3);
	assert_int_equal(answer->etag[35], '"');
	assert_int_equal(atomic_load(&answer->renew_at_us), NOW + CH_HOUR / 2);
}

/* RFC 9110 §8.8.1: weak, since two responders' answers that say the same differ in producedAt and signature.
 */
static void the_entity_tag_is_of_what_is_said_whoever_says_it(void **state)
{
	CH_AUTO(ch_string) tag = etag_of(&said, 'a');
	CH_AUTO(ch_string) other_signature = etag_of(&said, 'b');
	struct ocsp_single_response changed[6] = { said, said, said, said, said, said };

	assert_string_equal(tag, other_signature);
	changed[0].cert_id = ch_view_text("Certificate");
	changed[1].status.status = OCSP_GOOD;
	changed[2].status.reason = 4;
	changed[3].status.revoked_at_us += CH_SECOND;
	changed[4].window.this_update_us += CH_SECOND;
	changed[5].window.next_update_us += CH_SECOND;
	for (size_t i = 0; i < CH_COUNT(changed); i++) {
		CH_AUTO(ch_string) another = etag_of(&changed[i], 'a');

		assert_string_not_equal(tag, another);
	}
}

static const struct ocsp_answer *found_at(struct fixture *f, int64_t now_us)
{
	const struct ch_cert_id id = id_of(1, CH_CERT_ID_SHA1);
	struct ocsp_answer *answer = ocsp_cache_find(f->cache, &id, now_us);

	ocsp_answer_release(answer); /* the cache or the test holds it still: only its address is compared */
	return answer;
}

static void what_is_made_ahead_waits_for_its_time(void **state)
{
	struct fixture *f = *state;
	const struct ch_cert_id id = id_of(1, CH_CERT_ID_SHA1);
	const int64_t later = NOW + CH_HOUR / 2;
	CH_AUTO(ocsp_answer) first = answer_from(NOW, 100);
	CH_AUTO(ocsp_answer) next = answer_from(later, 300);
	CH_AUTO(ocsp_answer) again = answer_from(later, 200);
	uint64_t alone;

	/* Nothing stands there that could be given out until then. */
	ocsp_cache_keep(f->cache, 1, &id, next, 0, NOW);
	assert_null(found_at(f, NOW));
	ocsp_cache_keep(f->cache, 1, &id, first, 0, NOW);
	alone = gauge(f, "chancery_ocsp_cache_bytes");
	ocsp_cache_keep(f->cache, 1, &id, next, 0, NOW);
	ocsp_cache_keep(f->cache, 1, &id, again, 0, NOW);
	assert_true(gauge(f, "chancery_ocsp_cache_bytes") > alone + 200);
	assert_true(gauge(f, "chancery_ocsp_cache_bytes") < alone + 200 + 2 * sizeof(*first));
	assert_ptr_equal(found_at(f, later - 1), first);
	assert_ptr_equal(found_at(f, later), again);
	assert_int_equal(gauge(f, "chancery_ocsp_cache_bytes"), alone + 100);
	assert_int_equal(gauge(f, "chancery_ocsp_cache_entries"), 1);
	/* A revocation drops what waits too. */
	ocsp_cache_keep(f->cache, 1, &id, next, 0, NOW);
	ocsp_cache_drop(f->cache, 6, 1, id.serial);
	assert_null(found_at(f, later));
	assert_int_equal(gauge(f, "chancery_ocsp_cache_bytes"), 0);
}

static void what_is_made_ahead_and_says_another_status_is_not_kept(void **state)
{
	struct fixture *f = *state;
	const struct ch_cert_id id = id_of(1, CH_CERT_ID_SHA1);
	CH_AUTO(ocsp_answer) first = answer_from(NOW, 100);
	CH_AUTO(ocsp_answer) next = answer_from(NOW + CH_HOUR / 2, 100);

	next->status = OCSP_REVOKED;
	ocsp_cache_keep(f->cache, 1, &id, first, 5, NOW);
	ocsp_cache_keep(f->cache, 1, &id, next, 6, NOW);
	assert_ptr_equal(found_at(f, NOW + CH_HOUR / 2), first);
}

static void what_a_lost_signer_made_ahead_is_dropped(void **state)
{
	struct fixture *f = *state;
	const struct ch_cert_id id = id_of(1, CH_CERT_ID_SHA1);
	const uint8_t lost[32] = { 9 };
	CH_AUTO(ocsp_answer) first = answer_from(NOW, 100);
	CH_AUTO(ocsp_answer) next = answer_from(NOW + CH_HOUR / 2, 100);

	memcpy(next->signer, lost, sizeof(lost));
	ocsp_cache_keep(f->cache, 1, &id, first, 5, NOW);
	ocsp_cache_keep(f->cache, 1, &id, next, 5, NOW);
	ocsp_cache_drop_signed(f->cache, 1, 1, lost);
	assert_ptr_not_equal(found_at(f, NOW + CH_HOUR / 2), next);
}

static void *churn(void *state)
{
	struct fixture *f = state;

	for (int i = 0; i < 3000; i++) {
		const int number = i % 40;
		char text[32];
		struct ch_cert_id id = CH_NONE;
		CH_AUTO(ocsp_answer) found = NULL;
		CH_AUTO(ocsp_answer) fresh = answer_from(NOW + (i % 3 ? 0 : CH_MINUTE), 16);

		snprintf(text, sizeof(text), "%016dx", number);
		id.whole = ch_view_text(text);
		id.serial = ch_view(text, 16);
		found = ocsp_cache_find(f->cache, &id, i % 100 ? NOW : NOW + CH_MINUTE);
		if (!found || i % 3 == 0)
			ocsp_cache_keep(f->cache, 1, &id, fresh, i, NOW);
		if (i % 7 == 0)
			ocsp_cache_drop(f->cache, i, 1, id.serial);
		if (i % 1000 == 999)
			ocsp_cache_drop_all(f->cache, i);
	}
	return NULL;
}

/* For ThreadSanitizer and AddressSanitizer to look at. */
static void threads_share_it(void **state)
{
	pthread_t threads[4];

	for (size_t i = 0; i < CH_COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, *state), 0);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
}

#define IN_FIXTURE(test) cmocka_unit_test_setup_teardown(test, make_cache, free_cache)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_FIXTURE(an_answer_is_found_by_its_cert_id_until_its_next_update),
		IN_FIXTURE(a_status_change_drops_every_answer_about_the_certificate),
		IN_FIXTURE(an_answer_from_before_the_change_is_not_kept_after_it),
		IN_FIXTURE(all_can_be_dropped),
		IN_FIXTURE(memory_is_bounded_and_the_least_used_goes_first),
		IN_FIXTURE(a_newer_answer_takes_the_place_of_the_older),
		IN_FIXTURE(what_is_too_long_to_be_ours_is_not_kept),
		cmocka_unit_test(an_answer_carries_its_http_headers),
		cmocka_unit_test(the_entity_tag_is_of_what_is_said_whoever_says_it),
		IN_FIXTURE(what_is_made_ahead_waits_for_its_time),
		IN_FIXTURE(what_is_made_ahead_and_says_another_status_is_not_kept),
		IN_FIXTURE(what_a_lost_signer_made_ahead_is_dropped),
		IN_FIXTURE(threads_share_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
