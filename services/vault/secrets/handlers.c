/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handlers.c: Seal, Open, Reseal, RotateDataKey and Random from the bus. Each item of a message has its own
 * result. Rows of the dispatch table (peers.c).
 */
#include "secrets.h"
#include "vault.h"

#include "log/log.h"
#include "private_reply/private_reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One message on its way. */
struct job {
	struct vault *vault;
	const struct ch_bus_request *request;
	const char *what; /* "seal", "open", "reseal" */
	int64_t deadline_us;
	struct ch_secret reply_secret; /* of Open: what its plaintexts are encrypted with; empty: nothing */
};

static struct job job_of(struct vault *vault, const struct ch_bus_request *request, const char *what)
{
	return (struct job){ .vault = vault,
			     .request = request,
			     .what = what,
			     .deadline_us = vault_deadline_us(vault, request) };
}

static bool check_count(const struct job *job, size_t count, struct ch_error *err)
{
	if (count < 1 || count > VAULT_ITEMS_CAP)
		return ch_fail(err, CH_INVALID, "%zu items to %s, 1 to %d allowed", count, job->what,
			       VAULT_ITEMS_CAP);
	return job->request->body->tenant[0] ||
	       ch_fail(err, CH_INVALID, "the message names no tenant: a secret belongs to one");
}

/* --- one secret --- */

/* What a callback of data_key_use works on. */
struct work {
	struct secret_context context;
	uint32_t version;
	struct ch_view in;
	struct ch_bytes *out;        /* sealed */
	struct ch_secret *plaintext; /* opened */
};

static bool seal_with(void *state, struct ch_view key, struct ch_error *err)
{
	struct work *work = state;

	return secret_box_seal(key, work->version, &work->context, work->in, work->out, err);
}

static bool open_with(void *state, struct ch_view key, struct ch_error *err)
{
	struct work *work = state;

	return secret_box_open(key, &work->context, work->in, work->plaintext, err);
}

static struct secret_context context_of(const struct job *job, const char *context)
{
	return (struct secret_context){ job->request->body->tenant, job->request->sender->service, context };
}

static bool seal(const struct job *job, const char *context, struct ch_view plaintext,
		 struct ch_bytes *sealed, struct ch_error *err)
{
	struct vault_secrets *secrets = job->vault->secrets;
	const char *tenant = job->request->body->tenant;
	struct work work = { .context = context_of(job, context), .in = plaintext, .out = sealed };
	struct ch_error ignored;
	uint32_t next;

	if (!data_key_newest(secrets, tenant, job->deadline_us, &work.version, err) ||
	    !data_key_use(secrets, tenant, work.version, job->deadline_us, seal_with, &work, err))
		return false;
	if (data_key_is_worn(secrets, tenant, work.version) &&
	    !data_key_rotate(secrets, tenant, job->deadline_us, &next, &ignored))
		ch_log_warn("data key %u of tenant '%s' is worn and could not be followed by a new one: %s",
			    work.version, tenant, ignored.message);
	return true;
}

static bool open_sealed(const struct job *job, const Chancery__OpenItem *item, struct ch_secret *plaintext,
			uint32_t *version, struct ch_error *err)
{
	struct work work = { .context = context_of(job, item->context),
			     .in = ch_view(item->sealed.data, item->sealed.len),
			     .plaintext = plaintext };

	return secret_box_version(work.in, version, err) &&
	       data_key_use(job->vault->secrets, job->request->body->tenant, *version, job->deadline_us,
			    open_with, &work, err);
}

/* --- results --- */

static void count(const struct job *job, const char *outcome)
{
	CH_AUTO(ch_string) labels = ch_format("operation=\"%s\",service=\"%s\",outcome=\"%s\"", job->what,
					      job->request->sender->service, outcome);

	ch_metric_add(
		ch_metrics_counter(job->vault->metrics, "chancery_vault_secrets_total",
				   "Secrets asked to be sealed, opened or resealed, by what became of them",
				   labels),
		1);
}

/* A secret that does not open is somebody's mistake or an attack: told like any other refusal. */
static void note_refused(const struct job *job, const char *context, const struct ch_error *why)
{
	struct vault_check check = { .reason = why->code == CH_DENIED ? "secret" : NULL };
	const struct vault_event event = { .request = job->request, .key_id = context, .check = &check };

	if (why->code == CH_UNAVAILABLE || why->code == CH_INTERNAL)
		ch_log(CH_LOG_ERROR, &job->request->scope, "cannot %s '%.80s' for %s: %s", job->what, context,
		       job->request->sender->instance, why->message);
	else
		vault_note_refused(job->vault, &event, why);
}

static void answer(const struct job *job, const char *context, bool done, struct ch_bytes *data,
		   const struct ch_error *why, Chancery__SecretResult *result)
{
	count(job, done ? "done" : ch_code_name(why->code));
	if (done) {
		result->data = (ProtobufCBinaryData){ .len = data->size, .data = data->data };
		*data = (struct ch_bytes)CH_NONE;
		return;
	}
	note_refused(job, context, why);
	result->code = why->code;
	result->message = ch_strdup(why->message);
}

static Chancery__SecretReply *new_reply(size_t count)
{
	Chancery__SecretReply *reply = CH_PROTO_NEW(Chancery__SecretReply, chancery__secret_reply__init);

	reply->n_results = count;
	reply->results = ch_alloc_pointers(count);
	for (size_t i = 0; i < count; i++)
		reply->results[i] = CH_PROTO_NEW(Chancery__SecretResult, chancery__secret_result__init);
	return reply;
}

/* --- the handlers --- */

bool vault_handle_seal(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	const Chancery__SealRequest *ask = (const Chancery__SealRequest *)request->payload;
	struct job job = job_of(state, request, "seal");
	Chancery__SecretReply *made;

	if (!check_count(&job, ask->n_items, err))
		return false;
	made = new_reply(ask->n_items);
	for (size_t i = 0; i < ask->n_items; i++) {
		const Chancery__SealItem *item = ask->items[i];
		struct ch_bytes sealed = CH_NONE;
		struct ch_error why = CH_NONE;
		bool done = seal(&job, item->context, ch_view(item->plaintext.data, item->plaintext.len),
				 &sealed, &why);

		answer(&job, item->context, done, &sealed, &why, made->results[i]);
	}
	*reply = &made->base;
	return true;
}

static bool is_outdated(const struct job *job, uint32_t version)
{
	struct ch_error ignored;
	uint32_t newest;

	return data_key_newest(job->vault->secrets, job->request->body->tenant, job->deadline_us, &newest,
			       &ignored) &&
	       version < newest;
}

/* The key that the plaintexts of this reply are encrypted with. False: the asker's public key is none. */
static bool begin_private(const Chancery__OpenRequest *ask, Chancery__SecretReply *made,
			  struct ch_secret *secret, struct ch_error *err)
{
	CH_AUTO(ch_reply_key) own = CH_NONE;
	struct ch_bytes public_key;

	if (!ch_reply_key_new(&own, err))
		return false;
	public_key = ch_bytes_copy(ch_view(own.public_key, sizeof(own.public_key)));
	made->reply_key = (ProtobufCBinaryData){ .len = public_key.size, .data = public_key.data };
	return ch_reply_secret(&own, ch_view(ask->reply_key.data, ask->reply_key.len),
			       ch_view_of(&public_key), secret, err);
}

/* Opens the item, and encrypts it to the asker. The plaintext is in locked memory, and wiped at the end. A
 * caller of an older version has no key for replies: it gets the plaintext as it is. */
static bool open_item(const struct job *job, const Chancery__OpenItem *item, uint32_t number,
		      struct ch_bytes *data, uint32_t *version, struct ch_error *err)
{
	CH_AUTO(ch_secret) plaintext = CH_NONE;

	if (!open_sealed(job, item, &plaintext, version, err))
		return false;
	if (job->reply_secret.size)
		return ch_reply_seal(&job->reply_secret, number, ch_view(plaintext.data, plaintext.size),
				     data, err);
	*data = ch_bytes_copy(ch_view(plaintext.data, plaintext.size));
	return true;
}

bool vault_handle_open(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		       struct ch_error *err)
{
	const Chancery__OpenRequest *ask = (const Chancery__OpenRequest *)request->payload;
	struct job job = job_of(state, request, "open");
	Chancery__SecretReply *made;

	if (!check_count(&job, ask->n_items, err))
		return false;
	made = new_reply(ask->n_items);
	if (ask->reply_key.len && !begin_private(ask, made, &job.reply_secret, err)) {
		chancery__secret_reply__free_unpacked(made, NULL);
		return false;
	}
	for (uint32_t i = 0; i < ask->n_items; i++) {
		struct ch_bytes data = CH_NONE;
		struct ch_error why = CH_NONE;
		uint32_t version = 0;
		bool done = open_item(&job, ask->items[i], i, &data, &version, &why);

		made->results[i]->outdated = done && is_outdated(&job, version);
		answer(&job, ask->items[i]->context, done, &data, &why, made->results[i]);
	}
	ch_secret_free(&job.reply_secret);
	*reply = &made->base;
	return true;
}

/* The plaintext is here for a moment and goes nowhere. */
static bool reseal(const struct job *job, const Chancery__OpenItem *item, struct ch_bytes *sealed,
		   struct ch_error *err)
{
	CH_AUTO(ch_secret) plaintext = CH_NONE;
	uint32_t version;

	return open_sealed(job, item, &plaintext, &version, err) &&
	       seal(job, item->context, ch_view(plaintext.data, plaintext.size), sealed, err);
}

bool vault_handle_reseal(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	const Chancery__ResealRequest *ask = (const Chancery__ResealRequest *)request->payload;
	struct job job = job_of(state, request, "reseal");
	Chancery__SecretReply *made;

	if (!check_count(&job, ask->n_items, err))
		return false;
	made = new_reply(ask->n_items);
	for (size_t i = 0; i < ask->n_items; i++) {
		struct ch_bytes sealed = CH_NONE;
		struct ch_error why = CH_NONE;
		bool done = reseal(&job, ask->items[i], &sealed, &why);

		answer(&job, ask->items[i]->context, done, &sealed, &why, made->results[i]);
	}
	*reply = &made->base;
	return true;
}

static bool record_rotated(struct vault *vault, const struct ch_bus_request *request, uint32_t version,
			   struct ch_error *err)
{
	char text[16];
	const struct ch_audit_detail details[] = { { "version", text } };
	const struct ch_audit_event event = { .type = "data-key.rotated",
					      .outcome = "success",
					      .tenant = request->body->tenant,
					      .actor = request->sender->instance,
					      .subject = request->body->tenant,
					      .message_id = request->message_id,
					      .trace_id = request->body->trace_id,
					      .details = details,
					      .detail_count = CH_COUNT(details) };

	snprintf(text, sizeof(text), "%u", version);
	return ch_audit_record(vault->audit, &event, err);
}

bool vault_handle_rotate_data_key(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
				  struct ch_error *err)
{
	Chancery__RotateDataKeyReply *made;
	struct vault *vault = state;
	uint32_t version;

	if (!request->body->tenant[0])
		return ch_fail(err, CH_INVALID, "the message names no tenant: a data key belongs to one");
	if (!data_key_rotate(vault->secrets, request->body->tenant, vault_deadline_us(vault, request),
			     &version, err) ||
	    !record_rotated(vault, request, version, err))
		return false;
	made = CH_PROTO_NEW(Chancery__RotateDataKeyReply, chancery__rotate_data_key_reply__init);
	made->version = version;
	*reply = &made->base;
	return true;
}

bool vault_handle_random(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			 struct ch_error *err)
{
	const Chancery__RandomRequest *ask = (const Chancery__RandomRequest *)request->payload;
	Chancery__HsmRequest hsm = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmRandom random = CHANCERY__HSM_RANDOM__INIT;
	Chancery__RandomReply *made;
	struct vault *vault = state;
	struct hsm_item item = { .request = &hsm,
				 .allowed = (1u << hsm_pool_count(vault->hsms)) - 1,
				 .deadline_us = vault_deadline_us(vault, request) };

	if (ask->size < 1 || ask->size > VAULT_RANDOM_CAP)
		return ch_fail(err, CH_INVALID, "%u random octets, 1 to %d allowed", ask->size,
			       VAULT_RANDOM_CAP);
	random.size = ask->size;
	hsm.random = &random;
	hsm_run(vault->hsms, &item, 1);
	if (!item.reply) {
		*err = item.err;
		return false;
	}
	made = CH_PROTO_NEW(Chancery__RandomReply, chancery__random_reply__init);
	made->data = item.reply->data;
	item.reply->data = (ProtobufCBinaryData){ 0, NULL };
	chancery__hsm_reply__free_unpacked(item.reply, NULL);
	*reply = &made->base;
	return true;
}
