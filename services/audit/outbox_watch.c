/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outbox_watch.c: what waits in the outboxes of issuer and crl is numbered, and what left them is counted
 * (proto/schema/0016_outbox.sql): a number that neither accounts for was taken away before it came here.
 * Called by checkpoint.c.
 */
#include "audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct watched { /* a service whose numbers do not add up */
	char service[64];
	int64_t missing; /* as it was told */
	struct watched *next;
};

struct outbox_watch {
	struct watched *services;
	bool failing;
};

struct outbox_watch *outbox_watch_new(void)
{
	return ch_alloc(sizeof(struct outbox_watch));
}

void outbox_watch_free(struct outbox_watch *watch)
{
	if (!watch)
		return;
	while (watch->services) {
		struct watched *next = watch->services->next;

		free(watch->services);
		watch->services = next;
	}
	free(watch);
}

static struct watched *find(struct outbox_watch *watch, const char *service)
{
	struct watched *watched = watch->services;

	while (watched && strcmp(watched->service, service) != 0)
		watched = watched->next;
	if (watched)
		return watched;
	watched = ch_alloc(sizeof(*watched));
	snprintf(watched->service, sizeof(watched->service), "%s", service);
	watched->next = watch->services;
	return watch->services = watched;
}

static void look_at(struct audit *audit, struct outbox_watch *watch, const char *service, int64_t missing)
{
	CH_AUTO(ch_string) label = ch_format("service=\"%.63s\"", service);
	struct watched *watched = find(watch, service);

	ch_metric_set(ch_metrics_gauge(audit->metrics, "chancery_audit_outbox_missing",
				       "Audit events that were taken out of a service's outbox unsent",
				       label),
		      missing);
	if (missing == watched->missing)
		return;
	watched->missing = missing;
	if (missing)
		watch_tell_outbox(audit, service, missing);
}

void outbox_watch_look(struct audit *audit, struct outbox_watch *watch)
{
	CH_AUTO(ch_rows) rows = NULL;
	struct ch_error err = CH_NONE;
	bool read = store_outbox_missing(audit->db, &rows, &err);

	if (!read && !watch->failing)
		ch_log_warn("the outboxes cannot be looked at: %s", err.message);
	watch->failing = !read;
	for (size_t i = 0; read && i < ch_rows_count(rows); i++)
		look_at(audit, watch, ch_rows_text(rows, i, 0), ch_rows_int64(rows, i, 1));
}
