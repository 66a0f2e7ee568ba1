/* SPDX-License-Identifier: Apache-2.0 */
/* trust_test.c: whom a daemon believes: several system CAs, refused identities, and an identity of its own
 * that is replaced while it runs. */
#include "envelope/envelope.h"
#include "system_ca.h"
#include "x509/x509.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

struct fixture {
	struct system_ca old, young;
	struct ch_identity_config vault_files, ocsp_files;
	struct ch_identity *vault, *ocsp;
	int ocsp_serial;
	int64_t now;
	char both[80]; /* a trust file with both CAs */
};

static void copy_file(const char *from, const char *to)
{
	CH_AUTO(ch_bytes) content = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(ch_read_file(from, 65536, &content, &err));
	assert_true(ch_write_file(to, ch_view_of(&content), 0400, &err));
}

static void join_files(const char *a, const char *b, const char *to)
{
	CH_AUTO(ch_bytes) first = CH_NONE, second = CH_NONE;
	CH_AUTO(ch_buffer) both = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(ch_read_file(a, 65536, &first, &err) && ch_read_file(b, 65536, &second, &err));
	ch_buffer_add_view(&both, ch_view_of(&first));
	ch_buffer_add_view(&both, ch_view_of(&second));
	assert_true(ch_write_file(to, ch_buffer_view(&both), 0400, &err));
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));
	struct ch_error err = CH_NONE;

	system_ca_make(&f->old);
	system_ca_make(&f->young); /* the same name, another key: as CAs that follow each other have */
	system_ca_issue(&f->old, "vault", "vault-1", -60, 3600, &f->vault_files);
	system_ca_issue(&f->old, "ocsp", "ocsp-1", -60, 3600, &f->ocsp_files);
	f->ocsp_serial = f->old.issued;
	assert_true(ch_identity_load(&f->vault_files, "vault", "vault-1", &f->vault, &err));
	assert_true(ch_identity_load(&f->ocsp_files, "ocsp", "ocsp-1", &f->ocsp, &err));
	f->now = ch_clock_now_us(ch_clock_system());
	snprintf(f->both, sizeof(f->both), "%s/both.pem", f->old.directory);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	ch_identity_free(f->vault);
	ch_identity_free(f->ocsp);
	system_ca_forget(&f->vault_files);
	system_ca_forget(&f->ocsp_files);
	unlink(f->both);
	system_ca_remove(&f->old);
	system_ca_remove(&f->young);
	free(f);
	return 0;
}

/* Does `reader` believe what `signer` signs now? */
static bool believes(struct ch_identity *reader, struct ch_identity *signer, struct ch_error *err)
{
	CH_AUTO(ch_bytes) signature = CH_NONE, certificate = CH_NONE;
	struct ch_peer peer;

	assert_true(ch_identity_sign(signer, "d", ch_view_text("data"), &signature, &certificate, err));
	return ch_identity_verify(reader, "d", ch_view_of(&certificate), ch_view_text("data"),
				  ch_view_of(&signature), ch_clock_now_us(ch_clock_system()), &peer, err);
}

static void assert_believes(struct ch_identity *reader, struct ch_identity *signer)
{
	struct ch_error err = CH_NONE;

	if (!believes(reader, signer, &err))
		fail_msg("%s", err.message);
}

static void assert_believes_not(struct ch_identity *reader, struct ch_identity *signer, const char *text)
{
	struct ch_error err = CH_NONE;

	assert_false(believes(reader, signer, &err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
	if (!strstr(err.message, text))
		fail_msg("%s", err.message);
}

/* --- system CAs --------------------------------------------------------------------------------------------
 */

static void a_trust_file_holds_several_cas(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_config files;
	CH_AUTO(ch_identity) tsa = NULL;
	struct ch_error err = CH_NONE;

	system_ca_issue(&f->young, "tsa", "tsa-1", -60, 3600, &files);
	assert_true(ch_identity_load(&files, "tsa", "tsa-1", &tsa, &err));
	assert_believes_not(f->vault, tsa, "does not chain");
	join_files(f->old.path, f->young.path, f->both);
	copy_file(f->both, f->vault_files.system_ca);
	assert_true(ch_identity_reload(f->vault, &err));
	assert_int_equal(ch_trust_ca_count(ch_identity_trust(f->vault)), 2);
	assert_believes(f->vault, tsa);
	assert_believes(f->vault, f->ocsp);
	system_ca_forget(&files);
}

/* A file that was cut off, or damaged while it was brought: all of it or nothing, for the CA that is missing
 * takes its list of refused identities along. */
static void a_trust_file_with_a_damaged_certificate_is_refused_as_a_whole(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) both = CH_NONE;
	struct ch_error err = CH_NONE;

	join_files(f->old.path, f->young.path, f->both);
	assert_true(ch_read_file(f->both, 65536, &both, &err));
	both.data[both.size - 60] = '!';
	assert_true(ch_write_file(f->both, ch_view_of(&both), 0400, &err));
	copy_file(f->both, f->vault_files.system_ca);
	assert_false(ch_identity_reload(f->vault, &err));
	assert_int_equal(err.code, CH_INVALID);
	if (!strstr(err.message, "certificate 2"))
		fail_msg("%s", err.message);
	assert_int_equal(ch_trust_ca_count(ch_identity_trust(f->vault)), 1);
	assert_believes(f->vault, f->ocsp);
}

static void an_identity_of_a_ca_that_was_taken_away_is_not_believed(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_config renewed;
	struct ch_error err = CH_NONE;

	assert_believes(f->vault, f->ocsp); /* it is in the cache now */
	system_ca_issue(&f->young, "vault", "vault-1", -60, 3600, &renewed);
	copy_file(f->young.path, f->vault_files.system_ca);
	assert_false(ch_identity_reload(f->vault, &err)); /* its own is of the old CA: nothing changes */
	assert_non_null(strstr(err.message, "does not chain"));
	assert_believes(f->vault, f->ocsp);
	copy_file(renewed.certificate, f->vault_files.certificate);
	copy_file(renewed.key, f->vault_files.key);
	assert_true(ch_identity_reload(f->vault, &err));
	assert_believes_not(f->vault, f->ocsp, "does not chain");
	system_ca_forget(&renewed);
}

/* RFC 5280 §6.1.3 (a)(2) for every certificate of the path: the end of a CA is that of what it issued. */
static void an_expired_system_ca_is_not_trusted(void **state)
{
	struct fixture *f = *state;
	struct system_ca ended;
	struct ch_identity_config files;
	struct ch_identity *identity = NULL;
	struct ch_error err = CH_NONE;

	system_ca_make_between(&ended, -7200, -60);
	system_ca_issue(&ended, "vault", "vault-1", -60, 3600, &files);
	assert_false(ch_identity_load(&files, NULL, NULL, &identity, &err));
	assert_non_null(strstr(err.message, "expired at"));
	system_ca_forget(&files);
	system_ca_remove(&ended);
	(void)f;
}

static void a_ca_certificate_is_no_identity(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_config files;
	struct ch_identity *identity = NULL;
	struct ch_error err = CH_NONE;

	system_ca_issue_odd(&f->old, "vault", "chancery:service/vault/vault-1", "P-256", 1, &files);
	assert_false(ch_identity_load(&files, NULL, NULL, &identity, &err));
	if (!strstr(err.message, "is a CA certificate"))
		fail_msg("%s", err.message);
	system_ca_forget(&files);
}

/* --- refused identities ------------------------------------------------------------------------------------
 */

static bool refuse(struct fixture *f, struct system_ca *ca, long number, int serial, long since,
		   struct ch_refused_news *news, struct ch_error *err)
{
	CH_AUTO(ch_bytes) crl = system_ca_crl(ca, number, &serial, serial ? 1 : 0, since, false);

	return ch_trust_refuse(ch_identity_trust(f->vault), ch_view_of(&crl), news, err);
}

static void a_refused_identity_is_not_believed_from_the_next_message_on(void **state)
{
	struct fixture *f = *state;
	struct ch_refused_news news = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_believes(f->vault, f->ocsp); /* cached */
	assert_true(refuse(f, &f->old, 1, f->ocsp_serial, 0, &news, &err));
	assert_true(news.taken);
	assert_int_equal(news.new_count, 1);
	assert_string_equal(news.number, "1");
	assert_believes_not(f->vault, f->ocsp, "is refused since");
	assert_believes_not(f->vault, f->ocsp, "keyCompromise");
	assert_int_equal(ch_trust_refused_count(ch_identity_trust(f->vault)), 1);
}

static void what_was_signed_before_the_refusal_verifies_as_an_event_and_not_as_a_message(void **state)
{
	struct fixture *f = *state;
	struct ch_trust *trust = ch_identity_trust(f->vault);
	CH_AUTO(ch_bytes) signature = CH_NONE, certificate = CH_NONE;
	struct ch_view data = ch_view_text("data");
	struct ch_peer peer;
	struct ch_error err = CH_NONE;

	assert_true(ch_identity_sign(f->ocsp, "d", data, &signature, &certificate, &err));
	assert_true(refuse(f, &f->old, 1, f->ocsp_serial, -10, NULL, &err));
	assert_true(ch_trust_verify(trust, "d", ch_view_of(&certificate), data, ch_view_of(&signature),
				    f->now - 30 * CH_SECOND, &peer, &err));
	assert_false(ch_trust_verify(trust, "d", ch_view_of(&certificate), data, ch_view_of(&signature),
				     f->now + CH_SECOND, &peer, &err));
	assert_false(ch_identity_verify(f->vault, "d", ch_view_of(&certificate), data, ch_view_of(&signature),
					f->now - 30 * CH_SECOND, &peer, &err));
}

static void a_list_never_goes_back(void **state)
{
	struct fixture *f = *state;
	struct ch_refused_news news = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(refuse(f, &f->old, 300, f->ocsp_serial, 0, NULL, &err));
	assert_false(refuse(f, &f->old, 2, 0, 0, NULL, &err)); /* 2 < 300 whatever the octets look like */
	assert_int_equal(err.code, CH_CONFLICT);
	assert_non_null(strstr(err.message, "has number 2, number 300 is held"));
	assert_false(refuse(f, &f->old, 300, 0, 0, NULL, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_non_null(strstr(err.message, "other content"));
	assert_believes_not(f->vault, f->ocsp, "is refused");
	assert_true(refuse(f, &f->old, 301, 0, 0, &news, &err)); /* only its CA lifts a refusal */
	assert_int_equal(news.count, 0);
	assert_believes(f->vault, f->ocsp);
}

static void a_list_that_no_system_ca_signed_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	assert_false(refuse(f, &f->young, 1, f->ocsp_serial, 0, NULL, &err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
	assert_believes(f->vault, f->ocsp);
}

static void a_list_is_of_its_own_ca_alone(void **state)
{
	struct fixture *f = *state;
	struct ch_error err = CH_NONE;

	join_files(f->old.path, f->young.path, f->both);
	copy_file(f->both, f->vault_files.system_ca);
	assert_true(ch_identity_reload(f->vault, &err));
	assert_true(refuse(f, &f->young, 9, f->ocsp_serial, 0, NULL, &err)); /* the same serial number */
	assert_believes(f->vault, f->ocsp);
	assert_true(refuse(f, &f->old, 1, f->ocsp_serial, 0, NULL, &err)); /* and a number of its own */
	assert_believes_not(f->vault, f->ocsp, "is refused");
}

static void what_is_no_such_list_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ch_trust *trust = ch_identity_trust(f->vault);
	CH_AUTO(ch_bytes) good = system_ca_crl(&f->old, 1, &f->ocsp_serial, 1, 0, false);
	CH_AUTO(ch_bytes) delta = system_ca_crl(&f->old, 2, &f->ocsp_serial, 1, 0, true);
	struct ch_error err = CH_NONE;

	assert_false(ch_trust_refuse(trust, ch_view_of(&delta), NULL, &err));
	assert_non_null(strstr(err.message, "critical extension"));
	for (size_t size = 0; size < good.size; size++)
		assert_false(ch_trust_refuse(trust, ch_view(good.data, size), NULL, &err));
	for (size_t i = 0; i < good.size; i++) {
		good.data[i] ^= 0x10;
		assert_false(ch_trust_refuse(trust, ch_view_of(&good), NULL, &err));
		good.data[i] ^= 0x10;
	}
	assert_true(ch_trust_refuse(trust, ch_view_of(&good), NULL, &err));
}

/* The operators' CA, in the gateways and vaults: its certificates are nobody's identity, and its list is
 * held, kept and asked for beside those of the system CAs. */
static void the_list_of_another_ca_refuses_its_certificates_alone(void **state)
{
	struct fixture *f = *state;
	struct ch_trust *trust = ch_identity_trust(f->vault);
	struct ch_bytes lists[CH_TRUST_CAS_CAP];
	struct ch_identity_config files;
	CH_AUTO(X509) operator= NULL;
	struct ch_error err = CH_NONE;

	system_ca_issue(&f->young, "ocsp", "ocsp-1", -60, 3600, &files);
	assert_true(ch_certificate_read_pem_file(files.certificate, &operator, & err));
	assert_false(ch_trust_has_other_cas(trust));
	assert_true(ch_trust_add_other_cas(trust, f->young.path, &err));
	assert_true(ch_trust_has_other_cas(trust));
	assert_true(ch_trust_accepts(trust, operator, & err));

	assert_true(refuse(f, &f->young, 1, f->young.issued, 0, NULL, &err));
	assert_false(ch_trust_accepts(trust, operator, & err));
	assert_int_equal(err.code, CH_UNAUTHENTICATED);
	assert_non_null(strstr(err.message, "is refused since"));
	assert_non_null(strstr(err.message, "keyCompromise"));
	assert_believes(f->vault, f->ocsp); /* of the system CA, whatever serial it has */
	assert_int_equal(ch_trust_refused_lists(trust, CH_REFUSED_OF_SYSTEM_CAS, lists), 0);

	assert_true(ch_identity_reload(f->vault, &err));
	assert_false(ch_trust_accepts(trust, operator, & err));
	assert_int_equal(ch_trust_refused_lists(trust, CH_REFUSED_OF_ALL, lists), 1);
	ch_bytes_free(&lists[0]);
	assert_false(refuse(f, &f->young, 0, 0, 0, NULL, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	system_ca_forget(&files);
}

/* --- an identity that is replaced --------------------------------------------------------------------------
 */

static void count_call(void *context)
{
	(*(int *)context)++;
}

static void replaced_files_are_used_as_a_whole(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_config renewed;
	struct ch_identity_status before, after;
	struct ch_error err = CH_NONE;
	int calls = 0;

	ch_identity_observe(f->ocsp, count_call, &calls);
	ch_identity_status(f->ocsp, f->now, &before);
	assert_false(ch_identity_files_changed(f->ocsp));
	system_ca_issue(&f->old, "ocsp", "ocsp-1", -60, 7200, &renewed);
	copy_file(renewed.certificate, f->ocsp_files.certificate);
	assert_true(ch_identity_files_changed(f->ocsp));
	assert_false(ch_identity_reload(f->ocsp, &err)); /* its key is not there yet */
	assert_int_equal(calls, 0);
	assert_false(ch_identity_files_changed(f->ocsp)); /* tried once */
	assert_believes(f->vault, f->ocsp);
	copy_file(renewed.key, f->ocsp_files.key);
	assert_true(ch_identity_files_changed(f->ocsp));
	assert_true(ch_identity_reload(f->ocsp, &err));
	assert_int_equal(calls, 1);
	ch_identity_status(f->ocsp, f->now, &after);
	assert_string_not_equal(before.serial, after.serial);
	assert_true(after.not_after_us > before.not_after_us);
	assert_string_equal(after.why, "");
	assert_believes(f->vault, f->ocsp);
	ch_identity_ignore(f->ocsp, &calls);
	assert_true(ch_identity_reload(f->ocsp, &err));
	assert_int_equal(calls, 1);
	system_ca_forget(&renewed);
}

static void assert_not_used(struct fixture *f, struct ch_identity_config *files, const char *text)
{
	struct ch_identity_status before, after;
	struct ch_error err = CH_NONE;

	ch_identity_status(f->ocsp, f->now, &before);
	copy_file(files->certificate, f->ocsp_files.certificate);
	copy_file(files->key, f->ocsp_files.key);
	assert_false(ch_identity_reload(f->ocsp, &err));
	if (!strstr(err.message, text))
		fail_msg("%s", err.message);
	ch_identity_status(f->ocsp, f->now, &after);
	assert_string_equal(before.serial, after.serial);
	assert_believes(f->vault, f->ocsp);
	system_ca_forget(files);
}

static void files_that_do_not_do_leave_the_old_identity(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_config files;
	struct ch_error err = CH_NONE;
	int serial;
	CH_AUTO(ch_bytes) crl = CH_NONE;

	system_ca_issue(&f->old, "ocsp", "ocsp-2", -60, 3600, &files);
	assert_not_used(f, &files, "is of ocsp/ocsp-2, this is ocsp/ocsp-1");
	system_ca_issue(&f->old, "vault", "ocsp-1", -60, 3600, &files);
	assert_not_used(f, &files, "is of vault/ocsp-1");
	system_ca_issue(&f->old, "ocsp", "ocsp-1", -120, -60, &files);
	assert_not_used(f, &files, "expired at");
	system_ca_issue(&f->young, "ocsp", "ocsp-1", -60, 3600, &files);
	assert_not_used(f, &files, "does not chain");
	system_ca_issue(&f->old, "ocsp", "ocsp-1", -60, 3600, &files);
	serial = f->old.issued;
	crl = system_ca_crl(&f->old, 1, &serial, 1, 0, false);
	assert_true(ch_trust_refuse(ch_identity_trust(f->ocsp), ch_view_of(&crl), NULL, &err));
	assert_not_used(f, &files, "is refused since");
	assert_true(ch_write_file(f->ocsp_files.certificate, ch_view_text("nonsense"), 0400, &err));
	assert_false(ch_identity_reload(f->ocsp, &err));
	unlink(f->ocsp_files.certificate);
	assert_false(ch_identity_reload(f->ocsp, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
	assert_believes(f->vault, f->ocsp);
}

static void an_identity_says_what_is_wrong_with_it(void **state)
{
	struct fixture *f = *state;
	struct ch_identity_status status;
	CH_AUTO(ch_bytes) crl = system_ca_crl(&f->old, 1, &f->ocsp_serial, 1, 0, false);
	struct ch_error err = CH_NONE;

	ch_identity_status(f->ocsp, f->now + 2 * CH_HOUR, &status);
	assert_non_null(strstr(status.why, "expired at"));
	assert_false(status.refused);
	assert_true(ch_trust_refuse(ch_identity_trust(f->ocsp), ch_view_of(&crl), NULL, &err));
	ch_identity_status(f->ocsp, f->now + CH_MINUTE, &status);
	assert_non_null(strstr(status.why, "is refused since"));
	assert_true(status.refused);
}

/* --- at the same time --------------------------------------------------------------------------------------
 */

struct signing {
	struct fixture *f;
	atomic_bool stop;
	atomic_int failed, done;
};

static void *keep_signing(void *context)
{
	struct signing *signing = context;

	while (!atomic_load(&signing->stop)) {
		struct ch_error err = CH_NONE;

		if (!believes(signing->f->vault, signing->f->ocsp, &err))
			atomic_fetch_add(&signing->failed, 1);
		atomic_fetch_add(&signing->done, 1);
	}
	return NULL;
}

static void signing_and_verifying_go_on_while_both_are_reloaded(void **state)
{
	struct fixture *f = *state;
	struct signing signing = { .f = f };
	pthread_t threads[3];
	struct ch_error err = CH_NONE;

	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_create(&threads[i], NULL, keep_signing, &signing);
	for (int i = 0; i < 20; i++) {
		struct ch_identity_config renewed;
		int other = 1000 + i;
		CH_AUTO(ch_bytes) crl = system_ca_crl(&f->old, i + 1, &other, 1, 0, false);

		system_ca_issue(&f->old, "ocsp", "ocsp-1", -60, 7200, &renewed);
		copy_file(renewed.certificate, f->ocsp_files.certificate);
		copy_file(renewed.key, f->ocsp_files.key);
		assert_true(ch_identity_reload(f->ocsp, &err));
		assert_true(ch_identity_reload(f->vault, &err));
		assert_true(ch_trust_refuse(ch_identity_trust(f->vault), ch_view_of(&crl), NULL, &err));
		system_ca_forget(&renewed);
	}
	while (atomic_load(&signing.done) < 100)
		usleep(1000);
	atomic_store(&signing.stop, true);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&signing.failed), 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_trust_file_holds_several_cas),
		TEST(a_trust_file_with_a_damaged_certificate_is_refused_as_a_whole),
		TEST(an_identity_of_a_ca_that_was_taken_away_is_not_believed),
		TEST(an_expired_system_ca_is_not_trusted),
		TEST(a_ca_certificate_is_no_identity),
		TEST(a_refused_identity_is_not_believed_from_the_next_message_on),
		TEST(what_was_signed_before_the_refusal_verifies_as_an_event_and_not_as_a_message),
		TEST(a_list_never_goes_back),
		TEST(a_list_that_no_system_ca_signed_is_refused),
		TEST(a_list_is_of_its_own_ca_alone),
		TEST(what_is_no_such_list_is_refused),
		TEST(the_list_of_another_ca_refuses_its_certificates_alone),
		TEST(replaced_files_are_used_as_a_whole),
		TEST(files_that_do_not_do_leave_the_old_identity),
		TEST(an_identity_says_what_is_wrong_with_it),
		TEST(signing_and_verifying_go_on_while_both_are_reloaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
