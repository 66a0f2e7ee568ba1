/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_fixture.c: tokens, pool and load of hsm_fixture.h. */
#include "hsm_fixture.h"

#include "init_token.h"
#include "x509/x509.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void note_event(void *state, const char *hsm, enum hsm_change change, const char *why, size_t up_count)
{
	struct event_log *events = state;

	(void)hsm;
	(void)why;
	(void)up_count;
	atomic_fetch_add(&events->of[change], 1);
}

/* --- two tokens with one key-encryption key --- */

void write_text(const char *path, const char *text)
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
	fixture->environments[i][0] = ch_format("SOFTHSM2_CONF=%s", configuration);
	fixture->environments[i][1] = ch_format("FAULTY_PKCS11_DIRECTORY=%s", fixture->paths[i]);
	*config = (struct hsm_config){ .name = ch_strdup(name),
				       .module = (char *)MODULE,
				       .environment = { fixture->environments[i], 2 },
				       .token_label = ch_format("chancery-%s", name),
				       .pin_file = ch_format("%s/%s/pin", fixture->directory, name),
				       .sessions = 4,
				       .paths = { &fixture->paths[i], 1 } };
	write_text(config->pin_file, "5678");
	write_text(so_pin, "12345678");
}

static void initialise_token(struct fixture *fixture, size_t i, struct ch_view root)
{
	CH_AUTO(ch_string) so_pin = ch_format("%s/so-pin", fixture->paths[i]);
	const struct token_order order = { &fixture->configs[i], so_pin, root, true };
	struct token_state state;
	struct ch_error err = CH_NONE;

	if (!token_set_up(&order, &state, &err))
		fail_msg("%s", err.message);
	assert_true(state.has_domain);
}

void start_pool(struct fixture *fixture)
{
	const struct hsm_pool_options options = { .hsms = fixture->configs,
						  .count = 2,
						  .program = "/proc/self/exe",
						  .sandbox = true,
						  .hang_us = fixture->hang_us ? fixture->hang_us : HANG_US,
						  .late_us = fixture->late_us ? fixture->late_us : LATE_US,
						  .keep_alive_us = KEEP_ALIVE_US,
						  .event = note_event,
						  .event_state = &fixture->events };
	struct ch_error err;

	if (!hsm_pool_start(&options, &fixture->pool, &err))
		fail_msg("%s", err.message);
}

int set_up_tokens(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));
	uint8_t root[32];

	strcpy(fixture->directory, "/tmp/chancery-hsm-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	ch_random(root, sizeof(root));
	make_token_directory(fixture, 0, "a");
	make_token_directory(fixture, 1, "b");
	initialise_token(fixture, 0, ch_view(root, sizeof(root)));
	initialise_token(fixture, 1, ch_view(root, sizeof(root)));
	*state = fixture;
	return 0;
}

int set_up(void **state)
{
	struct fixture *fixture;

	set_up_tokens(state);
	fixture = *state;
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, BOTH, UP_LIMIT));
	return 0;
}

int tear_down(void **state)
{
	struct fixture *fixture = *state;
	CH_AUTO(ch_string) command = ch_format("rm -rf %s", fixture->directory);

	hsm_pool_stop(fixture->pool);
	for (size_t i = 0; i < 2; i++) {
		free(fixture->configs[i].name);
		free(fixture->configs[i].token_label);
		free(fixture->configs[i].pin_file);
		free(fixture->environments[i][0]);
		free(fixture->environments[i][1]);
		free(fixture->paths[i]);
	}
	free(fixture);
	return system(command);
}

/* --- faults of HSM a --- */

void set_fault(struct fixture *fixture, const char *function, const char *what)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s", fixture->paths[0], function);
	CH_AUTO(ch_string) draft = ch_format("%s.draft", path);

	unlink(draft);
	write_text(draft, what);
	assert_int_equal(rename(draft, path), 0);
}

void clear_fault(struct fixture *fixture, const char *function)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s", fixture->paths[0], function);

	assert_int_equal(unlink(path), 0);
}

int64_t calls_of(struct fixture *fixture, const char *function)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s.calls", fixture->paths[0], function);
	struct stat info;

	return stat(path, &info) == 0 ? info.st_size : 0;
}

/* --- asking --- */

bool run(struct hsm_pool *pool, unsigned allowed, Chancery__HsmRequest *request, Chancery__HsmReply **reply,
	 struct ch_error *err)
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

void generate(struct hsm_pool *pool, unsigned on, const char *algorithm, struct test_key *key)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmGenerate ask = CHANCERY__HSM_GENERATE__INIT;
	Chancery__HsmReply *reply;
	struct ch_error err;
	uint8_t id[16];
	CH_AUTO(ch_string) text = NULL;

	ch_random(id, sizeof(id));
	text = ch_hex(ch_view(id, sizeof(id)));
	snprintf(key->id, sizeof(key->id), "%s", text);
	key->algorithm = algorithm;
	ask.key_id = key->id;
	ask.algorithm = (char *)algorithm;
	ask.label = (char *)"test";
	ask.extractable = true;
	request.generate = &ask;
	if (!run(pool, on, &request, &reply, &err)) {
		fail_msg("%s: %s", algorithm, err.message);
		return;
	}
	key->public_key_info =
		ch_bytes_copy(ch_view(reply->public_key_info.data, reply->public_key_info.len));
	chancery__hsm_reply__free_unpacked(reply, NULL);
}

bool wrap(struct hsm_pool *pool, unsigned on, struct test_key *key, struct ch_bytes *wrapped,
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

bool unwrap(struct hsm_pool *pool, unsigned on, struct test_key *key, const struct ch_bytes *wrapped,
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

bool lock(struct hsm_pool *pool, unsigned on, struct test_key *key, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmLock ask = CHANCERY__HSM_LOCK__INIT;

	ask.key_id = key->id;
	request.lock = &ask;
	return run(pool, on, &request, NULL, err);
}

/* Signs a fresh message and verifies it with the public key. */
bool sign(struct hsm_pool *pool, unsigned allowed, const struct test_key *key, struct ch_error *err)
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

void make_on_both(struct hsm_pool *pool, const char *algorithm, struct test_key *key)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	struct ch_error err = CH_NONE;

	generate(pool, ONLY_A, algorithm, key);
	if (!wrap(pool, ONLY_A, key, &wrapped, &err) || !unwrap(pool, ONLY_B, key, &wrapped, &err) ||
	    !lock(pool, ONLY_A, key, &err))
		fail_msg("%s: %s", algorithm, err.message);
}

/* --- callers that sign while something happens to an HSM --- */

static void *sign_on_and_on(void *state)
{
	struct load *load = state;

	while (!atomic_load(&load->stop)) {
		int64_t began = ch_monotonic_us(), took;
		struct ch_error err = CH_NONE;

		if (sign(load->fixture->pool, BOTH, load->key, &err)) {
			atomic_fetch_add(&load->signatures, 1);
			took = ch_monotonic_us() - began;
			if (took > atomic_load(&load->longest_us))
				atomic_store(&load->longest_us, took); /* a race loses one measurement */
			continue;
		}
		pthread_mutex_lock(&load->lock);
		if (atomic_fetch_add(&load->errors, 1) == 0)
			memcpy(load->first_error, err.message, sizeof(err.message));
		pthread_mutex_unlock(&load->lock);
	}
	return NULL;
}

void start_load(struct load *load, struct fixture *fixture, const struct test_key *key)
{
	*load = (struct load){ .fixture = fixture, .key = key, .lock = PTHREAD_MUTEX_INITIALIZER };
	for (size_t i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_create(&load->threads[i], NULL, sign_on_and_on, load), 0);
}

/* Waits until so many more signatures were made. */
void wait_signatures(struct load *load, int more)
{
	int wanted = atomic_load(&load->signatures) + more;
	int64_t until = ch_monotonic_us() + 30 * CH_SECOND;

	while (atomic_load(&load->signatures) < wanted) {
		if (ch_monotonic_us() > until)
			fail_msg("only %d signatures, %d wanted", atomic_load(&load->signatures), wanted);
		usleep(1000);
	}
}

void stop_load(struct load *load)
{
	atomic_store(&load->stop, true);
	for (size_t i = 0; i < CALLERS; i++)
		pthread_join(load->threads[i], NULL);
	if (atomic_load(&load->errors))
		fail_msg("%d errors seen by callers, the first: %s", atomic_load(&load->errors),
			 load->first_error);
}

pid_t worker_pid(struct fixture *fixture, size_t i)
{
	struct hsm_status status;

	hsm_pool_status(fixture->pool, i, &status);
	return status.pid;
}

void stop_worker(pid_t pid)
{
	CH_AUTO(ch_string) path = ch_format("/proc/%d/stat", (int)pid);
	char state = 0;

	assert_int_equal(kill(pid, SIGSTOP), 0);
	while (state != 'T') {
		FILE *file = fopen(path, "r");

		assert_non_null(file);
		assert_int_equal(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
		fclose(file);
	}
}

void wait_state(struct fixture *fixture, size_t i, enum hsm_state wanted)
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
