/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health.h: a thread that watches over what a daemon needs (its database, the services it calls, its audit
 * spool) and sets a condition of /readyz for each. No request pays for it: a ping a second to the database,
 * the state of the bus connections and the spool twice a second.
 */
#ifndef CH_HEALTH_H
#define CH_HEALTH_H

#include "auditclient/auditclient.h"
#include "bus/bus.h"
#include "daemon/daemon.h"

/* What is the case without it: CH_READY_FAILED, or CH_READY_DEGRADED, and what that means for who asks
 * ("serving cached"). */
struct ch_health_without {
	enum ch_ready state;
	const char *meaning;
};
struct ch_health_options {
	struct ch_daemon *daemon;
	const char *instance;                      /* names the connection to the database */
	const struct ch_database_config *database; /* NULL: none, or somebody else watches it */
	struct ch_health_without without_database;
	const struct ch_bus_peers *peers; /* NULL: it calls nobody */
	struct ch_audit_client *audit;
	struct ch_health_without without_spool;
};

struct ch_health;
/* All in options is borrowed and outlives this. Each condition is "not yet" until it was looked at. */
CH_MUST_USE bool ch_health_start(const struct ch_health_options *options, struct ch_health **health,
				 struct ch_error *err);
/* The daemon is stopping already, or never got ready. NULL is fine. */
void ch_health_stop(struct ch_health *health);

#endif
