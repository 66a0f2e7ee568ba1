/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_fixture.h: a key of the vault, another one below it, limits and a time, under which the tests of
 * each purpose (purpose_*_test.c) ask for a signature and look at what is refused.
 */
#ifndef PURPOSE_FIXTURE_H
#define PURPOSE_FIXTURE_H

#include "officers.h"
#include "purposes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW (INT64_C(1795000000) * CH_SECOND)

#define CA_SUBJECT "CN=Test CA,O=Example,C=CH" /* of the fixture's key */

struct fixture {
	struct vault_key key, subordinate;
	struct vault_policy policy;
	struct vault_check check;
	const char *service, *instance; /* who asks: at first the issuer */
	uint8_t names_sha256[32];       /* of the subjectAltName of its identity */
	struct ch_bytes tbs;
	struct ch_error err;

	struct person operators_ca, alice, bob; /* officers; both must approve */
	struct vault_quorum quorum;
	struct vault_action action;
	bool names_action;       /* in the question */
	int64_t proposed_ago_us; /* how long ago what officers approve was proposed */
	bool names_are_away;     /* whether a name is a CA's cannot be told */
	bool status_alone;       /* the key is a stopped or retired CA's */
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);
#define WITH_KEY(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

/* SubjectPublicKeyInfo of the P-256 key whose private key is this small number: 0x11 is the fixture's key,
 * 0x22 the subordinate's. The caller frees it, as the name below. */
struct ch_bytes public_key_info(uint8_t fill);
/* The same point, compressed. */
struct ch_bytes compressed_key_info(uint8_t fill);
struct ch_bytes name_der(const char *text);
void put_name(struct ch_der_writer *writer, const char *text);

typedef bool (*purpose)(struct vault_check *check, struct ch_error *err);

bool ask(struct fixture *fixture, purpose check, struct ch_view to_be_signed, struct ch_view content);

/* The question names an action of this kind over these bytes, which alice and bob approved. */
void have_approved(struct fixture *fixture, Chancery__ActionKind kind, struct ch_view to_be_signed,
		   const struct ch_action_field *more, size_t more_count);

/* No shorter form of the document is well formed; it itself is, and so comes as far as its approvals. */
void assert_truncated_is_malformed(struct fixture *fixture, purpose check, struct ch_view to_be_signed,
				   struct ch_view content);
/* A copy of the document whose constructed element of this number has a NULL more at its end, all lengths
 * right; *elements receives how many there are. The caller frees it. */
struct ch_bytes grow(struct ch_view document, size_t number, size_t *elements);
/*
 * Appends a NULL to each constructed element of the document in turn (grow), and returns how
 * many of these forms are not refused: those where it stands in what the vault does not read. After the whole
 * document it is refused.
 */
size_t count_accepted_when_grown(struct fixture *fixture, purpose check, struct ch_view to_be_signed,
				 struct ch_view content);

#define assert_refused(fixture, why, words)                                                  \
	do {                                                                                 \
		if (!strstr((fixture)->err.message, (words)))                                \
			fail_msg("'%s' does not say '%s'", (fixture)->err.message, (words)); \
		assert_string_equal((fixture)->check.reason, (why));                         \
	} while (0)

#endif
