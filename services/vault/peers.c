/* SPDX-License-Identifier: Apache-2.0 */
/* peers.c: who may send the vault what, and whom it calls. */
#include "vault.h"

#include "refused_identities.h"
#include "secrets/secrets.h"
#include "sign.h"

#define SIGN_CAP    (32 * 1024 * 1024) /* a large CRL */
#define SMALL_CAP   (64 * 1024)
#define PROPOSE_CAP (1024 * 1024 + SMALL_CAP) /* with what is to be signed */
#define SECRETS_CAP (17 * 1024 * 1024)        /* 256 secrets of 64 KiB */

/* Each daemon may have its own identity signed; keep secrets at rest (docs/paths/secrets.md). */
#define DAEMONS  "issuer crl ocsp tsa audit gateway"
#define OFFICERS "gateway operator" /* they approve through the gateway, or with a tool at the vault */

/* What takes long and is not Sign has workers of its own: a flood of it takes none of Sign's. */
static bool among_others(bool (*handler)(void *state, const struct ch_bus_request *request,
					 ProtobufCMessage **reply, struct ch_error *err),
			 void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	bool done;

	if (!vault_other_enter(state, err))
		return false;
	done = handler(state, request, reply, err);
	vault_other_leave(state);
	return done;
}

static bool other_generate_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err)
{
	return among_others(vault_handle_generate_key, state, request, reply, err);
}

static bool other_seal(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	return among_others(vault_handle_seal, state, request, reply, err);
}

static bool other_open(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	return among_others(vault_handle_open, state, request, reply, err);
}

static bool other_reseal(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	return among_others(vault_handle_reseal, state, request, reply, err);
}

static bool other_random(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	return among_others(vault_handle_random, state, request, reply, err);
}

static bool other_rotate_data_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				  struct ch_error *err)
{
	return among_others(vault_handle_rotate_data_key, state, request, reply, err);
}

static bool other_replace_hsm(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err)
{
	return among_others(vault_handle_replace_hsm, state, request, reply, err);
}

/*
 * Who may send what: only those whose code does (vault_routes_test.c lists it again, as a specification).
 * What changes keys, their policies, data keys, HSMs or the quorum comes from a person's own identity, never
 * through the gateway, which reads what strangers send. Sign is narrowed further by each purpose's own
 * callers (purposes.c).
 */
/* clang-format off */
const struct ch_bus_route vault_routes[] = {
	/*           payload                 message                         senders                  octets             reply                     handler                              most repeated */
	CH_BUS_ROUTE(SIGN,                   sign_request,                   DAEMONS " operator",     SIGN_CAP,          SIGN_REPLY,               vault_handle_sign,                   VAULT_ITEMS_CAP),
	CH_BUS_ROUTE(GENERATE_KEY,           generate_key_request,           "issuer audit operator", SMALL_CAP,         GENERATE_KEY_REPLY,       other_generate_key,                  0),
	CH_BUS_ROUTE(LIST_KEYS,              list_keys_request,              "operator",              SMALL_CAP,         LIST_KEYS_REPLY,          vault_handle_list_keys,              0),
	CH_BUS_ROUTE(VAULT_STATUS,           vault_status_request,           "operator",              SMALL_CAP,         VAULT_STATUS_REPLY,       vault_handle_status,                 0),
	CH_BUS_ROUTE(PROPOSE_ACTION,         propose_action_request,         "issuer operator",       PROPOSE_CAP,       ACTION_REPLY,             vault_handle_propose_action,         0),
	CH_BUS_ROUTE(APPROVE_ACTION,         approve_action_request,         OFFICERS,                SMALL_CAP,         ACTION_REPLY,             vault_handle_approve_action,         0),
	CH_BUS_ROUTE(GET_ACTION,             get_action_request,             OFFICERS,                SMALL_CAP,         ACTION_REPLY,             vault_handle_get_action,             0),
	CH_BUS_ROUTE(LIST_ACTIONS,           list_actions_request,           OFFICERS,                SMALL_CAP,         LIST_ACTIONS_REPLY,       vault_handle_list_actions,           0),
	CH_BUS_ROUTE(GET_QUORUM,             get_quorum_request,             "operator",              SMALL_CAP,         QUORUM_REPLY,             vault_handle_get_quorum,             0),
	CH_BUS_ROUTE(CHANGE_QUORUM,          change_quorum_request,          "operator",              SMALL_CAP,         QUORUM_REPLY,             vault_handle_change_quorum,          0),
	CH_BUS_ROUTE(CHANGE_KEY_STATE,       change_key_state_request,       "operator",              SMALL_CAP,         KEY_REPLY,                vault_handle_change_key_state,       0),
	CH_BUS_ROUTE(CHANGE_CA_KEY,          change_ca_key_request,          "issuer",                SMALL_CAP,         KEY_REPLY,                vault_handle_change_ca_key,          0),
	CH_BUS_ROUTE(CHANGE_KEY_POLICY,      change_key_policy_request,      "operator",              SMALL_CAP,         KEY_REPLY,                vault_handle_change_key_policy,      0),
	CH_BUS_ROUTE(EXPORT_KEY,             export_key_request,             "operator",              SMALL_CAP,         EXPORT_KEY_REPLY,         vault_handle_export_key,             0),
	CH_BUS_ROUTE(HSM_CONTROL,            hsm_control_request,            "operator",              SMALL_CAP,         VAULT_STATUS_REPLY,       vault_handle_hsm_control,            0),
	CH_BUS_ROUTE(REPLACE_HSM,            replace_hsm_request,            "operator",              SMALL_CAP,         REPLACE_HSM_REPLY,        other_replace_hsm,                   0),
	CH_BUS_ROUTE(SEAL,                   seal_request,                   DAEMONS,                 SECRETS_CAP,       SECRET_REPLY,             other_seal,                          VAULT_ITEMS_CAP),
	CH_BUS_ROUTE(OPEN,                   open_request,                   DAEMONS,                 SECRETS_CAP,       SECRET_REPLY,             other_open,                          VAULT_ITEMS_CAP),
	CH_BUS_ROUTE(RESEAL,                 reseal_request,                 DAEMONS,                 SECRETS_CAP,       SECRET_REPLY,             other_reseal,                        VAULT_ITEMS_CAP),
	CH_BUS_ROUTE(ROTATE_DATA_KEY,        rotate_data_key_request,        "operator",              SMALL_CAP,         ROTATE_DATA_KEY_REPLY,    other_rotate_data_key,               0),
	CH_BUS_ROUTE(RANDOM,                 random_request,                 DAEMONS,                 SMALL_CAP,         RANDOM_REPLY,             other_random,                        0),
	CH_BUS_ROUTE(GET_REFUSED_IDENTITIES, get_refused_identities_request, DAEMONS " operator",     SMALL_CAP,         REFUSED_IDENTITIES_REPLY, vault_handle_get_refused_identities, 0),
	CH_BUS_ROUTE(PUT_REFUSED_IDENTITIES, put_refused_identities_request, DAEMONS " operator",     VAULT_REFUSED_CAP, REFUSED_IDENTITIES_REPLY, vault_handle_put_refused_identities, 0),
};
/* clang-format on */
const size_t vault_route_count = CH_COUNT(vault_routes);

const struct ch_bus_peer vault_peers[] = {
	/* service   while none is reached   which means   what it is asked */
	{ "audit", CH_READY_DEGRADED, "events wait in the spool", NULL },
};
const size_t vault_peer_count = CH_COUNT(vault_peers);
