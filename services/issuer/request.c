/* SPDX-License-Identifier: Apache-2.0 */
/* request.c: what handlers ask of a request first: the requester's role, the tenant, the time that is left.
 */
#include "issuer.h"

#include <string.h>

bool has_role(const Chancery__Requester *requester, const char *role)
{
	for (size_t i = 0; requester && i < requester->n_roles; i++)
		if (strcmp(requester->roles[i], role) == 0)
			return true;
	return false;
}

bool require_role(const Chancery__Requester *requester, const char *role, struct ch_error *err)
{
	if (!requester || !requester->client[0] || strlen(requester->client) > 128)
		return ch_fail(err, CH_INVALID, "the request names no requester");
	if (!has_role(requester, role))
		return ch_fail(err, CH_DENIED, "client '%s' lacks the role %s", requester->client, role);
	return true;
}

bool request_tenant(const struct ch_bus_request *request, const char **tenant, struct ch_error *err)
{
	*tenant = request->body->tenant;
	return ch_check_name("tenant", *tenant, err);
}

int64_t time_left(const struct issuer *issuer, const struct ch_bus_request *request, int64_t limit_us)
{
	int64_t left = limit_us;

	if (request->body->deadline_us > 0) /* what remains after it is for our own commit and the reply */
		left = request->body->deadline_us - ch_clock_now_us(issuer->clock) - 100 * CH_MILLISECOND;
	if (left > limit_us)
		left = limit_us;
	return left > CH_MILLISECOND ? left : CH_MILLISECOND;
}
