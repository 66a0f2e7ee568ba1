/* SPDX-License-Identifier: Apache-2.0 */
/* rest_keys.c: /v1/keys: public keys that are never certified again, by an officer's word or by a proof of
 * whoever holds the private key. What is given is unwrapped, not read: the issuer does that. Called by
 * rest_dispatch. */
#include "gateway.h"

#include "json.h"
#include "text.h"
#include "x509/x509.h"

#include <string.h>

#define TEXT_CAP        ((size_t)100 * 1024)
#define COMMENT_CAP     ((size_t)512)
#define PROOFS_A_MINUTE 10

static const struct exchange block_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_BLOCK_KEY,
						CHANCERY__PAYLOAD_TYPE__PAYLOAD_BLOCK_KEY_REPLY,
						&chancery__block_key_reply__descriptor, 20 * CH_SECOND };

/* PEM of a certificate, a request or a public key (RFC 7468), or base64 of its DER. A private key is not
 * taken: it would stand in logs and memories where it does not belong. */
static bool unwrap(const char *text, struct ch_bytes *der, struct ch_error *err)
{
	static const char *const labels[] = { "CERTIFICATE", "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST",
					      "PUBLIC KEY" };
	struct ch_error ignored;

	if (strstr(text, "PRIVATE KEY"))
		return ch_fail(
			err, CH_INVALID,
			"it is a private key: never send one, its certificate or public key is enough");
	if (!strstr(text, "-----BEGIN"))
		return text_base64(ch_view_text(text), der, err);
	for (size_t i = 0; i < CH_COUNT(labels); i++)
		if (ch_pem_read(ch_view_text(text), labels[i], der, &ignored))
			return true;
	return ch_fail(err, CH_INVALID, "it is PEM of none of: certificate, certificate request, public key");
}

static bool send(struct call *call, Chancery__BlockKeyRequest *request, const cJSON *body,
		 struct ch_error *err)
{
	const Chancery__BlockKeyReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	const char *comment;
	cJSON *tree, *stopped;

	if (!json_string(body, "comment", JSON_OPTIONAL, COMMENT_CAP, &comment, err))
		return false;
	request->requester = &call->requester;
	request->comment = (char *)(uintptr_t)(comment ? comment : "");
	if (!call_peer(call, call->gateway->issuer, &block_exchange, &request->base, &message, err))
		return false;
	reply = (const Chancery__BlockKeyReply *)message;
	tree = cJSON_CreateObject();
	add_text(tree, "public_key_sha256", reply->public_key_sha256);
	cJSON_AddBoolToObject(tree, "known", reply->known);
	add_number(tree, "certificates_revoked", reply->certificates_revoked);
	stopped = cJSON_AddArrayToObject(tree, "cas_stopped");
	for (size_t i = 0; i < reply->n_cas_stopped; i++)
		cJSON_AddItemToArray(stopped, cJSON_CreateString(reply->cas_stopped[i]));
	answer_json(call, 200, tree);
	return true;
}

bool rest_key_block(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { "key", "comment", NULL };
	Chancery__BlockKeyRequest request = CHANCERY__BLOCK_KEY_REQUEST__INIT;
	CH_AUTO(cJSON) body = NULL;
	CH_AUTO(ch_bytes) der = CH_NONE;
	const char *key;

	if (!body_object(call, known, false, &body, err) ||
	    !json_string(body, "key", JSON_REQUIRED, TEXT_CAP, &key, err))
		return false;
	if (!unwrap(key, &der, err))
		return ch_fail_in(err, "member 'key'");
	request.key = (ProtobufCBinaryData){ .len = der.size, .data = der.data };
	return send(call, &request, body, err);
}

/* FNV-1a: whose names share a place is the same after a restart, and no secret. */
static size_t place_of(const char *name)
{
	uint32_t hash = 2166136261u;

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash % PROOF_BUDGETS;
}

static bool take_proof_budget(struct call *call, struct ch_error *err)
{
	struct proof_budget *budget = &call->gateway->proofs;
	size_t place = place_of(call->client.name);
	int64_t minute = ch_monotonic_us() / CH_MINUTE;
	bool granted;

	pthread_mutex_lock(&budget->lock);
	if (budget->clients[place].minute != minute) {
		budget->clients[place].minute = minute;
		budget->clients[place].spent = 0;
	}
	granted = budget->clients[place].spent < PROOFS_A_MINUTE;
	if (granted)
		budget->clients[place].spent++;
	pthread_mutex_unlock(&budget->lock);
	if (granted)
		return true;
	ch_fail(err, CH_EXHAUSTED, "more than %d proofs a minute", PROOFS_A_MINUTE);
	err->retryable = true;
	err->retry_after_ms = (uint32_t)(((minute + 1) * CH_MINUTE - ch_monotonic_us()) / CH_MILLISECOND) + 1;
	return false;
}

bool rest_key_report(struct call *call, struct ch_error *err)
{
	static const char *const known[] = { "proof", "comment", NULL };
	Chancery__BlockKeyRequest request = CHANCERY__BLOCK_KEY_REQUEST__INIT;
	CH_AUTO(cJSON) body = NULL;
	CH_AUTO(ch_bytes) der = CH_NONE;
	const char *proof;

	if (!take_proof_budget(call, err) || !body_object(call, known, false, &body, err) ||
	    !json_string(body, "proof", JSON_REQUIRED, TEXT_CAP, &proof, err))
		return false;
	if (!text_csr_unwrap(ch_view_text(proof), &der, err))
		return ch_fail_in(err, "member 'proof'");
	request.proof = (ProtobufCBinaryData){ .len = der.size, .data = der.data };
	return send(call, &request, body, err);
}
