/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.c: the thread: each second a look at the identity's files and its end, every two seconds the lists of
 * refused identities. Replaced files are read once they have been quiet for a look, so that a certificate and
 * its key are replaced as a pair; SIGHUP reads them at once.
 */
#include "identities/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY     CH_SECOND
#define EXCHANGE_EVERY (2 * CH_SECOND)
#define STALE_AFTER    CH_MINUTE

/* --- the files --------------------------------------------------------------------------------------------
 */

static void count_reload(struct ch_identities *identities, bool done)
{
	ch_metric_add(ch_metrics_counter(ch_daemon_metrics(identities->options.daemon),
					 "chancery_identity_reloads_total",
					 "Times that replaced identity files were read, by outcome.",
					 done ? "outcome=\"ok\"" : "outcome=\"refused\""),
		      1);
}

static void reload(struct ch_identities *identities)
{
	struct ch_identity *identity = identities->options.identity;
	struct ch_identity_status status;
	char not_after[CH_TIME_TEXT_SIZE];
	struct ch_error err = CH_NONE;
	bool done = ch_identity_reload(identity, &err);

	count_reload(identities, done);
	if (!done) {
		ch_log_error("identity files were replaced and are not used, the old identity stays: %s",
			     err.message);
		ch_identities_record(identities, "identity.reloaded", "failure", err.message);
		return;
	}
	identities->warned_us = 0;
	identities->unrecognised = 0;
	identities->exchange_us = 0;
	ch_identity_status(identity, ch_clock_now_us(identities->options.clock), &status);
	ch_log_info("identity certificate (serial %s, until %s) is in use; %zu system CAs are trusted",
		    status.serial, ch_time_text(status.not_after_us, not_after),
		    ch_trust_ca_count(ch_identity_trust(identity)));
	ch_identities_record(identities, "identity.reloaded", "success", NULL);
}

static void look_at_files(struct ch_identities *identities)
{
	unsigned reloads = ch_daemon_reloads(identities->options.daemon);
	bool asked = reloads != identities->reloads;
	bool quiet = identities->files_new;

	identities->reloads = reloads;
	if (asked)
		ch_identities_read_kept(identities);
	identities->files_new = ch_identity_files_changed(identities->options.identity);
	if (!identities->files_new || !(quiet || asked))
		return;
	identities->files_new = false;
	reload(identities);
}

/* --- the lists --------------------------------------------------------------------------------------------
 */

static void note_failure(struct ch_identities *identities, const struct ch_error *err)
{
	int64_t age_us = ch_monotonic_us() - identities->exchanged_us;

	if (err->code == CH_UNAUTHENTICATED) {
		identities->unrecognised++;
		snprintf(identities->why_not, sizeof(identities->why_not), "the vault says: %.120s",
			 err->message);
	}
	if (age_us < STALE_AFTER || identities->told_stale)
		return;
	identities->told_stale = true;
	ch_log_warn("refused identities: no vault was asked for %lld s, the lists of then are used: %s",
		    (long long)(age_us / CH_SECOND), err->message);
}

static void exchange(struct ch_identities *identities)
{
	struct ch_trust *trust = ch_identity_trust(identities->options.identity);
	int64_t now_us = ch_monotonic_us();
	struct ch_error err = CH_NONE;

	if (now_us < identities->exchange_us)
		return;
	identities->exchange_us = now_us + EXCHANGE_EVERY;
	if (identities->options.exchange(identities->options.exchange_state, trust, &err)) {
		identities->exchanged_us = ch_monotonic_us();
		identities->unrecognised = 0;
		identities->told_stale = false;
	} else {
		note_failure(identities, &err);
	}
	ch_identities_keep(identities);
}

/* --- the thread -------------------------------------------------------------------------------------------
 */

static void measure(struct ch_identities *identities)
{
	struct ch_trust *trust = ch_identity_trust(identities->options.identity);

	ch_metric_set(identities->refused, (int64_t)ch_trust_refused_count(trust));
	ch_metric_set(identities->cas, (int64_t)ch_trust_ca_count(trust));
	ch_metric_set(identities->list_age, (ch_monotonic_us() - identities->exchanged_us) / CH_SECOND);
}

static void look(struct ch_identities *identities)
{
	look_at_files(identities);
	exchange(identities);
	ch_identities_look_at_expiry(identities);
	measure(identities);
}

static void *work(void *context)
{
	struct ch_identities *identities = context;

	do {
		look(identities);
	} while (!ch_daemon_sleep(identities->options.daemon, LOOK_EVERY) && !atomic_load(&identities->stop));
	return NULL;
}

static void make_metrics(struct ch_identities *identities)
{
	struct ch_metrics *metrics = ch_daemon_metrics(identities->options.daemon);

	identities->expires = ch_metrics_gauge(metrics, "chancery_identity_expires_seconds",
					       "Time until this daemon's identity expires.", "");
	identities->cas = ch_metrics_gauge(metrics, "chancery_identity_trusted_cas",
					   "System CAs whose identities are believed.", "");
	identities->refused =
		ch_metrics_gauge(metrics, "chancery_refused_identities",
				 "Identities that are refused although their CA is trusted.", "");
	identities->list_age = ch_metrics_gauge(
		metrics, "chancery_refused_identities_age_seconds",
		"Time since the lists of refused identities were compared with a vault's.", "");
}

bool ch_identities_start(const struct ch_identities_options *options, struct ch_identities **identities,
			 struct ch_error *err)
{
	struct ch_identities *made = ch_alloc(sizeof(*made));
	int result;

	made->options = *options;
	made->ready = ch_daemon_readiness(options->daemon, "identity");
	made->reloads = ch_daemon_reloads(options->daemon);
	made->exchanged_us = ch_monotonic_us();
	make_metrics(made);
	ch_identities_read_kept(made);
	ch_identities_look_at_expiry(made);
	measure(made); /* what was kept counts before a vault was asked, which takes its time */
	result = pthread_create(&made->thread, NULL, work, made);
	if (result != 0) {
		free(made);
		return ch_fail_errno(err, CH_INTERNAL, result, "thread of the identity");
	}
	*identities = made;
	return true;
}

void ch_identities_stop(struct ch_identities *identities)
{
	if (!identities)
		return;
	atomic_store(&identities->stop, true);
	pthread_join(identities->thread, NULL);
	free(identities);
}
