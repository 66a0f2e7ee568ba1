/* SPDX-License-Identifier: Apache-2.0 */
/*
 * database_restored.c: `chancery-vault --config FILE --database-restored`: a backup's rows are older than the
 * HSMs' high-water marks, so the vaults refuse them as rows that somebody put back. Who has the PINs says
 * here that it was meant: the marks are forgotten, and the rows as they are count from now on. Marks of used
 * actions stay, so that no approval is used twice.
 */
#include "local.h"

#include "marks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_US (20 * CH_SECOND)

/* A running vault would bring the marks back, and one that is down would bring its own. */
static bool nothing_in_the_way(struct vault *vault, struct ch_error *err)
{
	uint64_t vaults;

	if (!store_count_vaults(vault->db, &vaults, err))
		return false;
	if (vaults)
		return ch_fail(err, CH_CONFLICT,
			       "%llu connections of running vaults to the database: stop every vault first",
			       (unsigned long long)vaults);
	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		if (!hsm_pool_wait_up(vault->hsms, 1u << i, LIMIT_US))
			return ch_fail(
				err, CH_UNAVAILABLE,
				"HSM '%s' is not up and would bring its marks back: start it, or take it out "
				"of the configuration",
				hsm_pool_name(vault->hsms, i));
	return true;
}

static bool is_of_an_action(const char *name)
{
	return strncmp(name, VAULT_MARK_ACTION, strlen(VAULT_MARK_ACTION)) == 0;
}

static bool forget_at(struct vault *vault, size_t hsm, struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT, again = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmMarks list = CHANCERY__HSM_MARKS__INIT, ask = CHANCERY__HSM_MARKS__INIT;
	Chancery__HsmReply *reply;
	bool done;

	list.list = true;
	request.marks = &list;
	if (!vault_run_on(vault, hsm, &request, true, LIMIT_US, &reply, err))
		return false;
	ask.remove = ch_alloc_pointers(reply->n_marks);
	for (size_t i = 0; i < reply->n_marks; i++)
		if (!is_of_an_action(reply->marks[i]->name))
			ask.remove[ask.n_remove++] = reply->marks[i]->name;
	again.marks = &ask;
	done = !ask.n_remove || vault_run_on(vault, hsm, &again, true, VAULT_COPY_LIMIT_US, NULL, err);
	for (size_t i = 0; done && i < ask.n_remove; i++)
		printf("HSM '%s': forgotten: %s\n", hsm_pool_name(vault->hsms, hsm), ask.remove[i]);
	free(ask.remove);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	return done;
}

bool vault_database_restored(struct vault *vault, const char *argument, struct ch_error *err)
{
	(void)argument;
	if (!nothing_in_the_way(vault, err))
		return false;
	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		if (!forget_at(vault, i, err))
			return ch_fail_in(err, "HSM '%s'", hsm_pool_name(vault->hsms, i));
	printf("the database's rows count as they are; start the vaults\n");
	return true;
}
