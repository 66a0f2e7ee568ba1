/* SPDX-License-Identifier: Apache-2.0 */
/* envelope_test.c: who may be believed: identities, signatures, the clock window and replays. */
#include "envelope/envelope.h"
#include "system_ca.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct system_ca ca;
	struct ch_identity_config vault_files, ocsp_files;
	struct ch_identity *vault, *ocsp;
	int64_t now;
	struct ch_clock clock;
	struct ch_replay *replay;
};

static int64_t moved_clock(void *context)
{
	return *(int64_t *)context;
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_error err = CH_NONE;

	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "vault", "vault-1", -60, 3600, &f->vault_files);
	system_ca_issue(&f->ca, "ocsp", "ocsp-1", -60, 3600, &f->ocsp_files);
	assert_true(ch_identity_load(&f->vault_files, "vault", "vault-1", &f->vault, &err));
	assert_true(ch_identity_load(&f->ocsp_files, NULL, NULL, &f->ocsp, &err));
	f->now = ch_clock_now_us(ch_clock_system());
	f->clock = (struct ch_clock){ moved_clock, &f->now };
	f->replay = ch_replay_new(1000, &f->clock);
	f->now += CH_SECOND;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_replay_free(f->replay);
	ch_identity_free(f->vault);
	ch_identity_free(f->ocsp);
	system_ca_forget(&f->vault_files);
	system_ca_forget(&f->ocsp_files);
	system_ca_remove(&f->ca);
	free(f);
	return 0;
}

static struct ch_bytes seal(struct fixture *f, const char *to, int64_t deadline_us)
{
	Chancery__Body body = CHANCERY__BODY__INIT;
	uint8_t id[16] = "0123456789abcdef";
	struct ch_bytes envelope = CH_NONE;
	struct ch_error err = CH_NONE;

	body.message_id = (ProtobufCBinaryData){ sizeof(id), id };
	body.to_service = (char *)(uintptr_t)to;
	body.deadline_us = deadline_us;
	body.payload_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING;
	assert_true(ch_envelope_seal(f->ocsp, &f->clock, &body, &envelope, NULL, &err));
	return envelope;
}

/* To the vault, with that tenant and trace id. */
static struct ch_bytes seal_named(struct fixture *f, size_t tenant, size_t trace)
{
	Chancery__Body body = CHANCERY__BODY__INIT;
	uint8_t id[16] = "0123456789abcdef";
	struct ch_bytes envelope = CH_NONE;
	char long_tenant[200] = "", long_trace[200] = "";

	memset(long_tenant, 't', tenant);
	memset(long_trace, 'x', trace);
	body.message_id = (ProtobufCBinaryData){ sizeof(id), id };
	body.to_service = (char *)(uintptr_t) "vault";
	body.deadline_us = f->now + CH_MINUTE;
	body.tenant = long_tenant;
	body.trace_id = long_trace;
	body.payload_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING;
	assert_true(ch_envelope_seal(f->ocsp, &f->clock, &body, &envelope, NULL, NULL));
	return envelope;
}

static void assert_opens(struct fixture *f, struct ch_view envelope, enum ch_code code, const char *text)
{
	struct ch_message message;
	struct ch_error err = CH_NONE;
	bool opened = ch_envelope_open(f->vault, &f->clock, f->replay, envelope, &message, &err);

	ch_message_free(&message);
	if (err.code != code)
		print_message("%s: %s\n", ch_code_name(err.code), err.message);
	assert_int_equal(opened, code == CH_OK);
	assert_int_equal(err.code, code);
	if (text)
		assert_non_null(strstr(err.message, text));
	if (text && (strstr(text, "clock") || strstr(text, "deadline")))
		assert_false(err.retryable); /* another nonce does not help */
}

static void what_was_sealed_opens_and_names_its_sender(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) envelope = seal(f, "vault", f->now + CH_SECOND);
	CH_AUTO(ch_message) message = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(ch_envelope_open(f->vault, &f->clock, f->replay, ch_view_of(&envelope), &message, &err));
	assert_string_equal(message.sender.service, "ocsp");
	assert_string_equal(message.sender.instance, "ocsp-1");
	assert_string_equal(message.body->to_service, "vault");
}

static void every_changed_octet_is_refused(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) envelope = seal(f, "vault", f->now + CH_SECOND);
	struct ch_error err;

	for (size_t i = 0; i < envelope.size; i++) {
		CH_AUTO(ch_message) message = CH_NONE;

		envelope.data[i] ^= 0x10;
		err = (struct ch_error)CH_NONE;
		assert_false(ch_envelope_open(f->vault, &f->clock, f->replay, ch_view_of(&envelope), &message,
					      &err));
		assert_true(err.code == CH_INVALID || err.code == CH_UNAUTHENTICATED);
		envelope.data[i] ^= 0x10;
	}
	assert_opens(f, ch_view_of(&envelope), CH_OK, NULL);
}

static void every_truncation_is_refused(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) envelope = seal(f, "vault", f->now + CH_SECOND);

	for (size_t size = 0; size < envelope.size; size++) {
		CH_AUTO(ch_message) message = CH_NONE;

		assert_false(ch_envelope_open(f->vault, &f->clock, f->replay, ch_view(envelope.data, size),
					      &message, NULL));
	}
}

static void the_same_message_again_is_a_replay(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) envelope = seal(f, "vault", f->now + CH_MINUTE);

	assert_opens(f, ch_view_of(&envelope), CH_OK, NULL);
	assert_opens(f, ch_view_of(&envelope), CH_REPLAYED, "nonce");
	f->now += 29 * CH_SECOND;
	assert_opens(f, ch_view_of(&envelope), CH_REPLAYED, NULL);
	f->now += 2 * CH_SECOND;
	assert_opens(f, ch_view_of(&envelope), CH_EXPIRED, "clock");
	f->now -= 30 * CH_SECOND; /* a clock that steps back makes nothing new again */
	assert_opens(f, ch_view_of(&envelope), CH_REPLAYED, NULL);
}

static void a_message_for_another_service_is_denied(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) envelope = seal(f, "issuer", f->now + CH_SECOND);

	assert_opens(f, ch_view_of(&envelope), CH_DENIED, "addressed to service 'issuer', this is 'vault'");
}

static void the_clock_window_holds_both_ways(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) past = seal(f, "vault", f->now + CH_HOUR);
	CH_AUTO(ch_bytes) future = CH_NONE;

	f->now += CH_ENVELOPE_WINDOW + 1;
	assert_opens(f, ch_view_of(&past), CH_EXPIRED, "clock");
	future = seal(f, "vault", f->now + CH_HOUR);
	f->now -= CH_ENVELOPE_WINDOW + 1;
	assert_opens(f, ch_view_of(&future), CH_EXPIRED, "clock");
	f->now += 1;
	assert_opens(f, ch_view_of(&future), CH_OK, NULL);
}

static void a_deadline_that_passed_is_expired_and_one_is_needed(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) late = seal(f, "vault", f->now - CH_SECOND);
	CH_AUTO(ch_bytes) none = seal(f, "vault", 0);

	assert_opens(f, ch_view_of(&late), CH_EXPIRED, "deadline");
	assert_opens(f, ch_view_of(&none), CH_INVALID, "no deadline");
}

static void a_deadline_of_this_very_moment_has_passed(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) at = seal(f, "vault", f->now + 1);

	assert_opens(f, ch_view_of(&at), CH_OK, NULL);
	ch_bytes_free(&at);
	at = seal(f, "vault", f->now);
	assert_opens(f, ch_view_of(&at), CH_EXPIRED, "deadline passed 0 ms ago");
	ch_bytes_free(&at);
	at = seal(f, "vault", 1); /* one, though long ago */
	assert_opens(f, ch_view_of(&at), CH_EXPIRED, "deadline");
}

static void tenant_and_trace_id_have_128_octets_at_most(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) longest = seal_named(f, 128, 128), tenant = seal_named(f, 129, 1),
			  trace = seal_named(f, 1, 129);

	assert_opens(f, ch_view_of(&longest), CH_OK, NULL);
	assert_opens(f, ch_view_of(&tenant), CH_INVALID, "tenant or trace_id is over 128 octets");
	assert_opens(f, ch_view_of(&trace), CH_INVALID, "tenant or trace_id is over 128 octets");
}

static void what_was_sent_before_a_restart_asks_for_a_fresh_nonce(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) envelope = seal(f, "vault", f->now + CH_MINUTE);
	CH_AUTO(ch_bytes) fresh = CH_NONE;
	CH_AUTO(ch_message) message = CH_NONE;
	struct ch_error err = CH_NONE;

	ch_replay_free(f->replay);
	f->now += CH_SECOND;
	f->replay = ch_replay_new(1000, &f->clock);
	assert_false(ch_envelope_open(f->vault, &f->clock, f->replay, ch_view_of(&envelope), &message, &err));
	assert_int_equal(err.code, CH_EXPIRED);
	assert_true(err.retryable);
	f->now += 1;
	fresh = seal(f, "vault", f->now + CH_MINUTE);
	assert_opens(f, ch_view_of(&fresh), CH_OK, NULL);
}

/* Nonces that have left the window are forgotten; the clock then steps back to where they would count. */
static void a_clock_that_steps_back_makes_nothing_new_again(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) first = CH_NONE, later = CH_NONE, fresh = CH_NONE;

	f->now += CH_MINUTE;
	first = seal(f, "vault", f->now + CH_HOUR);
	assert_opens(f, ch_view_of(&first), CH_OK, NULL);
	f->now += CH_ENVELOPE_WINDOW + 3 * CH_SECOND;
	later = seal(f, "vault", f->now + CH_HOUR);
	assert_opens(f, ch_view_of(&later), CH_OK, NULL); /* and what was before the window is dropped */
	f->now -= CH_ENVELOPE_WINDOW;
	assert_opens(f, ch_view_of(&first), CH_EXPIRED, "forgotten");
	assert_opens(f, ch_view_of(&later), CH_REPLAYED, NULL);
	fresh = seal(f, "vault", f->now + CH_HOUR);
	assert_opens(f, ch_view_of(&fresh), CH_OK, NULL);
}

#define STEP (10 * CH_MINUTE)

/* A whole machine ten minutes ahead and back: nothing is taken twice, and nobody waits for ten minutes. */
static void after_a_step_ahead_and_back_new_messages_are_taken_at_once(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) before = CH_NONE, ahead = CH_NONE, after = CH_NONE;

	f->now += CH_MINUTE;
	before = seal(f, "vault", f->now + CH_DAY);
	assert_opens(f, ch_view_of(&before), CH_OK, NULL);
	f->now += STEP;
	ahead = seal(f, "vault", f->now + CH_DAY);
	assert_opens(f, ch_view_of(&ahead), CH_OK, NULL);
	f->now -= STEP - 2 * CH_SECOND;
	after = seal(f, "vault", f->now + CH_DAY);
	assert_opens(f, ch_view_of(&after), CH_OK, NULL);
	assert_opens(f, ch_view_of(&before), CH_EXPIRED, "forgotten");
	for (int i = 0; i < 200; i++) { /* the same places of the ring are used again */
		CH_AUTO(ch_bytes) filler = CH_NONE;

		f->now += CH_SECOND;
		filler = seal(f, "vault", f->now + CH_DAY);
		assert_opens(f, ch_view_of(&filler), CH_OK, NULL);
	}
	f->now += STEP - 202 * CH_SECOND; /* when the messages from ahead would count once more */
	assert_opens(f, ch_view_of(&ahead), CH_EXPIRED, "forgotten");
}

/* A machine that starts with a wrong clock, which is put right half an hour back soon afterwards. */
static void a_clock_that_was_ahead_at_the_start_is_put_right(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) older = CH_NONE, after = CH_NONE;

	f->now += CH_HOUR / 2;
	ch_replay_free(f->replay);
	f->replay = ch_replay_new(1000, &f->clock);
	f->now -= CH_HOUR / 2 + 5 * CH_SECOND;
	older = seal(f, "vault", f->now + CH_DAY);
	f->now += 5 * CH_SECOND;
	assert_opens(f, ch_view_of(&older), CH_EXPIRED, "before this instance began");
	f->now += CH_SECOND;
	after = seal(f, "vault", f->now + CH_DAY);
	assert_opens(f, ch_view_of(&after), CH_OK, NULL);
	assert_opens(f, ch_view_of(&after), CH_REPLAYED, NULL);
}

/* Less than two windows back, what the run before has taken is not taken again. */
static void a_clock_that_is_put_back_a_little_opens_nothing_of_the_run_before(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) before = CH_NONE;

	f->now -= 5 * CH_SECOND;
	before = seal(f, "vault", f->now + CH_DAY);
	f->now -= 10 * CH_SECOND;
	assert_opens(f, ch_view_of(&before), CH_EXPIRED, "forgotten");
}

/* A clock some seconds from ours passes the window; a deadline written by it means the same time. */
static void a_deadline_is_read_by_its_senders_clock(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) behind = CH_NONE, late = CH_NONE;
	CH_AUTO(ch_message) message = CH_NONE;
	struct ch_error err = CH_NONE;

	f->now += CH_MINUTE;
	behind = seal(f, "vault", f->now + 5 * CH_SECOND);
	f->now += 20 * CH_SECOND; /* the sender is 20 s behind us */
	assert_true(ch_envelope_open(f->vault, &f->clock, f->replay, ch_view_of(&behind), &message, &err));
	assert_int_equal(message.body->deadline_us, f->now + 5 * CH_SECOND);
	f->now -= 20 * CH_SECOND;
	late = seal(f, "vault", f->now - CH_SECOND);
	f->now += 20 * CH_SECOND;
	assert_opens(f, ch_view_of(&late), CH_EXPIRED, "deadline passed 1000 ms ago");
}

static void a_full_replay_cache_forgets_nothing_that_could_be_sent_again(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) first = seal(f, "vault", f->now + CH_MINUTE);

	assert_opens(f, ch_view_of(&first), CH_OK, NULL);
	for (int i = 0; i < 3000; i++) { /* the cache holds 1,000 */
		uint8_t nonce[16];
		struct ch_error err = CH_NONE;

		f->now += CH_SECOND / 200;
		ch_random(nonce, sizeof(nonce));
		assert_true(ch_replay_check(f->replay, nonce, f->now, &err));
		assert_false(ch_replay_check(f->replay, nonce, f->now, &err));
		assert_int_equal(err.code, CH_REPLAYED);
	}
	assert_opens(f, ch_view_of(&first), CH_EXPIRED, NULL);
}

static void a_reply_is_not_a_request(void **state)
{
	struct fixture *f = *state;
	Chancery__Body body = CHANCERY__BODY__INIT;
	uint8_t id[16] = "0123456789abcdef", digest[32] = { 1 };
	CH_AUTO(ch_bytes) envelope = CH_NONE;

	body.message_id = (ProtobufCBinaryData){ sizeof(id), id };
	body.to_service = (char *)(uintptr_t) "vault";
	body.deadline_us = f->now + CH_SECOND;
	body.request_digest = (ProtobufCBinaryData){ sizeof(digest), digest };
	assert_true(ch_envelope_seal(f->ocsp, &f->clock, &body, &envelope, NULL, NULL));
	assert_opens(f, ch_view_of(&envelope), CH_INVALID, "request_digest");
}

static void text_that_is_not_utf8_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "\xff", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80" };

	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		CH_AUTO(ch_bytes) envelope = seal(f, bad[i], f->now + CH_SECOND);

		assert_opens(f, ch_view_of(&envelope), CH_INVALID, "to_service");
	}
}

/* --- identities --------------------------------------------------------------------------------------------
 */

static void assert_identity_refused(struct fixture *f, struct ch_identity_config *files, const char *text)
{
	CH_AUTO(ch_identity) identity = NULL;
	struct ch_error err = CH_NONE;

	assert_false(ch_identity_load(files, NULL, NULL, &identity, &err));
	if (!strstr(err.message, text))
		print_message("%s\n", err.message);
	assert_non_null(strstr(err.message, text));
	system_ca_forget(files);
}

static void identities_that_are_not_plain_service_identities_are_refused(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_config files;

	system_ca_issue_odd(&f->ca, "vault", "chancery:service/vault", "P-256", 0, &files);
	assert_identity_refused(f, &files, "names no service");
	system_ca_issue_odd(&f->ca, "vault", "chancery:service/Vault/a", "P-256", 0, &files);
	assert_identity_refused(f, &files, "names no service");
	system_ca_issue_odd(&f->ca, "vault", "chancery:service/vault/a/b", "P-256", 0, &files);
	assert_identity_refused(f, &files, "names no service");
	system_ca_issue_odd(&f->ca, "vault", "http://vault", "P-256", 0, &files);
	assert_identity_refused(f, &files, "0 names");
	system_ca_issue_odd(&f->ca, "vault", "chancery:service/vault/a,URI:chancery:service/ocsp/b", "P-256",
			    0, &files);
	assert_identity_refused(f, &files, "2 names");
	system_ca_issue_odd(&f->ca, "vault", "chancery:service/vault/a", "P-384", 0, &files);
	assert_identity_refused(f, &files, "not P-256");
	system_ca_issue(&f->ca, "vault", "vault-9", -120, -60, &files);
	assert_identity_refused(f, &files, "expired at");
	system_ca_issue(&f->ca, "vault", "vault-9", 60, 120, &files);
	assert_identity_refused(f, &files, "valid only from");
}

static void another_system_ca_is_not_believed(void **state)
{
	struct fixture *f = *state;
	struct system_ca other;
	struct ch_identity_config files;
	CH_AUTO(ch_identity) stranger = NULL;
	CH_AUTO(ch_bytes) signature = CH_NONE, certificate = CH_NONE;
	struct ch_peer peer;
	struct ch_error err = CH_NONE;

	system_ca_make(&other);
	system_ca_issue(&other, "issuer", "issuer-1", -60, 3600, &files);
	assert_true(ch_identity_load(&files, "issuer", "issuer-1", &stranger, &err));
	assert_true(ch_identity_sign(stranger, "d", ch_view_text("data"), &signature, &certificate, &err));
	assert_false(ch_identity_verify(f->vault, "d", ch_view_of(&certificate), ch_view_text("data"),
					ch_view_of(&signature), f->now, &peer, &err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
	assert_non_null(strstr(err.message, "does not chain"));
	system_ca_forget(&files);
	system_ca_remove(&other);
}

static void a_signature_is_for_one_domain_and_one_time(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_view certificate;
	struct ch_peer peer;
	struct ch_error err = CH_NONE;

	assert_true(ch_identity_sign(f->ocsp, "one", ch_view_text("data"), &signature, &der, &err));
	certificate = ch_view_of(&der);
	for (int i = 0; i < 3; i++) { /* the second and third come from the cache */
		assert_true(ch_identity_verify(f->vault, "one", certificate, ch_view_text("data"),
					       ch_view_of(&signature), f->now, &peer, &err));
		assert_false(ch_identity_verify(f->vault, "two", certificate, ch_view_text("data"),
						ch_view_of(&signature), f->now, &peer, &err));
		assert_false(ch_identity_verify(f->vault, "one", certificate, ch_view_text("date"),
						ch_view_of(&signature), f->now, &peer, &err));
		assert_false(ch_identity_verify(f->vault, "one", certificate, ch_view_text("data"),
						ch_view_of(&signature), f->now + CH_DAY, &peer, &err));
		assert_non_null(strstr(err.message, "expired at"));
	}
}

static void an_identity_must_be_what_its_daemon_is(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_identity) identity = NULL;
	struct ch_error err = CH_NONE;

	assert_false(ch_identity_load(&f->vault_files, "vault", "vault-2", &identity, &err));
	assert_non_null(strstr(err.message, "is of vault/vault-1, not of vault/vault-2"));
	assert_false(ch_identity_load(&f->vault_files, "ocsp", "vault-1", &identity, &err));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_was_sealed_opens_and_names_its_sender),
		TEST(every_changed_octet_is_refused),
		TEST(every_truncation_is_refused),
		TEST(the_same_message_again_is_a_replay),
		TEST(a_message_for_another_service_is_denied),
		TEST(the_clock_window_holds_both_ways),
		TEST(a_deadline_that_passed_is_expired_and_one_is_needed),
		TEST(a_deadline_of_this_very_moment_has_passed),
		TEST(tenant_and_trace_id_have_128_octets_at_most),
		TEST(what_was_sent_before_a_restart_asks_for_a_fresh_nonce),
		TEST(a_clock_that_steps_back_makes_nothing_new_again),
		TEST(after_a_step_ahead_and_back_new_messages_are_taken_at_once),
		TEST(a_clock_that_was_ahead_at_the_start_is_put_right),
		TEST(a_clock_that_is_put_back_a_little_opens_nothing_of_the_run_before),
		TEST(a_deadline_is_read_by_its_senders_clock),
		TEST(a_full_replay_cache_forgets_nothing_that_could_be_sent_again),
		TEST(a_reply_is_not_a_request),
		TEST(text_that_is_not_utf8_is_refused),
		TEST(identities_that_are_not_plain_service_identities_are_refused),
		TEST(another_system_ca_is_not_believed),
		TEST(a_signature_is_for_one_domain_and_one_time),
		TEST(an_identity_must_be_what_its_daemon_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
