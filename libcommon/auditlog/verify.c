/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c: the whole log against itself, its checkpoints and the files that the audit daemons keep outside
 * the database. `chancery audit verify` calls it. docs/paths/audit.md says what each finding means.
 */
#include "auditlog/internal.h"
#include "x509/x509.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 500

/* What somebody says that the log was at a size. */
struct claim {
	uint64_t log_size;
	uint8_t hash[CH_AUDIT_HASH_SIZE];
	char *source; /* "checkpoint of size 12", "checkpoint file '…'" */
	bool is_checkpoint, in_table;
};

struct claims {
	struct claim *items;
	size_t count;
	size_t next;   /* first that the walk has not passed */
	uint64_t good; /* size of the newest that held */
};

struct verification {
	struct walk walk;
	struct claims claims;
	struct ch_bytes key; /* SubjectPublicKeyInfo; empty: none */
};

static const struct ch_statement list_checkpoints = {
	"audit_verify_checkpoints",
	"SELECT log_size, text, signature FROM audit_checkpoints ORDER BY log_size"
};
static const struct ch_statement walk_log = {
	"audit_verify_log",
	"SELECT log_sequence, previous_hash, hash, signed_event, event_id, tenant_id, event_time,"
	" type, outcome, service, instance, actor, subject FROM audit_log ORDER BY log_sequence"
};

static const struct ch_statement outbox_missing = {
	"audit_verify_outbox",
	"SELECT service, missing FROM audit_outbox_missing() WHERE missing <> 0 ORDER BY service"
};

/* --- what is claimed ---------------------------------------------------------------------------------------
 */

static void add_claim(struct claims *claims, uint64_t log_size, const uint8_t hash[CH_AUDIT_HASH_SIZE],
		      char *source, bool is_checkpoint, bool in_table)
{
	struct claim *claim;

	claims->items = ch_realloc(claims->items, (claims->count + 1) * sizeof(*claims->items));
	claim = &claims->items[claims->count++];
	*claim = (struct claim){
		.log_size = log_size, .source = source, .is_checkpoint = is_checkpoint, .in_table = in_table
	};
	memcpy(claim->hash, hash, CH_AUDIT_HASH_SIZE);
}

static int by_size(const void *a, const void *b)
{
	uint64_t left = ((const struct claim *)a)->log_size, right = ((const struct claim *)b)->log_size;

	return left < right ? -1 : left > right;
}

static bool load_key(struct verification *v, struct ch_error *err)
{
	const struct ch_audit_verify_options *options = v->walk.options;
	CH_AUTO(ch_bytes) content = CH_NONE;

	if (options->checkpoint_key_file &&
	    !ch_read_file(options->checkpoint_key_file, 64 * 1024, &content, err))
		return ch_fail_in(err, "checkpoint key");
	for (size_t i = 0; !content.data && i < options->state_directory_count; i++) {
		CH_AUTO(ch_string)
		path = ch_format("%s/" CH_AUDIT_CHECKPOINT_KEY, options->state_directories[i]);

		(void)!ch_read_file(path, 64 * 1024, &content, NULL);
	}
	if (ch_view_starts_with(ch_view_of(&content), "-----BEGIN"))
		return ch_pem_read(ch_view_of(&content), "PUBLIC KEY", &v->key, err);
	v->key = CH_STEAL(content);
	return true;
}

/* Takes a checkpoint that is well formed and signed; reports one that is not. */
static void take_checkpoint(struct verification *v, const char *text, struct ch_view signature,
			    const char *source, bool in_table, uint64_t said_size)
{
	CH_AUTO(ch_audit_checkpoint) checkpoint = CH_NONE;
	struct ch_error why = CH_NONE;

	if (!ch_audit_checkpoint_read(text, &checkpoint, &why) ||
	    !ch_audit_checkpoint_verify(ch_view_of(&v->key), text, signature, &why)) {
		walk_tell(&v->walk, 0, "checkpoint", "%s: %s", source, why.message);
		return;
	}
	if (in_table && checkpoint.log_size != said_size) {
		walk_tell(&v->walk, 0, "checkpoint", "%s: its text is of size %" PRIu64, source,
			  checkpoint.log_size);
		return;
	}
	v->walk.summary->checkpoints += in_table;
	add_claim(&v->claims, checkpoint.log_size, checkpoint.hash, ch_strdup(source), true, in_table);
}

static bool load_table_checkpoints(struct verification *v, struct ch_transaction *transaction,
				   struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &list_checkpoints, CH_NO_PARAMETERS, &rows, err))
		return false;
	if (ch_rows_count(rows) && !v->key.size)
		return ch_fail(err, CH_INVALID,
			       "there are %zu checkpoints but no key to verify them with: name the "
			       "audit daemon's state directory or a key file",
			       ch_rows_count(rows));
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		uint64_t size = (uint64_t)ch_rows_int64(rows, i, 0);
		CH_AUTO(ch_string) source = ch_format("checkpoint of size %" PRIu64, size);

		take_checkpoint(v, ch_rows_text(rows, i, 1), ch_rows_bytes(rows, i, 2), source, true, size);
	}
	return true;
}

/* The daemon may be writing the file: what is read twice alike is whole. */
static bool read_head(const char *path, struct ch_bytes *content)
{
	for (int i = 0; i < 10; i++) {
		CH_AUTO(ch_bytes) again = CH_NONE;

		ch_bytes_free(content);
		if (!ch_read_file(path, 4096, content, NULL) || !ch_read_file(path, 4096, &again, NULL))
			return false;
		if (ch_view_equal(ch_view_of(content), ch_view_of(&again)))
			return true;
	}
	return true;
}

static void load_head(struct verification *v, const char *path)
{
	CH_AUTO(ch_bytes) content = CH_NONE, hash = CH_NONE;
	char text[CH_AUDIT_HEAD_SIZE] = "";

	if (!read_head(path, &content) || !content.size) /* made at start, empty until the first event */
		return;
	if (content.size == CH_AUDIT_HEAD_SIZE)
		memcpy(text, content.data, CH_AUDIT_HEAD_SIZE - 1);
	if (ch_unhex(text[0] ? text + 21 : "", &hash, NULL) && hash.size == CH_AUDIT_HASH_SIZE)
		add_claim(&v->claims, strtoull(text, NULL, 10), hash.data, ch_format("head file '%s'", path),
			  false, false);
	else
		walk_tell(&v->walk, 0, "checkpoint", "head file '%s' is not one", path);
}

/* must_exist: somebody named this very file. */
static void load_checkpoint_file(struct verification *v, const char *path, bool must_exist)
{
	CH_AUTO(ch_string) source = ch_format("checkpoint file '%s'", path);
	CH_AUTO(ch_string) text = NULL;
	CH_AUTO(ch_bytes) signature = CH_NONE;
	struct ch_error why = CH_NONE;

	if (ch_audit_checkpoint_file_read(path, &text, &signature, &why))
		take_checkpoint(v, text, ch_view_of(&signature), source, false, 0);
	else if (why.code != CH_NOT_FOUND || must_exist)
		walk_tell(&v->walk, 0, "checkpoint", "%s: %s", source, why.message);
}

static void load_files(struct verification *v)
{
	const struct ch_audit_verify_options *options = v->walk.options;

	if (options->checkpoint_file)
		load_checkpoint_file(v, options->checkpoint_file, true);
	for (size_t i = 0; i < options->state_directory_count; i++) {
		const char *directory = options->state_directories[i];
		CH_AUTO(ch_string) checkpoint = ch_format("%s/" CH_AUDIT_CHECKPOINT_FILE, directory);
		CH_AUTO(ch_string) head = ch_format("%s/" CH_AUDIT_HEAD_FILE, directory);

		load_checkpoint_file(v, checkpoint, false);
		load_head(v, head);
	}
}

/* A checkpoint that a file holds and the table does not was removed from the table. */
static void compare_with_table(struct verification *v)
{
	for (size_t i = 0; i < v->claims.count; i++) {
		const struct claim *claim = &v->claims.items[i];
		bool found = claim->in_table || !claim->is_checkpoint;

		for (size_t j = 0; !found && j < v->claims.count; j++)
			found = v->claims.items[j].in_table && v->claims.items[j].log_size == claim->log_size;
		if (!found)
			walk_tell(&v->walk, 0, "checkpoint",
				  "%s: audit_checkpoints has no checkpoint of its size %" PRIu64,
				  claim->source, claim->log_size);
	}
}

/* --- the walk ----------------------------------------------------------------------------------------------
 */

/* The walk stands at walk->last: what is claimed for this size? */
static void check_claims(struct verification *v)
{
	struct claims *claims = &v->claims;
	struct walk *walk = &v->walk;

	while (claims->next < claims->count && claims->items[claims->next].log_size <= walk->last) {
		const struct claim *claim = &claims->items[claims->next++];

		if (claim->log_size < walk->last || claim->log_size == 0)
			continue; /* its row is missing, and reported */
		if (memcmp(claim->hash, walk->hash, CH_AUDIT_HASH_SIZE) == 0) {
			claims->good = claim->log_size;
			if (claim->is_checkpoint)
				walk->summary->covered = claim->log_size;
			continue;
		}
		walk_tell(walk, claim->log_size, "altered",
			  "the log at row %" PRIu64 " is not what %s says: something in rows %" PRIu64
			  " to %" PRIu64 " was changed",
			  claim->log_size, claim->source, claims->good + 1, claim->log_size);
	}
}

static bool walk_batch(void *context, const struct ch_rows *rows, struct ch_error *err)
{
	struct verification *v = context;

	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		struct row row = { .sequence = (uint64_t)ch_rows_int64(rows, i, 0),
				   .previous = ch_rows_bytes(rows, i, 1),
				   .hash = ch_rows_bytes(rows, i, 2),
				   .signed_event = ch_rows_bytes(rows, i, 3),
				   .event_id = ch_rows_bytes(rows, i, 4),
				   .tenant = ch_rows_text(rows, i, 5),
				   .event_time = ch_rows_time(rows, i, 6),
				   .type = ch_rows_text(rows, i, 7),
				   .outcome = ch_rows_text(rows, i, 8),
				   .service = ch_rows_text(rows, i, 9),
				   .instance = ch_rows_text(rows, i, 10),
				   .actor = ch_rows_text(rows, i, 11),
				   .subject = ch_rows_text(rows, i, 12) };

		if (!walk_row(&v->walk, &row, err))
			return false;
		check_claims(v);
	}
	return true;
}

/* Claims beyond the last row: the tail was cut off. */
static void check_tail(struct verification *v)
{
	struct claims *claims = &v->claims;
	const struct claim *largest = claims->count ? &claims->items[claims->count - 1] : NULL;
	CH_AUTO(ch_string) why = NULL;

	if (!largest || largest->log_size <= v->walk.last)
		return;
	why = ch_format("%s knows it", largest->source);
	walk_tell(&v->walk, 0, "truncated", "the log ends at row %" PRIu64 " but had %" PRIu64 ": %s",
		  v->walk.last, largest->log_size, why);
	walk_missing(&v->walk, v->walk.last + 1, largest->log_size, why);
}

/* What should have come here and was taken away on its way. */
static bool check_outboxes(struct verification *v, struct ch_transaction *transaction, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_query(transaction, &outbox_missing, CH_NO_PARAMETERS, &rows, err))
		return false;
	for (size_t i = 0; i < ch_rows_count(rows); i++) {
		int64_t missing = ch_rows_int64(rows, i, 1);

		walk_tell(&v->walk, 0, "missing",
			  missing > 0
				  ? "%" PRId64 " events of service %s were taken out of its outbox before "
				    "they came into the log"
				  : "%" PRId64 " events of service %s: rows that nobody numbered were put "
				    "into its outbox",
			  missing, ch_rows_text(rows, i, 0));
	}
	return true;
}

static bool verify_in(struct verification *v, struct ch_transaction *transaction, struct ch_error *err)
{
	/* Files first, then the checkpoints, then the log: a daemon writes them the other way round, so what
	 * is read later covers what was read before, also while it works. */
	if (!load_key(v, err))
		return false;
	load_files(v);
	if (!load_table_checkpoints(v, transaction, err))
		return false;
	if (v->claims.count)
		qsort(v->claims.items, v->claims.count, sizeof(*v->claims.items), by_size);
	if (!ch_db_stream(transaction, &walk_log, CH_NO_PARAMETERS, BATCH, walk_batch, v, err))
		return false;
	walk_end(&v->walk);
	check_tail(v);
	compare_with_table(v);
	return check_outboxes(v, transaction, err);
}

bool ch_audit_verify(const struct ch_audit_verify_options *options, struct ch_audit_summary *summary,
		     struct ch_error *err)
{
	struct verification v = { .walk = { .options = options, .summary = summary } };
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_trust) trust = NULL;
	bool walked;

	*summary = (struct ch_audit_summary)CH_NONE;
	if (!ch_trust_load_with(options->system_ca, options->retired_system_cas, &trust, err) ||
	    !ch_db_begin(options->db, NULL, &transaction, err))
		return false;
	v.walk.trust = trust;
	v.walk.senders = sender_order_new(options->keeper);
	walked = verify_in(&v, transaction, err);
	sender_order_free(v.walk.senders);
	for (size_t i = 0; i < v.claims.count; i++)
		free(v.claims.items[i].source);
	free(v.claims.items);
	ch_bytes_free(&v.key);
	return walked;
}
