/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_load.c: signatures per second through the vault client library, as a daemon with many request threads
 * asks for them. Run by tests/bench/run as
 *
 *   vault_load IDENTITY-DIR SYSTEM-CA HOST:PORT KEY TBS-FILE CALLERS SECONDS
 *
 * Each caller asks for an OCSP signature over the file's bytes, waits for it, and asks again. Prints one JSON
 * object.
 */
#include "vaultclient/vaultclient.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define CALLERS_CAP 512
#define LATENCY_CAP 2000000 /* of all callers */

struct load {
	struct ch_vault_client *vault;
	struct ch_vault_item item;
	int64_t until_us;
};

struct caller {
	struct load *load;
	pthread_t thread;
	uint32_t *latencies_us;
	size_t cap, signatures, errors;
	char first_error[480];
};

static void *keep_asking(void *state)
{
	const struct ch_vault_context context = { .tenant = "default", .timeout_us = 10 * CH_SECOND };
	struct caller *caller = state;

	while (ch_monotonic_us() < caller->load->until_us && caller->signatures < caller->cap) {
		int64_t began = ch_monotonic_us();
		CH_AUTO(ch_bytes) signature = CH_NONE;
		struct ch_error err = CH_NONE;

		if (ch_vault_sign(caller->load->vault, &context, &caller->load->item, &signature, &err)) {
			caller->latencies_us[caller->signatures++] = (uint32_t)(ch_monotonic_us() - began);
			continue;
		}
		if (!caller->errors++)
			memcpy(caller->first_error, err.message, sizeof(caller->first_error));
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return (left > right) - (left < right);
}

static double cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int report(struct caller *callers, size_t count, double seconds, double cpu)
{
	uint32_t *all;
	size_t signatures = 0, errors = 0, at = 0;

	for (size_t i = 0; i < count; i++) {
		signatures += callers[i].signatures;
		errors += callers[i].errors;
		if (callers[i].errors)
			fprintf(stderr, "vault_load: %s\n", callers[i].first_error);
	}
	if (!signatures)
		return 1;
	all = ch_alloc(signatures * sizeof(*all));
	for (size_t i = 0; i < count; i++) {
		memcpy(all + at, callers[i].latencies_us, callers[i].signatures * sizeof(*all));
		at += callers[i].signatures;
	}
	qsort(all, signatures, sizeof(*all), compare);
	printf("{\"signatures\": %zu, \"errors\": %zu, \"per_second\": %.1f, \"p50_us\": %u, \"p99_us\": %u, "
	       "\"max_us\": %u, \"cpu_us\": %.2f}\n",
	       signatures, errors, (double)signatures / seconds, all[signatures / 2],
	       all[signatures * 99 / 100], all[signatures - 1], cpu / (double)signatures);
	free(all);
	return errors ? 1 : 0;
}

static int run(struct load *load, size_t count, int64_t seconds)
{
	struct caller *callers = ch_alloc(count * sizeof(*callers));
	int64_t began = ch_monotonic_us();
	double cpu = cpu_us();
	int result;

	load->until_us = began + seconds * CH_SECOND;
	for (size_t i = 0; i < count; i++) {
		callers[i].load = load;
		callers[i].cap = LATENCY_CAP / count;
		callers[i].latencies_us = ch_alloc(callers[i].cap * sizeof(uint32_t));
		if (pthread_create(&callers[i].thread, NULL, keep_asking, &callers[i]) != 0)
			return 1;
	}
	for (size_t i = 0; i < count; i++)
		pthread_join(callers[i].thread, NULL);
	result = report(callers, count, (double)(ch_monotonic_us() - began) / 1e6, cpu_us() - cpu);
	for (size_t i = 0; i < count; i++)
		free(callers[i].latencies_us);
	free(callers);
	return result;
}

static int fail(const struct ch_error *err)
{
	fprintf(stderr, "vault_load: %s\n", err->message);
	return 1;
}

int main(int argc, char **argv)
{
	CH_AUTO(ch_identity) identity = NULL;
	CH_AUTO(ch_bytes) tbs = CH_NONE;
	struct ch_bus_client *bus = NULL;
	struct ch_metrics *metrics;
	struct ch_error err = CH_NONE;
	struct load load = CH_NONE;
	size_t callers;
	int result;

	if (argc != 8) {
		fprintf(stderr,
			"usage: vault_load IDENTITY-DIR SYSTEM-CA HOST:PORT KEY TBS-FILE CALLERS SECONDS\n");
		return 2;
	}
	CH_AUTO(ch_string) certificate = ch_format("%s/certificate.pem", argv[1]);
	CH_AUTO(ch_string) key = ch_format("%s/key.pem", argv[1]);
	const struct ch_identity_config files = { certificate, key, argv[2] };
	const struct ch_conf_strings vaults = { &argv[3], 1 };

	callers = strtoul(argv[6], NULL, 10);
	if (callers < 1 || callers > CALLERS_CAP)
		return 2;
	metrics = ch_metrics_new();
	if (!ch_read_file(argv[5], 65536, &tbs, &err) ||
	    !ch_identity_load(&files, NULL, NULL, &identity, &err) ||
	    !ch_bus_client_open("vault", &vaults, identity, ch_clock_system(), metrics, &bus, &err))
		return fail(&err);
	load.vault = ch_vault_client_new(bus);
	load.item = (struct ch_vault_item){ .key_id = argv[4],
					    .purpose = CHANCERY__PURPOSE__PURPOSE_OCSP,
					    .to_be_signed = ch_view_of(&tbs) };
	result = run(&load, callers, strtol(argv[7], NULL, 10));
	ch_vault_client_free(load.vault);
	ch_bus_client_close(bus);
	ch_metrics_free(metrics);
	return result;
}
