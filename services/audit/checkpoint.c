/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c: every interval, when the log grew, its size and last hash are signed through the vault,
 * stored, and kept in the state directory, where whoever rules the database does not reach them.
 */
#include "audit.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VAULT_TIMEOUT (10 * CH_SECOND)
#define LAST_TIMEOUT  (2 * CH_SECOND) /* when the daemon stops */
#define KEY_ALGORITHM "ecdsa-p256"
#define KEY_TENANT    "default" /* keys belong to a tenant; the log belongs to none */

struct checkpointer {
	struct audit *audit;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock; /* guards stopping */
	pthread_cond_t wake;
	bool stopping;
	/* The thread's own: */
	char *key_id; /* NULL: not known yet */
	struct ch_bytes public_key_info;
	bool told; /* why none can be made was logged */
	struct outbox_watch *outboxes;
};

/* --- the key -----------------------------------------------------------------------------------------------
 */

/* The same for all instances of one log, so that the vault makes one key for it. */
static void key_request_id(const char *origin, uint8_t id[16])
{
	CH_AUTO(ch_string) text = ch_format("chancery/audit-checkpoint-key/v1 %s", origin);
	uint8_t digest[32];

	if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
		abort();
	memcpy(id, digest, 16);
}

/* The first key seen is trusted and kept; a vault that names another one later is not believed. */
static bool pin_key(struct checkpointer *c, struct ch_view public_key_info, struct ch_error *err)
{
	CH_AUTO(ch_string)
	path = ch_format("%s/" CH_AUDIT_CHECKPOINT_KEY, c->audit->config->common.state_directory);
	CH_AUTO(ch_bytes) pinned = CH_NONE;
	struct ch_error why = CH_NONE;

	if (ch_read_file(path, 4096, &pinned, &why)) {
		if (ch_view_equal(ch_view_of(&pinned), public_key_info))
			return true;
		return ch_fail(err, CH_DENIED, "the vault's checkpoint key is not the one in '%s'", path);
	}
	if (why.code != CH_NOT_FOUND) {
		if (err)
			*err = why;
		return false;
	}
	return ch_write_file(path, public_key_info, 0644, err);
}

static bool find_key(struct checkpointer *c, const struct ch_vault_context *context, struct ch_error *err)
{
	Chancery__GenerateKeyRequest request = CHANCERY__GENERATE_KEY_REQUEST__INIT;
	Chancery__Purpose purpose = CHANCERY__PURPOSE__PURPOSE_AUDIT_CHECKPOINT;
	const char *origin = c->audit->config->origin;
	uint8_t id[16];
	Chancery__Key *key = NULL;
	struct ch_view public_key_info;
	bool pinned;

	if (c->key_id)
		return true;
	request.algorithm = (char *)(uintptr_t)KEY_ALGORITHM;
	request.n_purposes = 1;
	request.purposes = &purpose;
	request.label = (char *)(uintptr_t) "Audit checkpoints";
	request.checkpoint_origin = (char *)(uintptr_t)origin;
	key_request_id(origin, id);
	if (!ch_vault_generate_key(c->audit->vault, context, &request, id, &key, err))
		return ch_fail_in(err, "checkpoint key");
	public_key_info = ch_view(key->public_key_info.data, key->public_key_info.len);
	pinned = pin_key(c, public_key_info, err);
	if (pinned) {
		c->key_id = ch_strdup(key->key_id);
		c->public_key_info = ch_bytes_copy(public_key_info);
	}
	chancery__key__free_unpacked(key, NULL);
	return pinned;
}

/* --- one checkpoint ----------------------------------------------------------------------------------------
 */

static bool sign(struct checkpointer *c, const struct ch_vault_context *context, const char *text,
		 struct ch_bytes *signature, struct ch_error *err)
{
	struct ch_vault_item item = { .key_id = c->key_id,
				      .purpose = CHANCERY__PURPOSE__PURPOSE_AUDIT_CHECKPOINT,
				      .to_be_signed = ch_view_text(text) };

	return ch_vault_sign(c->audit->vault, context, &item, signature, err) &&
	       ch_audit_checkpoint_verify(ch_view_of(&c->public_key_info), text, ch_view_of(signature), err);
}

static bool keep_file(struct checkpointer *c, const char *text, struct ch_view signature,
		      struct ch_error *err)
{
	CH_AUTO(ch_string)
	path = ch_format("%s/" CH_AUDIT_CHECKPOINT_FILE, c->audit->config->common.state_directory);
	CH_AUTO(ch_bytes) content = ch_audit_checkpoint_file(text, c->key_id, signature);

	return ch_write_file(path, ch_view_of(&content), 0644, err);
}

/* *made: false where the log has not grown. */
static bool make_checkpoint(struct checkpointer *c, int64_t timeout_us, bool *made, struct ch_error *err)
{
	struct ch_vault_context context = { .tenant = KEY_TENANT, .timeout_us = timeout_us };
	CH_AUTO(ch_transaction) transaction = NULL;
	struct ch_audit_checkpoint checkpoint = { .origin = c->audit->config->origin };
	CH_AUTO(ch_string) text = NULL;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	struct log_head head;
	uint64_t last = 0;

	*made = false;
	if (!store_lock_checkpoints(c->audit->db, &transaction, err) ||
	    !store_head(transaction, &head, err) || !store_last_checkpoint(transaction, &last, err))
		return false;
	ch_metric_set(c->audit->size, (int64_t)head.size);
	ch_metric_set(c->audit->covered, (int64_t)last);
	/* Also by an instance whose log another one signs: whoever verifies finds the key here. */
	if (!find_key(c, &context, err))
		return false;
	if (head.size <= last)
		return true;
	checkpoint.log_size = head.size;
	memcpy(checkpoint.hash, head.hash, sizeof(checkpoint.hash));
	text = ch_audit_checkpoint_text(&checkpoint);
	if (!sign(c, &context, text, &signature, err) ||
	    !store_checkpoint(transaction, head.size, text, c->key_id, ch_view_of(&signature), err) ||
	    !ch_db_commit(&transaction, err) || !keep_file(c, text, ch_view_of(&signature), err))
		return false;
	ch_metric_set(c->audit->covered, (int64_t)head.size);
	*made = true;
	return true;
}

static void try_checkpoint(struct checkpointer *c, int64_t timeout_us)
{
	struct ch_error err = CH_NONE;
	bool made = false;

	if (make_checkpoint(c, timeout_us, &made, &err)) {
		if (made && c->told)
			ch_log_info("checkpoints are being made again");
		c->told = c->told && !made;
		return;
	}
	if (err.code == CH_CONFLICT) /* another instance is at it */
		return;
	if (!c->told)
		ch_log_warn("no checkpoint could be made: %s", err.message);
	c->told = true;
}

/* --- the thread --------------------------------------------------------------------------------------------
 */

/* False: the daemon stops. */
static bool sleep_interval(struct checkpointer *c)
{
	int64_t until = ch_monotonic_us() + c->audit->config->checkpoint_interval_us;
	struct timespec deadline = { until / CH_SECOND, until % CH_SECOND * 1000 };
	bool stopping;

	pthread_mutex_lock(&c->lock);
	while (!c->stopping && ch_monotonic_us() < until)
		pthread_cond_timedwait(&c->wake, &c->lock, &deadline);
	stopping = c->stopping;
	pthread_mutex_unlock(&c->lock);
	return !stopping;
}

static void *run(void *context)
{
	struct checkpointer *c = context;

	while (sleep_interval(c)) {
		outbox_watch_look(c->audit, c->outboxes); /* what it tells is under the checkpoint */
		try_checkpoint(c, VAULT_TIMEOUT);
	}
	try_checkpoint(c, LAST_TIMEOUT);
	return NULL;
}

bool checkpoint_start(struct audit *audit, struct checkpointer **checkpointer, struct ch_error *err)
{
	struct checkpointer *made = ch_alloc(sizeof(*made));
	pthread_condattr_t attributes;
	int result;

	made->audit = audit;
	made->outboxes = outbox_watch_new();
	pthread_mutex_init(&made->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&made->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	*checkpointer = made;
	result = pthread_create(&made->thread, NULL, run, made);
	made->running = result == 0;
	return made->running || ch_fail_errno(err, CH_INTERNAL, result, "checkpoint thread");
}

void checkpoint_stop(struct checkpointer *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (c->running)
		pthread_join(c->thread, NULL);
	outbox_watch_free(c->outboxes);
	free(c->key_id);
	ch_bytes_free(&c->public_key_info);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
