/* SPDX-License-Identifier: Apache-2.0 */
/* vaultprobe_load.c: vaultprobe's command `load`. */
#include "vaultprobe_load.h"

#include "clock/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct caller {
	struct load *load;
	pthread_t thread;
	uint32_t *latencies_us; /* of each signature */
	size_t count, room;
	size_t errors;
	int64_t longest_error_us;
	char first_error[480];
};

struct load {
	struct ch_vault_client *client;
	const struct load_options *options;
	int64_t until_us;
	size_t callers;
};

static void note(struct caller *caller, int64_t took_us)
{
	if (caller->count == caller->room) {
		caller->room = caller->room ? 2 * caller->room : 4096;
		caller->latencies_us =
			ch_realloc(caller->latencies_us, caller->room * sizeof(*caller->latencies_us));
	}
	caller->latencies_us[caller->count++] = (uint32_t)took_us;
}

static void note_error(struct caller *caller, const struct ch_error *err)
{
	if (caller->errors++ == 0)
		memcpy(caller->first_error, err->message, sizeof(caller->first_error));
}

/* A steady rate: each caller has its own times, whatever the calls before took. */
static void wait_turn(int64_t *next_us, int64_t interval_us)
{
	int64_t now = ch_monotonic_us(), left = *next_us - now;
	struct timespec pause = { left / CH_SECOND, left % CH_SECOND * 1000 };

	if (interval_us == 0)
		return;
	if (left > 0)
		nanosleep(&pause, NULL);
	*next_us = (left > 0 ? *next_us : now) + interval_us;
}

static void *keep_signing(void *state)
{
	struct caller *caller = state;
	const struct load *load = caller->load;
	const struct load_options *options = load->options;
	int64_t interval_us = options->rate ? (int64_t)load->callers * CH_SECOND / options->rate : 0;
	const struct ch_vault_context context = { .tenant = options->tenant,
						  .timeout_us = options->timeout_us };
	int64_t next_us = ch_monotonic_us();

	while (ch_monotonic_us() < load->until_us) {
		CH_AUTO(ch_bytes) signature = CH_NONE;
		struct ch_error err = CH_NONE;
		int64_t began;

		wait_turn(&next_us, interval_us);
		began = ch_monotonic_us();
		if (ch_vault_sign(load->client, &context, &options->item, &signature, &err))
			note(caller, ch_monotonic_us() - began);
		else
			note_error(caller, &err);
	}
	return NULL;
}

static int compare(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return (a > b) - (a < b);
}

static uint32_t quantile(const uint32_t *sorted, size_t count, size_t per_mille)
{
	return count ? sorted[(count - 1) * per_mille / 1000] : 0;
}

static void put_text(const char *text)
{
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text >= 0x20)
			putchar(*text);
}

static void report(const struct load *load, struct caller *callers)
{
	size_t count = 0, errors = 0, used = 0;
	const char *first_error = "";
	uint32_t *all;

	for (size_t i = 0; i < load->callers; i++) {
		count += callers[i].count;
		errors += callers[i].errors;
		if (callers[i].errors && !first_error[0])
			first_error = callers[i].first_error;
	}
	all = ch_alloc((count + 1) * sizeof(*all));
	for (size_t i = 0; i < load->callers; i++) {
		if (callers[i].count)
			memcpy(all + used, callers[i].latencies_us, callers[i].count * sizeof(*all));
		used += callers[i].count;
	}
	qsort(all, count, sizeof(*all), compare);
	printf("{\"code\":0,\"signatures\":%zu,\"errors\":%zu,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
	       "\"longest_us\":%u,\"longest_ms\":%u,\"first_error\":\"",
	       count, errors, quantile(all, count, 500), quantile(all, count, 990), quantile(all, count, 999),
	       quantile(all, count, 1000), quantile(all, count, 1000) / 1000);
	put_text(first_error);
	printf("\"}\n");
	free(all);
}

int load_run(struct ch_bus_client *bus, const struct load_options *options)
{
	struct caller callers[LOAD_CALLERS_CAP] = { 0 };
	struct load load = { .client = ch_vault_client_new(bus), .options = options };

	load.callers =
		options->callers > 0 && options->callers <= LOAD_CALLERS_CAP ? (size_t)options->callers : 8;
	load.until_us = ch_monotonic_us() + (options->seconds > 0 ? options->seconds : 5) * CH_SECOND;
	for (size_t i = 0; i < load.callers; i++) {
		callers[i].load = &load;
		if (pthread_create(&callers[i].thread, NULL, keep_signing, &callers[i]) != 0) {
			fprintf(stderr, "vaultprobe: no thread for caller %zu\n", i);
			exit(2);
		}
	}
	for (size_t i = 0; i < load.callers; i++)
		pthread_join(callers[i].thread, NULL);
	report(&load, callers);
	for (size_t i = 0; i < load.callers; i++)
		free(callers[i].latencies_us);
	ch_vault_client_free(load.client);
	return 0;
}
