/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issuer_change_test.c: revoke, suspend, reinstate (services/issuer/status_change.c), and what makes two
 * requests the same (issue.c), through the bus handlers on a real PostgreSQL.
 */
#include "issuer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define REVOKE        CHANCERY__STATUS_ACTION__STATUS_ACTION_REVOKE
#define SUSPEND       CHANCERY__STATUS_ACTION__STATUS_ACTION_SUSPEND
#define REINSTATE     CHANCERY__STATUS_ACTION__STATUS_ACTION_REINSTATE
#define TEXT(literal) ((char *)(uintptr_t)(literal))

struct wanted {
	Chancery__StatusAction action;
	const char *reason; /* NULL: none */
	int64_t invalidity_date_us;
};

static bool change(struct world *world, const struct ordered *ordered, struct wanted wanted,
		   struct ch_error *err)
{
	CH_AUTO(ch_string) serial = ch_hex(ordered->pending.serial);
	char *officer[] = { TEXT("officer") };
	Chancery__Requester requester = CHANCERY__REQUESTER__INIT;
	Chancery__ChangeStatusRequest payload = CHANCERY__CHANGE_STATUS_REQUEST__INIT;
	Chancery__Body body = CHANCERY__BODY__INIT;
	struct ch_bus_request request = world_request(&body, &payload.base);
	ProtobufCMessage *reply = NULL;
	bool done;

	requester.client = TEXT("olga");
	requester.roles = officer;
	requester.n_roles = 1;
	body.tenant = TEXT(WORLD_TENANT);
	payload.requester = &requester;
	payload.serial = serial;
	payload.action = wanted.action;
	payload.reason = TEXT(wanted.reason ? wanted.reason : "");
	payload.invalidity_date_us = wanted.invalidity_date_us;
	*err = (struct ch_error)CH_NONE;
	done = issuer_change_status(&world->issuer, &request, &reply, err);
	if (reply)
		protobuf_c_message_free_unpacked(reply, NULL);
	return done;
}

static void changes(struct world *world, const struct ordered *ordered, struct wanted wanted)
{
	struct ch_error err;

	if (!change(world, ordered, wanted, &err))
		fail_msg("%s", err.message);
}

static void is_refused(struct world *world, const struct ordered *ordered, struct wanted wanted,
		       enum ch_code code, const char *says)
{
	struct ch_error err;

	assert_false(change(world, ordered, wanted, &err));
	assert_int_equal(err.code, code);
	if (!strstr(err.message, says))
		fail_msg("'%s' does not say '%s'", err.message, says);
}

static void issue_one(struct world *world, struct ordered *ordered)
{
	struct ch_error err = CH_NONE;

	world_order(world, ordered);
	if (!finish_pending(&world->issuer, &ordered->pending, &err))
		fail_msg("%s", err.message);
}

static void revoked_since(struct world *world, const struct ordered *ordered, int reason, int64_t time_us)
{
	CH_AUTO(certificate_row) row = CH_NONE;

	world_row(world, ordered, &row);
	assert_int_equal(row.revoked_at_us, time_us);
	assert_int_equal(row.revocation_reason, reason);
}

/* It has not been good since the hold; a hold that was lifted counts no more. */
static void the_date_of_a_hold_stays_that_of_the_revocation(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;

	issue_one(world, &ordered);
	changes(world, &ordered, (struct wanted){ .action = SUSPEND });
	assert_status(world, &ordered, "suspended");
	revoked_since(world, &ordered, 6, NOW);
	world->now_us += CH_HOUR;
	changes(world, &ordered, (struct wanted){ .action = REINSTATE });
	assert_status(world, &ordered, "issued");
	revoked_since(world, &ordered, -1, 0);
	world->now_us += CH_HOUR + 7;
	changes(world, &ordered, (struct wanted){ .action = SUSPEND });
	world->now_us += CH_HOUR;
	changes(world, &ordered, (struct wanted){ .action = REVOKE, .reason = "superseded" });
	assert_status(world, &ordered, "revoked");
	revoked_since(world, &ordered, 4, NOW + 2 * CH_HOUR);
}

static void a_revocation_counts_from_now_in_whole_seconds(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;

	issue_one(world, &ordered);
	world->now_us = NOW + CH_HOUR + 999999;
	changes(world, &ordered, (struct wanted){ .action = REVOKE });
	revoked_since(world, &ordered, 0, NOW + CH_HOUR);
	world->now_us += CH_HOUR;
	changes(world, &ordered, (struct wanted){ .action = REVOKE }); /* again: nothing changes */
	revoked_since(world, &ordered, 0, NOW + CH_HOUR);
	is_refused(world, &ordered, (struct wanted){ .action = REVOKE, .reason = "superseded" }, CH_CONFLICT,
		   "is revoked already, for unspecified");
	is_refused(world, &ordered, (struct wanted){ .action = REINSTATE }, CH_CONFLICT,
		   "cannot be reinstated");
	is_refused(world, &ordered, (struct wanted){ .action = SUSPEND }, CH_CONFLICT, "cannot be suspended");
}

/* Clocks differ by minutes, not by days. */
static void an_invalidity_date_lies_not_in_the_future(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;
	CH_AUTO(certificate_row) row = CH_NONE;
	const int64_t bad[] = { -1, NOW + 5 * CH_MINUTE + 1, NOW + CH_HOUR, NOW + CH_DAY };

	issue_one(world, &ordered);
	for (size_t i = 0; i < CH_COUNT(bad); i++)
		is_refused(world, &ordered, (struct wanted){ .action = REVOKE, .invalidity_date_us = bad[i] },
			   CH_INVALID, "invalidity date lies in the future or before 1970");
	assert_status(world, &ordered, "issued");
	changes(world, &ordered,
		(struct wanted){ .action = REVOKE, .invalidity_date_us = NOW + 5 * CH_MINUTE });
	world_row(world, &ordered, &row);
	assert_int_equal(row.invalidity_date_us, NOW + 5 * CH_MINUTE);
}

static void reasons_are_those_of_rfc_5280(void **state)
{
	struct world *world = *state;
	CH_AUTO(ordered) ordered = CH_NONE;

	issue_one(world, &ordered);
	is_refused(world, &ordered, (struct wanted){ .action = REVOKE, .reason = "because" }, CH_INVALID,
		   "'because' is not one of RFC 5280");
	is_refused(world, &ordered, (struct wanted){ .action = REVOKE, .reason = "removeFromCRL" },
		   CH_INVALID, "reinstate the certificate instead");
	is_refused(world, &ordered, (struct wanted){ .action = 17 }, CH_INVALID, "status action 17");
	assert_status(world, &ordered, "issued");
	changes(world, &ordered, (struct wanted){ .action = REVOKE, .reason = "certificateHold" });
	assert_status(world, &ordered, "suspended");
}

/* --- issue.c: the same request again --- */

struct asking {
	const char *key, *address;
	int64_t validity_seconds;
};

static bool ask(struct world *world, struct asking asking, char serial[64], bool *repeated,
		struct ch_error *err)
{
	char *roles[] = { TEXT("requester") };
	Chancery__Requester requester = CHANCERY__REQUESTER__INIT;
	Chancery__IssueCertificateRequest payload = CHANCERY__ISSUE_CERTIFICATE_REQUEST__INIT;
	Chancery__Body body = CHANCERY__BODY__INIT;
	struct ch_bus_request request = world_request(&body, &payload.base);
	CH_AUTO(ch_string) ca = ch_hex(ch_view_of(&world->made.ca.key_identifier));
	CH_AUTO(ch_string) ca_name = ch_format("ca-%.20s", ca);
	ProtobufCMessage *reply = NULL;
	const Chancery__CertificateReply *answer;

	requester.client = TEXT("alice");
	requester.address = TEXT(asking.address);
	requester.roles = roles;
	requester.n_roles = 1;
	body.tenant = TEXT(WORLD_TENANT);
	payload.requester = &requester;
	payload.idempotency_key = TEXT(asking.key);
	payload.profile = TEXT("example");
	payload.ca = ca_name;
	payload.csr = (ProtobufCBinaryData){ world->csr.size, world->csr.data };
	payload.validity_seconds = asking.validity_seconds;
	*err = (struct ch_error)CH_NONE;
	if (!issuer_issue(&world->issuer, &request, &reply, err))
		return false;
	answer = (const Chancery__CertificateReply *)reply;
	snprintf(serial, 64, "%s", answer->certificate->serial);
	*repeated = answer->repeated_request;
	protobuf_c_message_free_unpacked(reply, NULL);
	return true;
}

/* A client that changed its network, or another gateway, asks for the same. */
static void who_asks_from_another_address_asks_for_the_same(void **state)
{
	struct world *world = *state;
	char first[64] = "", second[64] = "";
	struct ch_error err;
	bool repeated = false;

	if (!ask(world, (struct asking){ "k1", "192.0.2.1", 0 }, first, &repeated, &err))
		fail_msg("%s", err.message);
	assert_false(repeated);
	if (!ask(world, (struct asking){ "k1", "198.51.100.7", 0 }, second, &repeated, &err))
		fail_msg("%s", err.message);
	assert_true(repeated);
	assert_string_equal(first, second);
	assert_true(ask(world, (struct asking){ "k2", "192.0.2.1", 0 }, second, &repeated, &err));
	assert_false(repeated);
	assert_string_not_equal(first, second);
	assert_false(ask(world, (struct asking){ "k1", "192.0.2.1", 86400 }, second, &repeated, &err));
	assert_int_equal(err.code, CH_CONFLICT);
	assert_non_null(strstr(err.message, "was used for another request"));
	assert_int_equal(world_count(world, "issued"), 2);
}

static void idempotency_keys_are_short_and_printable(void **state)
{
	static const char *const bad[] = { "", "a\tb", "\x7f", "\xc3\xa4" };
	struct world *world = *state;
	char serial[64], longest[130];
	struct ch_error err;
	bool repeated;

	for (size_t i = 0; i < CH_COUNT(bad); i++) {
		assert_false(ask(world, (struct asking){ bad[i], "", 0 }, serial, &repeated, &err));
		assert_int_equal(err.code, CH_INVALID);
	}
	memset(longest, ' ', 129);
	longest[129] = 0;
	assert_false(ask(world, (struct asking){ longest, "", 0 }, serial, &repeated, &err));
	assert_int_equal(err.code, CH_INVALID);
	longest[0] = '~';
	longest[128] = 0;
	assert_true(ask(world, (struct asking){ longest, "", 0 }, serial, &repeated, &err));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_begin, world_end)
	const struct CMUnitTest tests[] = {
		TEST(the_date_of_a_hold_stays_that_of_the_revocation),
		TEST(a_revocation_counts_from_now_in_whole_seconds),
		TEST(an_invalidity_date_lies_not_in_the_future),
		TEST(reasons_are_those_of_rfc_5280),
		TEST(who_asks_from_another_address_asks_for_the_same),
		TEST(idempotency_keys_are_short_and_printable),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
