/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault.h: the vault daemon: what it holds, and which file does which step.
 *
 *   main.c → vault.c (open and close) · listing.c (ListKeys, VaultStatus)
 *   sign.c, sign_allow.c (Sign) · generate.c, key_kinds.c, make_key.c, generated.c (GenerateKey)
 *   approval/: officers' quorum, the actions that they approve · secrets/: Seal, Open, Reseal, Random
 *   policy.h: what limits a key: sealed rows, state, policy, quotas
 *   refused_identities.c: which identities of services are not believed any more
 *   copies.c: what workers keep of keys that another vault destroyed
 *   purposes.h: what may be signed · hsm.h: who signs · keys.c, store.c, key_row.c: what the database knows
 *   events.c: what the audit log and the metrics hear of it · init_hsms.c: setting up
 */
#ifndef VAULT_H
#define VAULT_H

#include "auditclient/auditclient.h"
#include "bus/bus.h"
#include "daemon/daemon.h"
#include "db/db.h"
#include "health/health.h"
#include "hsm.h"
#include "purposes.h"
#include "vault.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>

#define VAULT_ITEMS_CAP  256
#define VAULT_RANDOM_CAP 4096
#define VAULT_WORKERS    32 /* of the bus, at least: a daemon has up to three Sign messages under way */

struct vault_config {
	struct ch_daemon_config common;
	char *operators_ca;
	char *user; /* that runs this vault */
	bool single_copy_accepted;
	struct ch_conf_list hsms;          /* struct hsm_config */
	struct ch_conf_list caller_quotas; /* struct vault_caller_quota */
	struct vault_lanes_config {
		int64_t ca, relying_parties;
	} lanes;
	int64_t clock_tolerance_us;
	int64_t timestamp_tolerance_us;
	int64_t crl_max_validity_us;
	int64_t ocsp_max_validity_us;
	int64_t hsm_hang_us;
	int64_t hsm_late_us;
	int64_t hsm_keep_alive_us;
};
extern const struct ch_conf_schema vault_schema; /* config.c */

struct ch_identities;
struct vault_keys;
struct vault_ca_names;
struct vault_copies;
struct vault_secrets;
struct vault_quotas;
struct vault_refusals;
struct vault_seals;
struct vault_used;
struct vault_marks;
struct vault_summary;

/* One at a time. */
struct vault_turn {
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool taken; /* guarded by lock */
};
void vault_turn_init(struct vault_turn *turn); /* generate.c; as long as the process */

struct vault {
	const struct vault_config *config;
	const struct ch_clock *clock;
	struct ch_metrics *metrics;
	struct ch_readiness *hsm_readiness;
	struct ch_health *health;
	struct vault_policy policy;
	struct ch_identity *identity;
	struct ch_db *db;
	struct ch_bus_peers *peers;
	struct ch_bus_client *audit_bus; /* of peers */
	struct ch_audit_client *audit;
	struct ch_identities *identities;
	struct hsm_pool *hsms;
	struct vault_keys *keys;
	struct vault_ca_names *ca_names;
	struct vault_copies *copies;
	struct vault_secrets *secrets;
	struct vault_seals *seals;
	struct vault_quotas *quotas;
	struct vault_refusals *refusals;
	struct vault_used *used;
	struct vault_marks *marks;
	struct vault_summary *summary;
	_Atomic(struct ch_metric *)
		signed_metrics[32]; /* by purpose; made at its first signature (events.c) */
	unsigned sign_workers;      /* of the bus, that Sign's lanes share */
	struct ch_bus_listen_config
		listen; /* the configuration's, with enough workers for both lanes and the rest */
	atomic_uint messages[HSM_LANES]; /* Sign messages in hand */
	atomic_uint others;              /* and others that daemons send and that take long */
	struct ch_bus_server *server;
	struct vault_turn generating; /* a key */
};

/* --- vault.c --- */
CH_MUST_USE bool vault_open(struct vault *vault, const struct vault_config *config, struct ch_daemon *daemon,
			    struct ch_error *err);
/* Takes no more, finishes what is in flight, closes in reverse order. What was never opened is NULL. */
void vault_close(struct vault *vault);
/* --- peers.c: who may send it what, and whom it calls --- */
extern const struct ch_bus_route vault_routes[];
extern const size_t vault_route_count;
extern const struct ch_bus_peer vault_peers[];
extern const size_t vault_peer_count;

/* --- sign.c, generate.c, listing.c: handlers of the routes (peers.c) --- */
bool vault_handle_sign(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err);
bool vault_handle_generate_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err);
/* May this service have such a key made? Pure: what the handler asks first. (key_kinds.c) */
CH_MUST_USE bool vault_generate_allowed(const Chancery__GenerateKeyRequest *ask, const char *service,
					struct ch_error *err);
bool vault_handle_list_keys(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			    struct ch_error *err);
bool vault_handle_status(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err);
/* --- policy/change_state.c, change_policy.c, export.c: handlers of routes too --- */
bool vault_handle_change_ca_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				struct ch_error *err);
bool vault_handle_change_key_state(void *state, const struct ch_bus_request *request,
				   ProtobufCMessage **reply, struct ch_error *err);
bool vault_handle_change_key_policy(void *state, const struct ch_bus_request *request,
				    ProtobufCMessage **reply, struct ch_error *err);
bool vault_handle_export_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			     struct ch_error *err);
/* --- secrets/handlers.c: handlers of routes too --- */
bool vault_handle_seal(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err);
bool vault_handle_open(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err);
bool vault_handle_reseal(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err);
bool vault_handle_rotate_data_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				  struct ch_error *err);
bool vault_handle_random(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err);
/* --- approval/handlers.c --- */
bool vault_handle_propose_action(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				 struct ch_error *err);
bool vault_handle_approve_action(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				 struct ch_error *err);
bool vault_handle_get_action(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			     struct ch_error *err);
bool vault_handle_list_actions(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err);
bool vault_handle_get_quorum(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			     struct ch_error *err);
bool vault_handle_change_quorum(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				struct ch_error *err);
/* --- shared by handlers --- */
/* Fills a Key message; its members are its own. (listing.c) */
void vault_key_message(const struct vault_key *key, Chancery__Key *message);
/* Bits of the pool's HSMs that hold the key. (copy.c) */
unsigned vault_residency_bits(const struct vault *vault, const struct vault_key *key);
/* The body's deadline on the monotonic clock, at least now. (vault.c) */
int64_t vault_deadline_us(const struct vault *vault, const struct ch_bus_request *request);

/* --- replace.c --- */
bool vault_handle_replace_hsm(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err);
bool vault_handle_hsm_control(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err);

/* --- copy.c: a key from one HSM to another --- */
#define VAULT_COPY_LIMIT_US (15 * CH_SECOND)
/* Runs a request on this one HSM. once: not again where its worker is lost. reply may be NULL; else the
 * caller frees it. */
CH_MUST_USE bool vault_run_on(struct vault *vault, size_t hsm, Chancery__HsmRequest *request, bool once,
			      int64_t limit_us, Chancery__HsmReply **reply, struct ch_error *err);
/* Under the key-encryption key; the caller frees *wrapped. */
CH_MUST_USE bool vault_copy_wrap(struct vault *vault, size_t hsm, struct vault_key *key,
				 struct ch_bytes *wrapped, struct ch_error *err);
/* It cannot be wrapped any more. */
CH_MUST_USE bool vault_copy_lock(struct vault *vault, size_t hsm, struct vault_key *key,
				 struct ch_error *err);
/* The HSM's copy signs something that nobody can have foreseen, and the public key verifies it. */
CH_MUST_USE bool vault_copy_prove(struct vault *vault, size_t hsm, struct vault_key *key,
				  struct ch_error *err);
/* Unwraps it there and proves it; *key's residency says so. */
CH_MUST_USE bool vault_copy_to(struct vault *vault, size_t to, struct vault_key *key, struct ch_view wrapped,
			       struct ch_error *err);
void vault_copy_recorded(struct vault *vault, struct vault_key *key, size_t hsm);

/* --- keys.c: key rows in memory, at most VAULT_KEY_AGE_US old --- */
#define VAULT_KEY_AGE_US (1 * CH_SECOND)
struct vault_keys *vault_keys_new(struct vault *vault);
void vault_keys_free(struct vault_keys *keys);
/* fresh: read it again. The caller gives *key back with vault_keys_release. CH_NOT_FOUND; CH_DENIED where its
 * seal does not fit the row (policy.h). Thread-safe. */
CH_MUST_USE bool vault_keys_get(struct vault_keys *keys, const char *key_id, bool fresh,
				const struct vault_key **key, struct ch_error *err);
void vault_keys_release(const struct vault_key *key);
void vault_keys_forget(struct vault_keys *keys, const char *key_id);

/* --- ca_names.c: names of CA keys, at most VAULT_KEY_AGE_US old --- */
struct vault_ca_names *vault_ca_names_new(struct vault *vault);
void vault_ca_names_free(struct vault_ca_names *names); /* NULL is fine */
/* Has a CA key of this tenant, in whatever state, this name (RFC 5280 §7.1; X509_NAME_cmp)? False: it could
 * not be told: CH_UNAVAILABLE where a row of the tenant's keys was changed outside the vault. Thread-safe. */
CH_MUST_USE bool vault_ca_names_has(struct vault_ca_names *names, const char *tenant, struct ch_view subject,
				    bool *has, struct ch_error *err);

/* --- copies.c --- */
CH_MUST_USE bool vault_copies_start(struct vault *vault, struct vault_copies **copies, struct ch_error *err);
void vault_copies_stop(struct vault_copies *copies); /* NULL is fine */
/* Workers may sign with this key from now on. Thread-safe; NULL is fine. */
void vault_copies_note(struct vault_copies *copies, const char *key_id);

/* --- store.c --- */
/* CH_NOT_FOUND where there is none. */
CH_MUST_USE bool store_find_key(struct ch_db *db, const char *key_id, struct vault_key *key,
				struct ch_error *err);
CH_MUST_USE bool store_find_key_by_request(struct ch_db *db, struct ch_view request_id, struct vault_key *key,
					   struct ch_error *err);
/* By ch_public_key_fingerprint. */
CH_MUST_USE bool store_find_key_by_public_key(struct ch_db *db,
					      const uint8_t fingerprint[CH_FINGERPRINT_SIZE],
					      struct vault_key *key, struct ch_error *err);
CH_MUST_USE bool store_list_keys(struct ch_db *db, const char *tenant,
				 void (*each)(void *context, const struct vault_key *key), void *context,
				 struct ch_error *err);
/* Of all tenants, but for destroyed ones. */
CH_MUST_USE bool store_list_all_keys(struct ch_db *db,
				     void (*each)(void *context, const struct vault_key *key), void *context,
				     struct ch_error *err);
/* Of all tenants: keys of before there were seals. */
CH_MUST_USE bool store_list_unsealed(struct ch_db *db,
				     void (*each)(void *context, const struct vault_key *key), void *context,
				     struct ch_error *err);
/* Connections to this database of vaults that run, on any host. */
CH_MUST_USE bool store_count_vaults(struct ch_db *db, uint64_t *count, struct ch_error *err);
/* Its event is owed then. CH_CONFLICT where the request id is taken. */
CH_MUST_USE bool store_insert_key(struct ch_db *db, const struct vault_key *key, struct ch_view wrapped,
				  struct ch_view number_seal, struct ch_error *err);
/* Keys whose event key.generated is owed; those that were made before `before_us`. */
CH_MUST_USE bool store_is_untold(struct ch_db *db, const char *key_id, bool *untold, struct ch_error *err);
CH_MUST_USE bool store_list_untold(struct ch_db *db, int64_t before_us,
				   void (*each)(void *context, const struct vault_key *key), void *context,
				   struct ch_error *err);
CH_MUST_USE bool store_set_told(struct ch_db *db, const char *key_id, struct ch_error *err);
/* Writes what may change of a key, with its seal. A destroyed key loses its wrapped copy. CH_CONFLICT
 * (retryable) where the row is not of old_version any more. */
CH_MUST_USE bool store_update_key(struct ch_db *db, const struct vault_key *key, uint64_t old_version,
				  struct ch_error *err);
/* Is its public key one that is known to be compromised (table compromised_keys)? */
CH_MUST_USE bool store_key_is_blocked(struct ch_db *db, const struct vault_key *key, bool *blocked,
				      struct ch_error *err);
/* Tells which of these keys are destroyed. */
CH_MUST_USE bool store_find_destroyed(struct ch_db *db, char *const *key_ids, size_t count,
				      void (*each)(void *context, const char *key_id), void *context,
				      struct ch_error *err);
/* For a row without seals. CH_CONFLICT where it has them. */
CH_MUST_USE bool store_set_first_seals(struct ch_db *db, const struct vault_key *key,
				       struct ch_view number_seal, struct ch_error *err);

/* Empty where there is none. CH_NOT_FOUND: no such key. */
CH_MUST_USE bool store_find_wrapped(struct ch_db *db, const char *key_id, struct ch_bytes *wrapped,
				    struct ch_error *err);

/* The highest number that a key signed: number.c. */
struct vault_number {
	char *last;                 /* decimal */
	struct ch_bytes tbs_sha256; /* empty: none yet */
	struct ch_bytes seal;
};
void vault_number_free(struct vault_number *number);
CH_DEFINE_AUTO_VALUE(vault_number, struct vault_number, vault_number_free)
/* Locks the row until the transaction ends. The caller frees what *number holds. CH_NOT_FOUND. */
CH_MUST_USE bool store_lock_number(struct ch_transaction *transaction, const char *key_id,
				   struct vault_number *number, struct ch_error *err);
CH_MUST_USE bool store_write_number(struct ch_transaction *transaction, const char *key_id,
				    const char *number, struct ch_view tbs_sha256, struct ch_view seal,
				    struct ch_error *err);

/* --- events.c --- */
struct vault_event {
	const struct ch_bus_request *request;
	const struct vault_purpose *purpose; /* NULL: none of the table */
	const char *key_id;
	const struct vault_check *check;
};
/* Something that was done for a request: durably, before it is answered. */
CH_MUST_USE bool vault_record(struct vault *vault, const struct ch_bus_request *request, const char *type,
			      const char *subject, const struct ch_audit_detail *details, size_t count,
			      struct ch_error *err);
/* The same of an event with its type, subject and details set, and its actor where a daemon asks for a
 * person: who did it is that person (""  or NULL: who asked). */
CH_MUST_USE bool vault_record_for(struct vault *vault, const struct ch_bus_request *request,
				  const struct ch_audit_event *event, struct ch_error *err);
/* The person whom the message names as the one for whom it asks; whom its own identity names comes first. */
const char *vault_person(const struct ch_bus_request *request, const char *named);
/* Before a signature leaves: an event where the purpose asks for each, else a count for the summary. */
CH_MUST_USE bool vault_note_signed(struct vault *vault, const struct vault_event *event,
				   struct ch_error *err);
/* Counts by purpose and reason, and tells it (refusals.c). */
void vault_note_refused(struct vault *vault, const struct vault_event *event, const struct ch_error *why);
/* The HSM failed, not the request. */
void vault_note_failed(struct vault *vault, const struct vault_event *event, const struct ch_error *why);
/* --- generated.c: the event key.generated, after the key's row --- */
/* Where it is still owed: durable when this returns. `request` is the one that made the key, or asks again.
 */
CH_MUST_USE bool vault_tell_generated(struct vault *vault, const struct ch_bus_request *request,
				      const struct vault_key *key, struct ch_error *err);
/* Of keys whose vault ended between the two. */
void vault_tell_forgotten(struct vault *vault);
/* A row of the vault's was changed outside the vault, or an HSM signed wrong (tenant NULL): counted, logged,
 * and recorded as vault.alert. */
void vault_note_alert(struct vault *vault, const char *tenant, const char *subject, const char *reason,
		      const char *message);
/* hsm_pool_options.event; state is the struct vault. */
void vault_note_hsm(void *state, const char *hsm, enum hsm_change change, const char *why, size_t up_count);
/* Signatures that are not recorded one by one: a vault.summary event each minute and at the end. */
CH_MUST_USE bool vault_summary_start(struct vault *vault, struct vault_summary **summary,
				     struct ch_error *err);
void vault_summary_stop(struct vault_summary *summary); /* NULL is fine */

/* --- refusals.c: thread-safe --- */
struct vault_refusal {
	const struct ch_bus_request *request;
	const char *purpose, *reason; /* static texts */
	const char *subject;
	const struct ch_error *why;
};
struct vault_refusals *vault_refusals_new(struct vault *vault);
/* Tells what is untold. NULL is fine. */
void vault_refusals_free(struct vault_refusals *refusals);
/* Logs and records vault.refused: at once the first of a kind (purpose, reason, caller, subject) in a minute,
 * the others in one event with their count. */
void vault_refusals_note(struct vault_refusals *refusals, const struct vault_refusal *refusal);
/* Tells what was not told at once, and begins the next minute. */
void vault_refusals_flush(struct vault_refusals *refusals);

/* --- init_hsms.c --- */
#define VAULT_INIT_OPTION     "--init-hsms"
#define VAULT_INIT_ONE_OPTION "--init-hsm"
/* `chancery-vault --config FILE --init-hsms …`. Returns the exit code. */
int vault_init_hsms(int argc, char **argv);

#endif
