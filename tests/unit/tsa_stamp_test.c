/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tsa_stamp_test.c: a timestamp that a vault refuses for its time is made anew; one that is refused for what
 * it says is not. The vault is the function below: the program's own definition stands before the
 * library's.
 */
#include "tsa.h"

#include "daemon/internal.h"

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define POLICY "1.3.6.1.4.1.99999.1.1"

static struct {
	int calls;
	int refusals;                /* that many calls are refused */
	enum ch_code code;           /* with this */
	int64_t takes_us;            /* each of them */
	struct ch_bytes first, last; /* TSTInfos that were brought */
} vault;

bool ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
		   const struct ch_vault_item *item, struct ch_bytes *signature, struct ch_error *err)
{
	struct timespec pause = { vault.takes_us / CH_SECOND, vault.takes_us % CH_SECOND * 1000 };

	if (!vault.calls++)
		vault.first = ch_bytes_copy(item->content);
	ch_bytes_free(&vault.last);
	vault.last = ch_bytes_copy(item->content);
	if (vault.calls <= vault.refusals) {
		nanosleep(&pause, NULL);
		ch_fail(err, vault.code, "vault: refused");
		err->origin = CH_ORIGIN_HANDLER;
		err->retryable = vault.code == CH_EXPIRED;
		return false;
	}
	*signature = ch_bytes_copy(ch_view_text("signature"));
	return true;
}

struct fixture {
	struct tsa_config config;
	struct ch_daemon daemon;
	struct tsa tsa;
};

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static struct tsa_authorities *one_authority(void)
{
	struct tsa_authorities *authorities = tsa_authorities_new(1);
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
	X509 *certificate = X509_new();
	CH_AUTO(ch_bytes) der = CH_NONE;
	struct ch_error err = CH_NONE;

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)"Test TSA", -1, -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	ASN1_TIME_set(X509_getm_notBefore(certificate), 1700000000);
	ASN1_TIME_set(X509_getm_notAfter(certificate), 4000000000);
	X509_set_pubkey(certificate, key);
	add_extension(certificate, NID_ext_key_usage, "critical,timeStamping");
	add_extension(certificate, NID_key_usage, "critical,digitalSignature");
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	assert_true(ch_certificate_der(certificate, &der, &err));
	if (!tsa_authority_set_certificate(&authorities->items[0], ch_view_of(&der), &err))
		fail_msg("%s", err.message);
	assert_true(tsa_authority_add_policy(&authorities->items[0], POLICY, &err));
	authorities->items[0].not_before_us = INT64_C(1700000000) * CH_SECOND;
	authorities->items[0].not_after_us = INT64_C(4000000000) * CH_SECOND;
	authorities->items[0].is_default = true;
	snprintf(authorities->default_ca, sizeof(authorities->default_ca), "Test CA");
	authorities->count = 1;
	X509_free(certificate);
	EVP_PKEY_free(key);
	return authorities;
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	memset(&vault, 0, sizeof(vault));
	f->config.vault_timeout_us = 5 * CH_SECOND;
	f->daemon.metrics = ch_metrics_new();
	pthread_mutex_init(&f->daemon.lock, NULL);
	tsa_init(&f->tsa, &f->config, &f->daemon);
	f->tsa.authorities = one_authority();
	f->tsa.read_at_us = ch_monotonic_us() + CH_HOUR; /* there is no database to read them again from */
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	tsa_authorities_release(f->tsa.authorities);
	while (f->daemon.conditions) {
		struct ch_readiness *next = f->daemon.conditions->next;

		free(f->daemon.conditions->name);
		free(f->daemon.conditions);
		f->daemon.conditions = next;
	}
	ch_metrics_free(f->daemon.metrics);
	ch_bytes_free(&vault.first);
	ch_bytes_free(&vault.last);
	free(f);
	return 0;
}

/* TimeStampReq, version 1, SHA-256 of something; the answer's PKIStatus is its first INTEGER. */
static unsigned stamp(struct fixture *f)
{
	static const uint8_t digest[32];
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) request = CH_NONE, answer = CH_NONE;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 1);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer, "2.16.840.1.101.3.4.2.1", NULL));
	ch_der_finish(&writer);
	ch_der_put_octet_string(&writer, ch_view(digest, sizeof(digest)));
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	request = ch_der_done(&writer);
	answer = tsa_stamp(&f->tsa, ch_view_of(&request), NULL);
	for (size_t i = 0; i + 2 < answer.size; i++)
		if (answer.data[i] == 0x02 && answer.data[i + 1] == 0x01)
			return answer.data[i + 2];
	return 255;
}

static void a_token_that_was_long_on_its_way_is_made_anew(void **state)
{
	struct fixture *f = *state;

	vault.refusals = 1;
	vault.code = CH_EXPIRED;
	vault.takes_us = 300 * CH_MILLISECOND;
	assert_int_equal(stamp(f), 0); /* granted */
	assert_int_equal(vault.calls, 2);
	/* The serial begins with the time, as genTime does; both are new. */
	assert_false(ch_view_equal(ch_view_of(&vault.first), ch_view_of(&vault.last)));
	assert_int_equal(ch_metric_value(f->tsa.made_anew), 1);
}

/* By turns the calls of a client come to each vault. */
static void a_vault_whose_clock_is_some_seconds_off_is_passed_by(void **state)
{
	struct fixture *f = *state;

	vault.refusals = 3;
	vault.code = CH_EXPIRED;
	assert_int_equal(stamp(f), 0);
	assert_int_equal(vault.calls, 4);
}

static void where_every_vaults_clock_differs_it_is_refused_soon(void **state)
{
	struct fixture *f = *state;

	vault.refusals = 1000;
	vault.code = CH_EXPIRED;
	assert_int_equal(stamp(f), 2); /* rejection */
	assert_int_equal(vault.calls, 9);
}

static void what_is_refused_for_what_it_says_is_refused(void **state)
{
	struct fixture *f = *state;

	vault.refusals = 1;
	vault.code = CH_DENIED;
	vault.takes_us = 300 * CH_MILLISECOND;
	assert_int_equal(stamp(f), 2);
	assert_int_equal(vault.calls, 1);
}

static void it_is_not_tried_for_longer_than_a_signature_may_take(void **state)
{
	struct fixture *f = *state;

	f->config.vault_timeout_us = 500 * CH_MILLISECOND;
	vault.refusals = 1000;
	vault.code = CH_EXPIRED;
	vault.takes_us = 300 * CH_MILLISECOND;
	assert_int_equal(stamp(f), 2);
	assert_int_equal(vault.calls, 2);
}

static int64_t now_us;

static int64_t that_time(void *context)
{
	return now_us;
}

/* RFC 3161 §2.4.2: the serial number is unique for each token. genTime has whole milliseconds. */
static void tokens_of_one_instant_have_different_serials(void **state)
{
	static const struct ch_clock clock = { that_time, NULL };
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) second = CH_NONE;

	now_us = ch_clock_now_us(ch_clock_system());
	f->tsa.time.clock = &clock;
	assert_int_equal(stamp(f), 0);
	assert_int_equal(stamp(f), 0);
	second = ch_bytes_copy(ch_view_of(&vault.last));
	assert_int_equal(stamp(f), 0);
	/* Of what the vault was brought nothing else differs: no nonce, one digest, one time. */
	assert_int_equal(second.size, vault.first.size);
	assert_false(ch_view_equal(ch_view_of(&vault.first), ch_view_of(&second)));
	assert_false(ch_view_equal(ch_view_of(&second), ch_view_of(&vault.last)));
	assert_false(ch_view_equal(ch_view_of(&vault.first), ch_view_of(&vault.last)));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_token_that_was_long_on_its_way_is_made_anew),
		TEST(a_vault_whose_clock_is_some_seconds_off_is_passed_by),
		TEST(where_every_vaults_clock_differs_it_is_refused_soon),
		TEST(what_is_refused_for_what_it_says_is_refused),
		TEST(it_is_not_tried_for_longer_than_a_signature_may_take),
		TEST(tokens_of_one_instant_have_different_serials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
