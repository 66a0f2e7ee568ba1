/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timesource.c: the time that goes into tokens: the system clock, as long as it does not go back and, where
 * the configuration asks for it, the kernel says that something synchronises it. Called by stamp.c and
 * reload.c.
 */
#include "tsa.h"

#include <sys/timex.h>

bool tsa_kernel_clock_status(struct tsa_clock_status *status)
{
	struct timex state = { .modes = 0 }; /* reads only */
	int clock = adjtimex(&state);
	if (clock < 0)
		return false;
	status->synchronised = clock != TIME_ERROR && !(state.status & STA_UNSYNC);
	status->maximum_error_us = state.maxerror;
	return true;
}

/* *behind_us: how far the clock is behind what was given out. */
static int64_t read_clock(struct tsa_timesource *source, int64_t *behind_us)
{
	pthread_mutex_lock(&source->lock);
	int64_t now_us = ch_clock_now_us(source->clock);
	*behind_us = source->given_us > now_us ? source->given_us - now_us : 0;
	pthread_mutex_unlock(&source->lock);
	return now_us;
}

/* What the clock showed and nobody was given does not count: one that was an hour ahead for a moment, and
 * that no vault believed, would keep the TSA from stamping for an hour. */
void tsa_time_given(struct tsa_timesource *source, int64_t gen_time_us)
{
	pthread_mutex_lock(&source->lock);
	if (gen_time_us > source->given_us)
		source->given_us = gen_time_us;
	pthread_mutex_unlock(&source->lock);
}

static bool check_synchronised(const struct tsa_timesource *source, struct ch_error *err)
{
	struct tsa_clock_status status = CH_NONE;
	if (!source->require_synchronised)
		return true;
	bool said = source->status(&status);
	if (said && status.synchronised && status.maximum_error_us <= source->maximum_error_us)
		return true;
	ch_fail(err, CH_UNAVAILABLE, "the clock is not synchronised: %s",
		!said                  ? "the kernel does not say"
		: !status.synchronised ? "the kernel says so"
				       : "its maximum error is over the configured bound");
	err->retryable = true;
	return false;
}

bool tsa_time_now(struct tsa_timesource *source, int64_t *gen_time_us, struct ch_error *err)
{
	int64_t behind_us = 0;
	int64_t now_us = read_clock(source, &behind_us);
	if (behind_us > 0) {
		ch_fail(err, CH_UNAVAILABLE, "the clock went back: %lld ms behind what was given out before",
			(long long)(behind_us / CH_MILLISECOND));
		err->retryable = true;
		return false;
	}
	if (!check_synchronised(source, err))
		return false;
	*gen_time_us = now_us - now_us % CH_MILLISECOND;
	return true;
}

static void tell_readiness(struct tsa_timesource *source)
{
	struct ch_error err = CH_NONE;
	int64_t ignored;
	bool told = tsa_time_now(source, &ignored, &err);
	if (source->ready)
		ch_readiness_set(source->ready, told ? CH_READY_OK : CH_READY_FAILED,
				 told ? NULL : err.message);
}

void tsa_time_observe(struct tsa_timesource *source)
{
	struct tsa_clock_status status = { .maximum_error_us = -1 };
	bool said = source->status(&status);
	if (source->synchronised)
		ch_metric_set(source->synchronised, said && status.synchronised);
	if (source->maximum_error)
		ch_metric_set(source->maximum_error, status.maximum_error_us);
	tell_readiness(source);
}
