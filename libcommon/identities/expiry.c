/* SPDX-License-Identifier: Apache-2.0 */
/* expiry.c: how long the identity is good for: a metric, warnings, and /readyz. watch.c calls it. */
#include "identities/internal.h"

#include <stdio.h>
#include <string.h>

#define WARN_BEFORE (30 * CH_DAY)
#define WARN_EVERY  CH_DAY

void ch_identities_record(struct ch_identities *identities, const char *type, const char *outcome,
			  const char *why)
{
	const char *instance = identities->options.config->instance;
	struct ch_identity_status status;
	char not_after[CH_TIME_TEXT_SIZE];
	struct ch_error err = CH_NONE;

	ch_identity_status(identities->options.identity, ch_clock_now_us(identities->options.clock), &status);
	const struct ch_audit_detail details[] = {
		{ "serial", status.serial },
		{ "not_after", ch_time_text(status.not_after_us, not_after) },
		{ "reason", why ? why : "" },
	};
	const struct ch_audit_event event = { .type = type,
					      .outcome = outcome,
					      .actor = instance,
					      .subject = instance,
					      .details = details,
					      .detail_count = why ? 3 : 2 };

	if (!ch_audit_record(identities->options.audit, &event, &err))
		ch_log_error("audit event %s: %s", type, err.message);
}

static void warn(struct ch_identities *identities, const struct ch_identity_status *status, int64_t now_us)
{
	char not_after[CH_TIME_TEXT_SIZE];
	bool due = status->not_after_us - now_us < WARN_BEFORE &&
		   (!identities->warned_us || now_us - identities->warned_us >= WARN_EVERY ||
		    now_us < identities->warned_us);

	if (!due)
		return;
	identities->warned_us = now_us;
	ch_log_warn("identity certificate (serial %s) expires at %s: renew it with chancery system-ca renew",
		    status->serial, ch_time_text(status->not_after_us, not_after));
	ch_identities_record(identities, "identity.expiring", "failure", NULL);
}

void ch_identities_look_at_expiry(struct ch_identities *identities)
{
	int64_t now_us = ch_clock_now_us(identities->options.clock);
	struct ch_identity_status status;

	ch_identity_status(identities->options.identity, now_us, &status);
	ch_metric_set(identities->expires, (status.not_after_us - now_us) / CH_SECOND);
	warn(identities, &status, now_us);
	if (status.why[0])
		ch_readiness_set(identities->ready, CH_READY_FAILED, status.why);
	else if (identities->unrecognised >= 2)
		ch_readiness_set(identities->ready, CH_READY_FAILED, identities->why_not);
	else if (status.not_after_us - now_us < WARN_BEFORE)
		ch_readiness_set(identities->ready, CH_READY_DEGRADED, "expires within 30 days");
	else
		ch_readiness_set(identities->ready, CH_READY_OK, NULL);
}
