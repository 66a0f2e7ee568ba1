/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_domain_test.c: the keys that both HSMs hold from one root secret, through real workers: what one seals
 * the other knows, what one encrypts the other opens, and nothing else does.
 */
#include "hsm_fixture.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool mac(struct hsm_pool *pool, unsigned on, const char *text, uint8_t out[32], struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmMac ask = CHANCERY__HSM_MAC__INIT;
	Chancery__HsmReply *reply;

	ask.data = (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *)(uintptr_t)text };
	request.mac = &ask;
	if (!run(pool, on, &request, &reply, err))
		return false;
	assert_int_equal(reply->data.len, 32);
	memcpy(out, reply->data.data, 32);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return true;
}

static void a_seal_is_the_same_from_each_hsm_and_tells_data_apart(void **state)
{
	struct fixture *fixture = *state;
	uint8_t a[32], b[32], other[32];
	struct ch_error err = CH_NONE;

	assert_true(mac(fixture->pool, ONLY_A, "a row", a, &err));
	assert_true(mac(fixture->pool, ONLY_B, "a row", b, &err));
	assert_true(mac(fixture->pool, ONLY_B, "a rov", other, &err));
	assert_memory_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, other, sizeof(a));
}

static bool crypt_on(struct hsm_pool *pool, unsigned on, bool encrypt, const char *context, struct ch_view in,
		     struct ch_bytes *out, struct ch_error *err)
{
	ProtobufCBinaryData data = { .len = in.size, .data = (uint8_t *)(uintptr_t)in.data };
	ProtobufCBinaryData aad = { .len = strlen(context), .data = (uint8_t *)(uintptr_t)context };
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmEncrypt lock_it = CHANCERY__HSM_ENCRYPT__INIT;
	Chancery__HsmDecrypt open_it = CHANCERY__HSM_DECRYPT__INIT;
	Chancery__HsmReply *reply;

	lock_it.plaintext = open_it.ciphertext = data;
	lock_it.associated_data = open_it.associated_data = aad;
	if (encrypt)
		request.encrypt = &lock_it;
	else
		request.decrypt = &open_it;
	if (!run(pool, on, &request, &reply, err))
		return false;
	*out = ch_bytes_copy(ch_view(reply->data.data, reply->data.len));
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return true;
}

static void what_one_hsm_encrypts_the_other_opens_in_the_same_context_only(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_bytes) opened = CH_NONE;
	struct ch_view secret = ch_view_text("thirty-two octets of a data key!");
	struct ch_error err = CH_NONE;

	assert_true(crypt_on(fixture->pool, ONLY_A, true, "tenant-1", secret, &sealed, &err));
	assert_int_equal(sealed.size, 12 + secret.size + 16);
	assert_true(crypt_on(fixture->pool, ONLY_B, false, "tenant-1", ch_view_of(&sealed), &opened, &err));
	assert_true(ch_view_equal(ch_view_of(&opened), secret));
	ch_bytes_free(&opened);
	assert_false(crypt_on(fixture->pool, ONLY_B, false, "tenant-2", ch_view_of(&sealed), &opened, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the assertions above do not return */
	sealed.data[20] ^= 1;
	assert_false(crypt_on(fixture->pool, BOTH, false, "tenant-1", ch_view_of(&sealed), &opened, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "ciphertext"));
}

static void random_octets_come_in_the_size_asked_for_and_never_twice(void **state)
{
	struct fixture *fixture = *state;
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmRandom ask = CHANCERY__HSM_RANDOM__INIT;
	Chancery__HsmReply *first, *second;
	struct ch_error err = CH_NONE;

	ask.size = 64;
	request.random = &ask;
	assert_true(run(fixture->pool, BOTH, &request, &first, &err));
	assert_true(run(fixture->pool, BOTH, &request, &second, &err));
	assert_int_equal(first->data.len, 64);
	assert_memory_not_equal(first->data.data, second->data.data, 64);
	chancery__hsm_reply__free_unpacked(first, NULL);
	chancery__hsm_reply__free_unpacked(second, NULL);
	ask.size = 4097;
	assert_false(run(fixture->pool, BOTH, &request, NULL, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
}

static void the_keys_in_a_token_are_listed_by_their_ids(void **state)
{
	struct fixture *fixture = *state;
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmListKeys ask = CHANCERY__HSM_LIST_KEYS__INIT;
	struct test_key key = CH_NONE;
	struct ch_error err = CH_NONE;
	Chancery__HsmReply *reply;
	bool found = false;

	generate(fixture->pool, ONLY_A, "ecdsa-p256", &key);
	request.list_keys = &ask;
	assert_true(run(fixture->pool, ONLY_A, &request, &reply, &err));
	for (size_t i = 0; i < reply->n_key_ids; i++)
		found = found || strcmp(reply->key_ids[i], key.id) == 0;
	assert_true(found);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	assert_true(run(fixture->pool, ONLY_B, &request, &reply, &err));
	assert_int_equal(reply->n_key_ids, 0);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	ch_bytes_free(&key.public_key_info);
}

#define WITH_TOKENS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
	if (hsm_worker_asked(argc, argv))
		return hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		WITH_TOKENS(a_seal_is_the_same_from_each_hsm_and_tells_data_apart),
		WITH_TOKENS(what_one_hsm_encrypts_the_other_opens_in_the_same_context_only),
		WITH_TOKENS(random_octets_come_in_the_size_asked_for_and_never_twice),
		WITH_TOKENS(the_keys_in_a_token_are_listed_by_their_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
