/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vaultstorm.c: many threads that ask vaults for different things at once: secrets sealed,
 * opened and resealed while their data key is rotated, the quorum while it is changed, the keys and the HSMs'
 * state. tests/integration/test_vault_races.py runs it beside what changes all that:
 *
 *   vaultstorm IDENTITY-DIR SYSTEM-CA TENANT SECONDS OPERATION,… HOST:PORT…
 *
 * Prints one JSON object: {operation: {done, errors, first_error}}. What was sealed must open as it was, and
 * a version that a thread saw never goes back: else it is an error of that operation.
 */
#include "number.h"
#include "vaultclient/vaultclient.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TIMEOUT (30 * CH_SECOND) /* of one request: a sanitizer's vault is slow */

struct storm {
	const char *operations; /* "secret,quorum": which of them */
	struct ch_bus_client *bus;
	struct ch_vault_client *vault;
	struct ch_vault_context context;
	int64_t until_us;
};

struct thread {
	struct storm *storm;
	const struct operation *operation;
	pthread_t id;
	size_t number, done, errors;
	uint64_t version; /* the highest that this thread saw */
	char first_error[480];
};

struct operation {
	const char *name;
	bool (*once)(struct thread *thread, struct ch_error *err);
	size_t threads;
	int64_t pause_us; /* after each */
};

/* --- what is asked for --- */

static bool goes_on(struct thread *thread, uint64_t version, struct ch_error *err)
{
	if (version < thread->version)
		return ch_fail(err, CH_INTERNAL, "version %llu after %llu", (unsigned long long)version,
			       (unsigned long long)thread->version);
	thread->version = version;
	return true;
}

static bool opens_as(struct thread *thread, const char *what, struct ch_view sealed, struct ch_view plaintext,
		     struct ch_error *err)
{
	CH_AUTO(ch_secret) opened = CH_NONE;

	return ch_vault_open(thread->storm->vault, &thread->storm->context, what, sealed, NULL, &opened,
			     err) &&
	       (ch_view_equal(ch_view(opened.data, opened.size), plaintext) ||
		ch_fail(err, CH_INTERNAL, "opened as something else"));
}

static bool seal_and_open(struct thread *thread, struct ch_error *err)
{
	CH_AUTO(ch_string) what = ch_format("storm/%zu", thread->number);
	CH_AUTO(ch_bytes) sealed = CH_NONE, resealed = CH_NONE;
	const struct storm *storm = thread->storm;
	uint8_t secret[40];
	struct ch_view plaintext = ch_view(secret, sizeof(secret));

	ch_random(secret, sizeof(secret));
	return ch_vault_seal(storm->vault, &storm->context, what, plaintext, &sealed, err) &&
	       opens_as(thread, what, ch_view_of(&sealed), plaintext, err) &&
	       ch_vault_reseal(storm->vault, &storm->context, what, ch_view_of(&sealed), &resealed, err) &&
	       opens_as(thread, what, ch_view_of(&resealed), plaintext, err);
}

static bool call(struct thread *thread, struct ch_bus_call ask, ProtobufCMessage **reply,
		 struct ch_error *err)
{
	ask.tenant = thread->storm->context.tenant;
	ask.timeout_us = TIMEOUT;
	return ch_bus_call(thread->storm->bus, &ask, reply, err);
}

static bool rotate(struct thread *thread, struct ch_error *err)
{
	Chancery__RotateDataKeyRequest request = CHANCERY__ROTATE_DATA_KEY_REQUEST__INIT;
	const struct ch_bus_call ask = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ROTATE_DATA_KEY,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ROTATE_DATA_KEY_REPLY,
		.reply_descriptor = &chancery__rotate_data_key_reply__descriptor,
	};
	CH_AUTO(ch_proto) reply = NULL;

	return call(thread, ask, &reply, err) &&
	       goes_on(thread, ((const Chancery__RotateDataKeyReply *)reply)->version, err);
}

static bool read_quorum(struct thread *thread, struct ch_error *err)
{
	Chancery__GetQuorumRequest request = CHANCERY__GET_QUORUM_REQUEST__INIT;
	const struct ch_bus_call ask = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_QUORUM,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_QUORUM_REPLY,
		.reply_descriptor = &chancery__quorum_reply__descriptor,
	};
	CH_AUTO(ch_proto) reply = NULL;

	return call(thread, ask, &reply, err) &&
	       goes_on(thread, ((const Chancery__QuorumReply *)reply)->quorum->version, err);
}

static bool list_keys(struct thread *thread, struct ch_error *err)
{
	Chancery__ListKeysReply *reply;

	if (!ch_vault_list_keys(thread->storm->vault, &thread->storm->context, &reply, err))
		return false;
	chancery__list_keys_reply__free_unpacked(reply, NULL);
	return true;
}

static bool random_octets(struct thread *thread, struct ch_error *err)
{
	CH_AUTO(ch_bytes) octets = CH_NONE;

	return ch_vault_random(thread->storm->vault, &thread->storm->context, 32, &octets, err);
}

static const struct operation operations[] = {
	{ "secret", seal_and_open, 4, 0 },
	{ "rotate", rotate, 2, 50 * CH_MILLISECOND },
	{ "quorum", read_quorum, 4, 0 },
	{ "keys", list_keys, 1, 20 * CH_MILLISECOND },
	{ "random", random_octets, 1, 20 * CH_MILLISECOND },
};
#define THREADS_CAP 16

/* --- all at once --- */

static void *keep_asking(void *state)
{
	struct thread *thread = state;
	int64_t pause_us = thread->operation->pause_us;
	const struct timespec pause = { pause_us / CH_SECOND, pause_us % CH_SECOND * 1000 };

	while (ch_monotonic_us() < thread->storm->until_us) {
		struct ch_error err = CH_NONE;

		if (thread->operation->once(thread, &err))
			thread->done++;
		else if (thread->errors++ == 0)
			memcpy(thread->first_error, err.message, sizeof(thread->first_error));
		if (pause_us)
			nanosleep(&pause, NULL);
	}
	return NULL;
}

static void put_text(const char *text)
{
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text >= 0x20)
			putchar(*text);
}

static void report(const struct operation *operation, const struct thread *threads, size_t count)
{
	const char *first_error = "";
	size_t done = 0, errors = 0;

	for (size_t i = 0; i < count; i++) {
		if (threads[i].operation != operation)
			continue;
		done += threads[i].done;
		errors += threads[i].errors;
		if (!first_error[0])
			first_error = threads[i].first_error;
	}
	printf("\"%s\": {\"done\": %zu, \"errors\": %zu, \"first_error\": \"", operation->name, done, errors);
	put_text(first_error);
	printf("\"}");
}

static int run(struct storm *storm)
{
	struct thread threads[THREADS_CAP] = { 0 };
	size_t count = 0;

	for (size_t i = 0; i < CH_COUNT(operations); i++)
		for (size_t j = 0; j < operations[i].threads && strstr(storm->operations, operations[i].name);
		     j++, count++) {
			threads[count] = (struct thread){ .storm = storm,
							  .operation = &operations[i],
							  .number = count };
			if (pthread_create(&threads[count].id, NULL, keep_asking, &threads[count]) != 0)
				return 2;
		}
	for (size_t i = 0; i < count; i++)
		pthread_join(threads[i].id, NULL);
	for (size_t i = 0; i < CH_COUNT(operations); i++) {
		printf("%s", i ? ", " : "{");
		report(&operations[i], threads, count);
	}
	printf("}\n");
	return 0;
}

int main(int argc, char **argv)
{
	struct storm storm = { .context = { .timeout_us = TIMEOUT } };
	CH_AUTO(ch_identity) identity = NULL;
	struct ch_error err = CH_NONE;
	struct ch_metrics *metrics;
	int result;

	if (argc < 7) {
		fprintf(stderr,
			"usage: vaultstorm IDENTITY-DIR SYSTEM-CA TENANT SECONDS OPERATION,… HOST:PORT…\n");
		return 2;
	}
	CH_AUTO(ch_string) certificate = ch_format("%s/certificate.pem", argv[1]);
	CH_AUTO(ch_string) key = ch_format("%s/key.pem", argv[1]);
	const struct ch_identity_config files = { certificate, key, argv[2] };
	const struct ch_conf_strings vaults = { &argv[6], (size_t)argc - 6 };

	metrics = ch_metrics_new();
	storm.context.tenant = argv[3];
	storm.operations = argv[5];
	if (!ch_identity_load(&files, NULL, NULL, &identity, &err) ||
	    !ch_bus_client_open("vault", &vaults, identity, ch_clock_system(), metrics, &storm.bus, &err)) {
		fprintf(stderr, "vaultstorm: %s\n", err.message);
		return 2;
	}
	storm.vault = ch_vault_client_new(storm.bus);
	storm.until_us = ch_monotonic_us() + number_of(argv[4], 1, 3600) * CH_SECOND;
	result = run(&storm);
	ch_vault_client_free(storm.vault);
	ch_bus_client_close(storm.bus);
	ch_metrics_free(metrics);
	return result;
}
