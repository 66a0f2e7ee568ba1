/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: the status of one certificate of one CA. Called by respond.c for each CertID. */
#include "ocsp.h"

#include "x509/serial.h"

#include <string.h>

#define REASON_CA_COMPROMISE 2
#define REASON_HOLD          6

static bool is_revoked(const char *status)
{
	return strcmp(status, "revoked") == 0 || strcmp(status, "suspended") == 0;
}

enum ocsp_status ocsp_status_of(const char *row, const char *logged)
{
	if (is_revoked(logged))
		return OCSP_REVOKED;
	if (is_revoked(row) && strcmp(logged, "reinstated") != 0)
		return OCSP_REVOKED;
	if (strcmp(row, "issued") == 0)
		return OCSP_GOOD;
	return OCSP_UNKNOWN; /* pending, cancelled: nobody was given such a certificate; "": no row */
}

void ocsp_status_of_compromised_ca(struct ocsp_certificate_status *status, int64_t compromised_at_us)
{
	bool held = status->status == OCSP_REVOKED && status->reason == REASON_HOLD;

	if (status->status != OCSP_GOOD && !held)
		return;
	if (!held || status->revoked_at_us > compromised_at_us)
		status->revoked_at_us = compromised_at_us;
	if (status->changed_at_us < compromised_at_us)
		status->changed_at_us = compromised_at_us;
	status->status = OCSP_REVOKED;
	status->reason = REASON_CA_COMPROMISE;
}

bool ocsp_status_find(struct ocsp *ocsp, const struct ocsp_authority *authority, struct ch_view serial,
		      struct ocsp_certificate_status *status, struct ch_error *err)
{
	/* Nobody can make a serial with a valid tag but the issuer: the others cost no query (architecture
	 * §5). */
	if (!ch_serial_check(ch_view_of(&authority->serial_tag_key), serial) && !authority->ask_always &&
	    !ocsp_authority_is_untagged(authority, serial)) {
		*status = (struct ocsp_certificate_status){ .status = OCSP_UNKNOWN };
		ch_metric_add(ocsp->metrics.invalid_tag, 1);
		return true;
	}
	/* Known to be down: said at once instead of after the pool's time-out, so that workers stay free. */
	if (!ocsp->database_up)
		return ch_fail(err, CH_UNAVAILABLE, "the database does not answer");
	if (!ocsp_store_status(ocsp->db, authority, serial, status, err))
		return false;
	if (authority->compromised_at_us)
		ocsp_status_of_compromised_ca(status, authority->compromised_at_us);
	return true;
}
