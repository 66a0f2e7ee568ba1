/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp.c: the responder's state, its metrics and its configuration. Made by main.c. */
#include "ocsp.h"

#include <stdatomic.h>
#include <stdlib.h>

static const struct ch_conf_field config_fields[] = {
	/* Of the peers, those in peers.c are called; the other names may stand there as ever. */
	CH_DAEMON_COMMON_FIELDS(struct ocsp_config, "vault|issuer|crl|audit"),
	CH_CONF_SUB(struct ocsp_config, http, &ch_http_schema),
	CH_CONF_NAMED("response_validity", struct ocsp_config, response_validity_us, CH_CONF_DURATION,
		      .default_text = "1h", .min = CH_MINUTE, .max = 7 * CH_DAY,
		      .help = "nextUpdate - thisUpdate; all responders change to the next answer after half "
			      "of it. The "
			      "same for all of them"),
	CH_CONF_NAMED("http_max_age", struct ocsp_config, http_max_age_us, CH_CONF_DURATION,
		      .default_text = "5m", .min = 0, .max = 7 * CH_DAY,
		      .help = "Cache-Control max-age of GET answers at the most: how long a proxy may hide a "
			      "revocation"),
	CH_CONF_NAMED("cache_size", struct ocsp_config, cache_octets, CH_CONF_SIZE, .default_text = "64MiB",
		      .min = 1 << 20, .max = INT64_C(1) << 36, .help = "memory for answers"),
	CH_CONF_FIELD(struct ocsp_config, max_requests, CH_CONF_INTEGER, .default_text = "16", .min = 1,
		      .max = OCSP_CERT_IDS_MAX,
		      .help = "certificates in one request; more is malformedRequest"),
	CH_CONF_NAMED(
		"poll_interval", struct ocsp_config, poll_interval_us, CH_CONF_DURATION,
		.default_text = "200ms", .min = 10 * CH_MILLISECOND, .max = CH_MINUTE,
		.help = "how often the revocation log is read: the longest that a revocation stays unseen"),
};
const struct ch_conf_schema ocsp_config_schema = { "chancery-ocsp", config_fields, CH_COUNT(config_fields) };

static void make_metrics(struct ocsp_metrics *metrics, struct ch_metrics *registry)
{
	static const char responses[] = "chancery_ocsp_responses_total";
	static const char statuses[] = "chancery_ocsp_statuses_total";
	static const char cache[] = "chancery_ocsp_cache_total";
	static const struct {
		enum ocsp_response_status status;
		const char *labels;
	} rows[] = {
		{ OCSP_SUCCESSFUL, "status=\"successful\"" },
		{ OCSP_MALFORMED_REQUEST, "status=\"malformedRequest\"" },
		{ OCSP_INTERNAL_ERROR, "status=\"internalError\"" },
		{ OCSP_TRY_LATER, "status=\"tryLater\"" },
		{ OCSP_UNAUTHORIZED, "status=\"unauthorized\"" },
	};

	for (size_t i = 0; i < CH_COUNT(rows); i++)
		metrics->responses[rows[i].status] = ch_metrics_counter(
			registry, responses, "Responses by OCSPResponseStatus.", rows[i].labels);
	metrics->statuses[OCSP_GOOD] =
		ch_metrics_counter(registry, statuses, "Certificate statuses looked up.", "status=\"good\"");
	metrics->statuses[OCSP_REVOKED] = ch_metrics_counter(registry, statuses, "", "status=\"revoked\"");
	metrics->statuses[OCSP_UNKNOWN] = ch_metrics_counter(registry, statuses, "", "status=\"unknown\"");
	metrics->cache_hit = ch_metrics_counter(registry, cache, "Requests by what the cache did for them.",
						"result=\"hit\"");
	metrics->cache_miss = ch_metrics_counter(registry, cache, "", "result=\"miss\"");
	metrics->cache_renewal = ch_metrics_counter(registry, cache, "", "result=\"renewal\"");
	metrics->cache_fallback = ch_metrics_counter(registry, cache, "", "result=\"fallback\"");
	metrics->invalid_tag =
		ch_metrics_counter(registry, "chancery_ocsp_invented_serials_total",
				   "Serials without a valid tag: unknown, without asking the database.", "");
	metrics->sign_seconds = ch_metrics_histogram(registry, "chancery_ocsp_sign_seconds",
						     "Time until the vault had signed a response.", "");
	metrics->log_sequence = ch_metrics_gauge(registry, "chancery_ocsp_revocation_log_sequence",
						 "How far the revocation log has been followed.", "");
	metrics->authorities =
		ch_metrics_gauge(registry, "chancery_ocsp_authorities", "CAs that are answered for.", "");
	metrics->signers_lost =
		ch_metrics_counter(registry, "chancery_ocsp_signers_lost_total",
				   "Responder certificates that may sign no more before their end.", "");
	metrics->silent = ch_metrics_gauge(registry, "chancery_ocsp_silent_authorities",
					   "CAs whose responders all may sign no more or have ended.", "");
}

struct ocsp *ocsp_new(const struct ocsp_config *config, const struct ch_clock *clock,
		      struct ch_daemon *daemon, struct ch_db *db, struct ch_vault_client *vault)
{
	struct ocsp *ocsp = ch_alloc(sizeof(*ocsp));

	ocsp->config = config;
	ocsp->clock = clock;
	ocsp->daemon = daemon;
	ocsp->db = db;
	ocsp->vault = vault;
	ocsp->registry = ch_daemon_metrics(daemon);
	make_metrics(&ocsp->metrics, ocsp->registry);
	ocsp->cache = ocsp_cache_new(config->cache_octets, ocsp->registry);
	pthread_mutex_init(&ocsp->lock, NULL);
	pthread_mutex_init(&ocsp->reading, NULL);
	ocsp->signers_ready = ch_daemon_readiness(daemon, "signers");
	return ocsp;
}

void ocsp_free(struct ocsp *ocsp)
{
	if (!ocsp)
		return;
	ocsp_follow_stop(ocsp);
	ocsp_cache_free(ocsp->cache);
	ocsp_authorities_release(ocsp->authorities);
	pthread_mutex_destroy(&ocsp->reading);
	pthread_mutex_destroy(&ocsp->lock);
	free(ocsp);
}

struct ocsp_authorities *ocsp_authorities_get(struct ocsp *ocsp)
{
	struct ocsp_authorities *authorities;

	pthread_mutex_lock(&ocsp->lock);
	authorities = ocsp->authorities;
	if (authorities)
		atomic_fetch_add(&authorities->users, 1);
	pthread_mutex_unlock(&ocsp->lock);
	return authorities;
}
