/* SPDX-License-Identifier: Apache-2.0 */
/* schedule.c: when a CRL is due. Pure: time comes in, time goes out. Called by upkeep.c and generate.c. */
#include "crl.h"

/* With an interval near or above the validity, three quarters of the validity: a new CRL must be out before
 * the last one ends (RFC 5280 §5.1.2.5). */
static int64_t effective_interval(const struct crl_ca *ca)
{
	int64_t latest = ca->validity_us / 4 * 3;

	return ca->interval_us < latest ? ca->interval_us : latest;
}

int64_t crl_due_at(const struct crl_ca *ca, const struct crl_record *newest)
{
	int64_t due =
		newest->number == 0 ? ca->not_before_us : newest->this_update_us + effective_interval(ca);

	return due < ca->not_after_us ? due : INT64_MAX;
}

int64_t crl_retry_delay(unsigned failures)
{
	int64_t delay = CH_SECOND;

	while (failures-- > 1 && delay < CH_MINUTE)
		delay *= 2;
	return delay < CH_MINUTE ? delay : CH_MINUTE;
}

int64_t crl_this_update(int64_t now_us, const struct crl_record *newest)
{
	int64_t now = now_us - now_us % CH_SECOND;

	return newest->number && newest->this_update_us > now ? newest->this_update_us : now;
}
