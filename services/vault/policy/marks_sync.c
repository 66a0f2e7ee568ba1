/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks_sync.c: every HSM that is up gets the marks that it lacks, as far as they are backed: what one HSM
 * alone says is told to people, not to the others, where it would stay for ever. marks.c is the caller.
 */
#include "marks_internal.h"
#include "policy.h"
#include "vault.h"

#include "log/log.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_US    (4 * CH_SECOND)
#define KEPT_US     (8 * CH_DAY) /* a used action is kept a day longer than an action can be valid */
#define LIST_CAP    200000       /* marks in one HSM: more than keys that a token holds */
#define NAME_OCTETS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/"

static bool is_mark_name(const char *name)
{
	static const char *const kinds[] = { VAULT_MARK_KEY, VAULT_MARK_NUMBER, VAULT_MARK_QUORUM,
					     VAULT_MARK_ACTION, VAULT_MARK_DATA_KEY };
	size_t size = strlen(name);

	for (size_t i = 0; i < CH_COUNT(kinds); i++)
		if (strncmp(name, kinds[i], strlen(kinds[i])) == 0)
			return size > strlen(kinds[i]) && size <= HSM_MARK_NAME_CAP &&
			       strspn(name, NAME_OCTETS) == size;
	return false;
}

/* One mark that is none makes all that this HSM says worthless. */
static bool refuse_list(const char *name, const char *why, struct ch_error *err)
{
	CH_AUTO(ch_string) shown = ch_strndup(name, strspn(name, NAME_OCTETS));

	ch_fail(err, CH_UNAVAILABLE, "its list of marks is refused: '%.100s' %s", shown, why);
	err->retryable = true;
	return false;
}

static bool read_list(const Chancery__HsmReply *reply, struct hsm_mark_list *own, struct ch_error *err)
{
	if (reply->n_marks > LIST_CAP)
		return refuse_list("", "more than there can be", err);
	for (size_t i = 0; i < reply->n_marks; i++) {
		const Chancery__HsmMark *message = reply->marks[i];
		struct hsm_mark mark;

		if (!is_mark_name(message->name))
			return refuse_list(message->name, "is no mark's name", err);
		if (!hsm_mark_read(&mark, ch_view(message->value.data, message->value.len)))
			return refuse_list(message->name, "has a value over the cap", err);
		hsm_mark_list_add(own, message->name, &mark);
	}
	return true;
}

/* What this HSM has, in *own, and with what the others have, in *all. */
static bool list_of(struct vault *vault, size_t hsm, struct hsm_mark_list *own, struct hsm_mark_list *all,
		    struct ch_error *err)
{
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmMarks ask = CHANCERY__HSM_MARKS__INIT;
	Chancery__HsmReply *reply;
	bool read;

	ask.list = true;
	request.marks = &ask;
	if (!vault_run_on(vault, hsm, &request, true, LIMIT_US, &reply, err))
		return ch_fail_in(err, "HSM '%s'", hsm_pool_name(vault->hsms, hsm));
	read = read_list(reply, own, err);
	chancery__hsm_reply__free_unpacked(reply, NULL);
	for (size_t i = 0; read && i < own->count; i++)
		hsm_mark_list_add(all, own->items[i].name, &own->items[i].mark);
	return read || ch_fail_in(err, "HSM '%s'", hsm_pool_name(vault->hsms, hsm));
}

static const struct hsm_mark *find_in(const struct hsm_mark_list *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i].mark;
	return NULL;
}

static bool bring_up(struct vault *vault, size_t hsm, const struct hsm_mark_list *own,
		     const struct hsm_mark_list *all, struct ch_error *err)
{
	Chancery__HsmMark *messages = ch_alloc((all->count + 1) * sizeof(*messages));
	Chancery__HsmMark **list = ch_alloc((all->count + 1) * sizeof(Chancery__HsmMark *));
	Chancery__HsmRequest request = CHANCERY__HSM_REQUEST__INIT;
	Chancery__HsmMarks ask = CHANCERY__HSM_MARKS__INIT;
	bool done = true;

	for (size_t i = 0; i < all->count; i++) {
		const struct hsm_mark *has = find_in(own, all->items[i].name);
		Chancery__HsmMark *message = &messages[ask.n_raise];

		if (!all->items[i].mark.size || (has && hsm_mark_compare(has, &all->items[i].mark) >= 0))
			continue;
		chancery__hsm_mark__init(message);
		message->name = all->items[i].name;
		message->value = (ProtobufCBinaryData){ .len = all->items[i].mark.size,
							.data = all->items[i].mark.value };
		list[ask.n_raise++] = message;
	}
	ask.raise = list;
	request.marks = &ask;
	if (ask.n_raise)
		done = vault_run_on(vault, hsm, &request, true, VAULT_COPY_LIMIT_US, NULL, err);
	if (ask.n_raise && done)
		ch_log_info("HSM '%s' has %zu marks that it lacked", hsm_pool_name(vault->hsms, hsm),
			    ask.n_raise);
	free(messages);
	free(list);
	return done;
}

/* A used action's mark is of no use when the action cannot be used any more. */
static bool is_over(const struct vault *vault, const struct hsm_named_mark *item)
{
	int64_t expires_s = 0;

	if (strncmp(item->name, VAULT_MARK_ACTION, strlen(VAULT_MARK_ACTION)) != 0 || item->mark.size < 17)
		return false;
	for (size_t i = 0; i < item->mark.size - 16; i++)
		expires_s = expires_s << 8 | item->mark.value[i];
	return expires_s < (ch_clock_now_us(vault->clock) - KEPT_US) / CH_SECOND;
}

/* Out of the HSMs that told what they have, this process's memory, and *all. */
static void remove_over(struct vault *vault, unsigned listed, struct hsm_mark_list *all)
{
	char **names = ch_alloc_pointers(all->count);
	Chancery__HsmMarks ask = CHANCERY__HSM_MARKS__INIT;
	struct hsm_mark_list kept = CH_NONE;
	struct ch_error ignored;

	for (size_t i = 0; i < all->count; i++)
		if (is_over(vault, &all->items[i]))
			names[ask.n_remove++] = all->items[i].name;
		else
			hsm_mark_list_add(&kept, all->items[i].name, &all->items[i].mark);
	ask.remove = names;
	if (ask.n_remove)
		(void)vault_marks_run_on_each(vault, listed, &ask, &ignored);
	for (size_t i = 0; i < ask.n_remove; i++)
		vault_marks_forget(vault->marks, names[i]);
	free(names);
	hsm_mark_list_free(all);
	*all = kept;
}

/* --- what one HSM alone says --- */

struct lists {
	struct hsm_mark_list own[HSM_MAX];
	unsigned listed; /* bits of the HSMs that told theirs */
};

static bool lacks_any(const struct lists *lists, const struct hsm_named_mark *item)
{
	for (size_t i = 0; i < HSM_MAX; i++) {
		const struct hsm_mark *has =
			lists->listed & 1u << i ? find_in(&lists->own[i], item->name) : &item->mark;

		if (!has || hsm_mark_compare(has, &item->mark) < 0)
			return true;
	}
	return false;
}

static void tell_unbacked(struct vault *vault, size_t hsm, const char *name, const struct hsm_mark *told,
			  const struct hsm_mark *backed)
{
	const char *hsm_name = hsm_pool_name(vault->hsms, hsm);
	CH_AUTO(ch_string) value = ch_hex(ch_view(told->value, told->size));
	CH_AUTO(ch_string) right = ch_hex(ch_view(backed->value, backed->size));
	CH_AUTO(ch_string) content = ch_format("mark-unbacked/%s/%s/%s", hsm_name, name, value);
	CH_AUTO(ch_string)
	message = ch_format(
		"HSM '%s' has the mark %s at 0x%s, and no sealed row is above 0x%s: it is taken to no "
		"other HSM; where the database was not set back, that HSM is wrong: disable it",
		hsm_name, name, value, right[0] ? right : "0");

	if (vault_seal_first_sight(vault, ch_view_text(content)))
		vault_note_alert(vault, NULL, hsm_name, "mark-unbacked", message);
}

/* A used action's row has no seal: what one HSM lacks the others tell, for all are read (marks.c). */
static void doubt(struct vault *vault, const struct lists *lists, const char *name,
		  const struct hsm_mark *backed)
{
	for (size_t i = 0; i < HSM_MAX; i++) {
		const struct hsm_mark *has = lists->listed & 1u << i ? find_in(&lists->own[i], name) : NULL;
		struct hsm_mark told;

		if (!has || hsm_mark_compare(has, backed) <= 0 ||
		    strncmp(name, VAULT_MARK_ACTION, strlen(VAULT_MARK_ACTION)) == 0)
			continue;
		told = *has;
		vault_marks_doubt(vault->marks, name, i, &told);
		tell_unbacked(vault, i, name, &told, backed);
	}
}

/* Lowers each mark that an HSM lacks to what is backed, so that no HSM makes another believe it. */
static bool keep_backed(struct vault *vault, const struct lists *lists, struct hsm_mark_list *all,
			struct ch_error *err)
{
	bool done = true;

	for (size_t i = 0; i < all->count; i++) {
		struct hsm_named_mark *item = &all->items[i];
		struct hsm_mark backed, row;

		if (!lacks_any(lists, item))
			continue;
		backed = vault_marks_backed(vault->marks, item->name);
		if (hsm_mark_compare(&backed, &item->mark) >= 0)
			continue;
		if (!vault_mark_of_row(vault, item->name, &row, err)) {
			done = false;
			item->mark = backed;
			continue;
		}
		vault_marks_back(vault->marks, item->name, &row);
		backed = hsm_mark_compare(&row, &backed) > 0 ? row : backed;
		if (hsm_mark_compare(&backed, &item->mark) >= 0)
			continue;
		doubt(vault, lists, item->name, &backed);
		item->mark = backed;
	}
	return done;
}

bool vault_marks_sync(struct vault *vault, struct ch_error *err)
{
	CH_AUTO(hsm_mark_list) all = CH_NONE;
	unsigned up = hsm_pool_up(vault->hsms);
	struct lists lists = CH_NONE;
	bool done = true;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		if (up & 1u << i) {
			if (list_of(vault, i, &lists.own[i], &all, err))
				lists.listed |= 1u << i;
			else
				done = false;
		}
	vault_marks_add_backed(vault->marks, &all);
	remove_over(vault, lists.listed, &all);
	done = keep_backed(vault, &lists, &all, err) && done;
	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++)
		if (lists.listed & 1u << i)
			done = bring_up(vault, i, &lists.own[i], &all, err) && done;
	for (size_t i = 0; i < HSM_MAX; i++)
		hsm_mark_list_free(&lists.own[i]);
	return done;
}
