/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vault_marks_test.c: an HSM that tells high-water marks that nobody set: they refuse while it is enabled,
 * are told to people, and reach no other HSM. With a private PostgreSQL, for the rows that would back them.
 */
#include "bare_vault.h"
#include "marks.h"
#include "policy.h"
#include "rogue_worker.h"
#include "worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "postgres.h"

#define KEY    "00112233445566778899aabbccddeeff"
#define MANY   30
#define LONGER "00000000000000000000000000000000000000000000000000000000000000ff00"

/* With a database and its marks. */
static void open_with_marks(struct bare *bare, struct fixture *fixture)
{
	open_bare(bare, fixture);
	bare->vault.clock = ch_clock_system();
	bare->vault.db = postgres_open("chancery_vault", 2);
	bare->vault.marks = vault_marks_new(&bare->vault);
}

static void close_with_marks(struct bare *bare)
{
	vault_marks_free(bare->vault.marks);
	ch_db_close(bare->vault.db);
	close_bare(bare);
}

static void set_up_with(struct bare *bare, void **state, const char *how)
{
	set_up_both(state, how);
	open_with_marks(bare, *state);
}

static void end(struct bare *bare, void **state)
{
	close_with_marks(bare);
	tear_down(state);
}

/* What HSM b itself has. */
static size_t size_in_b(struct fixture *fixture, const char *name)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmMarks ask = CHANCERY__HSM_MARKS__INIT;
	struct ch_error err = CH_NONE;
	Chancery__HsmReply *reply;
	size_t size;

	ask.read = (char *)(uintptr_t)name;
	request.marks = &ask;
	if (!run(fixture->pool, ONLY_B, &request, &reply, &err)) {
		fail_msg("%s", err.message);
		return 0;
	}
	size = reply->data.len;
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return size;
}

static uint64_t read_number(struct bare *bare, const char *kind)
{
	struct ch_error err = CH_NONE;
	uint64_t number = 0;

	if (!vault_mark_read_number(&bare->vault, kind, KEY, &number, &err))
		fail_msg("%s", err.message);
	return number;
}

static void disable_a(struct fixture *fixture)
{
	struct ch_error err = CH_NONE;

	if (!hsm_pool_set_enabled(fixture->pool, 0, false, &err))
		fail_msg("%s", err.message);
}

static void what_one_hsm_alone_says_refuses_until_it_is_disabled(void **state)
{
	struct ch_error err = CH_NONE;
	struct bare bare;

	set_up_with(&bare, state, "marks=key/" KEY "=ff");
	for (int i = 0; i < 2; i++)
		if (!vault_marks_sync(&bare.vault, &err))
			fail_msg("%s", err.message);
	assert_int_equal(size_in_b(*state, "key/" KEY), 0);
	assert_int_equal(alerts_of(&bare, "mark-unbacked"), 1);
	for (int i = 0; i < MANY; i++) /* whichever HSM is asked */
		assert_int_equal(read_number(&bare, VAULT_MARK_KEY), 255);
	disable_a(*state);
	assert_int_equal(read_number(&bare, VAULT_MARK_KEY), 0);
	end(&bare, state);
}

static void what_this_process_saw_is_taken_to_all(void **state)
{
	struct ch_error err = CH_NONE;
	struct bare bare;

	set_up_with(&bare, state, "marks=key/" KEY "=ff");
	vault_mark_seen_number(&bare.vault, VAULT_MARK_KEY, KEY, 255);
	if (!vault_marks_sync(&bare.vault, &err))
		fail_msg("%s", err.message);
	assert_int_equal(size_in_b(*state, "key/" KEY), 1);
	assert_int_equal(alerts_of(&bare, "mark-unbacked"), 0);
	end(&bare, state);
}

static void numbers_are_read_from_every_hsm(void **state)
{
	struct bare bare;

	set_up_with(&bare, state, "marks=number/" KEY "=07");
	for (int i = 0; i < MANY; i++) {
		struct bare fresh; /* that has heard of nothing */

		open_with_marks(&fresh, *state);
		assert_int_equal(read_number(&fresh, VAULT_MARK_NUMBER), 7);
		close_with_marks(&fresh);
	}
	end(&bare, state);
}

/* Cut to the largest number there is, it would refuse for ever. */
static void what_is_no_mark_is_refused(const char *how, const char *why, void **state)
{
	struct ch_error err = CH_NONE;
	struct bare bare;

	set_up_with(&bare, state, how);
	assert_false(vault_marks_sync(&bare.vault, &err));
	assert_int_equal(err.code, CH_UNAVAILABLE);
	if (!strstr(err.message, why))
		fail_msg("%s", err.message);
	assert_int_equal(size_in_b(*state, "key/" KEY), 0);
	end(&bare, state);
}

static void a_value_over_the_cap_is_refused(void **state)
{
	struct ch_error err = CH_NONE;
	struct hsm_mark mark;
	struct bare bare;
	bool refused = false;

	what_is_no_mark_is_refused("marks=key/" KEY "=" LONGER, "has a value over the cap", state);
	set_up_with(&bare, state, "marks=key/" KEY "=" LONGER);
	for (int i = 0; i < 100 && !refused; i++)
		refused = !vault_mark_read(&bare.vault, VAULT_MARK_KEY, KEY, &mark, &err);
	assert_true(refused);
	assert_non_null(strstr(err.message, "HSM 'a' told a mark of 33 octets"));
	end(&bare, state);
}

static void a_name_of_no_kind_is_refused(void **state)
{
	what_is_no_mark_is_refused("marks=other/" KEY "=01", "'other/" KEY "' is no mark's name", state);
}

int main(int argc, char **argv)
{
	const char *rogue = getenv(ROGUE);

	if (hsm_worker_asked(argc, argv))
		return rogue ? rogue_worker_main(rogue) : hsm_worker_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_one_hsm_alone_says_refuses_until_it_is_disabled),
		cmocka_unit_test(what_this_process_saw_is_taken_to_all),
		cmocka_unit_test(numbers_are_read_from_every_hsm),
		cmocka_unit_test(a_value_over_the_cap_is_refused),
		cmocka_unit_test(a_name_of_no_kind_is_refused),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
