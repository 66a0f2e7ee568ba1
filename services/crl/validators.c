/* SPDX-License-Identifier: Apache-2.0 */
/* validators.c: conditional requests (RFC 9110 §13). Pure. Called by http.c. */
#include "crl.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* IMF-fixdate (RFC 9110 §5.6.7), whatever the locale. */
void crl_http_date(int64_t time_us, char text[40])
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t)(time_us / CH_SECOND);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	snprintf(text, 40, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday], parts.tm_mday,
		 months[parts.tm_mon], (parts.tm_year + 1900) % 10000, parts.tm_hour, parts.tm_min,
		 parts.tm_sec);
}

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

/* Does the list of entity tags name this one? Weak comparison (§13.1.2): W/ does not matter. */
static bool names_tag(const char *list, const char *etag)
{
	size_t size = strlen(etag);

	while (*list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		if (strncmp(list, "W/", 2) == 0)
			list += 2;
		if (strncmp(list, etag, size) == 0)
			return true;
		if (*list == '"') /* over this tag, quotes and all */
			list += 1 + strcspn(list + 1, "\"");
		list += strcspn(list, ",");
	}
	return false;
}

bool crl_not_modified(const struct crl_document *document, const char *if_none_match,
		      const char *if_modified_since)
{
	int64_t since;

	if (if_none_match) /* §13.2.2: then If-Modified-Since is not looked at */
		return names_tag(if_none_match, document->etag);
	return if_modified_since && read_http_date(if_modified_since, &since) &&
	       document->modified_us / CH_SECOND * CH_SECOND <= since;
}
