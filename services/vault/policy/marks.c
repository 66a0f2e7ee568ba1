/* SPDX-License-Identifier: Apache-2.0 */
/* marks.c: high-water marks in the HSMs, and what this process knows of them; marks.h has the idea. */
#include "marks_internal.h"

#include "vault.h"

#include "log/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#define LIMIT_US   (4 * CH_SECOND) /* a caller waits 5 s for its signature */
#define INTERVAL_S 10              /* between two looks whether an HSM lacks something */

struct known {
	char name[HSM_MARK_NAME_CAP + 1];
	struct hsm_mark backed;  /* this process raised it, or saw it with a sealed row; size 0: neither */
	struct hsm_mark doubted; /* higher: so says one HSM alone */
	size_t doubted_by;       /* which; it counts while that HSM is enabled */
	UT_hash_handle hh;
};

struct vault_marks {
	struct vault *vault;
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, wanted; /* guarded by lock */
	struct known *known;   /* guarded by lock */
};

/* --- what this process knows --- */

/* With the lock. */
static struct known *find_known(struct vault_marks *marks, const char *name)
{
	struct known *known;

	HASH_FIND_STR(marks->known, name, known);
	if (!known) {
		known = ch_alloc(sizeof(*known));
		snprintf(known->name, sizeof(known->name), "%s", name);
		HASH_ADD_STR(marks->known, name, known);
	}
	return known;
}

void vault_marks_back(struct vault_marks *marks, const char *name, const struct hsm_mark *mark)
{
	struct known *known;

	if (!marks || !mark->size)
		return;
	pthread_mutex_lock(&marks->lock);
	known = find_known(marks, name);
	if (hsm_mark_compare(mark, &known->backed) > 0)
		known->backed = *mark;
	pthread_mutex_unlock(&marks->lock);
}

struct hsm_mark vault_marks_backed(struct vault_marks *marks, const char *name)
{
	struct hsm_mark backed = CH_NONE;
	struct known *known;

	if (!marks)
		return backed;
	pthread_mutex_lock(&marks->lock);
	HASH_FIND_STR(marks->known, name, known);
	if (known)
		backed = known->backed;
	pthread_mutex_unlock(&marks->lock);
	return backed;
}

static bool is_enabled(struct vault_marks *marks, size_t hsm)
{
	struct hsm_status status;

	hsm_pool_status(marks->vault->hsms, hsm, &status);
	return status.enabled;
}

void vault_marks_doubt(struct vault_marks *marks, const char *name, size_t hsm, struct hsm_mark *mark)
{
	struct known *known;

	if (!marks || !mark->size)
		return;
	pthread_mutex_lock(&marks->lock);
	known = find_known(marks, name);
	if (known->doubted.size && !is_enabled(marks, known->doubted_by))
		known->doubted = (struct hsm_mark)CH_NONE;
	if (hsm_mark_compare(mark, &known->backed) > 0 && hsm_mark_compare(mark, &known->doubted) > 0) {
		known->doubted = *mark;
		known->doubted_by = hsm;
	}
	pthread_mutex_unlock(&marks->lock);
}

/* *found becomes the highest that is known of it. True where what was found is below what is backed. */
static bool raise_to_known(struct vault_marks *marks, const char *name, struct hsm_mark *found)
{
	struct known *known;
	bool lacks = false;

	if (!marks)
		return false;
	pthread_mutex_lock(&marks->lock);
	HASH_FIND_STR(marks->known, name, known);
	if (known) {
		lacks = hsm_mark_compare(found, &known->backed) < 0;
		if (lacks)
			*found = known->backed;
		if (hsm_mark_compare(found, &known->doubted) < 0 && is_enabled(marks, known->doubted_by))
			*found = known->doubted;
	}
	pthread_mutex_unlock(&marks->lock);
	return lacks;
}

void vault_marks_forget(struct vault_marks *marks, const char *name)
{
	struct known *known;

	if (!marks)
		return;
	pthread_mutex_lock(&marks->lock);
	HASH_FIND_STR(marks->known, name, known);
	if (known)
		HASH_DEL(marks->known, known);
	pthread_mutex_unlock(&marks->lock);
	free(known);
}

static bool name_of(const char *kind, const char *name, char full[HSM_MARK_NAME_CAP + 1],
		    struct ch_error *err)
{
	int size = snprintf(full, HSM_MARK_NAME_CAP + 1, "%s%s", kind, name);

	return (size > 0 && size <= HSM_MARK_NAME_CAP) ||
	       ch_fail(err, CH_INVALID, "the mark of %s'%.40s' has too long a name", kind, name);
}

/* --- reading and raising --- */

/* What an HSM says: over the cap is no mark at all. */
static bool mark_of_reply(struct vault *vault, const struct hsm_item *item, struct hsm_mark *mark,
			  struct ch_error *err)
{
	*mark = (struct hsm_mark)CH_NONE;
	if (!item->reply) {
		*err = item->err;
		return false;
	}
	if (!item->reply->data.len ||
	    hsm_mark_read(mark, ch_view(item->reply->data.data, item->reply->data.len)))
		return true;
	ch_fail(err, CH_UNAVAILABLE, "HSM '%s' told a mark of %zu octets, at most %d are one",
		hsm_pool_name(vault->hsms, item->served_by), item->reply->data.len, HSM_MARK_VALUE_CAP);
	err->retryable = true;
	return false;
}

/* What is read seldom is read from every HSM that is up: one of them alone may lack it. */
static bool is_read_from_all(const char *kind)
{
	return strcmp(kind, VAULT_MARK_NUMBER) == 0 || strcmp(kind, VAULT_MARK_QUORUM) == 0 ||
	       strcmp(kind, VAULT_MARK_ACTION) == 0;
}

/* One item for any HSM, or one for each that is up. */
static size_t prepare_reads(struct vault *vault, bool from_all, Chancery__HsmRequest *request,
			    struct hsm_item items[HSM_MAX])
{
	unsigned every = (1u << hsm_pool_count(vault->hsms)) - 1,
		 up = from_all ? hsm_pool_up(vault->hsms) : 0;
	int64_t deadline_us = ch_monotonic_us() + LIMIT_US;
	size_t count = 0;

	for (size_t i = 0; i < HSM_MAX; i++)
		if (up & 1u << i)
			items[count++] = (struct hsm_item){ .request = &request[i],
							    .allowed = 1u << i,
							    .once = true,
							    .deadline_us = deadline_us };
	if (!count)
		items[count++] =
			(struct hsm_item){ .request = request, .allowed = every, .deadline_us = deadline_us };
	return count;
}

bool vault_mark_read(struct vault *vault, const char *kind, const char *name, struct hsm_mark *mark,
		     struct ch_error *err)
{
	Chancery__HsmRequest requests[HSM_MAX];
	Chancery__HsmMarks ask = CHANCERY__HSM_MARKS__INIT;
	struct hsm_item items[HSM_MAX];
	char full[HSM_MARK_NAME_CAP + 1];
	size_t count, told = 0;

	if (!name_of(kind, name, full, err))
		return false;
	ask.read = full;
	for (size_t i = 0; i < HSM_MAX; i++) {
		chancery__hsm_request__init(&requests[i]);
		requests[i].marks = &ask;
	}
	count = prepare_reads(vault, is_read_from_all(kind), requests, items);
	hsm_run(vault->hsms, items, count);
	*mark = (struct hsm_mark)CH_NONE;
	for (size_t i = 0; i < count; i++) {
		struct hsm_mark found;

		if (mark_of_reply(vault, &items[i], &found, err)) {
			told++;
			vault_marks_doubt(vault->marks, full, items[i].served_by, &found);
			if (hsm_mark_compare(&found, mark) > 0)
				*mark = found;
		}
		if (items[i].reply)
			chancery__hsm_reply__free_unpacked(items[i].reply, NULL);
	}
	if (!told)
		return ch_fail_in(err, "the mark of %s%s", kind, name);
	if (raise_to_known(vault->marks, full, mark))
		vault_marks_wake(vault->marks); /* that HSM lacks what this process knows */
	return true;
}

/* Sends one request to each HSM of `hsms`; how many did it. An HSM whose worker is lost meanwhile gets it
 * later. */
size_t vault_marks_run_on_each(struct vault *vault, unsigned hsms, Chancery__HsmMarks *ask,
			       struct ch_error *err)
{
	struct hsm_item items[HSM_MAX] = { 0 };
	Chancery__HsmRequest requests[HSM_MAX];
	size_t count = 0, done = 0;

	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++) {
		if (!(hsms & 1u << i))
			continue;
		chancery__hsm_request__init(&requests[count]);
		requests[count].marks = ask;
		items[count] = (struct hsm_item){ .request = &requests[count],
						  .allowed = 1u << i,
						  .once = true,
						  .deadline_us = ch_monotonic_us() + LIMIT_US };
		count++;
	}
	if (!count) {
		ch_fail(err, CH_UNAVAILABLE, "no HSM is up");
		err->retryable = true;
		return 0;
	}
	hsm_run(vault->hsms, items, count);
	for (size_t i = 0; i < count; i++) {
		done += items[i].reply != NULL;
		if (items[i].reply)
			chancery__hsm_reply__free_unpacked(items[i].reply, NULL);
		else
			*err = items[i].err;
	}
	if (done < count)
		vault_marks_wake(vault->marks);
	return done;
}

bool vault_mark_raise(struct vault *vault, const char *kind, const char *name, const struct hsm_mark *mark,
		      struct ch_error *err)
{
	Chancery__HsmMark one = CHANCERY__HSM_MARK__INIT, *list[] = { &one };
	Chancery__HsmMarks ask = CHANCERY__HSM_MARKS__INIT;
	char full[HSM_MARK_NAME_CAP + 1];
	struct hsm_mark wanted = *mark;

	if (!name_of(kind, name, full, err))
		return false;
	one.name = full;
	one.value = (ProtobufCBinaryData){ .len = wanted.size, .data = wanted.value };
	ask.raise = list;
	ask.n_raise = 1;
	if (!vault_marks_run_on_each(vault, hsm_pool_up(vault->hsms), &ask, err))
		return ch_fail_in(err, "the mark of %s%s", kind, name);
	vault_marks_back(vault->marks, full, &wanted);
	return true;
}

bool vault_mark_read_number(struct vault *vault, const char *kind, const char *name, uint64_t *number,
			    struct ch_error *err)
{
	struct hsm_mark mark;

	if (!vault_mark_read(vault, kind, name, &mark, err))
		return false;
	*number = 0;
	if (mark.size > sizeof(*number)) {
		ch_fail(err, CH_UNAVAILABLE, "the mark of %s%s has %zu octets, a number has %zu", kind, name,
			mark.size, sizeof(*number));
		err->retryable = true;
		return false;
	}
	for (size_t i = 0; i < mark.size; i++)
		*number = *number << 8 | mark.value[i];
	return true;
}

void vault_mark_seen(struct vault *vault, const char *kind, const char *name, const struct hsm_mark *mark)
{
	char full[HSM_MARK_NAME_CAP + 1];

	if (name_of(kind, name, full, NULL))
		vault_marks_back(vault->marks, full, mark);
}

void vault_mark_seen_number(struct vault *vault, const char *kind, const char *name, uint64_t number)
{
	struct hsm_mark mark;

	hsm_mark_of_number(&mark, number);
	vault_mark_seen(vault, kind, name, &mark);
}

bool vault_mark_raise_number(struct vault *vault, const char *kind, const char *name, uint64_t number,
			     struct ch_error *err)
{
	struct hsm_mark mark;

	hsm_mark_of_number(&mark, number);
	return vault_mark_raise(vault, kind, name, &mark, err);
}

void vault_marks_add_backed(struct vault_marks *marks, struct hsm_mark_list *all)
{
	struct known *known = NULL, *next = NULL;

	if (!marks)
		return;
	pthread_mutex_lock(&marks->lock);
	HASH_ITER(hh, marks->known, known, next)
	if (known->backed.size)
		hsm_mark_list_add(all, known->name, &known->backed);
	pthread_mutex_unlock(&marks->lock);
}

/* --- the thread --- */

/* Asleep until it is asked for, then for the next time at least INTERVAL_S where it did not come through. */
static void *keep_alike(void *state)
{
	struct vault_marks *marks = state;
	struct ch_error err;
	bool stopping = false, again = false;

	while (!stopping) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += INTERVAL_S;
		pthread_mutex_lock(&marks->lock);
		while (!marks->stopping && !marks->wanted) {
			int result = again ? pthread_cond_timedwait(&marks->wake, &marks->lock, &until)
					   : pthread_cond_wait(&marks->wake, &marks->lock);

			if (result != 0)
				break;
		}
		stopping = marks->stopping;
		marks->wanted = false;
		pthread_mutex_unlock(&marks->lock);
		again = !stopping && !vault_marks_sync(marks->vault, &err);
		if (again)
			ch_log_warn("the HSMs' marks are not alike yet: %s", err.message);
	}
	return NULL;
}

void vault_marks_wake(struct vault_marks *marks)
{
	if (!marks)
		return;
	pthread_mutex_lock(&marks->lock);
	marks->wanted = true;
	pthread_cond_signal(&marks->wake);
	pthread_mutex_unlock(&marks->lock);
}

struct vault_marks *vault_marks_new(struct vault *vault)
{
	struct vault_marks *marks = ch_alloc(sizeof(*marks));
	pthread_condattr_t attributes;

	marks->vault = vault;
	marks->wanted = true; /* at the start what is up is made alike */
	pthread_mutex_init(&marks->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&marks->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	return marks;
}

bool vault_marks_start(struct vault_marks *marks, struct ch_error *err)
{
	marks->running = pthread_create(&marks->thread, NULL, keep_alike, marks) == 0;
	return marks->running ||
	       ch_fail(err, CH_INTERNAL, "cannot start the thread that keeps the HSMs' marks alike");
}

void vault_marks_stop(struct vault_marks *marks)
{
	if (!marks || !marks->running)
		return;
	pthread_mutex_lock(&marks->lock);
	marks->stopping = true;
	pthread_cond_signal(&marks->wake);
	pthread_mutex_unlock(&marks->lock);
	pthread_join(marks->thread, NULL);
	marks->running = false;
}

void vault_marks_free(struct vault_marks *marks)
{
	struct known *known = NULL, *next = NULL;

	if (!marks)
		return;
	HASH_ITER(hh, marks->known, known, next)
	{
		HASH_DEL(marks->known, known);
		free(known);
	}
	pthread_cond_destroy(&marks->wake);
	pthread_mutex_destroy(&marks->lock);
	free(marks);
}
