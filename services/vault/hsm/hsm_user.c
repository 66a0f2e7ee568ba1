/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_user.c: looks users up and becomes one. Called by listener.c, hsm_connect.c and the set-up commands. */
#include "hsm_user.h"

#include "mem/mem.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBER_CAP (UINT32_MAX - 1) /* (uid_t)-1 means "unchanged" to setresuid(2) */

/* False: it is not one. */
static bool read_number(const char *text, uid_t *uid)
{
	char *end;
	unsigned long number;

	if (text[0] < '0' || text[0] > '9')
		return false;
	number = strtoul(text, &end, 10);
	*uid = (uid_t)number;
	return !*end && number <= NUMBER_CAP;
}

bool hsm_user_find(const char *name, struct hsm_user *user, struct ch_error *err)
{
	struct passwd entry, *found = NULL;
	char room[4096];
	bool is_number = read_number(name, &user->uid);
	int failed = is_number ? getpwuid_r(user->uid, &entry, room, sizeof(room), &found)
			       : getpwnam_r(name, &entry, room, sizeof(room), &found);

	if (found) {
		*user = (struct hsm_user){ found->pw_uid, found->pw_gid };
		return true;
	}
	if (is_number) {
		user->gid = user->uid;
		return true;
	}
	if (failed)
		return ch_fail_errno(err, CH_INTERNAL, failed, "user '%.64s'", name);
	return ch_fail(err, CH_INVALID, "there is no user '%.64s'", name);
}

/* A number has no entry in the group database either. */
static bool take_groups(const char *name, const struct hsm_user *user)
{
	uid_t number;

	return read_number(name, &number) ? setgroups(0, NULL) == 0 : initgroups(name, user->gid) == 0;
}

/* *is: there is nothing to do. */
static bool find_other(const char *name, struct hsm_user *user, bool *is, struct ch_error *err)
{
	if (!hsm_user_find(name, user, err))
		return false;
	*is = geteuid() == user->uid;
	return *is || geteuid() == 0 ||
	       ch_fail(err, CH_DENIED, "this is for user '%.64s' alone, or root, which becomes that user",
		       name);
}

/* For good: all three ids, so that there is no way back. */
static bool take_ids(const struct hsm_user *user, bool for_good)
{
	if (for_good)
		return setresgid(user->gid, user->gid, user->gid) == 0 &&
		       setresuid(user->uid, user->uid, user->uid) == 0;
	return setegid(user->gid) == 0 && seteuid(user->uid) == 0;
}

static bool change_to(const char *name, bool for_good, struct ch_error *err)
{
	struct hsm_user user;
	bool is;

	if (!find_other(name, &user, &is, err))
		return false;
	if (is || (take_groups(name, &user) && take_ids(&user, for_good)))
		return true;
	ch_fail_errno(err, CH_INTERNAL, errno, "cannot %s user '%.64s'", for_good ? "become" : "act as",
		      name);
	if (!for_good)
		hsm_user_act_as_root();
	return false;
}

bool hsm_user_become(const char *name, struct ch_error *err)
{
	return change_to(name, true, err);
}

bool hsm_user_act_as(const char *name, struct ch_error *err)
{
	return change_to(name, false, err);
}

void hsm_user_act_as_root(void)
{
	if (getuid() != 0)
		return; /* it was that user already */
	if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(0, NULL) != 0)
		abort();
}
