/* SPDX-License-Identifier: Apache-2.0 */
/* stamp.c: one request becomes one TimeStampResp. Called from http.c on a worker thread;
 * docs/paths/timestamp.md draws it. */
#include "tsa.h"

#include "log/log.h"

#include <string.h>

#define MADE_ANEW_AT_MOST 8

void tsa_init(struct tsa *tsa, const struct tsa_config *config, struct ch_daemon *daemon)
{
	struct ch_metrics *metrics = ch_daemon_metrics(daemon);
	*tsa = (struct tsa){
		.config = config,
		.daemon = daemon,
		.metrics = metrics,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.reading = PTHREAD_MUTEX_INITIALIZER,
		.authorities_known = ch_daemon_readiness(daemon, "timestamp-certificates-read"),
		.signer_ready = ch_daemon_readiness(daemon, "signer"),
		.time = { .lock = PTHREAD_MUTEX_INITIALIZER,
			  .clock = ch_clock_system(),
			  .status = tsa_kernel_clock_status,
			  .ready = ch_daemon_readiness(daemon, "time"),
			  .require_synchronised = config->require_synchronised_clock,
			  .maximum_error_us = config->maximum_clock_error_us },
		.tokens = ch_metrics_counter(metrics, "chancery_tsa_tokens_total",
					     "timestamp tokens given out", ""),
		.made_anew = ch_metrics_counter(metrics, "chancery_tsa_made_anew_total",
						"tokens made anew because the vault found them old", ""),
		.seconds = ch_metrics_histogram(metrics, "chancery_tsa_token_seconds",
						"from a request read to its token", ""),
		.not_after =
			ch_metrics_gauge(metrics, "chancery_tsa_certificate_not_after_timestamp_seconds",
					 "end of the timestamp certificate in use; 0: none may sign", ""),
		.signers_lost = ch_metrics_counter(
			metrics, "chancery_tsa_signers_lost_total",
			"timestamp certificates that may sign no more before their end", ""),
	};
	tsa->time.synchronised = ch_metrics_gauge(metrics, "chancery_tsa_clock_synchronised",
						  "1: the kernel says that its clock is synchronised", "");
	tsa->time.maximum_error = ch_metrics_gauge(metrics, "chancery_tsa_clock_maximum_error_microseconds",
						   "the kernel's maxerror; -1: it does not say", "");
	ch_random(tsa->instance_random, sizeof tsa->instance_random);
}

/*
 * 8 octets of time that never repeat in this process, then 8 that this start of this instance drew: unique
 * over instances and restarts (RFC 3161 §2.4.2), and 16 of the 20 octets that are allowed.
 */
static void next_serial(struct tsa *tsa, int64_t now_us, uint8_t serial[TSA_SERIAL_SIZE])
{
	pthread_mutex_lock(&tsa->lock);
	uint64_t time = (uint64_t)now_us;
	if (time <= tsa->last_serial_time)
		time = tsa->last_serial_time + 1;
	tsa->last_serial_time = time;
	pthread_mutex_unlock(&tsa->lock);
	for (size_t i = 0; i < 8; i++)
		serial[i] = (uint8_t)(time >> (56 - 8 * i));
	memcpy(serial + 8, tsa->instance_random, sizeof tsa->instance_random);
}

struct ch_bytes tsa_reject(struct tsa *tsa, enum tsa_failure failure, const char *trace_id,
			   const struct ch_error *why)
{
	const char *name = tsa_failure_name(failure);
	char labels[64] = "reason=\"";
	strncat(strncat(labels, name, 40), "\"", 2);
	ch_metric_add(ch_metrics_counter(tsa->metrics, "chancery_tsa_rejections_total",
					 "requests answered without a token", labels),
		      1);
	struct ch_log_scope scope = { .trace_id = trace_id };
	ch_log(failure == TSA_SYSTEM_FAILURE || failure == TSA_TIME_NOT_AVAILABLE ? CH_LOG_ERROR
										  : CH_LOG_INFO,
	       &scope, "timestamp rejected, %s: %s", name, why->message);
	/* What is wrong inside is not for outsiders. */
	return tsa_response_rejected(failure, failure == TSA_SYSTEM_FAILURE ? "no timestamp can be made now"
									    : why->message);
}

static bool sign(struct tsa *tsa, const struct tsa_authority *authority, struct ch_view attributes,
		 struct ch_view tst_info, const char *trace_id, struct ch_bytes *signature,
		 struct ch_error *err)
{
	const struct ch_vault_context context = { .tenant = authority->tenant,
						  .trace_id = trace_id,
						  .timeout_us = tsa->config->vault_timeout_us };
	const struct ch_vault_item item = { .key_id = authority->key_id,
					    .purpose = CHANCERY__PURPOSE__PURPOSE_TIMESTAMP,
					    .to_be_signed = attributes,
					    .content = tst_info };
	return ch_vault_sign(tsa->vault, &context, &item, signature, err);
}

/* A new CA's certificate may be some milliseconds old: where none fits, they are read once more. */
static bool choose(struct tsa *tsa, struct tsa_authorities **authorities, struct tsa_stamp_facts *facts,
		   enum tsa_failure *failure, struct ch_error *err)
{
	*authorities = tsa_authorities_now(tsa);
	if (*authorities && tsa_authorities_choose(*authorities, facts->request->policy, facts->gen_time_us,
						   &facts->authority, &facts->policy, failure, err))
		return true;
	tsa_authorities_release(*authorities);
	*authorities = tsa_authorities_fresh(tsa);
	*failure = TSA_SYSTEM_FAILURE;
	if (!*authorities)
		return ch_fail(err, CH_UNAVAILABLE, "timestamp certificates could not be read yet");
	return tsa_authorities_choose(*authorities, facts->request->policy, facts->gen_time_us,
				      &facts->authority, &facts->policy, failure, err);
}

/* Steps 4 and 5: the bytes to sign, which the vault parses and checks once more, and the token around them.
 */
static bool sign_token(struct tsa *tsa, struct tsa_stamp_facts *facts, const char *trace_id,
		       struct ch_bytes *token, struct ch_error *err)
{
	CH_AUTO(ch_bytes) tst_info = CH_NONE;
	CH_AUTO(ch_bytes) attributes = CH_NONE;
	CH_AUTO(ch_bytes) signature = CH_NONE;

	next_serial(tsa, facts->gen_time_us, facts->serial);
	tst_info = tsa_tst_info(facts);
	if (!tsa_signed_attributes(facts->authority, ch_view_of(&tst_info), &attributes, err) ||
	    !sign(tsa, facts->authority, ch_view_of(&attributes), ch_view_of(&tst_info), trace_id, &signature,
		  err))
		return false;
	tsa_time_given(&tsa->time, facts->gen_time_us);
	*token = tsa_token(facts->authority, ch_view_of(&tst_info), ch_view_of(&attributes),
			   ch_view_of(&signature), facts->request->certificate_requested);
	return true;
}

/* The vault refused this certificate's key: it may be compromised since they were read. Is there another? */
static bool choose_another(struct tsa *tsa, struct tsa_authorities **authorities,
			   struct tsa_stamp_facts *facts, const struct ch_error *refused)
{
	uint8_t last[sizeof facts->authority->certificate_sha256];
	enum tsa_failure ignored;
	struct ch_error err;
	if (refused->retryable)
		return false;
	memcpy(last, facts->authority->certificate_sha256, sizeof last);
	tsa_authorities_release(*authorities);
	*authorities = tsa_authorities_fresh(tsa);
	return *authorities &&
	       tsa_authorities_choose(*authorities, facts->request->policy, facts->gen_time_us,
				      &facts->authority, &facts->policy, &ignored, &err) &&
	       memcmp(last, facts->authority->certificate_sha256, sizeof last) != 0 &&
	       tsa_time_now(&tsa->time, &facts->gen_time_us, &err);
}

/* One try: false, and *failure and *err say why there is no token. */
static bool make_token(struct tsa *tsa, const struct tsa_request *request, const char *trace_id,
		       struct ch_bytes *token, enum tsa_failure *failure, struct ch_error *err)
{
	CH_AUTO(tsa_authorities) authorities = NULL;
	struct tsa_stamp_facts facts = { .request = request,
					 .accuracy_us = tsa->config->accuracy_us,
					 .ordering = tsa->config->ordering };

	/* 2. The time, before anything else takes time. */
	*failure = TSA_TIME_NOT_AVAILABLE;
	if (!tsa_time_now(&tsa->time, &facts.gen_time_us, err))
		return false;

	/* 3. Whose certificate and key stamp under that policy. */
	if (!choose(tsa, &authorities, &facts, failure, err))
		return false;

	/* 4. and 5. By another of the CA's certificates where the vault refuses the first one's key. */
	*failure = TSA_SYSTEM_FAILURE;
	return sign_token(tsa, &facts, trace_id, token, err) ||
	       (choose_another(tsa, &authorities, &facts, err) &&
		sign_token(tsa, &facts, trace_id, token, err));
}

/* The vault's own word on the genTime; not that of the bus on this instance's clock, which no vault believes
 * then. */
static bool is_about_time(const struct ch_error *why)
{
	return why->code == CH_EXPIRED && why->origin != CH_ORIGIN_TRANSPORT;
}

/* False: *failure and *err say why there is no token. */
static bool read_and_make(struct tsa *tsa, struct ch_view octets, const char *trace_id,
			  struct ch_bytes *token, enum tsa_failure *failure, struct ch_error *err)
{
	int64_t until_us = ch_monotonic_us() + tsa->config->vault_timeout_us;
	struct tsa_request request;

	/* 1. What is asked for, or which rule it breaks. */
	if (!tsa_request_read(octets, &request, failure, err))
		return false;

	/*
	 * The rest is done anew, with the time that it is then, where the vault refuses a token that was long
	 * on its way: sent once more to another vault, or held up in one, its genTime is no longer the time.
	 * Or that vault's clock is not right: by turns they come to another.
	 */
	for (int anew = 0; !make_token(tsa, &request, trace_id, token, failure, err); anew++) {
		if (!is_about_time(err) || anew == MADE_ANEW_AT_MOST || ch_monotonic_us() >= until_us)
			return false;
		ch_metric_add(tsa->made_anew, 1);
	}
	return true;
}

struct ch_bytes tsa_stamp(struct tsa *tsa, struct ch_view request, const char *trace_id)
{
	CH_AUTO(ch_bytes) token = CH_NONE;
	enum tsa_failure failure = TSA_SYSTEM_FAILURE;
	struct ch_error err = CH_NONE;
	int64_t begun_us = ch_monotonic_us();
	if (!read_and_make(tsa, request, trace_id, &token, &failure, &err))
		return tsa_reject(tsa, failure, trace_id, &err);
	ch_metric_add(tsa->tokens, 1);
	ch_metric_observe(tsa->seconds, ch_monotonic_us() - begun_us);
	return tsa_response_granted(ch_view_of(&token));
}
