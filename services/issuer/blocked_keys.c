/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocked_keys.c: keys that are never certified again: by an officer's word, or by a proof of whoever holds
 * the private key. What is out for such a key is revoked, and a CA of that key is stopped. Called from the
 * bus dispatch table; sweep_keys also by status_change.c and upkeep.c.
 */
#include "stopping.h"
#include "text/text.h"

#include <stdlib.h>
#include <string.h>

/* The subject of a holder's proof: a request that was made for anything else proves nothing here, and no
 * profile issues for this one's name. docs/paths/revocation.md */
#define PROOF_SUBJECT "CN=This key is compromised"
#define COMMENT_CAP   512

struct blocking {
	struct issuer *issuer;
	const struct ch_bus_request *request;
	const Chancery__BlockKeyRequest *payload;
	const char *tenant;
	bool proven;
	uint8_t fingerprint[CH_FINGERPRINT_SIZE];
	struct stop_order order;
};

/* --- which key --- */

static bool of_certificate(struct ch_view der, uint8_t fingerprint[CH_FINGERPRINT_SIZE], struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;
	uint8_t *info = NULL;
	bool done;
	int size;

	if (!ch_certificate_read(der, &certificate, err))
		return false;
	size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &info);
	if (size <= 0)
		return ch_fail_openssl(err, CH_INVALID, "the certificate's public key");
	done = ch_public_key_fingerprint(ch_view(info, (size_t)size), fingerprint, err);
	OPENSSL_free(info);
	return done;
}

static bool of_request(struct ch_view der, uint8_t fingerprint[CH_FINGERPRINT_SIZE], struct ch_error *err)
{
	CH_AUTO(ch_csr) csr = CH_NONE;

	return ch_csr_read(der, &csr, err) &&
	       ch_public_key_fingerprint(ch_view_of(&csr.public_key_info), fingerprint, err);
}

/* A certificate, a certification request or a public key: they do not read as each other. */
static bool read_key(struct blocking *b, struct ch_error *err)
{
	struct ch_view der = ch_view(b->payload->key.data, b->payload->key.len);
	struct ch_error ignored;

	return of_certificate(der, b->fingerprint, &ignored) || of_request(der, b->fingerprint, &ignored) ||
	       ch_public_key_fingerprint(der, b->fingerprint, &ignored) ||
	       ch_fail(err, CH_INVALID,
		       "key: neither a certificate nor a certification request nor a SubjectPublicKeyInfo");
}

static bool read_proof(struct blocking *b, struct ch_error *err)
{
	CH_AUTO(ch_csr) csr = CH_NONE;

	if (!ch_csr_read(ch_view(b->payload->proof.data, b->payload->proof.len), &csr, err))
		return ch_fail_in(err, "proof");
	if (strcmp(csr.subject, PROOF_SUBJECT) != 0)
		return ch_fail(err, CH_INVALID, "proof: its subject is '%.80s', not '" PROOF_SUBJECT "'",
			       csr.subject);
	return ch_public_key_fingerprint(ch_view_of(&csr.public_key_info), b->fingerprint, err);
}

static bool read_ask(struct blocking *b, struct ch_error *err)
{
	const Chancery__BlockKeyRequest *payload = b->payload;

	b->proven = payload->proof.len > 0;
	if (!request_tenant(b->request, &b->tenant, err) ||
	    !require_role(payload->requester, b->proven ? "requester" : "officer", err))
		return false;
	if (b->proven == (payload->key.len > 0))
		return ch_fail(err, CH_INVALID, "the message has not one of key and proof");
	if (strlen(payload->comment) > COMMENT_CAP)
		return ch_fail(err, CH_INVALID, "comment of %zu octets, at most %d", strlen(payload->comment),
			       COMMENT_CAP);
	if (!ch_text_check("comment", ch_view_text(payload->comment), err))
		return false;
	b->order = (struct stop_order){ .tenant = b->tenant,
					.actor = payload->requester->client,
					.message_id = b->request->message_id,
					.trace_id = b->request->body->trace_id,
					.reason = "keyCompromise" };
	return b->proven ? read_proof(b, err) : read_key(b, err);
}

/* A CA's end is for the quorum: one officer may stop it, which the quorum undoes; a block nobody undoes. Its
 * key's proof of possession is another thing: then it is out. */
static bool check_no_cas_key(const struct blocking *b, struct ch_error *err)
{
	struct ca_set *set = NULL;
	bool free_of_cas = true;

	if (!catalog_get(b->issuer, b->tenant, NULL, &set, err))
		return false;
	for (size_t i = 0; i < set->count && free_of_cas; i++) {
		const struct ch_ca *ca = &set->items[i];
		uint8_t fingerprint[CH_FINGERPRINT_SIZE];

		free_of_cas =
			strcmp(ca->state, "revoked") == 0 ||
			!ch_public_key_fingerprint(ch_view_of(&ca->public_key_info), fingerprint, NULL) ||
			memcmp(fingerprint, b->fingerprint, sizeof(fingerprint)) != 0 ||
			ch_fail(err, CH_CONFLICT,
				"it is the key of CA '%s': stop that with 'ca suspend', and have the quorum "
				"revoke it ('ca revoke')",
				ca->document.name);
	}
	catalog_release(b->issuer, set);
	return free_of_cas;
}

/* --- blocked --- */

static bool block(struct blocking *b, const char *fingerprint, bool *added, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct event event = { .type = "key.blocked",
			       .outcome = "success",
			       .tenant = b->tenant,
			       .actor = b->payload->requester->client,
			       .subject = fingerprint,
			       .message_id = b->request->message_id,
			       .trace_id = b->request->body->trace_id,
			       .details = { { "source", b->proven ? "holder" : "officer" },
					    { "comment", b->payload->comment },
					    { "address", b->payload->requester->address } } };

	if (!ch_db_begin(b->issuer->db, b->tenant, &transaction, err) ||
	    !store_block_key(transaction, ch_view(b->fingerprint, sizeof(b->fingerprint)),
			     b->proven ? "" : b->tenant, b->proven ? "holder" : "officer", added, err))
		return false;
	return (!*added || (event_seal(b->issuer, &event, &sealed, err) &&
			    store_event(transaction, ch_view_of(&sealed), err))) &&
	       ch_db_commit(&transaction, err);
}

/* --- what is out for it --- */

void key_sweep_free(struct key_sweep *sweep)
{
	for (size_t i = 0; i < sweep->stopped_count; i++)
		free(sweep->stopped[i]);
	free(sweep->stopped);
	*sweep = (struct key_sweep)CH_NONE;
}

/* A CA's revocation takes officers; until then it issues nothing. */
static bool end_one(struct issuer *issuer, const struct stop_order *order, const struct ca_set *set,
		    const struct key_certificate *found, struct key_sweep *sweep, struct ch_error *err)
{
	const struct ch_ca *ca = catalog_by_id(set, found->is_ca ? found->of_ca_id : found->ca_id);

	if (!ca)
		return ch_fail(err, CH_INTERNAL, "CA number %lld is not in the database",
			       (long long)found->ca_id);
	if (found->is_ca) {
		struct stop_order stop = *order;

		stop.reason = "its key is known to be compromised";
		if (!stop_ca(issuer, &stop, ca, err))
			return false;
		sweep->stopped =
			ch_realloc(sweep->stopped, (sweep->stopped_count + 1) * sizeof(*sweep->stopped));
		sweep->stopped[sweep->stopped_count++] = ch_strdup(ca->document.name);
		return true;
	}
	if (!revoke_for_key(issuer, order, ca, found->expiry_period, ch_view_of(&found->serial), err))
		return false;
	sweep->revoked++;
	return true;
}

static bool end_all(struct issuer *issuer, const struct stop_order *order, struct key_certificate *found,
		    size_t count, struct key_sweep *sweep, struct ch_error *err)
{
	struct ca_set *set = NULL;
	bool done = catalog_get(issuer, order->tenant, NULL, &set, err);

	for (size_t i = 0; i < count && done; i++)
		done = end_one(issuer, order, set, &found[i], sweep, err);
	if (set)
		catalog_release(issuer, set);
	for (size_t i = 0; i < count; i++)
		ch_bytes_free(&found[i].serial);
	return done;
}

static bool find_certificates(struct issuer *issuer, const char *tenant, struct ch_view fingerprint,
			      struct key_certificate *found, size_t *count, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(issuer->db, tenant, &transaction, err) &&
	       store_certificates_of_key(transaction, tenant, fingerprint, found, count, err) &&
	       ch_db_commit(&transaction, err);
}

bool sweep_keys(struct issuer *issuer, const struct stop_order *order, struct ch_view fingerprint,
		struct key_sweep *sweep, struct ch_error *err)
{
	struct key_certificate *found = ch_alloc(KEY_CERTIFICATES_CAP * sizeof(*found));
	size_t count = KEY_CERTIFICATES_CAP;
	bool done = true;

	/* What was ended is not found again. */
	while (done && count == KEY_CERTIFICATES_CAP) {
		count = 0;
		done = find_certificates(issuer, order->tenant, fingerprint, found, &count, err) &&
		       (count == 0 || end_all(issuer, order, found, count, sweep, err));
	}
	free(found);
	return done;
}

/* A proof counts in every tenant; what it ended in others is not told. */
static bool sweep_tenants(struct blocking *b, struct key_sweep *sweep, struct ch_error *err)
{
	struct ch_view fingerprint = ch_view(b->fingerprint, sizeof(b->fingerprint));
	char **tenants = NULL;
	size_t count = 0;
	bool done;

	if (!b->proven)
		return sweep_keys(b->issuer, &b->order, fingerprint, sweep, err);
	done = store_tenants(b->issuer->db, &tenants, &count, err);
	for (size_t i = 0; i < count; i++) {
		CH_AUTO(key_sweep) theirs = CH_NONE;
		bool own = strcmp(tenants[i], b->tenant) == 0;
		struct stop_order order = b->order;

		order.tenant = tenants[i];
		if (!own)
			order.actor = "issuer";
		done = done && sweep_keys(b->issuer, &order, fingerprint, own ? sweep : &theirs, err);
		free(tenants[i]);
	}
	free(tenants);
	return done;
}

bool may_still_be_signed(struct issuer *issuer, const char *tenant, const struct ca_set *set,
			 const struct certificate_row *row, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	const struct ch_ca *ca = catalog_by_id(set, row->ca_id);
	bool blocked;

	if (!ca)
		return ch_fail(err, CH_INTERNAL, "its CA is not in the database");
	if (!catalog_issues(issuer, set, ca, err) || !ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_key_is_blocked(transaction, ch_view_of(&row->public_key_sha256), tenant, &blocked, err))
		return false;
	return !blocked || ch_fail(err, CH_CONFLICT, "its public key is known to be compromised");
}

bool check_key_is_good(struct issuer *issuer, const char *tenant, const struct ch_ca *ca,
		       struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	uint8_t fingerprint[CH_FINGERPRINT_SIZE];
	bool blocked;

	if (!ch_public_key_fingerprint(ch_view_of(&ca->public_key_info), fingerprint, err) ||
	    !ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_key_is_blocked(transaction, ch_view(fingerprint, sizeof(fingerprint)), tenant, &blocked,
				  err))
		return false;
	return !blocked ||
	       ch_fail(err, CH_CONFLICT, "key '%s' is known to be compromised: it is never certified again",
		       ca->key_id);
}

bool issuer_block_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		      struct ch_error *err)
{
	struct blocking b = {
		.issuer = state,
		.request = request,
		.payload = (const Chancery__BlockKeyRequest *)request->payload,
	};
	Chancery__BlockKeyReply *message;
	CH_AUTO(key_sweep) sweep = CH_NONE;
	CH_AUTO(ch_string) fingerprint = NULL;
	bool added = false;

	/* 1. Which key, and may he who asks say so of it? */
	if (!read_ask(&b, err))
		return false;
	if (!b.proven && !check_no_cas_key(&b, err))
		return false;
	fingerprint = ch_hex(ch_view(b.fingerprint, sizeof(b.fingerprint)));

	/* 2. From this commit on nothing new is issued for it. */
	if (!block(&b, fingerprint, &added, err))
		return false;
	if (added)
		count(b.issuer, "keys_blocked", "Public keys found to be compromised.", "source=\"%s\"",
		      b.proven ? "holder" : "officer");

	/* 3. What is out is revoked; what was on its way is found by upkeep. */
	if (!sweep_tenants(&b, &sweep, err))
		return ch_fail_in(err, "the key is blocked, but not all of its certificates are revoked yet");
	message = CH_PROTO_NEW(Chancery__BlockKeyReply, chancery__block_key_reply__init);
	message->public_key_sha256 = CH_STEAL(fingerprint);
	message->known = !added;
	message->certificates_revoked = sweep.revoked;
	message->cas_stopped = CH_STEAL(sweep.stopped);
	message->n_cas_stopped = sweep.stopped_count;
	sweep.stopped_count = 0;
	*reply = &message->base;
	return true;
}
