/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c: rights that end by the database's clock. Each call is a transaction of its own, but
 * ch_lease_hold's. */
#include "db/lease.h"

#include "log/log.h"

#include <stdio.h>
#include <stdlib.h>

struct ch_lease {
	struct ch_db *db;
	const struct ch_lease_table *table;
	struct ch_param key;
	int64_t length_us;
	int64_t renewed_us; /* monotonic */
	char holder[96];    /* "<instance>/<random>": another for each taking */
};

static bool run(struct ch_db *db, const struct ch_statement *statement, const struct ch_param *parameters,
		size_t count, struct ch_rows **rows, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(db, NULL, &transaction, err) &&
	       ch_db_query(transaction, statement, parameters, count, rows, err) &&
	       ch_db_commit(&transaction, err);
}

/* The first time, and again while it is held. */
static bool take(struct ch_lease *lease, bool *taken, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;
	int64_t asked_us = ch_monotonic_us();

	if (!run(lease->db, &lease->table->take,
		 CH_PARAMETERS(lease->key, ch_param_text(lease->holder), ch_param_int64(lease->length_us)),
		 &rows, err))
		return false;
	*taken = ch_rows_affected(rows) == 1;
	if (*taken)
		lease->renewed_us = asked_us;
	return true;
}

static void name_holder(struct ch_lease *lease, const char *instance)
{
	CH_AUTO(ch_string) hex = NULL;
	uint8_t nonce[8];

	ch_random(nonce, sizeof(nonce));
	hex = ch_hex(ch_view(nonce, sizeof(nonce)));
	snprintf(lease->holder, sizeof(lease->holder), "%.63s/%s", instance, hex);
}

bool ch_lease_take(struct ch_db *db, const struct ch_lease_table *table, struct ch_param key,
		   const char *instance, int64_t length_us, struct ch_lease **lease, struct ch_error *err)
{
	struct ch_lease *wanted = ch_alloc(sizeof(*wanted));
	bool taken = false, asked;

	*wanted = (struct ch_lease){ .db = db, .table = table, .key = key, .length_us = length_us };
	name_holder(wanted, instance);
	asked = take(wanted, &taken, err);
	*lease = taken ? CH_STEAL(wanted) : NULL;
	free(wanted);
	return asked;
}

static bool lost(struct ch_error *err)
{
	return ch_fail(err, CH_UNAVAILABLE, "the lease was lost to another instance");
}

bool ch_lease_renew(struct ch_lease *lease, struct ch_error *err)
{
	bool taken = false;

	if (ch_monotonic_us() - lease->renewed_us < lease->length_us / 3)
		return true;
	return take(lease, &taken, err) && (taken || lost(err));
}

bool ch_lease_hold(const struct ch_lease *lease, struct ch_transaction *transaction, struct ch_error *err)
{
	CH_AUTO(ch_rows) rows = NULL;

	return ch_db_query(transaction, &lease->table->hold,
			   CH_PARAMETERS(lease->key, ch_param_text(lease->holder)), &rows, err) &&
	       (ch_rows_count(rows) > 0 || lost(err));
}

void ch_lease_release(struct ch_lease *lease)
{
	struct ch_error err;

	if (!lease)
		return;
	if (!run(lease->db, &lease->table->end, CH_PARAMETERS(lease->key, ch_param_text(lease->holder)), NULL,
		 &err))
		ch_log_warn("lease of '%s' ends by itself: %s", lease->holder, err.message);
	free(lease);
}

void ch_lease_end_all(struct ch_db *db, const struct ch_lease_table *table, const char *instance)
{
	struct ch_error err;

	if (!run(db, &table->end_all, CH_PARAMETERS(ch_param_text(instance)), NULL, &err))
		ch_log_warn("leases of an earlier run end by themselves: %s", err.message);
}
