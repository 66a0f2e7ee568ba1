/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stopping.h: what ends a CA or a key before its time: a CA is stopped, started again, retired and revoked
 * (ca_change.c), a key is blocked (blocked_keys.c). Statements: store_stopping.c.
 */
#ifndef ISSUER_STOPPING_H
#define ISSUER_STOPPING_H

#include "issuer.h"

#define REASON_KEY_COMPROMISE 1 /* RFC 5280 §5.3.1 */
#define REASON_CA_COMPROMISE  2

/* --- ca_change.c --- */

/*
 * Stops a CA at once: nothing is issued in its name from the commit on, and its key refuses within a second.
 * actor  who wants it; message_id and trace_id of the request, or NULL
 * Errors CH_CONFLICT it is not one that issues; CH_UNAVAILABLE stopped here, but the vault does not answer:
 * again
 */
struct stop_order {
	const char *tenant, *actor, *message_id, *trace_id, *reason;
};
CH_MUST_USE bool stop_ca(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
			 struct ch_error *err);
bool issuer_change_ca_state(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			    struct ch_error *err);
/* The serial number of the CA's own certificate, a view into ca->tbs_certificate. (ca_activate.c) */
CH_MUST_USE bool ca_serial(const struct ch_ca *ca, struct ch_view *serial, struct ch_error *err);

/* --- status_change.c --- */

/* One certificate of an end entity to be revoked for its key, by whomsoever. Already revoked: no error. */
CH_MUST_USE bool revoke_for_key(struct issuer *issuer, const struct stop_order *order, const struct ch_ca *ca,
				int32_t expiry_period, struct ch_view serial, struct ch_error *err);

/* --- revoke_unknown.c --- */

/* A serial that no row has, and its revocation. */
struct unknown_serial {
	const struct ch_ca *ca;
	struct ch_view serial;
	int reason; /* CRLReason */
	int64_t invalidity_date_us;
};
/* Hex digits as the octets of an INTEGER. The caller frees *serial. CH_INVALID. */
CH_MUST_USE bool named_serial(const char *text, struct ch_bytes *serial, struct ch_error *err);
/* `row` receives what there is to tell. CH_CONFLICT: it is revoked already, for another reason. */
CH_MUST_USE bool revoke_unknown(struct issuer *issuer, const struct stop_order *order,
				const struct unknown_serial *unknown, struct certificate_row *row,
				struct ch_error *err);
/* Locks the log's head until the transaction ends. *logged: that serial is revoked, since *revoked_at_us, for
 * *reason; else both stay as they are. (store_stopping.c) */
CH_MUST_USE bool store_lock_log(struct ch_transaction *transaction, int64_t ca_id, struct ch_view serial,
				bool *logged, int64_t *revoked_at_us, int *reason, struct ch_error *err);
/* The log's next entry and the event; store_lock_log came before. (store_stopping.c) */
CH_MUST_USE bool store_log_unknown(struct ch_transaction *transaction, const char *tenant,
				   const struct unknown_serial *unknown, int64_t revoked_at_us,
				   struct ch_view event, struct ch_error *err);

/* --- blocked_keys.c --- */

bool issuer_block_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		      struct ch_error *err);
/* What was done about what is out for a blocked key. The names are the caller's to free. */
struct key_sweep {
	unsigned revoked;
	char **stopped; /* CAs */
	size_t stopped_count;
};
void key_sweep_free(struct key_sweep *sweep);
CH_DEFINE_AUTO_VALUE(key_sweep, struct key_sweep, key_sweep_free)
/* Revokes what was issued for this key (NULL: for any that was blocked within the last day), in this tenant;
 * a CA of that key is stopped. */
CH_MUST_USE bool sweep_keys(struct issuer *issuer, const struct stop_order *order, struct ch_view fingerprint,
			    struct key_sweep *sweep, struct ch_error *err);

/* A pending row whose CA issues and whose key is good still: CH_CONFLICT says what has become of them. */
CH_MUST_USE bool may_still_be_signed(struct issuer *issuer, const char *tenant, const struct ca_set *set,
				     const struct certificate_row *row, struct ch_error *err);
/* Why a pending row must not be signed any more; NULL: it may. The caller frees it. (recovery.c) */
char *reason_to_give_up(struct issuer *issuer, const char *tenant, const struct ca_set *set,
			const struct certificate_row *row);
/* CH_CONFLICT: the CA's key is known to be compromised, so it is given no certificate. */
CH_MUST_USE bool check_key_is_good(struct issuer *issuer, const char *tenant, const struct ch_ca *ca,
				   struct ch_error *err);

/* --- store_stopping.c --- */

/* *changed false: it is in another state. */
CH_MUST_USE bool store_change_ca(struct ch_transaction *transaction, const struct ch_ca *ca,
				 const char *state, const char *reason, struct ch_view event, bool *changed,
				 struct ch_error *err);
/* tenant "": for everybody. *added false: it was there. */
CH_MUST_USE bool store_block_key(struct ch_transaction *transaction, struct ch_view fingerprint,
				 const char *tenant, const char *source, bool *added, struct ch_error *err);
/* The key of a certificate that is revoked for its compromise: for the tenant alone, whose officer says so;
 * for everybody where it is one of the suite's own signers. */
CH_MUST_USE bool store_block_revoked_key(struct ch_transaction *transaction,
					 const struct certificate_row *row, const char *tenant,
					 struct ch_error *err);
CH_MUST_USE bool store_key_is_blocked(struct ch_transaction *transaction, struct ch_view fingerprint,
				      const char *tenant, bool *blocked, struct ch_error *err);
/* An event alone, in the caller's transaction. */
CH_MUST_USE bool store_event(struct ch_transaction *transaction, struct ch_view event, struct ch_error *err);
struct key_certificate {
	int32_t expiry_period;
	int64_t ca_id;
	struct ch_bytes serial;
	bool is_ca;       /* a CA's own, whose key may still sign */
	int64_t of_ca_id; /* then that CA's number */
};
#define KEY_CERTIFICATES_CAP 256 /* at once */
/* Up to the cap of those that are out and good, or on hold, for a key that this tenant may not use. Each is
 * the caller's to free. */
CH_MUST_USE bool store_certificates_of_key(struct ch_transaction *transaction, const char *tenant,
					   struct ch_view fingerprint,
					   struct key_certificate found[KEY_CERTIFICATES_CAP], size_t *count,
					   struct ch_error *err);

#endif
