/* SPDX-License-Identifier: Apache-2.0 */
/*
 * approval_check_test.c: an action is approved when M distinct officers of the quorum signed exactly its
 * document in its time, and in no other case. Each refusal has its own reason.
 */
#include "officers.h"

#include "err/err.h"
#include "x509/operator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795235400) * CH_SECOND) /* 2026-11-21T04:30:00Z */

struct fixture {
	struct person ca, alice, bob, carol, mallory, rsa;
	struct vault_operators operators;
	struct vault_quorum quorum;
	struct vault_action action;
	struct vault_approval_ask ask;
	struct ch_action_field fields[1];
};

/* The action as it is proposed: export of a key. */
static void propose(struct fixture *f, int64_t created_us, int64_t expires_us)
{
	const struct ch_action action = { .kind = CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY,
					  .id = "5f0c0c1a77b84a2c9d3c8e0b7d1f2a34",
					  .tenant = "default",
					  .created_us = created_us,
					  .expires_us = expires_us,
					  .fields = { f->fields[0] },
					  .field_count = 1 };

	write_document(&f->action, &action);
}

static int set_up(void **state)
{
	struct fixture *f = ch_alloc(sizeof(*f));

	f->ca = make_person(NULL, EVP_EC_gen("P-256"), "Operators CA", NULL, NOW);
	f->alice = make_person(&f->ca, EVP_EC_gen("P-256"), "alice",
			       "URI:" CH_OPERATOR_URI "default/officer/alice", NOW);
	f->bob = make_person(&f->ca, EVP_EC_gen("P-256"), "bob", "URI:" CH_OPERATOR_URI "default/officer/bob",
			     NOW);
	f->carol = make_person(&f->ca, EVP_EC_gen("P-256"), "carol",
			       "URI:" CH_OPERATOR_URI "default/officer/carol", NOW);
	f->rsa = make_person(&f->ca, EVP_RSA_gen(2048), "dave", "URI:" CH_OPERATOR_URI "default/officer/dave",
			     NOW);
	f->mallory = make_person(&f->ca, EVP_EC_gen("P-256"), "mallory",
				 "URI:" CH_OPERATOR_URI "default/officer/mallory", NOW);
	f->operators.ca = X509_STORE_new();
	X509_STORE_add_cert(f->operators.ca, f->ca.certificate);
	f->quorum = (struct vault_quorum){ .version = 1, .required = 2 };
	appoint(&f->quorum, "alice", &f->alice);
	appoint(&f->quorum, "bob", &f->bob);
	appoint(&f->quorum, "carol", &f->carol);
	appoint(&f->quorum, "dave", &f->rsa);
	f->fields[0] = (struct ch_action_field){ (char *)"key", (char *)"00112233445566778899aabbccddeeff" };
	f->ask = (struct vault_approval_ask){ .tenant = "default",
					      .kind = CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY,
					      .fields = f->fields,
					      .field_count = 1,
					      .now_us = NOW };
	propose(f, NOW - CH_MINUTE, NOW + CH_HOUR);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	struct person *people[] = { &f->ca, &f->alice, &f->bob, &f->carol, &f->mallory, &f->rsa };

	for (size_t i = 0; i < CH_COUNT(people); i++)
		free_person(people[i]);
	X509_STORE_free(f->operators.ca);
	vault_action_free(&f->action);
	free(f);
	return 0;
}

/* --- asserting --- */

static void assert_approved(struct fixture *f, const char *by)
{
	CH_AUTO(ch_string) names = NULL;
	struct ch_error err = CH_NONE;
	const char *reason = NULL;

	if (!vault_approvals_check(&f->ask, &f->action, &f->quorum, &f->operators, &names, &reason, &err))
		fail_msg("%s: %s", reason, err.message);
	assert_string_equal(names, by);
}

static void assert_refused(struct fixture *f, enum ch_code code, const char *reason, const char *words)
{
	CH_AUTO(ch_string) names = NULL;
	struct ch_error err = CH_NONE;
	const char *why = NULL;

	assert_false(
		vault_approvals_check(&f->ask, &f->action, &f->quorum, &f->operators, &names, &why, &err));
	assert_null(names);
	assert_string_equal(why, reason);
	if (!strstr(err.message, words))
		fail_msg("'%s' does not say '%s'", err.message, words);
	assert_int_equal(err.code, code);
}

/* --- approved --- */

static void two_officers_of_two_required_approve(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	assert_approved(f, "alice bob");
}

static void an_rsa_key_approves_too(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->rsa);
	approve(&f->action, &f->carol);
	assert_approved(f, "dave carol");
}

static void a_signature_that_no_longer_counts_does_not_take_away_from_enough_others(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->mallory);
	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	assert_approved(f, "alice bob");
}

/* --- refused --- */

static void one_officer_of_two_required_is_too_few(void **state)
{
	struct fixture *f = *state;

	assert_refused(f, CH_DENIED, "approval-count", "approved by 0 of the 2 officers");
	approve(&f->action, &f->alice);
	assert_refused(f, CH_DENIED, "approval-count",
		       "approved by 1 of the 2 officers that are required: alice");
}

static void the_same_officer_twice_counts_once(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->alice);
	assert_refused(f, CH_DENIED, "approval-count", "approved by 1 of the 2 officers");
}

static void a_key_may_want_more_than_the_quorum(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	f->ask.required = 3;
	assert_refused(f, CH_DENIED, "approval-count", "approved by 2 of the 3 officers");
	f->ask.required = 1; /* but not fewer */
	assert_approved(f, "alice bob");
}

static void an_approval_of_another_action_is_refused(void **state)
{
	struct ch_action_field other = { (char *)"key", (char *)"ffffffffffffffffffffffffffffffff" };
	struct fixture *f = *state;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	f->ask.fields = &other;
	assert_refused(f, CH_DENIED, "approval-content", "asked for is 'ffffffffffffffffffffffffffffffff'");
	f->ask.fields = f->fields;
	f->ask.kind = CHANCERY__ACTION_KIND__ACTION_REPLACE_HSM;
	assert_refused(f, CH_DENIED, "approval-content",
		       "the approved action is export-key, not replace-hsm");
	f->ask.kind = CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY;
	f->ask.tenant = "other";
	assert_refused(f, CH_DENIED, "approval-content", "asked for is one of 'other'");
}

static void an_expired_action_is_refused(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	f->ask.now_us = NOW + CH_HOUR;
	assert_refused(f, CH_EXPIRED, "approval-expired", "expired at 2026-11-21T05:30:00Z");
	f->ask.now_us = NOW - CH_HOUR;
	assert_refused(f, CH_EXPIRED, "approval-expired", "in the future");
	propose(f, NOW, NOW + 8 * CH_DAY);
	f->ask.now_us = NOW;
	assert_refused(f, CH_EXPIRED, "approval-expired", "valid for over 7 days");
}

static void a_changed_document_is_signed_by_nobody(void **state)
{
	struct fixture *f = *state;
	uint8_t *expires;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	expires = (uint8_t *)strstr((char *)f->action.document.data, "expires: 2026-11-21");
	assert_non_null(expires);
	expires[18] = '2'; /* a day longer */
	assert_refused(f, CH_DENIED, "approval-signature",
		       "signature of officer 'alice' is not over this document");
}

static void a_document_that_does_not_read_is_refused(void **state)
{
	struct fixture *f = *state;

	f->action.document.size--;
	assert_refused(f, CH_DENIED, "approval-content", "ends early");
}

static void who_is_not_in_the_quorum_does_not_count(void **state)
{
	struct fixture *f = *state;

	approve(&f->action, &f->alice);
	approve(&f->action, &f->mallory);
	assert_refused(f, CH_DENIED, "approval-officer",
		       "1 of 2 approvals: 'mallory' is not one of the quorum's 4");
}

/* The operators' CA made a second alice. */
static void an_officers_name_with_another_key_does_not_count(void **state)
{
	struct fixture *f = *state;
	struct person other = make_person(&f->ca, EVP_EC_gen("P-256"), "alice",
					  "URI:" CH_OPERATOR_URI "default/officer/alice", NOW);

	approve(&f->action, &f->bob);
	approve(&f->action, &other);
	assert_refused(f, CH_DENIED, "approval-officer", "'alice' signed with another key");
	free_person(&other);
}

static void a_certificate_of_another_ca_does_not_count(void **state)
{
	struct fixture *f = *state;
	struct person ca = make_person(NULL, EVP_EC_gen("P-256"), "Operators CA", NULL, NOW);
	struct person forged = make_person(&ca, EVP_EC_gen("P-256"), "alice",
					   "URI:" CH_OPERATOR_URI "default/officer/alice", NOW);

	approve(&f->action, &f->bob);
	approve(&f->action, &forged);
	assert_refused(f, CH_DENIED, "approval-officer", "officer's certificate: ");
	free_person(&forged);
	free_person(&ca);
}

static void an_expired_certificate_does_not_count(void **state)
{
	struct fixture *f = *state;

	f->ask.now_us = NOW + 200 * CH_DAY;
	propose(f, f->ask.now_us, f->ask.now_us + CH_HOUR);
	approve(&f->action, &f->alice);
	approve(&f->action, &f->bob);
	assert_refused(f, CH_DENIED, "approval-officer", "expired");
}

static void a_requester_and_an_officer_of_another_tenant_do_not_count(void **state)
{
	struct fixture *f = *state;
	struct person requester = make_person(&f->ca, EVP_EC_gen("P-256"), "erin",
					      "URI:" CH_OPERATOR_URI "default/requester/erin", NOW);
	struct person foreign = make_person(&f->ca, EVP_EC_gen("P-256"), "frank",
					    "URI:" CH_OPERATOR_URI "other/officer/frank", NOW);

	appoint(&f->quorum, "erin", &requester);
	appoint(&f->quorum, "frank", &foreign);
	approve(&f->action, &f->alice);
	approve(&f->action, &requester);
	assert_refused(f, CH_DENIED, "approval-officer", "operator 'erin' is no officer");
	propose(f, NOW, NOW + CH_HOUR);
	approve(&f->action, &f->alice);
	approve(&f->action, &foreign);
	assert_refused(f, CH_DENIED, "approval-officer", "officer 'frank' is of tenant 'other'");
	free_person(&requester);
	free_person(&foreign);
}

static void a_weak_or_unusual_key_does_not_count(void **state)
{
	struct fixture *f = *state;
	struct person weak = make_person(&f->ca, EVP_RSA_gen(1024), "gina",
					 "URI:" CH_OPERATOR_URI "default/officer/gina", NOW);

	appoint(&f->quorum, "gina", &weak);
	approve(&f->action, &f->alice);
	approve(&f->action, &weak);
	assert_refused(f, CH_DENIED, "approval-officer", "neither P-256 nor RSA of 2048 bits");
	free_person(&weak);
}

#define WITH_OFFICERS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_OFFICERS(two_officers_of_two_required_approve),
		WITH_OFFICERS(an_rsa_key_approves_too),
		WITH_OFFICERS(a_signature_that_no_longer_counts_does_not_take_away_from_enough_others),
		WITH_OFFICERS(one_officer_of_two_required_is_too_few),
		WITH_OFFICERS(the_same_officer_twice_counts_once),
		WITH_OFFICERS(a_key_may_want_more_than_the_quorum),
		WITH_OFFICERS(an_approval_of_another_action_is_refused),
		WITH_OFFICERS(an_expired_action_is_refused),
		WITH_OFFICERS(a_changed_document_is_signed_by_nobody),
		WITH_OFFICERS(a_document_that_does_not_read_is_refused),
		WITH_OFFICERS(who_is_not_in_the_quorum_does_not_count),
		WITH_OFFICERS(an_officers_name_with_another_key_does_not_count),
		WITH_OFFICERS(a_certificate_of_another_ca_does_not_count),
		WITH_OFFICERS(an_expired_certificate_does_not_count),
		WITH_OFFICERS(a_requester_and_an_officer_of_another_tenant_do_not_count),
		WITH_OFFICERS(a_weak_or_unusual_key_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
