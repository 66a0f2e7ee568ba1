/* SPDX-License-Identifier: Apache-2.0 */
/* conditional.c: what validators are made of and compared by (RFC 9110 §8.8, §13). Pure. Services that answer
 * conditional requests call it. */
#include "clock/clock.h"
#include "http/http.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void ch_http_date(int64_t time_us, char text[CH_HTTP_DATE_SIZE])
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t)(time_us / CH_SECOND);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	snprintf(text, CH_HTTP_DATE_SIZE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday],
		 parts.tm_mday, months[parts.tm_mon], (parts.tm_year + 1900) % 10000, parts.tm_hour,
		 parts.tm_min, parts.tm_sec);
}

static const char *without_weakness(const char *tag)
{
	return strncmp(tag, "W/", 2) == 0 ? tag + 2 : tag;
}

bool ch_http_names_tag(const char *if_none_match, const char *etag)
{
	const char *list = if_none_match;
	size_t size;

	etag = without_weakness(etag);
	size = strlen(etag);
	while (*list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		list = without_weakness(list);
		if (size && strncmp(list, etag, size) == 0)
			return true;
		if (*list == '"') /* over this tag, quotes and all */
			list += 1 + strcspn(list + 1, "\"");
		list += strcspn(list, ",");
	}
	return false;
}
