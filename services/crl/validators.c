/* SPDX-License-Identifier: Apache-2.0 */
/* validators.c: conditional requests (RFC 9110 §13), and how long a copy is fresh. Pure. Called by http.c. */
#include "crl.h"

#include <time.h>

/* The three forms that RFC 9110 §5.6.7 asks a recipient to take. False for anything else. */
static bool read_http_date(const char *text, int64_t *time_us)
{
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
					     "%a %b %e %H:%M:%S %Y" };

	for (size_t i = 0; i < CH_COUNT(forms); i++) {
		struct tm parts = CH_NONE;
		const char *end = strptime(text, forms[i], &parts);

		if (end && !*end) {
			*time_us = (int64_t)timegm(&parts) * CH_SECOND;
			return true;
		}
	}
	return false;
}

bool crl_not_modified(const struct crl_document *document, const char *if_none_match,
		      const char *if_modified_since)
{
	int64_t since;

	if (if_none_match) /* §13.2.2: then If-Modified-Since is not looked at */
		return ch_http_names_tag(if_none_match, document->etag);
	return if_modified_since && read_http_date(if_modified_since, &since) &&
	       document->modified_us / CH_SECOND * CH_SECOND <= since;
}

int64_t crl_max_age(const struct crl_document *document, int64_t now_us)
{
	int64_t left_us = document->fresh_until_us - now_us;

	if (left_us > document->longest_fresh_us)
		left_us = document->longest_fresh_us;
	return left_us > 0 ? left_us / CH_SECOND : 0;
}
