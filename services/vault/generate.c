/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate.c: one GenerateKey message becomes one key on all HSMs. Called from the dispatch table (vault.c).
 * A key is recorded only after each of its copies made a signature that the public key verifies.
 */
#include "vault.h"

#include "key_states.h"
#include "log/log.h"
#include "policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENERATE_LIMIT_US (60 * CH_SECOND)
#define LABEL_CAP         128
#define ORIGIN_CAP        128
#define POLICIES_CAP      16

#define BIT(name)   (1u << CHANCERY__PURPOSE__PURPOSE_##name)
#define CA_PURPOSES (BIT(END_ENTITY_CERTIFICATE) | BIT(CA_CERTIFICATE) | BIT(CRL))

/* What keys there are: a key has exactly one of these sets of purposes, asked for by one service. */
static const struct key_kind {
	const char *name;
	const char *caller; /* and `operator`, where officers approve */
	unsigned purposes;
	bool has_subject, has_policies, has_origin;
	bool needs_approval;
} kinds[] = {
	{ "CA", "issuer", CA_PURPOSES, true, false, false, true },
	{ "system CA", "operator", BIT(SERVICE_IDENTITY) | BIT(CA_CERTIFICATE) | BIT(CRL), true, false, false,
	  true },
	{ "OCSP", "issuer", BIT(OCSP), false, false, false, false },
	{ "timestamp", "issuer", BIT(TIMESTAMP), false, true, false, false },
	{ "checkpoint", "audit", BIT(AUDIT_CHECKPOINT), false, false, true, false },
};

/* --- step 1: may it be made --- */

static const struct key_kind *find_kind(const Chancery__GenerateKeyRequest *ask)
{
	unsigned purposes = 0;

	for (size_t i = 0; i < ask->n_purposes; i++) {
		if ((unsigned)ask->purposes[i] < 1 ||
		    (unsigned)ask->purposes[i] > 31) /* an enum may hold any number */
			return NULL;
		purposes |= 1u << ask->purposes[i];
	}
	for (size_t i = 0; i < CH_COUNT(kinds); i++)
		if (kinds[i].purposes == purposes)
			return &kinds[i];
	return NULL;
}

static bool check_policies(const Chancery__GenerateKeyRequest *ask, struct ch_error *err)
{
	if (ask->n_timestamp_policies < 1 || ask->n_timestamp_policies > POLICIES_CAP)
		return ch_fail(err, CH_INVALID, "%zu timestamp policies, 1 to %d wanted",
			       ask->n_timestamp_policies, POLICIES_CAP);
	for (size_t i = 0; i < ask->n_timestamp_policies; i++) {
		CH_AUTO(ch_der_writer) writer = CH_NONE;

		if (!ch_der_put_oid(&writer, ask->timestamp_policies[i], err))
			return ch_fail_in(err, "timestamp policy");
	}
	return true;
}

static bool check_subject(const Chancery__GenerateKeyRequest *ask, struct ch_error *err)
{
	struct ch_view in = ch_view(ask->subject_der.data, ask->subject_der.len), name;

	if (in.size > CH_CERTIFICATE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "subject of %zu octets", in.size);
	if (!ch_der_read(&in, CH_DER_SEQUENCE, "subject_der", &name, err) ||
	    !ch_der_end(&in, "subject_der", err))
		return false;
	return name.size > 0 || ch_fail(err, CH_INVALID, "a CA key needs a subject that is not empty");
}

static bool check_ask(const Chancery__GenerateKeyRequest *ask, const char *service,
		      const struct key_kind **kind, struct ch_error *err)
{
	size_t origin = strlen(ask->checkpoint_origin), label = strlen(ask->label);

	*kind = find_kind(ask);
	if (!*kind)
		return ch_fail(err, CH_INVALID, "no kind of key has just these %zu purposes",
			       ask->n_purposes);
	if (strcmp((*kind)->caller, service) != 0 &&
	    !((*kind)->needs_approval && strcmp(service, "operator") == 0))
		return ch_fail(err, CH_DENIED, "service '%s' may not make a %s key, only '%s' may", service,
			       (*kind)->name, (*kind)->caller);
	if (!ch_algorithm_find(ask->algorithm))
		return ch_fail(err, CH_UNSUPPORTED, "algorithm '%.32s' is not one of the vault's",
			       ask->algorithm);
	if (label < 1 || label > LABEL_CAP)
		return ch_fail(err, CH_INVALID, "label of %zu octets, 1 to %d wanted", label, LABEL_CAP);
	if (ask->max_validity_seconds < 0 || ask->max_validity_seconds > INT64_C(100) * 366 * 86400)
		return ch_fail(err, CH_INVALID, "max_validity_seconds is %lld",
			       (long long)ask->max_validity_seconds);
	if (!(*kind)->has_subject != !ask->subject_der.len ||
	    !(*kind)->has_policies != !ask->n_timestamp_policies || !(*kind)->has_origin != !origin)
		return ch_fail(err, CH_INVALID,
			       "a %s key is made with%s subject, with%s timestamp policies and with%s "
			       "checkpoint origin",
			       (*kind)->name, (*kind)->has_subject ? "" : "out",
			       (*kind)->has_policies ? "" : "out", (*kind)->has_origin ? "" : "out");
	if ((*kind)->has_origin && (origin > ORIGIN_CAP || strchr(ask->checkpoint_origin, '\n')))
		return ch_fail(err, CH_INVALID, "checkpoint origin is not one line of at most %d octets",
			       ORIGIN_CAP);
	return (!(*kind)->has_subject || check_subject(ask, err)) &&
	       (!(*kind)->has_policies || check_policies(ask, err));
}

bool vault_generate_allowed(const Chancery__GenerateKeyRequest *ask, const char *service,
			    struct ch_error *err)
{
	const struct key_kind *kind;

	return check_ask(ask, service, &kind, err);
}

/* --- step 2: was it made before --- */

/* The same request id with other content is a fault of the caller's. */
static bool check_same(const struct vault_key *key, const Chancery__GenerateKeyRequest *ask,
		       const struct key_kind *kind, const char *tenant, struct ch_error *err)
{
	struct ch_view subject = ch_view(ask->subject_der.data, ask->subject_der.len);

	if (strcmp(key->tenant, tenant) != 0 || strcmp(key->algorithm->name, ask->algorithm) != 0 ||
	    key->purposes != kind->purposes || !ch_view_equal(ch_view_of(&key->subject_der), subject))
		return ch_fail(err, CH_CONFLICT,
			       "this message id made key '%s', which is another than asked for now",
			       key->key_id);
	return true;
}

/* --- step 3: making it --- */

static bool generate_on(struct vault *vault, size_t hsm, struct vault_key *key, bool extractable,
			struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmGenerate generate = CHANCERY__HSM_GENERATE__INIT;
	Chancery__HsmReply *reply;

	generate.key_id = key->key_id;
	generate.algorithm = (char *)key->algorithm->name;
	generate.label = key->label;
	generate.extractable = extractable;
	request.generate = &generate;
	if (!vault_run_on(vault, hsm, &request, true, GENERATE_LIMIT_US, &reply, err))
		return false;
	key->public_key_info =
		ch_bytes_copy(ch_view(reply->public_key_info.data, reply->public_key_info.len));
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return true;
}

/* Best effort: a key that nothing records can sign nothing. */
static void destroy_everywhere(struct vault *vault, struct vault_key *key)
{
	unsigned up = hsm_pool_up(vault->hsms);

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++) {
		Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
		Chancery__HsmDestroy destroy = CHANCERY__HSM_DESTROY__INIT;
		struct ch_error err;

		destroy.key_id = key->key_id;
		request.destroy = &destroy;
		if ((up & 1u << i) &&
		    !vault_run_on(vault, i, &request, false, VAULT_COPY_LIMIT_US, NULL, &err))
			ch_log_warn("unused key '%s' stays on HSM '%s': %s", key->key_id,
				    hsm_pool_name(vault->hsms, i), err.message);
	}
}

/* An HSM that is up and has least to do makes the key. */
static bool choose_hsm(struct vault *vault, size_t *chosen, struct ch_error *err)
{
	unsigned up = hsm_pool_up(vault->hsms);
	uint32_t least = UINT32_MAX;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++) {
		struct hsm_status status;

		hsm_pool_status(vault->hsms, i, &status);
		if (!(up & 1u << i)) {
			if (vault->config->single_copy_accepted)
				continue;
			ch_fail(err, CH_UNAVAILABLE, "HSM '%s' is %s: a key needs a copy on each",
				status.name, hsm_state_name(status.state));
			err->retryable = true;
			return false;
		}
		if (status.in_flight < least) {
			least = status.in_flight;
			*chosen = i;
		}
	}
	return least != UINT32_MAX || ch_fail(err, CH_UNAVAILABLE, "no HSM is up");
}

/* Copies to all others. A copy that cannot be made fails the key, unless single copies are accepted. */
static bool copy_to_others(struct vault *vault, size_t from, struct vault_key *key, struct ch_bytes *wrapped,
			   struct ch_error *err)
{
	bool accepted = vault->config->single_copy_accepted;

	if (!vault_copy_wrap(vault, from, key, wrapped, err)) {
		ch_fail_in(err, "%s key cannot be copied to another HSM (single_copy_accepted is %s)",
			   key->algorithm->name, accepted ? "true" : "false");
		if (accepted)
			ch_log_warn("key '%s' has a single copy: %s", key->key_id, err->message);
		return accepted;
	}
	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++) {
		if (i == from || vault_copy_to(vault, i, key, ch_view_of(wrapped), err))
			continue;
		if (!accepted)
			return ch_fail_in(err, "copy to HSM '%s'", hsm_pool_name(vault->hsms, i));
		ch_log_warn("key '%s' has no copy on HSM '%s': %s", key->key_id,
			    hsm_pool_name(vault->hsms, i), err->message);
	}
	return vault_copy_lock(vault, from, key, err);
}

static bool make_key(struct vault *vault, struct vault_key *key, struct ch_bytes *wrapped,
		     struct ch_error *err)
{
	bool copies = hsm_pool_count(vault->hsms) > 1;
	size_t from = 0;

	if (!choose_hsm(vault, &from, err) || !generate_on(vault, from, key, copies, err))
		return false;
	if (!vault_copy_prove(vault, from, key, err)) {
		destroy_everywhere(vault, key);
		return false;
	}
	vault_copy_recorded(vault, key, from);
	if (!copies || copy_to_others(vault, from, key, wrapped, err))
		return true;
	destroy_everywhere(vault, key);
	return false;
}

static void fill_key(struct vault *vault, const Chancery__GenerateKeyRequest *ask,
		     const struct key_kind *kind, const char *tenant, struct vault_key *key)
{
	uint8_t id[16];
	CH_AUTO(ch_string) text = NULL;

	ch_random(id, sizeof(id));
	text = ch_hex(ch_view(id, sizeof(id)));
	memcpy(key->key_id, text, sizeof(key->key_id));
	strncpy(key->tenant, tenant, sizeof(key->tenant) - 1);
	snprintf(key->state, sizeof(key->state), "%s", ask->pre_active ? "pre-active" : "active");
	key->label = ch_strdup(ask->label);
	key->algorithm = ch_algorithm_find(ask->algorithm);
	key->purposes = kind->purposes;
	key->subject_der = ch_bytes_copy(ch_view(ask->subject_der.data, ask->subject_der.len));
	key->single_copy_accepted = vault->config->single_copy_accepted;
	key->ca_path_length = -1;
	key->max_validity_us = ask->max_validity_seconds * CH_SECOND;
	key->policy_version = 1;
	key->created_at_us = ch_clock_now_us(vault->clock);
	key->checkpoint_origin = kind->has_origin ? ch_strdup(ask->checkpoint_origin) : NULL;
	key->timestamp_policies = ch_alloc(ask->n_timestamp_policies * sizeof(char *));
	key->timestamp_policy_count = ask->n_timestamp_policies;
	for (size_t i = 0; i < ask->n_timestamp_policies; i++)
		key->timestamp_policies[i] = ch_strdup(ask->timestamp_policies[i]);
}

/* It only narrows what the key may do, except for the audit mode: that certificates are recorded one by one
 * is for officers to give up (change-key-policy), and the action to make the key says nothing of it. */
static bool set_policy(struct vault_key *key, const Chancery__GenerateKeyRequest *ask,
		       const struct key_kind *kind, struct ch_error *err)
{
	int64_t validity_us = key->max_validity_us;

	if (!ask->policy)
		return true;
	if (!vault_policy_valid(ask->policy, key, err))
		return ch_fail_in(err, "policy");
	if (kind->needs_approval && strcmp(ask->policy->audit_mode, "summary") == 0)
		return ch_fail(err, CH_DENIED,
			       "policy: a %s key is made with each signature audited; officers may change it",
			       kind->name);
	vault_policy_set(key, ask->policy);
	if (!key->max_validity_us)
		key->max_validity_us = validity_us;
	return true;
}

/* --- with officers' approvals --- */

static char *purpose_names(unsigned purposes)
{
	CH_AUTO(ch_buffer) names = CH_NONE;

	for (int i = 1; i < 32; i++) {
		const struct vault_purpose *purpose =
			purposes & 1u << i ? vault_purpose_find((Chancery__Purpose)i) : NULL;

		if (purpose)
			ch_buffer_printf(&names, "%s%s", names.used ? "," : "", purpose->name);
	}
	return ch_buffer_steal_text(&names);
}

static bool use_approval(struct vault *vault, const struct ch_bus_request *request,
			 const Chancery__GenerateKeyRequest *ask, const struct key_kind *kind,
			 struct ch_error *err)
{
	CH_AUTO(ch_string) purposes = purpose_names(kind->purposes);
	CH_AUTO(ch_string) subject =
		kind->has_subject ? ch_name_text(ch_view(ask->subject_der.data, ask->subject_der.len))
				  : ch_strdup("-");
	CH_AUTO(ch_string) names = NULL;
	const struct ch_action_field fields[] = {
		{ (char *)(uintptr_t) "label", ask->label },
		{ (char *)(uintptr_t) "algorithm", ask->algorithm },
		{ (char *)(uintptr_t) "purposes", purposes },
		{ (char *)(uintptr_t) "subject", subject },
	};
	const struct vault_approval_ask approval = { .tenant = request->body->tenant,
						     .kind = CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY,
						     .fields = fields,
						     .field_count = CH_COUNT(fields),
						     .now_us = ch_clock_now_us(vault->clock) };

	return !kind->needs_approval ||
	       vault_action_use(vault, request, ask->action_id, &approval, &names, err);
}

/* --- the handler --- */

static void answer_key(const struct vault_key *key, ProtobufCMessage **reply)
{
	Chancery__GenerateKeyReply *answer =
		CH_PROTO_NEW(Chancery__GenerateKeyReply, chancery__generate_key_reply__init);

	answer->key = CH_PROTO_NEW(Chancery__Key, chancery__key__init);
	vault_key_message(key, answer->key);
	*reply = &answer->base;
}

/* Finds what this request id made before. True with *found false where it made nothing yet. */
static bool find_made(struct vault *vault, struct ch_view request_id, bool *found, struct vault_key *key,
		      struct ch_error *err)
{
	struct ch_error none;

	*found = store_find_key_by_request(vault->db, request_id, key, &none) &&
		 vault_key_verify_read(vault, key, &none);
	if (*found || none.code == CH_NOT_FOUND)
		return true;
	*err = none;
	return false;
}

/* The row is complete and sealed before anybody may know the key. */
static bool seal_and_insert(struct vault *vault, const struct ch_bus_request *request, struct vault_key *key,
			    struct ch_view wrapped, struct ch_error *err)
{
	uint8_t number_seal[VAULT_SEAL_SIZE], hash[64];
	size_t size;

	if (!ch_digest("sha256", ch_view_of(&key->public_key_info), hash, &size, err))
		return false;
	memcpy(key->public_key_sha256, hash, sizeof(key->public_key_sha256));
	return vault_key_seal(vault, key, err) &&
	       vault_number_seal_first(vault, key->key_id, number_seal, err) &&
	       vault_note_generated(vault, request, key, err) &&
	       store_insert_key(vault->db, key, wrapped, ch_view(number_seal, sizeof(number_seal)), err);
}

/* Makes and records. Where another vault was faster with the same request, its key counts and ours goes. */
static bool make_and_record(struct vault *vault, const struct ch_bus_request *request,
			    struct ch_view request_id, struct vault_key *key, struct ch_error *err)
{
	CH_AUTO(ch_bytes) wrapped = CH_NONE;
	bool found;

	if (!make_key(vault, key, &wrapped, err))
		return false;
	if (seal_and_insert(vault, request, key, ch_view_of(&wrapped), err))
		return true;
	destroy_everywhere(vault, key);
	if (err->code != CH_CONFLICT)
		return false;
	vault_key_free(key);
	return find_made(vault, request_id, &found, key, err) &&
	       (found || ch_fail(err, CH_CONFLICT, "the key could not be recorded"));
}

bool vault_handle_generate_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			       struct ch_error *err)
{
	const Chancery__GenerateKeyRequest *ask = (const Chancery__GenerateKeyRequest *)request->payload;
	struct ch_view request_id = ch_view(request->body->message_id.data, request->body->message_id.len);
	const char *tenant = request->body->tenant;
	CH_AUTO(vault_key) key = CH_NONE;
	const struct key_kind *kind;
	struct vault *vault = state;
	bool found, made;

	/* 1. What may be made is decided before anything is. */
	if (!check_ask(ask, request->sender->service, &kind, err)) {
		const struct vault_event event = { .request = request, .key_id = "" };

		vault_note_refused(vault, &event, err);
		return false;
	}

	/* 2. One at a time; a repeated message waits for the first and finds what it made. */
	pthread_mutex_lock(&vault->generate_lock);
	made = find_made(vault, request_id, &found, &key, err);

	/* 3. With the approvals that its kind needs: made on one HSM, copied to the others, each copy proven;
	 * recorded; only then told. */
	if (made && !found) {
		fill_key(vault, ask, kind, tenant, &key);
		key.request_id = ch_bytes_copy(request_id);
		made = set_policy(&key, ask, kind, err) && use_approval(vault, request, ask, kind, err) &&
		       make_and_record(vault, request, request_id, &key, err);
	}
	pthread_mutex_unlock(&vault->generate_lock);
	if (!made || !check_same(&key, ask, kind, tenant, err))
		return false;
	answer_key(&key, reply);
	return true;
}
