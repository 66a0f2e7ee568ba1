/* SPDX-License-Identifier: Apache-2.0 */
/* vaultclient.h: typed calls to the key vault over the bus. Issuer, ocsp, tsa, crl and audit use it. */
#ifndef CH_VAULTCLIENT_H
#define CH_VAULTCLIENT_H

#include "action/action.h"
#include "bus/bus.h"
#include "vault.pb-c.h"

struct ch_vault_client;
/* `bus` is a client of service "vault"; borrowed, outlives this. */
struct ch_vault_client *ch_vault_client_new(struct ch_bus_client *bus);
void ch_vault_client_free(struct ch_vault_client *client);

struct ch_vault_context { /* of the request that needs the signature; members may be NULL */
	const char *tenant;
	const char *trace_id;
	int64_t timeout_us; /* 0: 5 s */
};

struct ch_vault_item {
	const char *key_id;
	Chancery__Purpose purpose;
	struct ch_view to_be_signed;
	struct ch_view content; /* timestamp: TSTInfo */
	const char *action_id;  /* ca-certificate, ca-csr: what officers approved; NULL: none */
	/* 16 octets, see ch_vault_action_message_id; NULL: fresh. Such an item is a message of its own. */
	const uint8_t *message_id;
};

/* signature: as it stands in X.509; the caller frees it. Errors: the vault's refusal as it says,
 * CH_UNAVAILABLE. */
CH_MUST_USE bool ch_vault_sign(struct ch_vault_client *client, const struct ch_vault_context *context,
			       const struct ch_vault_item *item, struct ch_bytes *signature,
			       struct ch_error *err);

/* message_id: 16 octets, the same again gives the same key. The caller frees *key with
 * chancery__key__free_unpacked(key, NULL). */
CH_MUST_USE bool ch_vault_generate_key(struct ch_vault_client *client, const struct ch_vault_context *context,
				       const Chancery__GenerateKeyRequest *request,
				       const uint8_t message_id[16], Chancery__Key **key,
				       struct ch_error *err);
/* --- actions that officers approve (actions.c) --- */

/*
 * The action of this kind and fields: the one that is open already, or a new one. The caller frees *action
 * with chancery__action__free_unpacked(action, NULL).
 */
CH_MUST_USE bool ch_vault_propose_action(struct ch_vault_client *client,
					 const struct ch_vault_context *context,
					 const struct ch_action_ask *ask, Chancery__Action **action,
					 struct ch_error *err);
/* The request for it, which borrows from all. CH_INVALID: too many fields. */
struct ch_action_proposal {
	Chancery__ProposeActionRequest request;
	Chancery__ActionField fields[CH_ACTION_FIELDS_CAP], *list[CH_ACTION_FIELDS_CAP];
};
CH_MUST_USE bool ch_action_propose(const struct ch_action_ask *ask, struct ch_action_proposal *proposal,
				   struct ch_error *err);
/* The message id under which an action is used: the same at every attempt, so that one after a crash is no
 * replay. */
void ch_vault_action_message_id(const char *action_id, uint8_t message_id[16]);

/*
 * A CA's key follows the CA (ChangeCaKey of vault.proto). With an action that officers approved, the same
 * message at every attempt. key_state: of the key then, to be freed; NULL is fine. Errors: the vault's
 * refusal as it says
 */
CH_MUST_USE bool ch_vault_change_ca_key(struct ch_vault_client *client,
					const struct ch_vault_context *context,
					const Chancery__ChangeCaKeyRequest *request, char **key_state,
					struct ch_error *err);

CH_MUST_USE bool ch_vault_list_keys(struct ch_vault_client *client, const struct ch_vault_context *context,
				    Chancery__ListKeysReply **reply, struct ch_error *err);

/*
 * A small secret (at most 64 KiB) for keeping at rest, sealed under a data key of the context's tenant.
 * `what` (1 to 256 octets, such as "totp-seed/alice") must be the same for opening; only this service opens
 * it. The caller frees the results. A plaintext travels encrypted from the vault's locked memory into the
 * caller's (private_reply.h): no buffer on the way holds it. Errors  CH_DENIED altered, or of another
 * service, tenant or `what`; CH_NOT_FOUND no such tenant or data key; CH_INVALID; CH_TOO_LARGE;
 * CH_UNAVAILABLE
 */
CH_MUST_USE bool ch_vault_seal(struct ch_vault_client *client, const struct ch_vault_context *context,
			       const char *what, struct ch_view plaintext, struct ch_bytes *sealed,
			       struct ch_error *err);
/* outdated (may be NULL): sealed under an older data key; ch_vault_reseal gives it under the newest. */
CH_MUST_USE bool ch_vault_open(struct ch_vault_client *client, const struct ch_vault_context *context,
			       const char *what, struct ch_view sealed, bool *outdated,
			       struct ch_secret *plaintext, struct ch_error *err);
CH_MUST_USE bool ch_vault_reseal(struct ch_vault_client *client, const struct ch_vault_context *context,
				 const char *what, struct ch_view sealed, struct ch_bytes *resealed,
				 struct ch_error *err);
/* 1 to 4096 octets from an HSM's random generator. */
CH_MUST_USE bool ch_vault_random(struct ch_vault_client *client, const struct ch_vault_context *context,
				 uint32_t size, struct ch_bytes *random, struct ch_error *err);

#endif
