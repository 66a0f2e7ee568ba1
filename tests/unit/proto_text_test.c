/* SPDX-License-Identifier: Apache-2.0 */
/* proto_text_test.c: no text of a message, at whatever place in it, is taken that is not UTF-8. */
#include "envelope/envelope.h"

#include "audit.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A list of two, the second with an event, that with two details: repeated in single in repeated. */
struct message {
	Chancery__ListQuarantineReply reply;
	Chancery__QuarantinedEvent *listed[2], first, second;
	Chancery__Event event;
	Chancery__Detail *details[2], one, other;
};

static void make(struct message *m)
{
	chancery__list_quarantine_reply__init(&m->reply);
	chancery__quarantined_event__init(&m->first);
	chancery__quarantined_event__init(&m->second);
	chancery__event__init(&m->event);
	chancery__detail__init(&m->one);
	chancery__detail__init(&m->other);
	m->details[0] = &m->one;
	m->details[1] = &m->other;
	m->event.details = m->details;
	m->event.n_details = 2;
	m->second.claimed = &m->event;
	m->listed[0] = &m->first;
	m->listed[1] = &m->second;
	m->reply.events = m->listed;
	m->reply.n_events = 2;
}

static void text_at_every_place_is_looked_at(void **state)
{
	struct message m;
	const struct {
		char **text;
		const char *name;
	} places[] = {
		{ &m.first.received_by, "received_by" },
		{ &m.first.reason, "reason" },
		{ &m.second.service, "service" },
		{ &m.event.service, "service" },
		{ &m.event.trace_id, "trace_id" },
		{ &m.one.name, "name" },
		{ &m.one.value, "value" },
		{ &m.other.name, "name" },
		{ &m.other.value, "value" },
	};

	for (size_t i = 0; i < CH_COUNT(places); i++) {
		CH_AUTO(ch_string) says = ch_format("field '%s' is not UTF-8 text", places[i].name);
		struct ch_error err = CH_NONE;

		make(&m);
		*places[i].text = (char *)(uintptr_t) "Z\xc3\xbcrich";
		assert_true(ch_proto_check_text(&m.reply.base, &err));
		*places[i].text = (char *)(uintptr_t) "Z\xfcrich";
		assert_false(ch_proto_check_text(&m.reply.base, &err));
		assert_int_equal(err.code, CH_INVALID);
		assert_string_equal(err.message, says);
	}
}

static void what_is_not_there_is_no_text(void **state)
{
	struct message m;
	struct ch_error err = CH_NONE;

	make(&m);
	m.first.claimed = NULL;
	m.second.reason = NULL;
	m.event.n_details = 0;
	m.event.details = NULL;
	assert_true(ch_proto_check_text(&m.reply.base, &err));
	m.reply.n_events = 0;
	m.reply.events = NULL;
	assert_true(ch_proto_check_text(&m.reply.base, &err));
}

static void text_to_its_last_octet(void **state)
{
	static const char *const bad[] = { "\x80", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "ok\xff" };
	struct message m;

	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		make(&m);
		m.event.subject = (char *)(uintptr_t)bad[i];
		assert_false(ch_proto_check_text(&m.reply.base, NULL));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_at_every_place_is_looked_at),
		cmocka_unit_test(what_is_not_there_is_no_text),
		cmocka_unit_test(text_to_its_last_octet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
