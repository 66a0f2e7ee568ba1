/* SPDX-License-Identifier: Apache-2.0 */
/* make_key.c: a key made on one HSM, copied to the others, and destroyed where that cannot be completed.
 * generate.c calls it. */
#include "generate.h"

#include "log/log.h"

#define GENERATE_LIMIT_US (60 * CH_SECOND)

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

void vault_destroy_everywhere(struct vault *vault, struct vault_key *key)
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

bool vault_make_key(struct vault *vault, struct vault_key *key, struct ch_bytes *wrapped,
		    struct ch_error *err)
{
	bool copies = hsm_pool_count(vault->hsms) > 1;
	size_t from = 0;

	if (!choose_hsm(vault, &from, err) || !generate_on(vault, from, key, copies, err))
		return false;
	if (!vault_copy_prove(vault, from, key, err)) {
		vault_destroy_everywhere(vault, key);
		return false;
	}
	vault_copy_recorded(vault, key, from);
	if (!copies || copy_to_others(vault, from, key, wrapped, err))
		return true;
	vault_destroy_everywhere(vault, key);
	return false;
}
