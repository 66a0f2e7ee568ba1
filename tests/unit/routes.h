/* SPDX-License-Identifier: Apache-2.0 */
/* routes.h: who may send what to a daemon, written down a second time: a sender that is added to a dispatch
 * table is added to the specification too, or its test fails. The *_routes_test.c include it. */
#ifndef TEST_ROUTES_H
#define TEST_ROUTES_H

#include "bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct route_rule {
	Chancery__PayloadType payload;
	const char *senders; /* separated by spaces, in any order */
};

/* Every word of `senders` is one that the route takes; how many those are. */
static inline size_t assert_takes(const struct ch_bus_route *route, const char *senders)
{
	CH_AUTO(ch_string) words = ch_strdup(senders);
	char *rest = words;
	size_t count = 0;

	for (char *word; (word = strsep(&rest, " ")); count++)
		if (!ch_bus_route_takes(route, word))
			fail_msg("payload %d: '%s' is not one of '%s'", (int)route->request_type, word,
				 route->senders);
	return count;
}

static inline void assert_senders(const struct ch_bus_route *route, const char *senders)
{
	struct ch_bus_route other = *route;

	other.senders = senders;
	assert_int_equal(assert_takes(route, senders), assert_takes(&other, route->senders));
}

/* The table has exactly these rows, and these senders in each. */
static inline void assert_routes(const struct ch_bus_route *routes, size_t count,
				 const struct route_rule *rules, size_t rule_count)
{
	assert_int_equal(count, rule_count);
	for (size_t i = 0; i < rule_count; i++) {
		size_t found = count;

		for (size_t j = 0; j < count; j++)
			if (routes[j].request_type == rules[i].payload)
				found = j;
		if (found == count)
			fail_msg("payload %d is not in the table", (int)rules[i].payload);
		assert_senders(&routes[found], rules[i].senders);
	}
}

#endif
