/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h: counters, gauges and histograms in Prometheus text form. A metric is made once at start and then
 * only touched with atomics. Names begin with chancery_ and follow Prometheus conventions (_total, _seconds,
 * _bytes).
 */
#ifndef CH_METRICS_H
#define CH_METRICS_H

#include "mem/mem.h"

struct ch_metrics; /* thread-safe; owned by the daemon */
struct ch_metric;  /* owned by its registry */

struct ch_metrics *ch_metrics_new(void);
void ch_metrics_free(struct ch_metrics *metrics);

/*
 * labels: "" or `purpose="crl",outcome="refused"` (values already escaped). Asking again for the same name
 * and labels gives the same metric, so label values that are known only at run time may be looked up when
 * needed (takes a lock; at most 1,000 series per name, further ones go to one with labels overflow="true").
 */
struct ch_metric *ch_metrics_counter(struct ch_metrics *metrics, const char *name, const char *help,
				     const char *labels);
struct ch_metric *ch_metrics_gauge(struct ch_metrics *metrics, const char *name, const char *help,
				   const char *labels);
/* Buckets in seconds: 0.1 ms to 10 s. */
struct ch_metric *ch_metrics_histogram(struct ch_metrics *metrics, const char *name, const char *help,
				       const char *labels);

void ch_metric_add(struct ch_metric *metric, uint64_t amount);          /* counter */
void ch_metric_set(struct ch_metric *metric, int64_t value);            /* gauge */
void ch_metric_change(struct ch_metric *metric, int64_t delta);         /* gauge */
void ch_metric_observe(struct ch_metric *metric, int64_t microseconds); /* histogram */
uint64_t ch_metric_value(const struct ch_metric *metric);

/* The whole registry as Prometheus text (version 0.0.4). The caller frees it. */
char *ch_metrics_text(struct ch_metrics *metrics);

#endif
