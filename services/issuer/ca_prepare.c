/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_prepare.c: the first half of making a CA: reads the document, has the vault make the key, stores the
 * TBSCertificate, and proposes to the vault's officers first the key, then the certificate. Repeated, it
 * goes on where approvals let it; ca_activate.c does the rest. Called from the bus dispatch table.
 */
#include "stopping.h"

#include "issuance/ca_making.h"

#include <string.h>

struct preparing {
	struct issuer *issuer;
	const struct ch_bus_request *request;
	const Chancery__PrepareCaRequest *payload;
	const char *tenant;
	uint8_t document_sha256[64];
	struct ca_set *set;
	const struct ch_ca *parent; /* NULL: a root */
	struct ch_ca ca;
	Chancery__Action *action; /* what officers approve next */
};

static void preparing_free(struct preparing *preparing)
{
	ch_ca_free(&preparing->ca);
	if (preparing->action)
		chancery__action__free_unpacked(preparing->action, NULL);
	if (preparing->set)
		catalog_release(preparing->issuer, preparing->set);
}
CH_DEFINE_AUTO_VALUE(preparing, struct preparing, preparing_free)

/* Takes the action. */
static ProtobufCMessage *prepare_reply(struct preparing *p, const struct ch_ca *ca,
				       const struct ch_ca *parent)
{
	Chancery__PrepareCaReply *reply =
		CH_PROTO_NEW(Chancery__PrepareCaReply, chancery__prepare_ca_reply__init);
	struct ch_bytes tbs = ch_bytes_copy(ch_view_of(&ca->tbs_certificate));

	reply->name = ch_strdup(ca->document.name);
	if (ca->key_id) {
		reply->key_id = ch_strdup(ca->key_id);
		reply->signing_key_id = ch_strdup(parent ? parent->key_id : ca->key_id);
	}
	reply->action = CH_STEAL(p->action);
	reply->tbs_certificate = (ProtobufCBinaryData){ .len = tbs.size, .data = tbs.data };
	reply->already_active = ca->state && strcmp(ca->state, "pending") != 0;
	return &reply->base;
}

/* Was this very document prepared before? *known: the CA as stored. CH_CONFLICT: the name is another active
 * CA's. */
static bool find_known(struct preparing *p, const struct ch_ca **known, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	const struct ch_ca *named = catalog_find(p->set, p->ca.document.name);
	bool same = false;

	*known = NULL;
	if (!named)
		return true;
	if (!ch_db_begin(p->issuer->db, p->tenant, &transaction, err) ||
	    !store_same_ca(transaction, p->tenant, p->ca.document.name, ch_view(p->document_sha256, 32),
			   &same, err))
		return false;
	if (same)
		*known = named;
	else if (strcmp(named->state, "pending") != 0)
		return ch_fail(err, CH_CONFLICT, "CA '%s' exists already, with another document",
			       p->ca.document.name);
	return true;
}

static bool find_parent(struct preparing *p, struct ch_error *err)
{
	const char *name = p->ca.document.parent;

	p->parent = name ? catalog_find(p->set, name) : NULL;
	if (name && (!p->parent || strcmp(p->parent->state, "pending") == 0))
		return ch_fail(err, CH_NOT_FOUND, "parent '%.80s': no such active CA", name);
	return !name || catalog_issues(p->issuer, p->set, p->parent, err) || ch_fail_in(err, "parent");
}

/* Who stamps for those who name no policy is stated, by one CA alone: refused before officers are asked. */
static bool check_default(struct preparing *p, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_string) other = NULL;
	bool found;

	if (!p->ca.document.timestamp_authority.is_default)
		return true;
	if (!ch_db_begin(p->issuer->db, p->tenant, &transaction, err) ||
	    !store_timestamp_default(transaction, p->tenant, p->ca.document.name, &found, &other, err))
		return false;
	return !found ||
	       ch_fail(err, CH_CONFLICT,
		       "timestamp_authority.default: CA '%s' is the default already; retire or revoke it "
		       "first, or name the new one as `ca` in each tsa's configuration",
		       other[0] ? other : "of another tenant");
}

/* --- what officers approve --- */

static bool propose(struct preparing *p, struct ch_action_ask *ask, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = p->tenant,
					    .trace_id = p->request->body->trace_id,
					    .timeout_us = time_left(p->issuer, p->request, 5 * CH_SECOND) };

	ask->proposed_by = p->payload->requester->client;
	ask->proposed_from = p->payload->requester->address;
	return ch_vault_propose_action(p->issuer->vault, &context, ask, &p->action, err);
}

static bool propose_key(struct preparing *p, struct ch_error *err)
{
	struct ch_action_field fields[CH_CA_KEY_FIELDS];
	struct ch_action_ask ask = { .kind = CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY,
				     .fields = fields,
				     .count = CH_COUNT(fields) };

	ch_ca_key_fields(&p->ca, fields);
	return propose(p, &ask, err);
}

/* With the very octets: officers see what they sign. */
static bool propose_certificate(struct preparing *p, const struct ch_ca *ca, const struct ch_ca *parent,
				struct ch_error *err)
{
	struct ch_ca_certificate_fields named;
	struct ch_action_ask ask = { .kind = CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE,
				     .fields = named.fields,
				     .count = CH_COUNT(named.fields),
				     .content = ch_view_of(&ca->tbs_certificate) };

	return ch_ca_certificate_fields(ca, parent, &named, err) && propose(p, &ask, err);
}

static bool is_approved(const struct preparing *p)
{
	return strcmp(p->action->state, "approved") == 0;
}

/* --- key, TBSCertificate, row --- */

/* The same tenant, name and document give the same message id, and so the vault gives the same key. */
static bool make_key(struct preparing *p, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = p->tenant,
					    .trace_id = p->request->body->trace_id,
					    .timeout_us = time_left(p->issuer, p->request, CH_MINUTE) };
	Chancery__GenerateKeyRequest request;
	CH_AUTO(ch_buffer) seed = CH_NONE;
	Chancery__Key *key = NULL;
	uint8_t digest[64];
	size_t size;
	bool taken;

	ch_ca_key_request(&p->ca, p->action->action_id, &request);
	ch_buffer_printf(&seed, "chancery/ca-key/v1\n%s\n%s\n", p->tenant, p->ca.document.name);
	ch_buffer_add(&seed, p->document_sha256, 32);
	if (!ch_digest("sha256", ch_buffer_view(&seed), digest, &size, err) ||
	    !ch_vault_generate_key(p->issuer->vault, &context, &request, digest, &key, err))
		return ch_fail_in(err, "key of CA '%s'", p->ca.document.name);
	taken = ch_ca_take_key(&p->ca, key, err);
	chancery__key__free_unpacked(key, NULL);
	return taken;
}

static bool write_certificate(struct preparing *p, struct ch_error *err)
{
	uint8_t serial[CH_SERIAL_SIZE];

	ch_ca_new_serial(&p->ca, p->parent, serial);
	return ch_ca_write_certificate(&p->ca, p->parent, ch_view(serial, sizeof(serial)), err);
}

static bool store_prepared(struct preparing *p, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	CH_AUTO(ch_string) digest = ch_hex(ch_view(p->document_sha256, 32));
	struct event event = {
		.type = "ca.prepared",
		.outcome = "success",
		.tenant = p->tenant,
		.actor = p->payload->requester->client,
		.subject = p->ca.document.name,
		.message_id = p->request->message_id,
		.trace_id = p->request->body->trace_id,
		.details = { { "key", p->ca.key_id },
			     { "subject", p->ca.subject },
			     { "document_sha256", digest } },
	};
	bool saved;

	if (!event_seal(p->issuer, &event, &sealed, err) ||
	    !ch_db_begin(p->issuer->db, p->tenant, &transaction, err) ||
	    !store_prepare_ca(transaction, p->tenant, &p->ca, p->payload->document,
			      ch_view(p->document_sha256, 32), ch_view_of(&sealed), &saved, err))
		return false;
	if (!saved)
		return ch_fail(err, CH_CONFLICT, "CA '%s' became active meanwhile", p->ca.document.name);
	return ch_db_commit(&transaction, err);
}

static bool answer_prepared(struct preparing *p, const struct ch_ca *ca, const struct ch_ca *parent,
			    ProtobufCMessage **reply, struct ch_error *err)
{
	if (p->action)
		chancery__action__free_unpacked(p->action, NULL);
	p->action = NULL;
	if (strcmp(ca->state, "pending") == 0 && !propose_certificate(p, ca, parent, err))
		return ch_fail_in(err, "CA '%s'", ca->document.name);
	*reply = prepare_reply(p, ca, parent);
	return true;
}

bool issuer_prepare_ca(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	CH_AUTO(preparing) p = {
		.issuer = state,
		.request = request,
		.payload = (const Chancery__PrepareCaRequest *)request->payload,
	};
	struct ch_view document = ch_view_text(p.payload->document);
	const struct ch_ca *known;
	size_t size;

	/* 1. An officer, and a document that reads. */
	if (!request_tenant(request, &p.tenant, err) || !require_role(p.payload->requester, "officer", err) ||
	    !ch_ca_document_read(document, &p.ca.document, err) ||
	    !ch_digest("sha256", document, p.document_sha256, &size, err) ||
	    !catalog_get(p.issuer, p.tenant, NULL, &p.set, err))
		return false;

	/* 2. Prepared before: the same answer, with the action that is open now. */
	if (!find_known(&p, &known, err))
		return false;
	if (known)
		return answer_prepared(&p, known,
				       known->parent_id ? catalog_by_id(p.set, known->parent_id) : NULL,
				       reply, err);

	/* 3. A key is made when officers have approved it. */
	if (!find_parent(&p, err) || !check_default(&p, err) ||
	    !ch_ca_plan(&p.ca, p.parent, ch_clock_now_us(p.issuer->clock), err) || !propose_key(&p, err))
		return ch_fail_in(err, "CA '%s'", p.ca.document.name);
	if (!is_approved(&p)) {
		*reply = prepare_reply(&p, &p.ca, p.parent);
		return true;
	}

	/* 4. Key, TBSCertificate, row, and what is to be approved of them. */
	if (!make_key(&p, err) || !check_key_is_good(p.issuer, p.tenant, &p.ca, err) ||
	    !write_certificate(&p, err) || !store_prepared(&p, err))
		return ch_fail_in(err, "CA '%s'", p.ca.document.name);
	return answer_prepared(&p, &p.ca, p.parent, reply, err);
}
