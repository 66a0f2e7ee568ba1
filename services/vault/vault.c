/* SPDX-License-Identifier: Apache-2.0 */
/* vault.c: opens and closes the vault; the table of what it answers on the bus. main.c calls it. */
#include "vault.h"

#include "log/log.h"
#include "policy.h"
#include "secrets/secrets.h"
#include "worker.h"

#include <openssl/pem.h>
#include <string.h>

#define SIGN_CAP     (32 * 1024 * 1024) /* a large CRL */
#define SMALL_CAP    (64 * 1024)
#define SECRETS_CAP  (17 * 1024 * 1024) /* 256 secrets of 64 KiB */
#define FROM_SIGNERS (CH_FROM_ISSUER | CH_FROM_CRL | CH_FROM_OCSP | CH_FROM_TSA | CH_FROM_AUDIT)
#define FROM_DAEMONS (FROM_SIGNERS | CH_FROM_GATEWAY)
#define FROM_PEOPLE  (CH_FROM_GATEWAY | CH_FROM_OPERATOR) /* through the gateway, or an operator's tool */

/* Who may send what. Sign is narrowed further by each purpose's own caller (purposes.c). */
static const struct ch_bus_route routes[] = {
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN, &chancery__sign_request__descriptor,
	  FROM_DAEMONS | CH_FROM_OPERATOR, SIGN_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SIGN_REPLY,
	  vault_handle_sign },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY, &chancery__generate_key_request__descriptor,
	  CH_FROM_ISSUER | CH_FROM_AUDIT | CH_FROM_OPERATOR, SMALL_CAP,
	  CHANCERY__PAYLOAD_TYPE__PAYLOAD_GENERATE_KEY_REPLY, vault_handle_generate_key },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS, &chancery__list_keys_request__descriptor,
	  CH_FROM_ISSUER | CH_FROM_AUDIT | CH_FROM_GATEWAY | CH_FROM_OPERATOR, SMALL_CAP,
	  CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_KEYS_REPLY, vault_handle_list_keys },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS, &chancery__vault_status_request__descriptor,
	  CH_FROM_ISSUER | CH_FROM_AUDIT | CH_FROM_GATEWAY | CH_FROM_OPERATOR, SMALL_CAP,
	  CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS_REPLY, vault_handle_status },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROPOSE_ACTION, &chancery__propose_action_request__descriptor,
	  FROM_PEOPLE | CH_FROM_ISSUER, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
	  vault_handle_propose_action },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPROVE_ACTION, &chancery__approve_action_request__descriptor,
	  FROM_PEOPLE, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY, vault_handle_approve_action },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_ACTION, &chancery__get_action_request__descriptor,
	  FROM_PEOPLE | CH_FROM_ISSUER, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_ACTION_REPLY,
	  vault_handle_get_action },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_ACTIONS, &chancery__list_actions_request__descriptor,
	  FROM_PEOPLE, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_ACTIONS_REPLY,
	  vault_handle_list_actions },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_QUORUM, &chancery__get_quorum_request__descriptor, FROM_PEOPLE,
	  SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_QUORUM_REPLY, vault_handle_get_quorum },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_QUORUM, &chancery__change_quorum_request__descriptor,
	  FROM_PEOPLE, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_QUORUM_REPLY, vault_handle_change_quorum },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_KEY_STATE, &chancery__change_key_state_request__descriptor,
	  CH_FROM_GATEWAY | CH_FROM_OPERATOR, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY,
	  vault_handle_change_key_state },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_CHANGE_KEY_POLICY, &chancery__change_key_policy_request__descriptor,
	  CH_FROM_GATEWAY | CH_FROM_OPERATOR, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_KEY_REPLY,
	  vault_handle_change_key_policy },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_EXPORT_KEY, &chancery__export_key_request__descriptor,
	  CH_FROM_GATEWAY | CH_FROM_OPERATOR, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_EXPORT_KEY_REPLY,
	  vault_handle_export_key },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_HSM_CONTROL, &chancery__hsm_control_request__descriptor,
	  CH_FROM_OPERATOR, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_VAULT_STATUS_REPLY,
	  vault_handle_hsm_control },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_REPLACE_HSM, &chancery__replace_hsm_request__descriptor,
	  CH_FROM_OPERATOR, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_REPLACE_HSM_REPLY,
	  vault_handle_replace_hsm },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_SEAL, &chancery__seal_request__descriptor, FROM_DAEMONS,
	  SECRETS_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SECRET_REPLY, vault_handle_seal },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_OPEN, &chancery__open_request__descriptor, FROM_DAEMONS,
	  SECRETS_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SECRET_REPLY, vault_handle_open },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_RESEAL, &chancery__reseal_request__descriptor, FROM_DAEMONS,
	  SECRETS_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_SECRET_REPLY, vault_handle_reseal },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_ROTATE_DATA_KEY, &chancery__rotate_data_key_request__descriptor,
	  CH_FROM_GATEWAY | CH_FROM_OPERATOR, SMALL_CAP,
	  CHANCERY__PAYLOAD_TYPE__PAYLOAD_ROTATE_DATA_KEY_REPLY, vault_handle_rotate_data_key },
	{ CHANCERY__PAYLOAD_TYPE__PAYLOAD_RANDOM, &chancery__random_request__descriptor,
	  FROM_DAEMONS | CH_FROM_OPERATOR, SMALL_CAP, CHANCERY__PAYLOAD_TYPE__PAYLOAD_RANDOM_REPLY,
	  vault_handle_random },
};

int64_t vault_deadline_us(const struct vault *vault, const struct ch_bus_request *request)
{
	int64_t left = request->body->deadline_us - ch_clock_now_us(vault->clock);

	return ch_monotonic_us() + (left > 0 ? left : 0);
}

static bool open_policy(struct vault *vault, struct ch_error *err)
{
	const struct vault_config *config = vault->config;
	CH_AUTO(X509) certificate = NULL;

	vault->policy = (struct vault_policy){ .clock_tolerance_us = config->clock_tolerance_us,
					       .timestamp_tolerance_us = config->timestamp_tolerance_us,
					       .crl_max_validity_us = config->crl_max_validity_us,
					       .ocsp_max_validity_us = config->ocsp_max_validity_us,
					       .operators_ca = X509_STORE_new() };
	if (!ch_certificate_read_pem_file(config->operators_ca, &certificate, err))
		return ch_fail_in(err, "operators_ca");
	X509_check_purpose(certificate, -1,
			   -1); /* its extensions are read while one thread is alone with it */
	if (!vault->policy.operators_ca || X509_STORE_add_cert(vault->policy.operators_ca, certificate) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "operators_ca");
	return true;
}

static bool open_hsms(struct vault *vault, struct ch_error *err)
{
	const struct hsm_pool_options options = { .hsms = vault->config->hsms.items,
						  .count = vault->config->hsms.count,
						  .program = "/proc/self/exe",
						  .sandbox = vault->config->common.sandbox,
						  .hang_us = vault->config->hsm_hang_us,
						  .late_us = vault->config->hsm_late_us,
						  .keep_alive_us = vault->config->hsm_keep_alive_us,
						  .event = vault_note_hsm,
						  .event_state = vault,
						  .metrics = vault->metrics };

	return hsm_pool_start(&options, &vault->hsms, err);
}

static bool open_audit(struct vault *vault, struct ch_error *err)
{
	const struct ch_daemon_config *common = &vault->config->common;

	if (!ch_bus_client_open("audit", &common->peers.audit, vault->identity, &common->identity,
				vault->clock, vault->metrics, &vault->audit_bus, err))
		return false;
	const struct ch_audit_options options = { .identity = vault->identity,
						  .clock = vault->clock,
						  .state_directory = common->state_directory,
						  .bus = vault->audit_bus,
						  .metrics = vault->metrics };
	return ch_audit_open(&options, &vault->audit, err);
}

static bool open_server(struct vault *vault, struct ch_error *err)
{
	const struct ch_daemon_config *common = &vault->config->common;
	const struct ch_bus_server_options options = { .listen = &common->bus,
						       .identity = vault->identity,
						       .identity_files = &common->identity,
						       .clock = vault->clock,
						       .routes = routes,
						       .route_count = CH_COUNT(routes),
						       .state = vault,
						       .refusal = ch_audit_bus_refusal,
						       .refusal_state = vault->audit,
						       .metrics = vault->metrics };

	return ch_bus_server_start(&options, &vault->server, err);
}

bool vault_open(struct vault *vault, const struct vault_config *config, struct ch_daemon *daemon,
		struct ch_error *err)
{
	const struct ch_daemon_config *common = &config->common;

	vault->config = config;
	vault->clock = ch_clock_system();
	vault->metrics = ch_daemon_metrics(daemon);
	vault->hsm_readiness = ch_daemon_readiness(daemon, "hsm");
	ch_readiness_set(vault->hsm_readiness, false, "no HSM is up yet");
	pthread_mutex_init(&vault->generate_lock, NULL);
	if (!vault_caller_quotas_check(config->caller_quotas.items, config->caller_quotas.count, err) ||
	    !open_policy(vault, err) ||
	    !ch_identity_load(&common->identity, "vault", common->instance, &vault->identity, err) ||
	    !ch_db_open(&common->database, "chancery-vault", vault->metrics, &vault->db, err) ||
	    !open_audit(vault, err))
		return false;
	vault->keys = vault_keys_new(vault);
	vault->seals = vault_seals_new();
	vault->quotas = vault_quotas_new();
	vault->refusals = vault_refusals_new(vault);
	vault->secrets = vault_secrets_new(vault);
	vault->used = vault_used_new();
	return vault_summary_start(vault, &vault->summary, err) && open_hsms(vault, err) &&
	       vault_copies_start(vault, &vault->copies, err) && open_server(vault, err);
}

void vault_close(struct vault *vault)
{
	int64_t drain_us = vault->config ? vault->config->common.drain_us : 0;

	ch_bus_server_stop(vault->server, drain_us);
	vault_copies_stop(vault->copies);
	hsm_pool_stop(vault->hsms);
	vault_summary_stop(vault->summary);
	vault_refusals_free(vault->refusals);
	ch_audit_close(vault->audit, CH_SECOND); /* the rest waits in the spool */
	ch_bus_client_close(vault->audit_bus);
	vault_used_free(vault->used);
	vault_secrets_free(vault->secrets);
	vault_keys_free(vault->keys);
	vault_seals_free(vault->seals);
	vault_quotas_free(vault->quotas);
	ch_db_close(vault->db);
	ch_identity_free(vault->identity);
	X509_STORE_free(vault->policy.operators_ca);
}
