/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c: the registry. Families and series are only ever added, under its lock; values are atomics that
 * no lock guards. libcommon/daemon serves the text at /metrics.
 */
#include "metrics/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define SERIES_MAX 1000

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* Upper bounds in microseconds; above the last: +Inf. */
static const int64_t bounds_us[] = { 100,   250,    500,    1000,   2500,    5000,    10000,   25000,
				     50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000 };
#define BOUND_COUNT CH_COUNT(bounds_us)

struct histogram {
	atomic_uint_fast64_t buckets[BOUND_COUNT + 1]; /* not cumulative: summed up when written */
	atomic_uint_fast64_t sum_us;
};

struct ch_metric {
	enum kind kind;
	atomic_int_fast64_t value; /* counter, gauge; of a histogram the number of observations */
	struct histogram *histogram;
	struct ch_metric *next; /* of the family, newest first */
	char *labels;
	char *key; /* name { labels }: what the hash table finds it by */
	UT_hash_handle hh;
};

struct family {
	char *name;
	char *help;
	enum kind kind;
	struct ch_metric *series;
	size_t count;
	struct family *next;
};

struct ch_metrics {
	pthread_mutex_t lock; /* guards all below; the values of a series need none */
	struct family *families;
	struct family **last;
	struct ch_metric *by_key;
};

struct ch_metrics *ch_metrics_new(void)
{
	struct ch_metrics *metrics = ch_alloc(sizeof(*metrics));

	pthread_mutex_init(&metrics->lock, NULL);
	metrics->last = &metrics->families;
	return metrics;
}

static void free_series(struct ch_metric *metric)
{
	while (metric) {
		struct ch_metric *next = metric->next;

		free(metric->histogram);
		free(metric->labels);
		free(metric->key);
		free(metric);
		metric = next;
	}
}

void ch_metrics_free(struct ch_metrics *metrics)
{
	struct family *family = metrics ? metrics->families : NULL;

	if (!metrics)
		return;
	HASH_CLEAR(hh, metrics->by_key); /* the table only: the families own the series */
	while (family) {
		struct family *next = family->next;

		free_series(family->series);
		free(family->name);
		free(family->help);
		free(family);
		family = next;
	}
	pthread_mutex_destroy(&metrics->lock);
	free(metrics);
}

static struct family *find_family(struct ch_metrics *metrics, const char *name, const char *help,
				  enum kind kind)
{
	struct family *family;

	for (family = metrics->families; family; family = family->next) {
		if (strcmp(family->name, name) != 0)
			continue;
		if (family->kind != kind) {
			fprintf(stderr, "metric %s is asked for as two kinds\n", name);
			abort();
		}
		return family;
	}
	family = ch_alloc(sizeof(*family));
	family->name = ch_strdup(name);
	family->help = ch_strdup(help);
	family->kind = kind;
	*metrics->last = family;
	metrics->last = &family->next;
	return family;
}

static struct ch_metric *add_series(struct ch_metrics *metrics, struct family *family, const char *labels,
				    char *key)
{
	struct ch_metric *metric = ch_alloc(sizeof(*metric));

	metric->kind = family->kind;
	metric->labels = ch_strdup(labels);
	metric->key = key;
	if (family->kind == HISTOGRAM)
		metric->histogram = ch_alloc(sizeof(*metric->histogram));
	metric->next = family->series;
	family->series = metric;
	family->count++;
	HASH_ADD_KEYPTR(hh, metrics->by_key, metric->key, strlen(metric->key), metric);
	return metric;
}

static struct ch_metric *find_locked(struct ch_metrics *metrics, enum kind kind, const char *name,
				     const char *help, const char *labels)
{
	struct family *family = find_family(metrics, name, help, kind);
	char *key = ch_format("%s{%s}", name, labels);
	struct ch_metric *metric = NULL;

	HASH_FIND_STR(metrics->by_key, key, metric);
	if (!metric && family->count >= SERIES_MAX) {
		free(key);
		labels = "overflow=\"true\"";
		key = ch_format("%s{%s}", name, labels);
		HASH_FIND_STR(metrics->by_key, key, metric);
	}
	if (!metric)
		return add_series(metrics, family, labels, key);
	free(key);
	return metric;
}

static struct ch_metric *find(struct ch_metrics *metrics, enum kind kind, const char *name, const char *help,
			      const char *labels)
{
	struct ch_metric *metric;

	pthread_mutex_lock(&metrics->lock);
	metric = find_locked(metrics, kind, name, help, labels);
	pthread_mutex_unlock(&metrics->lock);
	return metric;
}

struct ch_metric *ch_metrics_counter(struct ch_metrics *metrics, const char *name, const char *help,
				     const char *labels)
{
	return find(metrics, COUNTER, name, help, labels);
}

struct ch_metric *ch_metrics_gauge(struct ch_metrics *metrics, const char *name, const char *help,
				   const char *labels)
{
	return find(metrics, GAUGE, name, help, labels);
}

struct ch_metric *ch_metrics_histogram(struct ch_metrics *metrics, const char *name, const char *help,
				       const char *labels)
{
	return find(metrics, HISTOGRAM, name, help, labels);
}

void ch_metric_add(struct ch_metric *metric, uint64_t amount)
{
	atomic_fetch_add_explicit(&metric->value, (int_fast64_t)amount, memory_order_relaxed);
}

void ch_metric_set(struct ch_metric *metric, int64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

void ch_metric_change(struct ch_metric *metric, int64_t delta)
{
	atomic_fetch_add_explicit(&metric->value, delta, memory_order_relaxed);
}

void ch_metric_observe(struct ch_metric *metric, int64_t microseconds)
{
	size_t bucket = 0;

	if (microseconds < 0)
		microseconds = 0;
	while (bucket < BOUND_COUNT && microseconds > bounds_us[bucket])
		bucket++;
	atomic_fetch_add_explicit(&metric->histogram->buckets[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&metric->histogram->sum_us, (uint_fast64_t)microseconds,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&metric->value, 1, memory_order_relaxed);
}

uint64_t ch_metric_value(const struct ch_metric *metric)
{
	return (uint64_t)atomic_load_explicit(&metric->value, memory_order_relaxed);
}

static void write_histogram(struct ch_buffer *out, const struct family *family,
			    const struct ch_metric *metric)
{
	const char *comma = *metric->labels ? "," : "";
	const char *open = *metric->labels ? "{" : "";
	const char *close = *metric->labels ? "}" : "";
	uint64_t sum_us = atomic_load_explicit(&metric->histogram->sum_us, memory_order_relaxed);
	uint64_t count = 0;

	for (size_t i = 0; i <= BOUND_COUNT; i++) {
		count += atomic_load_explicit(&metric->histogram->buckets[i], memory_order_relaxed);
		ch_buffer_printf(out, "%s_bucket{%s%sle=\"", family->name, metric->labels, comma);
		if (i < BOUND_COUNT)
			ch_buffer_printf(out, "%g", (double)bounds_us[i] / 1e6);
		else
			ch_buffer_printf(out, "+Inf");
		ch_buffer_printf(out, "\"} %llu\n", (unsigned long long)count);
	}
	ch_buffer_printf(out, "%s_sum%s%s%s %llu.%06llu\n", family->name, open, metric->labels, close,
			 (unsigned long long)(sum_us / 1000000), (unsigned long long)(sum_us % 1000000));
	/* The same count as the last bucket, although observations go on meanwhile. */
	ch_buffer_printf(out, "%s_count%s%s%s %llu\n", family->name, open, metric->labels, close,
			 (unsigned long long)count);
}

static void write_series(struct ch_buffer *out, const struct family *family, const struct ch_metric *metric)
{
	int64_t value = atomic_load_explicit(&metric->value, memory_order_relaxed);

	if (family->kind == HISTOGRAM) {
		write_histogram(out, family, metric);
		return;
	}
	ch_buffer_printf(out, "%s", family->name);
	if (*metric->labels)
		ch_buffer_printf(out, "{%s}", metric->labels);
	ch_buffer_printf(out, " %lld\n", (long long)value);
}

char *ch_metrics_text(struct ch_metrics *metrics)
{
	static const char *const kinds[] = { "counter", "gauge", "histogram" };
	struct ch_buffer out = CH_NONE;

	pthread_mutex_lock(&metrics->lock);
	for (const struct family *family = metrics->families; family; family = family->next) {
		ch_buffer_printf(&out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help,
				 family->name, kinds[family->kind]);
		for (const struct ch_metric *metric = family->series; metric; metric = metric->next)
			write_series(&out, family, metric);
	}
	pthread_mutex_unlock(&metrics->lock);
	return ch_buffer_steal_text(&out);
}
