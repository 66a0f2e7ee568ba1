/* SPDX-License-Identifier: Apache-2.0 */
/* audit_fixture.h: an audit client on a state directory of its own, and what stands where the audit service
 * does. For auditclient_test.c and spool_test.c. */
#ifndef AUDIT_FIXTURE_H
#define AUDIT_FIXTURE_H

#include "auditclient/auditclient.h"
#include "auditclient/internal.h"
#include "system_ca.h"

#define MOST 20000

/* Stands where the audit service does: keeps what it was given, by sequence number. */
struct collector {
	pthread_mutex_t lock;
	bool down;
	int requests, duplicates, bad;
	int refused;                 /* requests, while it was down */
	uint64_t quarantines, later; /* the numbers of events to which it answers so; 0: of none */
	bool answers;                /* for each event */
	int quarantined, unsigned_events;
	size_t largest; /* request, octets */
	uint64_t highest;
	bool seen[MOST];
	char last_actor[64], last_detail[600];
	char damage[600]; /* details of the last audit.spool-damaged */
	int damages;
};

struct fixture {
	struct system_ca ca;
	struct ch_identity_config files;
	struct ch_identity *identity;
	char *state;
	struct collector collector;
	struct ch_audit_client *client;
	int64_t cap;
};

void audit_open(struct fixture *f);
void audit_close(struct fixture *f, int64_t drain_us);
int audit_set_up(void **state);
int audit_tear_down(void **state);
bool audit_record(struct fixture *f, struct ch_error *err);
void assert_recorded(struct fixture *f, int count);
void assert_collected(struct fixture *f, uint64_t up_to);
int count_segments(const struct fixture *f);
char *last_segment(const struct fixture *f);

#endif
