/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collector.h: the audit daemon's own code (services/audit) on a real PostgreSQL, without its bus, and
 * senders that sign events for it. Include after <cmocka.h> and postgres.h.
 */
#ifndef TEST_COLLECTOR_H
#define TEST_COLLECTOR_H

#include "audit.h"
#include "system_ca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct fixture {
	struct system_ca ca;
	struct ch_identity_config audit_files, issuer_files, ocsp_files;
	struct ch_identity *issuer, *ocsp;
	struct audit_config config;
	struct audit audit;
	char *state;
	EVP_PKEY *key;                /* stands where the vault's checkpoint key does */
	const struct ch_clock *clock; /* NULL: the system's */
	uint64_t sequence;            /* the issuer's last */
	bool old_sender;              /* one that does not read answers */
	Chancery__EventFate fates[EVENTS_PER_REQUEST];
	char reason[500];
	/* what the verifier said */
	struct ch_audit_summary summary;
	int findings;
	char told[20000];
};

/* --- fixture -----------------------------------------------------------------------------------------------
 */

static inline void open_audit(struct fixture *f)
{
	struct ch_audit_options options = { .clock = ch_clock_system(),
					    .state_directory = f->state,
					    .deliver = audit_deliver_own,
					    .deliver_state = &f->audit };
	struct ch_metrics *m = ch_metrics_new();
	struct ch_error err = CH_NONE;

	f->config.common.instance = ch_strdup("audit-1");
	f->config.common.state_directory = f->state;
	f->audit = (struct audit){ .config = &f->config,
				   .clock = f->clock ? f->clock : ch_clock_system(),
				   .metrics = m };
	f->audit.appended = f->audit.repeated = f->audit.refused = ch_metrics_counter(m, "a", "a", "");
	f->audit.quarantined = ch_metrics_counter(m, "quarantined", "quarantined", "");
	f->audit.no_room = ch_metrics_counter(m, "no_room", "no_room", "");
	f->audit.later = ch_metrics_counter(m, "later", "later", "");
	f->audit.gaps = ch_metrics_counter(m, "gaps", "gaps", "");
	f->audit.size = f->audit.covered = ch_metrics_gauge(m, "size", "size", "");
	f->audit.db = postgres_open("chancery_audit", 4);
	assert_true(ch_identity_load(&f->audit_files, "audit", "audit-1", &f->audit.identity, &err));
	f->audit.signers = signers_new(ch_identity_trust(f->audit.identity), f->ca.path);
	f->audit.waiting = waiting_new();
	assert_true(head_open(f->state, &f->audit.head, &err));
	options.identity = f->audit.identity;
	assert_true(ch_audit_open(&options, &f->audit.client, &err));
}

static inline void close_audit(struct fixture *f)
{
	ch_audit_close(f->audit.client, CH_SECOND);
	head_close(f->audit.head);
	signers_free(f->audit.signers);
	waiting_free(f->audit.waiting);
	ch_identity_free(f->audit.identity);
	ch_db_close(f->audit.db);
	ch_metrics_free(f->audit.metrics);
	free(f->config.common.instance);
}

static inline int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	postgres_does("TRUNCATE audit_log, audit_checkpoints, audit_senders, audit_quarantine,"
		      " audit_quarantine_senders");
	system_ca_make(&f->ca);
	system_ca_issue(&f->ca, "audit", "audit-1", -60, 3600, &f->audit_files);
	system_ca_issue(&f->ca, "issuer", "issuer-1", -60, 3600, &f->issuer_files);
	system_ca_issue(&f->ca, "ocsp", "ocsp-1", -60, 3600, &f->ocsp_files);
	assert_true(ch_identity_load(&f->issuer_files, NULL, NULL, &f->issuer, NULL));
	assert_true(ch_identity_load(&f->ocsp_files, NULL, NULL, &f->ocsp, NULL));
	f->state = ch_format("%s/state", f->ca.directory);
	assert_int_equal(mkdir(f->state, 0700), 0);
	f->key = EVP_EC_gen("P-256");
	open_audit(f);
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_string) remove = ch_format("rm -rf '%s'", f->state);

	close_audit(f);
	assert_int_equal(system(remove), 0);
	ch_identity_free(f->issuer);
	ch_identity_free(f->ocsp);
	system_ca_forget(&f->audit_files);
	system_ca_forget(&f->issuer_files);
	system_ca_forget(&f->ocsp_files);
	system_ca_remove(&f->ca);
	EVP_PKEY_free(f->key);
	free(f->state);
	free(f);
	return 0;
}

/* --- making events -----------------------------------------------------------------------------------------
 */

/* Signs the event as it is. */
static inline Chancery__SignedEvent *sign_event(struct ch_identity *identity, const Chancery__Event *event)
{
	Chancery__SignedEvent *made = CH_PROTO_NEW(Chancery__SignedEvent, chancery__signed_event__init);
	struct ch_bytes encoded, signature = CH_NONE, certificate;

	encoded.size = chancery__event__get_packed_size(event);
	encoded.data = ch_alloc(encoded.size);
	chancery__event__pack(event, encoded.data);
	assert_true(ch_identity_sign(identity, CH_EVENT_DOMAIN, ch_view_of(&encoded), &signature,
				     &certificate, NULL));
	made->event = (ProtobufCBinaryData){ encoded.size, encoded.data };
	made->signature = (ProtobufCBinaryData){ signature.size, signature.data };
	made->certificate = (ProtobufCBinaryData){ certificate.size, certificate.data };
	return made;
}

/* An event of that identity, of now; id: 16 octets, borrowed. */
static inline Chancery__Event plain_event(struct ch_identity *identity, uint64_t sequence, uint8_t *id)
{
	Chancery__Event event = CHANCERY__EVENT__INIT;
	const struct ch_peer *self = ch_identity_self(identity);

	ch_random(id, 16);
	event.event_id = (ProtobufCBinaryData){ 16, id };
	event.service = (char *)(uintptr_t)self->service;
	event.instance = (char *)(uintptr_t)self->instance;
	event.sequence = sequence;
	event.time_us = ch_clock_now_us(ch_clock_system());
	event.tenant = (char *)(uintptr_t) "default";
	event.type = (char *)(uintptr_t) "certificate.issued";
	event.outcome = (char *)(uintptr_t) "success";
	event.actor = (char *)(uintptr_t) "alice";
	return event;
}

static inline Chancery__SignedEvent *make_event(struct ch_identity *identity, uint64_t sequence,
						const char *subject)
{
	uint8_t id[16];
	Chancery__Event event = plain_event(identity, sequence, id);

	event.subject = (char *)(uintptr_t)subject;
	return sign_event(identity, &event);
}

/* Brings events; safe for several threads. The caller frees *reply. */
static inline bool ask_to_append(struct fixture *f, struct ch_identity *brings,
				 Chancery__SignedEvent **events, size_t count,
				 Chancery__AppendEventsReply **reply, struct ch_error *err)
{
	Chancery__AppendEventsRequest request = CHANCERY__APPEND_EVENTS_REQUEST__INIT;

	request.n_events = count;
	request.events = events;
	request.reads_answers = !f->old_sender;
	return audit_append(&f->audit, ch_identity_self(brings), &request, reply, err);
}

/* The same; what became of each is in f->fates, and of the first that is not stored in f->reason. */
static inline bool append(struct fixture *f, struct ch_identity *brings, Chancery__SignedEvent **events,
			  size_t count, uint64_t *size, struct ch_error *err)
{
	Chancery__AppendEventsReply *reply = NULL;

	f->reason[0] = 0;
	if (!ask_to_append(f, brings, events, count, &reply, err))
		return false;
	*size = reply->log_size;
	assert_int_equal(reply->n_answers, count);
	for (size_t i = 0; i < count; i++) {
		f->fates[i] = reply->answers[i]->fate;
		if (f->fates[i] != CHANCERY__EVENT_FATE__EVENT_STORED && !f->reason[0])
			snprintf(f->reason, sizeof(f->reason), "%s", reply->answers[i]->reason);
	}
	ch_proto_free(&reply->base);
	return true;
}

/* Appends `count` events of the issuer, with its next numbers. */
static inline uint64_t append_some(struct fixture *f, size_t count)
{
	Chancery__SignedEvent *events[EVENTS_PER_REQUEST];
	struct ch_error err = CH_NONE;
	uint64_t size = 0;

	for (size_t i = 0; i < count; i++) {
		char subject[16];

		snprintf(subject, sizeof(subject), "%04x", (unsigned)++f->sequence);
		events[i] = make_event(f->issuer, f->sequence, subject);
	}
	if (!append(f, f->issuer, events, count, &size, &err))
		fail_msg("%s", err.message);
	for (size_t i = 0; i < count; i++)
		chancery__signed_event__free_unpacked(events[i], NULL);
	return size;
}

#endif
