/* SPDX-License-Identifier: Apache-2.0 */
/* action_store.c: all SQL about actions, approvals and quorums. */
#include "action_store.h"

#include <stdlib.h>
#include <string.h>

static const struct ch_statement insert_action = {
	"vault_insert_action",
	"INSERT INTO actions (action_id, tenant_id, kind, document, fields_sha256, proposed_by, created_at, "
	"expires_at, content) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
};
static const struct ch_statement find_open = {
	"vault_find_open_action",
	"SELECT action_id FROM actions WHERE tenant_id = $1 AND fields_sha256 = $2 AND used_at IS NULL "
	"AND expires_at > $3 ORDER BY expires_at DESC LIMIT 1"
};
static const struct ch_statement load_action = {
	"vault_load_action",
	"SELECT action_id, tenant_id, kind, created_at, expires_at, used_at, proposed_by, document, content "
	"FROM actions WHERE action_id = $1 AND tenant_id = $2"
};
static const struct ch_statement add_content = {
	"vault_add_action_content",
	"UPDATE actions SET content = $3 WHERE action_id = $1 AND tenant_id = $2 AND content IS NULL"
};
static const struct ch_statement load_approvals = { "vault_load_approvals",
						    "SELECT certificate, signature FROM action_approvals "
						    "WHERE action_id = $1 ORDER BY approved_at, officer "
						    "LIMIT 16" };
static const struct ch_statement list_actions = {
	"vault_list_actions",
	"SELECT a.action_id, a.tenant_id, a.kind, a.created_at, a.expires_at, a.used_at, a.proposed_by, "
	"a.document, "
	"NULL::bytea, p.certificate, p.signature FROM "
	"(SELECT * FROM actions WHERE tenant_id = $1 AND expires_at > $2 "
	"ORDER BY created_at DESC, action_id LIMIT 200) a "
	"LEFT JOIN LATERAL (SELECT certificate, signature, approved_at, officer FROM action_approvals "
	"WHERE action_id = a.action_id ORDER BY approved_at, officer LIMIT 16) p ON true "
	"ORDER BY a.created_at DESC, a.action_id, p.approved_at, p.officer"
};
static const struct ch_statement insert_approval = {
	"vault_insert_approval",
	"INSERT INTO action_approvals (action_id, officer, certificate, signature, approved_at) "
	"SELECT action_id, $3, $4, $5, $6 FROM actions WHERE action_id = $1 AND tenant_id = $2"
};
static const struct ch_statement use_action = {
	"vault_use_action", "UPDATE actions SET used_at = coalesce(used_at, $4), used_by = $3 "
			    "WHERE action_id = $1 AND tenant_id = $2 AND (used_at IS NULL OR used_by = $3)"
};
static const struct ch_statement find_quorum = { "vault_find_quorum",
						 "SELECT quorum, seal FROM quorums WHERE tenant_id = $1" };
static const struct ch_statement insert_quorum = {
	"vault_insert_quorum",
	"INSERT INTO quorums (tenant_id, version, quorum, seal) VALUES ($1, $2, $3, $4)"
};
static const struct ch_statement update_quorum = {
	"vault_update_quorum", "UPDATE quorums SET version = $2, quorum = $3, seal = $4, changed_at = now() "
			       "WHERE tenant_id = $1 AND version = $5"
};

void stored_action_free(struct stored_action *stored)
{
	free(stored->proposed_by);
	ch_bytes_free(&stored->document);
	ch_bytes_free(&stored->content);
	*stored = (struct stored_action)CH_NONE;
}

static bool run_once(struct ch_db *db, const char *tenant, const struct ch_statement *statement,
		     const struct ch_param *parameters, size_t count, size_t *affected, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, statement, parameters, count, &rows, err))
		return false;
	*affected = (size_t)ch_rows_affected(rows);
	return ch_db_commit(&transaction, err);
}

/* --- actions --- */

bool store_insert_action(struct ch_db *db, const struct stored_action *stored, struct ch_view fields_sha256,
			 struct ch_error *err)
{
	size_t affected;

	return run_once(db, stored->tenant, &insert_action,
			CH_PARAMETERS(ch_param_text(stored->id), ch_param_text(stored->tenant),
				      ch_param_int32(stored->kind),
				      ch_param_bytes(ch_view_of(&stored->document)),
				      ch_param_bytes(fields_sha256), ch_param_text(stored->proposed_by),
				      ch_param_time(stored->created_us), ch_param_time(stored->expires_us),
				      ch_param_bytes(ch_view_of(&stored->content))),
			&affected, err);
}

bool store_add_action_content(struct ch_db *db, const char *tenant, const char *id, struct ch_view content,
			      struct ch_error *err)
{
	size_t affected;

	return run_once(db, tenant, &add_content,
			CH_PARAMETERS(ch_param_text(id), ch_param_text(tenant), ch_param_bytes(content)),
			&affected, err);
}

bool store_find_open_action(struct ch_db *db, const char *tenant, struct ch_view fields_sha256,
			    int64_t until_us, char id[CH_ACTION_ID_SIZE], bool *found, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &find_open,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_bytes(fields_sha256),
				       ch_param_time(until_us)),
			 &rows, err))
		return false;
	*found = ch_rows_count(rows) == 1;
	if (*found) {
		strncpy(id, ch_rows_text(rows, 0, 0), CH_ACTION_ID_SIZE - 1);
		id[CH_ACTION_ID_SIZE - 1] = 0;
	}
	return ch_db_commit(&transaction, err);
}

static void read_stored(const struct ch_rows *rows, size_t row, struct stored_action *stored)
{
	strncpy(stored->id, ch_rows_text(rows, row, 0), sizeof(stored->id) - 1);
	strncpy(stored->tenant, ch_rows_text(rows, row, 1), sizeof(stored->tenant) - 1);
	stored->kind = (int32_t)ch_rows_int64(rows, row, 2);
	stored->created_us = ch_rows_time(rows, row, 3);
	stored->expires_us = ch_rows_time(rows, row, 4);
	stored->used_us = ch_rows_time(rows, row, 5);
	stored->proposed_by = ch_strdup(ch_rows_text(rows, row, 6));
	stored->document = ch_bytes_copy(ch_rows_bytes(rows, row, 7));
	if (!ch_rows_null(rows, row, 8))
		stored->content = ch_bytes_copy(ch_rows_bytes(rows, row, 8));
}

static void read_approvals(const struct ch_rows *rows, struct vault_action *action)
{
	size_t count = ch_rows_count(rows) < VAULT_OFFICERS_CAP ? ch_rows_count(rows) : VAULT_OFFICERS_CAP;

	for (size_t i = 0; i < count; i++) {
		action->approvals[i].certificate = ch_bytes_copy(ch_rows_bytes(rows, i, 0));
		action->approvals[i].signature = ch_bytes_copy(ch_rows_bytes(rows, i, 1));
	}
	action->approval_count = count;
}

bool store_load_action(struct ch_db *db, const char *tenant, const char *id, struct stored_action *stored,
		       struct vault_action *action, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL, approvals = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &load_action, CH_PARAMETERS(ch_param_text(id), ch_param_text(tenant)),
			 &rows, err) ||
	    !ch_db_query(transaction, &load_approvals, CH_PARAMETERS(ch_param_text(id)), &approvals, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "action '%.40s': no such action", id);
	action->document = ch_bytes_copy(ch_rows_bytes(rows, 0, 7));
	read_approvals(approvals, action);
	if (stored)
		read_stored(rows, 0, stored);
	return true;
}

void listed_actions_free(struct listed_actions *list)
{
	for (size_t i = 0; i < list->count; i++) {
		stored_action_free(&list->items[i].stored);
		vault_action_free(&list->items[i].action);
	}
	free(list->items);
	*list = (struct listed_actions)CH_NONE;
}

/* One row for each approval of an action; one without where it has none. */
static void read_listed(const struct ch_rows *rows, struct listed_actions *list)
{
	struct listed_action *last = NULL;

	list->items = ch_alloc((ch_rows_count(rows) + 1) * sizeof(*list->items));
	for (size_t row = 0; row < ch_rows_count(rows); row++) {
		size_t next;

		if (!last || strcmp(last->stored.id, ch_rows_text(rows, row, 0)) != 0) {
			last = &list->items[list->count++];
			read_stored(rows, row, &last->stored);
			last->action.document = ch_bytes_copy(ch_rows_bytes(rows, row, 7));
		}
		if (ch_rows_null(rows, row, 9) || last->action.approval_count == VAULT_OFFICERS_CAP)
			continue;
		next = last->action.approval_count++;
		last->action.approvals[next].certificate = ch_bytes_copy(ch_rows_bytes(rows, row, 9));
		last->action.approvals[next].signature = ch_bytes_copy(ch_rows_bytes(rows, row, 10));
	}
}

bool store_list_actions(struct ch_db *db, const char *tenant, int64_t now_us, struct listed_actions *list,
			struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &list_actions,
			 CH_PARAMETERS(ch_param_text(tenant), ch_param_time(now_us)), &rows, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	read_listed(rows, list);
	return true;
}

bool store_insert_approval(struct ch_db *db, const char *tenant, const char *id, const char *officer,
			   struct ch_view certificate, struct ch_view signature, int64_t now_us,
			   struct ch_error *err)
{
	size_t affected;

	if (!run_once(db, tenant, &insert_approval,
		      CH_PARAMETERS(ch_param_text(id), ch_param_text(tenant), ch_param_text(officer),
				    ch_param_bytes(certificate), ch_param_bytes(signature),
				    ch_param_time(now_us)),
		      &affected, err)) {
		if (err->code == CH_CONFLICT)
			ch_fail(err, CH_CONFLICT, "officer '%s' has approved action '%s' already", officer,
				id);
		return false;
	}
	return affected == 1 || ch_fail(err, CH_NOT_FOUND, "action '%.40s': no such action", id);
}

bool store_use_action(struct ch_db *db, const char *tenant, const char *id, struct ch_view message_id,
		      int64_t now_us, struct ch_error *err)
{
	size_t affected;

	if (!run_once(db, tenant, &use_action,
		      CH_PARAMETERS(ch_param_text(id), ch_param_text(tenant), ch_param_bytes(message_id),
				    ch_param_time(now_us)),
		      &affected, err))
		return false;
	return affected == 1 ||
	       ch_fail(err, CH_REPLAYED, "action '%.40s' was used before: its approvals count once", id);
}

/* --- quorums --- */

bool store_find_quorum(struct ch_db *db, const char *tenant, struct ch_bytes *quorum, struct ch_bytes *seal,
		       struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(db, tenant, &transaction, err) ||
	    !ch_db_query(transaction, &find_quorum, CH_PARAMETERS(ch_param_text(tenant)), &rows, err) ||
	    !ch_db_commit(&transaction, err))
		return false;
	if (ch_rows_count(rows) != 1)
		return ch_fail(err, CH_NOT_FOUND, "tenant '%.64s' has no quorum of officers", tenant);
	*quorum = ch_bytes_copy(ch_rows_bytes(rows, 0, 0));
	*seal = ch_bytes_copy(ch_rows_bytes(rows, 0, 1));
	return true;
}

bool store_put_quorum(struct ch_db *db, const char *tenant, uint64_t old, uint64_t version,
		      struct ch_view quorum, struct ch_view seal, struct ch_error *err)
{
	const struct ch_param parameters[] = { ch_param_text(tenant), ch_param_int64((int64_t)version),
					       ch_param_bytes(quorum), ch_param_bytes(seal),
					       ch_param_int64((int64_t)old) };
	size_t affected;

	if (!run_once(db, tenant, old ? &update_quorum : &insert_quorum, parameters, old ? 5 : 4, &affected,
		      err)) {
		if (err->code == CH_CONFLICT)
			ch_fail(err, CH_CONFLICT, "tenant '%s' has a quorum already: its officers change it",
				tenant);
		return false;
	}
	return affected == 1 ||
	       ch_fail(err, CH_CONFLICT, "the quorum of tenant '%s' is not of version %llu any more", tenant,
		       (unsigned long long)old);
}
