/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c: what the audit log, the metrics and the log hear of the vault's decisions. sign.c and generate.c
 * call it before they answer; hsm_process.c when an HSM comes or goes.
 */
#include "vault.h"

#include "clock/wait.h"
#include "key_states.h"
#include "log/log.h"
#include "marks.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define SUMMARY_INTERVAL_US CH_MINUTE

/* Signatures of one key for one caller since the last summary. */
struct tally {
	char name[160]; /* purpose, key id, caller: what it is found by */
	const struct vault_purpose *purpose;
	char key_id[33];
	char tenant[64];
	char caller[64];
	uint64_t count;
	UT_hash_handle hh;
};

struct vault_summary {
	struct vault *vault;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t stop;
	bool stopping;         /* guarded by lock */
	struct tally *tallies; /* guarded by lock */
};

static struct ch_metric *counter(struct vault *vault, const struct vault_purpose *purpose,
				 const char *outcome, const char *reason)
{
	CH_AUTO(ch_string) labels = ch_format("purpose=\"%s\",outcome=\"%s\",reason=\"%s\"",
					      purpose ? purpose->name : "none", outcome, reason);

	return ch_metrics_counter(vault->metrics, "chancery_vault_signatures_total",
				  "Items asked to be signed, by what became of them", labels);
}

static void count(struct vault *vault, const struct vault_purpose *purpose, const char *outcome,
		  const char *reason)
{
	ch_metric_add(counter(vault, purpose, outcome, reason), 1);
}

/* Without looking the counter up by its labels for each of ten thousand signatures a second. */
static void count_signed(struct vault *vault, const struct vault_purpose *purpose)
{
	_Atomic(struct ch_metric *) *slot = &vault->signed_metrics[(unsigned)purpose->number % 32];
	struct ch_metric *metric = atomic_load(slot);

	if (!metric) {
		metric = counter(vault, purpose, "signed", "");
		atomic_store(slot, metric);
	}
	ch_metric_add(metric, 1);
}

static struct ch_audit_event event_of(const char *type, const char *outcome,
				      const struct ch_bus_request *request, const char *subject)
{
	return (struct ch_audit_event){ .type = type,
					.outcome = outcome,
					.tenant = request->body->tenant,
					.actor = request->sender->instance,
					.subject = subject,
					.message_id = request->message_id,
					.trace_id = request->body->trace_id };
}

bool vault_record(struct vault *vault, const struct ch_bus_request *request, const char *type,
		  const char *subject, const struct ch_audit_detail *details, size_t count,
		  struct ch_error *err)
{
	const struct ch_audit_event event = {
		.type = type, .subject = subject, .details = details, .detail_count = count
	};

	return vault_record_for(vault, request, &event, err);
}

bool vault_record_for(struct vault *vault, const struct ch_bus_request *request,
		      const struct ch_audit_event *event, struct ch_error *err)
{
	struct ch_audit_event all = event_of(event->type, "success", request, event->subject);

	if (event->actor && *event->actor)
		all.actor = event->actor;
	all.details = event->details;
	all.detail_count = event->detail_count;
	return ch_audit_record(vault->audit, &all, err);
}

const char *vault_person(const struct ch_bus_request *request, const char *named)
{
	return strcmp(request->sender->service, "operator") == 0 || !named || !*named
		       ? request->sender->instance
		       : named;
}

/* --- signed --- */

static bool record_signed(struct vault *vault, const struct vault_event *event, struct ch_error *err)
{
	CH_AUTO(ch_string) digest_text = NULL;
	struct ch_audit_event signed_event = event_of("vault.signed", "success", event->request,
						      event->check->subject ? event->check->subject : "");
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", event->check->to_be_signed, digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	const struct ch_audit_detail details[] = {
		{ "purpose", event->purpose->name },
		{ "key_id", event->key_id },
		{ "tbs_sha256", digest_text },
		{ "approved_by", event->check->approvers ? event->check->approvers : "" },
	};
	signed_event.details = details;
	if (event->purpose->keeps_octets)
		signed_event.content = event->check->to_be_signed;
	signed_event.detail_count = event->check->approvers ? CH_COUNT(details) : CH_COUNT(details) - 1;
	return ch_audit_record(vault->audit, &signed_event, err);
}

static void add_to_summary(struct vault_summary *summary, const struct vault_event *event)
{
	const struct ch_bus_request *request = event->request;
	struct tally *tally;
	char name[160];

	snprintf(name, sizeof(name), "%d/%s/%s", (int)event->purpose->number, event->key_id,
		 request->sender->instance);
	pthread_mutex_lock(&summary->lock);
	HASH_FIND_STR(summary->tallies, name, tally);
	if (!tally) {
		tally = ch_alloc(sizeof(*tally));
		memcpy(tally->name, name, sizeof(name));
		tally->purpose = event->purpose;
		snprintf(tally->key_id, sizeof(tally->key_id), "%s", event->key_id);
		snprintf(tally->tenant, sizeof(tally->tenant), "%s", request->body->tenant);
		snprintf(tally->caller, sizeof(tally->caller), "%s", request->sender->instance);
		HASH_ADD_STR(summary->tallies, name, tally);
	}
	tally->count++;
	pthread_mutex_unlock(&summary->lock);
}

bool vault_note_signed(struct vault *vault, const struct vault_event *event, struct ch_error *err)
{
	if (!vault_limits_each_audited(event->check->key, event->purpose))
		add_to_summary(vault->summary, event);
	else if (!record_signed(vault, event, err))
		return ch_fail_in(err, "the audit event could not be recorded");
	count_signed(vault, event->purpose);
	return true;
}

/* --- refused and failed --- */

void vault_note_refused(struct vault *vault, const struct vault_event *event, const struct ch_error *why)
{
	const char *purpose = event->purpose ? event->purpose->name : "none";
	const char *reason =
		event->check && event->check->reason ? event->check->reason : ch_code_name(why->code);
	const struct vault_refusal refusal = { .request = event->request,
					       .purpose = purpose,
					       .reason = reason,
					       .subject = event->key_id,
					       .why = why };

	count(vault, event->purpose, "refused", reason);
	vault_refusals_note(vault->refusals, &refusal);
}

void vault_note_failed(struct vault *vault, const struct vault_event *event, const struct ch_error *why)
{
	count(vault, event->purpose, "failed", ch_code_name(why->code));
	ch_log(CH_LOG_ERROR, &event->request->scope, "could not sign for %s: purpose '%s', key '%s': %s",
	       event->request->sender->instance, event->purpose->name, event->key_id, why->message);
}

/* --- keys and HSMs --- */

void vault_note_alert(struct vault *vault, const char *tenant, const char *subject, const char *reason,
		      const char *message)
{
	CH_AUTO(ch_string) labels = ch_format("reason=\"%s\"", reason);
	const struct ch_audit_detail details[] = { { "reason", reason }, { "message", message } };
	const struct ch_audit_event event = { .type = "vault.alert",
					      .outcome = "refused",
					      .tenant = tenant,
					      .actor = vault->config->common.instance,
					      .subject = subject,
					      .details = details,
					      .detail_count = CH_COUNT(details) };
	struct ch_error err;

	ch_metric_add(ch_metrics_counter(
			      vault->metrics, "chancery_vault_alerts_total",
			      "Rows that were changed outside the vault, each content once, and HSMs that "
			      "signed wrong",
			      labels),
		      1);
	ch_log_error("ALERT: %s", message);
	if (vault->audit && !ch_audit_record(vault->audit, &event, &err)) /* NULL: setting up */
		ch_log_error("the alert could not be recorded: %s", err.message);
}

void vault_note_hsm(void *state, const char *hsm, enum hsm_change change, const char *why, size_t up_count)
{
	static const char *const types[] = {
		[HSM_CAME_UP] = "hsm.up",
		[HSM_WENT_DOWN] = "hsm.down",
		[HSM_PIN_REFUSED] = "hsm.pin-refused",
		[HSM_WAS_DISABLED] = "hsm.disabled",
		[HSM_WAS_ENABLED] = "hsm.enabled",
	};
	struct vault *vault = state;

	if (change == HSM_SIGNED_WRONG) {
		vault_note_alert(vault, NULL, hsm, "wrong-signature", why);
		return;
	}
	const struct ch_audit_detail details[] = { { "error", why } };
	bool failure = change == HSM_WENT_DOWN || change == HSM_PIN_REFUSED;
	const struct ch_audit_event event = { .type = types[change],
					      .outcome = failure ? "failure" : "success",
					      .actor = vault->config->common.instance,
					      .subject = hsm,
					      .details = details,
					      .detail_count = failure ? CH_COUNT(details) : 0 };
	struct ch_error err;

	if (change == HSM_CAME_UP)
		vault_marks_wake(vault->marks);
	ch_readiness_set(vault->hsm_readiness, up_count ? CH_READY_OK : CH_READY_FAILED, "no HSM is up");
	if (!ch_audit_record(vault->audit, &event, &err))
		ch_log_error("event %s of HSM '%s' could not be recorded: %s", event.type, hsm, err.message);
}

/* --- the summary --- */

static bool record_tally(struct vault *vault, const struct tally *tally)
{
	char signatures[32];
	const struct ch_audit_detail details[] = {
		{ "purpose", tally->purpose->name },
		{ "signatures", signatures },
	};
	const struct ch_audit_event event = { .type = "vault.summary",
					      .outcome = "success",
					      .tenant = tally->tenant,
					      .actor = tally->caller,
					      .subject = tally->key_id,
					      .details = details,
					      .detail_count = CH_COUNT(details) };
	struct ch_error err;

	snprintf(signatures, sizeof(signatures), "%llu", (unsigned long long)tally->count);
	if (ch_audit_record_owed(vault->audit, &event, &err))
		return true;
	ch_log_error("summary of %s signatures with key '%s' is not recorded yet: %s", signatures,
		     tally->key_id, err.message);
	return false;
}

/* Adds what could not be recorded to what has been counted since: with the next summary. */
static void put_back(struct vault_summary *summary, struct tally *tally)
{
	struct tally *newer;

	pthread_mutex_lock(&summary->lock);
	HASH_FIND_STR(summary->tallies, tally->name, newer);
	if (newer) {
		newer->count += tally->count;
		free(tally);
	} else {
		HASH_ADD_STR(summary->tallies, name, tally);
	}
	pthread_mutex_unlock(&summary->lock);
}

static void record_tallies(struct vault_summary *summary, struct tally *tallies)
{
	while (tallies) {
		struct tally *tally = tallies;

		HASH_DEL(tallies, tally);
		if (record_tally(summary->vault, tally))
			free(tally);
		else
			put_back(summary, tally);
	}
}

static void free_tallies(struct tally *tallies)
{
	while (tallies) {
		struct tally *tally = tallies;

		HASH_DEL(tallies, tally);
		free(tally);
	}
}

static void *summarise(void *state)
{
	struct vault_summary *summary = state;
	bool stopping = false;

	vault_tell_forgotten(summary->vault);
	while (!stopping) {
		struct tally *tallies;
		int64_t until_us = ch_monotonic_us() + SUMMARY_INTERVAL_US;

		pthread_mutex_lock(&summary->lock);
		while (!summary->stopping && ch_condition_wait(&summary->stop, &summary->lock, until_us))
			;
		stopping = summary->stopping;
		tallies = summary->tallies;
		summary->tallies = NULL;
		pthread_mutex_unlock(&summary->lock);
		record_tallies(summary, tallies);
		vault_refusals_flush(summary->vault->refusals);
		vault_tell_forgotten(summary->vault);
	}
	return NULL;
}

bool vault_summary_start(struct vault *vault, struct vault_summary **summary, struct ch_error *err)
{
	struct vault_summary *new = ch_alloc(sizeof(*new));

	new->vault = vault;
	pthread_mutex_init(&new->lock, NULL);
	ch_condition_init(&new->stop);
	if (pthread_create(&new->thread, NULL, summarise, new) != 0) {
		free(new);
		return ch_fail(err, CH_INTERNAL, "cannot start the summary thread");
	}
	*summary = new;
	return true;
}

void vault_summary_stop(struct vault_summary *summary)
{
	if (!summary)
		return;
	pthread_mutex_lock(&summary->lock);
	summary->stopping = true;
	pthread_cond_signal(&summary->stop);
	pthread_mutex_unlock(&summary->lock);
	pthread_join(summary->thread, NULL);
	free_tallies(summary->tallies); /* the log has told how many could not be recorded */
	pthread_cond_destroy(&summary->stop);
	pthread_mutex_destroy(&summary->lock);
	free(summary);
}
