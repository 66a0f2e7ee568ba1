/* SPDX-License-Identifier: Apache-2.0 */
/* partitions.c: makes the certificates table's partitions ahead of need. Run by upkeep.c daily and after a CA
 * or a profile changed. A CA certificate's own month is made when the CA is activated (ca_activate.c). */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

/* The longest validity that any of the tenant's profiles gives. */
static bool longest_validity(struct issuer *issuer, const char *tenant, int64_t *longest_us,
			     struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	struct profile_row *rows = NULL;
	size_t found = 0;

	if (!ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_list_profiles(transaction, tenant, &rows, &found, err))
		return false;
	*longest_us = 0;
	for (size_t i = 0; i < found; i++) {
		CH_AUTO(ch_profile) profile = CH_NONE;

		if (ch_profile_read(ch_view_text(rows[i].document), &profile, NULL) &&
		    profile.validity.maximum_us > *longest_us)
			*longest_us = profile.validity.maximum_us;
		profile_row_free(&rows[i]);
	}
	free(rows);
	return true;
}

/* No certificate ends after its CA, nor later than its profile allows: the last moment that one made now
 * could reach. */
static bool last_expiry(struct issuer *issuer, const char *tenant, int64_t now_us, int64_t *last_us,
			struct ch_error *err)
{
	struct ca_set *set = NULL;
	int64_t longest_us, last_ca_us = 0;

	if (!longest_validity(issuer, tenant, &longest_us, err) ||
	    !catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	for (size_t i = 0; i < set->count; i++)
		if (signer_may_be_made(&set->items[i], CH_KIND_OCSP_RESPONDER, now_us) &&
		    set->items[i].not_after_us > last_ca_us)
			last_ca_us = set->items[i].not_after_us;
	catalog_release(issuer, set);
	*last_us = last_ca_us < now_us + longest_us ? last_ca_us : now_us + longest_us;
	return true;
}

bool extend_partitions(struct issuer *issuer, char *const *tenants, size_t tenant_count, struct ch_error *err)
{
	int64_t now_us = ch_clock_now_us(issuer->clock);
	int first = ch_expiry_period(now_us);
	int last = first + (int)issuer->config->partitions_ahead;
	int made;

	for (size_t i = 0; i < tenant_count; i++) {
		int64_t last_us;

		if (!last_expiry(issuer, tenants[i], now_us, &last_us, err))
			return false;
		if (ch_expiry_period(last_us) + 1 > last) /* one more: a day later it will be needed */
			last = ch_expiry_period(last_us) + 1;
	}
	if (!store_ensure_partitions(issuer->db, first, last, &made, err))
		return false;
	if (made > 0)
		ch_log_info("%d partitions made for expiry periods %d to %d", made, first, last);
	ch_metric_set(
		ch_metrics_gauge(
			issuer->metrics, "chancery_issuer_partitions_last_period",
			"Last expiry month that a partition exists for, (year - 1970) * 12 + month - 1.", ""),
		last);
	return true;
}
