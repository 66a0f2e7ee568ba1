/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_test.c: the registry and its Prometheus text. */
#include "metrics/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_text_is_prometheus(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct ch_metric *plain = ch_metrics_counter(metrics, "chancery_things_total", "Things.", "");
	struct ch_metric *level = ch_metrics_gauge(metrics, "chancery_level", "Level.", "kind=\"a\"");
	char *text;

	ch_metric_add(plain, 3);
	ch_metric_set(level, 5);
	ch_metric_change(level, -7);
	text = ch_metrics_text(metrics);
	assert_string_equal(text, "# HELP chancery_things_total Things.\n"
				  "# TYPE chancery_things_total counter\n"
				  "chancery_things_total 3\n"
				  "# HELP chancery_level Level.\n"
				  "# TYPE chancery_level gauge\n"
				  "chancery_level{kind=\"a\"} -2\n");
	free(text);
	ch_metrics_free(metrics);
}

/* Buckets are cumulative; le is inclusive; _count equals the +Inf bucket. */
static void a_histogram_sums_up(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct ch_metric *seconds = ch_metrics_histogram(metrics, "t_seconds", "Time.", "path=\"x\"");
	char *text;

	ch_metric_observe(seconds, 100);
	ch_metric_observe(seconds, 101);
	ch_metric_observe(seconds, 20000000);
	text = ch_metrics_text(metrics);
	assert_non_null(strstr(text, "t_seconds_bucket{path=\"x\",le=\"0.0001\"} 1\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{path=\"x\",le=\"0.00025\"} 2\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{path=\"x\",le=\"10\"} 2\n"));
	assert_non_null(strstr(text, "t_seconds_bucket{path=\"x\",le=\"+Inf\"} 3\n"));
	assert_non_null(strstr(text, "t_seconds_sum{path=\"x\"} 20.000201\n"));
	assert_non_null(strstr(text, "t_seconds_count{path=\"x\"} 3\n"));
	free(text);
	ch_metrics_free(metrics);
}

static void the_same_labels_give_the_same_metric(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct ch_metric *one = ch_metrics_counter(metrics, "a_total", "A.", "x=\"1\"");

	assert_ptr_equal(ch_metrics_counter(metrics, "a_total", "A.", "x=\"1\""), one);
	assert_ptr_not_equal(ch_metrics_counter(metrics, "a_total", "A.", "x=\"2\""), one);
	ch_metrics_free(metrics);
}

/* Labels that a peer can choose must not grow the registry without end. */
static void series_are_bounded(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	struct ch_metric *overflow = NULL;
	char labels[32];
	char *text;

	for (int i = 0; i < 1500; i++) {
		struct ch_metric *metric;

		snprintf(labels, sizeof(labels), "n=\"%d\"", i);
		metric = ch_metrics_counter(metrics, "a_total", "A.", labels);
		ch_metric_add(metric, 1);
		if (i == 1000)
			overflow = metric;
		if (i > 1000)
			assert_ptr_equal(metric, overflow);
	}
	text = ch_metrics_text(metrics);
	assert_non_null(strstr(text, "a_total{overflow=\"true\"} 500\n"));
	free(text);
	ch_metrics_free(metrics);
}

static void *add_many(void *metrics)
{
	for (int i = 0; i < 10000; i++)
		ch_metric_add(ch_metrics_counter(metrics, "a_total", "A.", "x=\"1\""), 1);
	return NULL;
}

static void threads_lose_no_count(void **state)
{
	struct ch_metrics *metrics = ch_metrics_new();
	pthread_t threads[4];

	for (size_t i = 0; i < CH_COUNT(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, metrics), 0);
	for (size_t i = 0; i < CH_COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(ch_metric_value(ch_metrics_counter(metrics, "a_total", "A.", "x=\"1\"")), 40000);
	ch_metrics_free(metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_text_is_prometheus),
		cmocka_unit_test(a_histogram_sums_up),
		cmocka_unit_test(the_same_labels_give_the_same_metric),
		cmocka_unit_test(series_are_bounded),
		cmocka_unit_test(threads_lose_no_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
