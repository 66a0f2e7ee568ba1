/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: the status of one certificate of one CA. Called by respond.c for each CertID. */
#include "ocsp.h"

#include "x509/serial.h"

bool ocsp_status_find(struct ocsp *ocsp, const struct ocsp_authority *authority, struct ch_view serial,
		      struct ocsp_certificate_status *status, struct ch_error *err)
{
	/* Nobody can make a serial with a valid tag but the issuer: the others cost no query (architecture
	 * §5). */
	if (!ch_serial_check(ch_view_of(&authority->serial_tag_key), serial)) {
		*status = (struct ocsp_certificate_status){ .status = OCSP_UNKNOWN };
		ch_metric_add(ocsp->metrics.invalid_tag, 1);
		return true;
	}
	/* Known to be down: said at once instead of after the pool's time-out, so that workers stay free. */
	if (!ocsp->database_up)
		return ch_fail(err, CH_UNAVAILABLE, "the database does not answer");
	return ocsp_store_status(ocsp->db, authority, serial, status, err);
}
