/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_test.c: the HSM pool with real SoftHSM2 tokens in scratch directories and real worker processes (this
 * very program, re-executed). What must hold: whatever happens to one HSM, callers see no error.
 */
#include "hsm.h"
#include "init_token.h"
#include "worker.h"
#include "x509/x509.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MODULE   "/usr/lib/softhsm/libsofthsm2.so"
#define BOTH     3u
#define ONLY_A   1u
#define ONLY_B   2u
#define UP_LIMIT (20 * CH_SECOND)
#define HANG_US  (500 * CH_MILLISECOND)
#define CALLERS  4

struct event_log {
	atomic_int downs, ups;
};

struct fixture {
	char directory[64];
	struct hsm_config configs[2];
	char *environments[2];
	char *paths[2];
	struct hsm_pool *pool;
	struct event_log events;
};

static void note_event(void *state, const char *hsm, bool up, const char *why, size_t up_count)
{
	struct event_log *events = state;

	(void)hsm;
	(void)why;
	(void)up_count;
	atomic_fetch_add(up ? &events->ups : &events->downs, 1);
}

/* --- two tokens with one key-encryption key --- */

static void write_text(const char *path, const char *text)
{
	struct ch_error err;

	if (!ch_write_file(path, ch_view_text(text), 0400, &err))
		fail_msg("%s", err.message);
}

static void make_token_directory(struct fixture *fixture, size_t i, const char *name)
{
	struct hsm_config *config = &fixture->configs[i];
	CH_AUTO(ch_string) tokens = ch_format("%s/%s/tokens", fixture->directory, name);
	CH_AUTO(ch_string) configuration = ch_format("%s/%s/softhsm2.conf", fixture->directory, name);
	CH_AUTO(ch_string) so_pin = ch_format("%s/%s/so-pin", fixture->directory, name);
	CH_AUTO(ch_string) text =
		ch_format("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n"
			  "slots.removable = false\n",
			  tokens);

	fixture->paths[i] = ch_format("%s/%s", fixture->directory, name);
	assert_int_equal(mkdir(fixture->paths[i], 0700), 0);
	assert_int_equal(mkdir(tokens, 0700), 0);
	write_text(configuration, text);
	fixture->environments[i] = ch_format("SOFTHSM2_CONF=%s", configuration);
	*config = (struct hsm_config){ .name = ch_strdup(name),
				       .module = (char *)MODULE,
				       .environment = { &fixture->environments[i], 1 },
				       .token_label = ch_format("chancery-%s", name),
				       .pin_file = ch_format("%s/%s/pin", fixture->directory, name),
				       .sessions = 4,
				       .paths = { &fixture->paths[i], 1 } };
	write_text(config->pin_file, "5678");
	write_text(so_pin, "12345678");
}

static void initialise_token(struct fixture *fixture, size_t i, struct ch_view kek)
{
	CH_AUTO(ch_string) so_pin = ch_format("%s/so-pin", fixture->paths[i]);
	struct token_state state;
	struct ch_error err = CH_NONE;

	if (!token_set_up(&fixture->configs[i], so_pin, kek, &state, &err))
		fail_msg("%s", err.message);
	assert_true(state.has_kek);
}

static void start_pool(struct fixture *fixture)
{
	const struct hsm_pool_options options = { .hsms = fixture->configs,
						  .count = 2,
						  .program = "/proc/self/exe",
						  .sandbox = true,
						  .hang_us = HANG_US,
						  .event = note_event,
						  .event_state = &fixture->events };
	struct ch_error err;

	if (!hsm_pool_start(&options, &fixture->pool, &err))
		fail_msg("%s", err.message);
}

static int set_up(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));
	uint8_t kek[32];

	strcpy(fixture->directory, "/tmp/chancery-hsm-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	ch_random(kek, sizeof(kek));
	make_token_directory(fixture, 0, "a");
	make_token_directory(fixture, 1, "b");
	initialise_token(fixture, 0, ch_view(kek, sizeof(kek)));
	initialise_token(fixture, 1, ch_view(kek, sizeof(kek)));
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_string) command = ch_format("rm -rf %s", fixture->directory);

	hsm_pool_stop(fixture->pool);
	for (size_t i = 0; i < 2; i++) {
		free(fixture->configs[i].name);
		free(fixture->configs[i].token_label);
		free(fixture->configs[i].pin_file);
		free(fixture->environments[i]);
		free(fixture->paths[i]);
	}
	free(fixture);
	return system(command);
}

/* --- asking --- */

struct test_key {
	char id[33];
	const char *algorithm;
	struct ch_bytes public_key_info;
};

static bool run(struct hsm_pool *pool, unsigned allowed, Chancery__HsmRequest *request,
		Chancery__HsmReply **reply, struct ch_error *err)
{
	struct hsm_item item = { .request = request,
				 .allowed = allowed,
				 .limit_us = request->generate ? 60 * CH_SECOND : 0,
				 .deadline_us = ch_monotonic_us() + 60 * CH_SECOND };

	hsm_run(pool, &item, 1);
	if (!item.reply) {
		*err = item.err;
		return false;
	}
	if (reply)
		*reply = item.reply;
	else
		chancery__hsm_reply__free_unpacked(item.reply, NULL);
	return true;
}

static void generate(struct hsm_pool *pool, unsigned on, const char *algorithm, struct test_key *key)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmGenerate ask = CHANCERY__HSM_GENERATE__INIT;
	Chancery__HsmReply *reply;
	struct ch_error err;
	uint8_t id[16];
	CH_AUTO(ch_string) text = NULL;

	ch_random(id, sizeof(id));
	text = ch_hex(ch_view(id, sizeof(id)));
	strcpy(key->id, text);
	key->algorithm = algorithm;
	ask.key_id = key->id;
	ask.algorithm = (char *)algorithm;
	ask.label = (char *)"test";
	ask.extractable = true;
	request.generate = &ask;
	if (!run(pool, on, &request, &reply, &err))
		fail_msg("%s: %s", algorithm, err.message);
	key->public_key_info =
		ch_bytes_copy(ch_view(reply->public_key_info.data, reply->public_key_info.len));
	chancery__hsm_reply__free_unpacked(reply, NULL);
}

static bool wrap(struct hsm_pool *pool, unsigned on, struct test_key *key, struct ch_bytes *wrapped,
		 struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmWrap ask = CHANCERY__HSM_WRAP__INIT;
	Chancery__HsmReply *reply;

	ask.key_id = key->id;
	ask.algorithm = (char *)key->algorithm;
	request.wrap = &ask;
	if (!run(pool, on, &request, &reply, err))
		return false;
	*wrapped = ch_bytes_copy(ch_view(reply->wrapped.data, reply->wrapped.len));
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return true;
}

static bool unwrap(struct hsm_pool *pool, unsigned on, struct test_key *key, const struct ch_bytes *wrapped,
		   struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmUnwrap ask = CHANCERY__HSM_UNWRAP__INIT;

	ask.key_id = key->id;
	ask.algorithm = (char *)key->algorithm;
	ask.label = (char *)"test";
	ask.wrapped = (ProtobufCBinaryData){ .len = wrapped->size, .data = wrapped->data };
	request.unwrap = &ask;
	return run(pool, on, &request, NULL, err);
}

static bool lock(struct hsm_pool *pool, unsigned on, struct test_key *key, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmLock ask = CHANCERY__HSM_LOCK__INIT;

	ask.key_id = key->id;
	request.lock = &ask;
	return run(pool, on, &request, NULL, err);
}

/* Signs a fresh message and verifies it with the public key. */
static bool sign(struct hsm_pool *pool, unsigned allowed, const struct test_key *key, struct ch_error *err)
{
	const struct ch_algorithm *algorithm = ch_algorithm_find(key->algorithm);
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmSign ask = CHANCERY__HSM_SIGN__INIT;
	Chancery__HsmReply *reply;
	uint8_t message[32], digest[64];
	size_t size = sizeof(message);
	bool verified;

	ch_random(message, sizeof(message));
	memcpy(digest, message, sizeof(message));
	if (algorithm->digest[0] && !ch_digest(algorithm->digest, ch_view(message, 32), digest, &size, err))
		return false;
	ask.key_id = (char *)key->id;
	ask.algorithm = (char *)key->algorithm;
	ask.digest = (char *)algorithm->digest;
	ask.data = (ProtobufCBinaryData){ .len = size, .data = digest };
	request.sign = &ask;
	if (!run(pool, allowed, &request, &reply, err))
		return false;
	verified = ch_verify_signature(algorithm, ch_view_of(&key->public_key_info), ch_view(message, 32),
				       ch_view(reply->signature.data, reply->signature.len), err);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return verified;
}

static void make_on_both(struct hsm_pool *pool, const char *algorithm, struct test_key *key)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;

	generate(pool, ONLY_A, algorithm, key);
	if (!wrap(pool, ONLY_A, key, &wrapped, &err) || !unwrap(pool, ONLY_B, key, &wrapped, &err) ||
	    !lock(pool, ONLY_A, key, &err))
		fail_msg("%s: %s", algorithm, err.message);
}

/* --- callers that sign while something happens to an HSM --- */

struct load {
	struct fixture *fixture;
	const struct test_key *key;
	atomic_bool stop;
	atomic_int signatures, errors;
	pthread_t threads[CALLERS];
	pthread_mutex_t lock;
	char first_error[480]; /* guarded by lock */
};

static void *sign_on_and_on(void *state)
{
	struct load *load = state;

	while (!atomic_load(&load->stop)) {
		struct ch_error err = CH_NONE;

		if (sign(load->fixture->pool, BOTH, load->key, &err)) {
			atomic_fetch_add(&load->signatures, 1);
			continue;
		}
		pthread_mutex_lock(&load->lock);
		if (atomic_fetch_add(&load->errors, 1) == 0)
			memcpy(load->first_error, err.message, sizeof(err.message));
		pthread_mutex_unlock(&load->lock);
	}
	return NULL;
}

static void start_load(struct load *load, struct fixture *fixture, const struct test_key *key)
{
	*load = (struct load){ .fixture = fixture, .key = key, .lock = PTHREAD_MUTEX_INITIALIZER };
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&load->threads[i], NULL, sign_on_and_on, load), 0);
}

/* Waits until so many more signatures were made. */
static void wait_signatures(struct load *load, int more)
{
	int wanted = atomic_load(&load->signatures) + more;
	int64_t until = ch_monotonic_us() + 30 * CH_SECOND;

	while (atomic_load(&load->signatures) < wanted) {
		if (ch_monotonic_us() > until)
			fail_msg("only %d signatures, %d wanted", atomic_load(&load->signatures), wanted);
		usleep(1000);
	}
}

static void stop_load(struct load *load)
{
	atomic_store(&load->stop, true);
	for (size_t i = 0; i < CALLERS; i++)
		pthread_join(load->threads[i], NULL);
	if (atomic_load(&load->errors))
		fail_msg("%d errors seen by callers, the first: %s", atomic_load(&load->errors),
			 load->first_error);
}

static pid_t worker_pid(struct fixture *fixture, size_t i)
{
	struct hsm_status status;

	hsm_pool_status(fixture->pool, i, &status);
	return status.pid;
}

static void wait_state(struct fixture *fixture, size_t i, enum hsm_state wanted)
{
	int64_t until = ch_monotonic_us() + UP_LIMIT;
	struct hsm_status status;

	do {
		hsm_pool_status(fixture->pool, i, &status);
		if (ch_monotonic_us() > until)
			fail_msg("HSM %s is %s, not %s: %s", status.name, hsm_state_name(status.state),
				 hsm_state_name(wanted), status.last_error);
		usleep(1000);
	} while (status.state != wanted);
}

/* --- the specification --- */

static void keys_of_every_algorithm_are_copied_and_both_copies_sign(void **state)
{
	static const char *const algorithms[] = { "rsa-2048", "rsa-3072", "ecdsa-p256", "ecdsa-p384",
						  "ecdsa-p521" };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < CH_COUNT(algorithms); i++) {
		struct ch_error err = CH_NONE;
		struct test_key key;

		make_on_both(fixture->pool, algorithms[i], &key);
		if (!sign(fixture->pool, ONLY_A, &key, &err) || !sign(fixture->pool, ONLY_B, &key, &err))
			fail_msg("%s: %s", algorithms[i], err.message);
		ch_bytes_free(&key.public_key_info);
	}
}

/* What SoftHSM 2.6.1 cannot is told as such, so that the vault can ask the operator for a decision. */
static void an_ed25519_key_signs_but_softhsm_cannot_wrap_it(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;

	generate(fixture->pool, ONLY_A, "ed25519", &key);
	assert_true(sign(fixture->pool, ONLY_A, &key, &err));
	assert_false(wrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	assert_int_equal(err.code, CH_UNSUPPORTED);
	assert_non_null(strstr(err.message, "CKR_KEY_NOT_WRAPPABLE"));
	ch_bytes_free(&key.public_key_info);
}

static void neither_copy_can_be_taken_out_again(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	assert_false(wrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	assert_non_null(strstr(err.message, "CKR_KEY_UNEXTRACTABLE"));
	assert_false(wrap(fixture->pool, ONLY_B, &key, &wrapped, &err));
	assert_non_null(strstr(err.message, "CKR_KEY_UNEXTRACTABLE"));
	ch_bytes_free(&key.public_key_info);
}

static void an_altered_wrapped_key_is_not_taken(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;
	struct test_key key;

	generate(fixture->pool, ONLY_A, "ecdsa-p256", &key);
	assert_true(wrap(fixture->pool, ONLY_A, &key, &wrapped, &err));
	wrapped.data[20] ^= 1;
	assert_false(unwrap(fixture->pool, ONLY_B, &key, &wrapped, &err));
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	ch_bytes_free(&key.public_key_info);
}

static void a_key_that_only_one_hsm_has_is_found_there(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	generate(fixture->pool, ONLY_B, "ecdsa-p256", &key);
	for (int i = 0; i < 10; i++)
		if (!sign(fixture->pool, BOTH, &key, &err))
			fail_msg("%s", err.message);
	assert_int_equal(hsm_pool_up(fixture->pool), BOTH);
	ch_bytes_free(&key.public_key_info);
}

static void a_key_that_nobody_has_is_not_found(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key = { "00000000000000000000000000000000", "ecdsa-p256", CH_NONE };

	assert_false(sign(fixture->pool, BOTH, &key, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
}

static void both_hsms_are_used(void **state)
{
	struct fixture *fixture = *state;
	struct hsm_status status[2];
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 200);
	stop_load(&load);
	for (size_t i = 0; i < 2; i++) {
		hsm_pool_status(fixture->pool, i, &status[i]);
		assert_true(status[i].signatures > 50);
	}
	ch_bytes_free(&key.public_key_info);
}

static void a_killed_worker_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	for (int i = 0; i < 6; i++) {
		size_t victim = (size_t)i % 2;

		wait_signatures(&load, 50);
		assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
		assert_int_equal(kill(worker_pid(fixture, victim), SIGKILL), 0);
		wait_signatures(&load, 50);
	}
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	stop_load(&load);
	assert_true(atomic_load(&fixture->events.downs) >= 6);
	ch_bytes_free(&key.public_key_info);
}

static void a_worker_that_hangs_is_killed_and_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	struct test_key key;
	struct load load;
	pid_t hung;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 50);
	hung = worker_pid(fixture, 0);
	assert_int_equal(kill(hung, SIGSTOP), 0);
	wait_signatures(&load, 1000);
	for (int i = 0; i < 10000 && worker_pid(fixture, 0) == hung; i++)
		usleep(1000);
	assert_int_not_equal(worker_pid(fixture, 0), hung);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	stop_load(&load);
	ch_bytes_free(&key.public_key_info);
}

static void a_token_that_vanishes_and_returns_costs_no_caller_an_error(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_string) tokens = ch_format("%s/tokens", fixture->paths[0]);
	CH_AUTO(ch_string) away = ch_format("%s/away", fixture->paths[0]);
	struct test_key key;
	struct load load;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	start_load(&load, fixture, &key);
	wait_signatures(&load, 50);
	assert_int_equal(rename(tokens, away), 0);
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0); /* so that it must open the token again */
	wait_state(fixture, 0, HSM_DOWN);
	wait_signatures(&load, 100);
	assert_int_equal(rename(away, tokens), 0);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	wait_signatures(&load, 100);
	stop_load(&load);
	ch_bytes_free(&key.public_key_info);
}

static void without_any_hsm_the_deadline_is_kept_and_work_goes_on_when_one_returns(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	assert_int_equal(kill(worker_pid(fixture, 1), SIGKILL), 0);
	if (!sign(fixture->pool, BOTH, &key, &err)) /* waits for a worker to be up again */
		fail_msg("%s", err.message);
	ch_bytes_free(&key.public_key_info);
}

/* Each try counts towards locking the token. */
static void a_wrong_pin_is_tried_once_and_the_other_hsm_serves(void **state)
{
	struct fixture *fixture = *state;
	struct ch_error err = CH_NONE;
	struct hsm_status status;
	struct test_key key;

	make_on_both(fixture->pool, "ecdsa-p256", &key);
	unlink(fixture->configs[0].pin_file);
	write_text(fixture->configs[0].pin_file, "9999");
	assert_int_equal(kill(worker_pid(fixture, 0), SIGKILL), 0);
	wait_state(fixture, 0, HSM_DOWN);
	for (int i = 0; i < 50; i++)
		assert_true(sign(fixture->pool, BOTH, &key, &err));
	usleep(700 * 1000); /* longer than two back-offs: it would have been tried again */
	hsm_pool_status(fixture->pool, 0, &status);
	assert_int_equal(status.restarts, 2); /* the kill, and the one try with the wrong PIN */
	assert_non_null(strstr(status.last_error, "CKR_PIN_INCORRECT"));
	assert_false(sign(fixture->pool, ONLY_A, &key, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	assert_non_null(strstr(err.message, "HSM 'a' is down"));
	ch_bytes_free(&key.public_key_info);
}

#define WITH_TOKENS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], HSM_WORKER_OPTION) == 0)
		return hsm_worker_main(argv[2]);
	const struct CMUnitTest tests[] = {
		WITH_TOKENS(keys_of_every_algorithm_are_copied_and_both_copies_sign),
		WITH_TOKENS(an_ed25519_key_signs_but_softhsm_cannot_wrap_it),
		WITH_TOKENS(neither_copy_can_be_taken_out_again),
		WITH_TOKENS(an_altered_wrapped_key_is_not_taken),
		WITH_TOKENS(a_key_that_only_one_hsm_has_is_found_there),
		WITH_TOKENS(a_key_that_nobody_has_is_not_found),
		WITH_TOKENS(both_hsms_are_used),
		WITH_TOKENS(a_killed_worker_costs_no_caller_an_error),
		WITH_TOKENS(a_worker_that_hangs_is_killed_and_costs_no_caller_an_error),
		WITH_TOKENS(a_token_that_vanishes_and_returns_costs_no_caller_an_error),
		WITH_TOKENS(without_any_hsm_the_deadline_is_kept_and_work_goes_on_when_one_returns),
		WITH_TOKENS(a_wrong_pin_is_tried_once_and_the_other_hsm_serves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
