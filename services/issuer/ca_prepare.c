/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_prepare.c: the first half of making a CA: reads the document, has the vault make the key, stores the
 * TBSCertificate, and proposes to the vault's officers first the key, then the certificate. Repeated, it
 * goes on where approvals let it; ca_activate.c does the rest. Called from the bus dispatch table.
 */
#include "issuer.h"

#include <string.h>

/* nextUpdate - thisUpdate that the vault allows this CA's CRLs, beyond the document's: for clocks that
 * differ. */
#define CRL_TOLERANCE_SECONDS 600

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

static bool check_parent(struct preparing *p, struct ch_error *err)
{
	const struct ch_ca_document *document = &p->ca.document;
	char end[CH_TIME_TEXT_SIZE];

	if (!document->parent)
		return true;
	p->parent = catalog_find(p->set, document->parent);
	if (!p->parent || strcmp(p->parent->state, "active") != 0)
		return ch_fail(err, CH_NOT_FOUND, "parent '%.80s': no such active CA", document->parent);
	if (p->parent->document.path_length == 0)
		return ch_fail(err, CH_INVALID, "parent '%s' has path_length 0: no CA may stand below it",
			       document->parent);
	if (p->parent->document.path_length > 0 &&
	    (document->path_length < 0 || document->path_length >= p->parent->document.path_length))
		return ch_fail(err, CH_INVALID, "path_length %lld is not below the parent's %lld",
			       (long long)document->path_length, (long long)p->parent->document.path_length);
	if (p->ca.not_after_us > p->parent->not_after_us)
		return ch_fail(err, CH_INVALID, "validity goes beyond the parent's end %s",
			       ch_time_text(p->parent->not_after_us, end));
	return true;
}

static bool fill_in(struct preparing *p, struct ch_error *err)
{
	struct ch_ca *ca = &p->ca;
	int64_t now = ch_clock_now_us(p->issuer->clock);

	if (!ch_name_parse(ca->document.subject, &ca->subject_der, err))
		return false;
	ca->subject = ch_name_text(ch_view_of(&ca->subject_der));
	ca->algorithm = ch_algorithm_find(ca->document.key);
	ca->state = ch_strdup("pending");
	ca->not_before_us = now - now % CH_SECOND;
	ca->not_after_us = ca->not_before_us + ca->document.validity_us - CH_SECOND;
	ca->not_after_us -= ca->not_after_us % CH_SECOND;
	ch_random(ca->serial_tag_key, sizeof(ca->serial_tag_key));
	if (!check_parent(p, err))
		return false;
	ca->parent_id = p->parent ? p->parent->id : 0;
	return true;
}

/* --- what officers approve --- */

static bool propose(struct preparing *p, Chancery__ActionKind kind, const struct ch_action_field *fields,
		    size_t count, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = p->tenant,
					    .trace_id = p->request->body->trace_id,
					    .timeout_us = time_left(p->issuer, p->request, 5 * CH_SECOND) };

	return ch_vault_propose_action(p->issuer->vault, &context, kind, fields, count,
				       p->payload->requester->client, &p->action, err);
}

/* As the vault reads them from the request to make the key (generate_key below). */
static bool propose_key(struct preparing *p, struct ch_error *err)
{
	const struct ch_action_field fields[] = {
		{ (char *)(uintptr_t) "label", p->ca.document.name },
		{ (char *)(uintptr_t) "algorithm", p->ca.document.key },
		{ (char *)(uintptr_t) "purposes",
		  (char *)(uintptr_t) "end-entity-certificate,ca-certificate,crl" },
		{ (char *)(uintptr_t) "subject", p->ca.subject },
	};

	return propose(p, CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY, fields, CH_COUNT(fields), err);
}

static bool propose_certificate(struct preparing *p, const struct ch_ca *ca, const struct ch_ca *parent,
				struct ch_error *err)
{
	CH_AUTO(ch_string) digest_text = NULL;
	char not_after[CH_TIME_TEXT_SIZE];
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", ch_view_of(&ca->tbs_certificate), digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	const struct ch_action_field fields[] = {
		{ (char *)(uintptr_t) "key", parent ? parent->key_id : ca->key_id },
		{ (char *)(uintptr_t) "tbs-sha256", digest_text },
		{ (char *)(uintptr_t) "subject", ca->subject },
		{ (char *)(uintptr_t) "not-after",
		  (char *)(uintptr_t)ch_time_text(ca->not_after_us, not_after) },
	};

	return propose(p, CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, fields, CH_COUNT(fields), err);
}

static bool is_approved(const struct preparing *p)
{
	return strcmp(p->action->state, "approved") == 0;
}

/* --- key, TBSCertificate, row --- */

/* The same tenant, name and document give the same message id, and so the vault gives the same key. */
static bool make_key(struct preparing *p, struct ch_error *err)
{
	Chancery__Purpose purposes[] = { CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE,
					 CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE,
					 CHANCERY__PURPOSE__PURPOSE_CRL };
	Chancery__GenerateKeyRequest request = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	struct ch_vault_context context = { .tenant = p->tenant,
					    .trace_id = p->request->body->trace_id,
					    .timeout_us = time_left(p->issuer, p->request, CH_MINUTE) };
	CH_AUTO(ch_buffer) seed = CH_NONE;
	Chancery__Key *key = NULL;
	uint8_t digest[64];
	size_t size;

	ch_buffer_printf(&seed, "chancery/ca-key/v1\n%s\n%s\n", p->tenant, p->ca.document.name);
	ch_buffer_add(&seed, p->document_sha256, 32);
	request.algorithm = p->ca.document.key;
	request.purposes = purposes;
	request.n_purposes = CH_COUNT(purposes);
	request.subject_der =
		(ProtobufCBinaryData){ .len = p->ca.subject_der.size, .data = p->ca.subject_der.data };
	request.label = p->ca.document.name;
	request.action_id = p->action->action_id;
	request.max_validity_seconds = p->ca.document.crl.validity_us / CH_SECOND + CRL_TOLERANCE_SECONDS;
	if (!ch_digest("sha256", ch_buffer_view(&seed), digest, &size, err) ||
	    !ch_vault_generate_key(p->issuer->vault, &context, &request, digest, &key, err))
		return ch_fail_in(err, "key of CA '%s'", p->ca.document.name);
	p->ca.key_id = ch_strdup(key->key_id);
	p->ca.public_key_info = ch_bytes_copy(ch_view(key->public_key_info.data, key->public_key_info.len));
	chancery__key__free_unpacked(key, NULL);
	if (!ch_key_identifier(ch_view_of(&p->ca.public_key_info), "sha1", digest, &size, err))
		return false;
	p->ca.key_identifier = ch_bytes_copy(ch_view(digest, size));
	return true;
}

static bool build(struct preparing *p, struct ch_error *err)
{
	const struct ch_ca *issuing = p->parent ? p->parent : &p->ca;
	struct ch_template_signer signer = ch_template_signer_of(issuing);
	struct ch_lint_context context = { .signer = &signer, .ca = true };
	struct ch_order order = {
		.subject_der = ch_view_of(&p->ca.subject_der),
		.public_key_info = ch_view_of(&p->ca.public_key_info),
		.key_algorithm = p->ca.algorithm,
		.not_before_us = p->ca.not_before_us,
		.not_after_us = p->ca.not_after_us,
	};
	struct ch_lint_token lint;
	uint8_t serial[CH_SERIAL_SIZE];

	if (!p->parent)
		signer.urls = NULL;
	ch_serial_make(ch_view(issuing->serial_tag_key, sizeof(issuing->serial_tag_key)), p->ca.not_after_us,
		       serial);
	return ch_template_ca(&p->ca.document, &signer, &order, ch_view(serial, sizeof(serial)),
			      &p->ca.tbs_certificate, err) &&
	       ch_lint_tbs(ch_view_of(&p->ca.tbs_certificate), &context, &lint, err);
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
	if (!fill_in(&p, err) || !propose_key(&p, err))
		return ch_fail_in(err, "CA '%s'", p.ca.document.name);
	if (!is_approved(&p)) {
		*reply = prepare_reply(&p, &p.ca, p.parent);
		return true;
	}

	/* 4. Key, TBSCertificate, row, and what is to be approved of them. */
	if (!make_key(&p, err) || !build(&p, err) || !store_prepared(&p, err))
		return ch_fail_in(err, "CA '%s'", p.ca.document.name);
	return answer_prepared(&p, &p.ca, p.parent, reply, err);
}
