/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_mac_test.c: no single HSM makes or judges seals: one that answers 32 octets of its own neither has a
 * row written with them nor an honest row called a forgery.
 */
#include "bare_vault.h"
#include "policy.h"
#include "rogue_worker.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOMAIN "chancery/key-policy/v1"

static int set_up_mac(void **state)
{
	set_up_both(state, "mac");
	return 0;
}

static void enable_a(struct fixture *fixture, bool enabled)
{
	struct ch_error err = CH_NONE;

	if (!hsm_pool_set_enabled(fixture->pool, 0, enabled, &err))
		fail_msg("%s", err.message);
	assert_true(hsm_pool_wait_up(fixture->pool, enabled ? BOTH : ONLY_B, UP_LIMIT));
}

static void make(struct fixture *fixture, struct ch_view row, uint8_t seal[VAULT_SEAL_SIZE])
{
	struct ch_error err = CH_NONE;
	struct bare bare;

	open_bare(&bare, fixture);
	if (!vault_seal_make(&bare.vault, DOMAIN, row, seal, &err))
		fail_msg("%s", err.message);
	close_bare(&bare);
}

static void where_seals_differ_nothing_is_sealed_until_one_is_disabled(void **state)
{
	struct fixture *fixture = *state;
	uint8_t seal[VAULT_SEAL_SIZE];
	struct ch_error err = CH_NONE;
	struct bare bare;

	open_bare(&bare, fixture);
	for (int i = 0; i < 3; i++) {
		assert_false(vault_seal_make(&bare.vault, DOMAIN, ch_view_text("row"), seal, &err));
		assert_int_equal(err.code, CH_UNAVAILABLE);
		assert_true(err.retryable);
		assert_non_null(strstr(err.message, "HSMs 'a', 'b' seal the same row differently"));
	}
	assert_int_equal(alerts_of(&bare, "seal-differs"), 1);
	enable_a(fixture, false);
	if (!vault_seal_make(&bare.vault, DOMAIN, ch_view_text("row"), seal, &err))
		fail_msg("%s", err.message);
	close_bare(&bare);
}

static void an_honest_row_stays_one_whatever_one_hsm_says(void **state)
{
	struct fixture *fixture = *state;
	uint8_t seal[VAULT_SEAL_SIZE];
	struct ch_error err = CH_NONE;

	enable_a(fixture, false);
	make(fixture, ch_view_text("row"), seal);
	enable_a(fixture, true);
	for (int i = 0; i < 40; i++) {
		struct bare bare;

		open_bare(&bare, fixture);
		if (!vault_seal_check(&bare.vault, DOMAIN, ch_view_text("row"), ch_view(seal, sizeof(seal)),
				      &err))
			fail_msg("%d: %s", i, err.message);
		close_bare(&bare);
	}
	assert_int_equal(atomic_load(&fixture->events.of[HSM_SIGNED_WRONG]), 1); /* and is shut out for it */
	make(fixture, ch_view_text("another row"), seal);
}

static void a_forged_row_is_refused_by_all(void **state)
{
	struct fixture *fixture = *state;
	uint8_t seal[VAULT_SEAL_SIZE] = { 1 };
	struct ch_error err = CH_NONE;
	struct bare bare;

	open_bare(&bare, fixture);
	assert_false(vault_seal_check(&bare.vault, DOMAIN, ch_view_text("row"), ch_view(seal, sizeof(seal)),
				      &err));
	assert_int_equal(err.code, CH_DENIED);
	assert_int_equal(atomic_load(&fixture->events.of[HSM_SIGNED_WRONG]), 0);
	close_bare(&bare);
}

int main(int argc, char **argv)
{
	const char *rogue = getenv(ROGUE);

	if (hsm_worker_asked(argc, argv))
		return rogue ? rogue_worker_main(rogue) : hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(where_seals_differ_nothing_is_sealed_until_one_is_disabled,
						set_up_mac, tear_down),
		cmocka_unit_test_setup_teardown(an_honest_row_stays_one_whatever_one_hsm_says, set_up_mac,
						tear_down),
		cmocka_unit_test_setup_teardown(a_forged_row_is_refused_by_all, set_up_mac, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
