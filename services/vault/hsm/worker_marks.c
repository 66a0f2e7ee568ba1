/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_marks.c: high-water marks in the token: data objects (CKO_DATA) that only a logged-in process
 * changes, one for each name. A mark is raised by making a new object and removing the lower ones, so that it
 * goes up however many vaults raise it at once; the highest object of a name is the mark. worker.c is the
 * caller.
 */
#include "worker_pkcs11.h"

#include "hsm_mark.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define APPLICATION "chancery-mark"
#define COPIES_CAP  16 /* objects of one name that are looked at: normally one */
#define FIND_MARKS  64
#define TRIES       3 /* another process may remove an object between two calls */

static CK_BBOOL yes = CK_TRUE;
static CK_OBJECT_CLASS data_class = CKO_DATA;

struct copies {
	CK_OBJECT_HANDLE handles[COPIES_CAP];
	CK_ULONG count;
};

static bool check(const char *name, size_t value_size, struct ch_error *err)
{
	size_t size = strlen(name);

	return (size >= 1 && size <= HSM_MARK_NAME_CAP && value_size <= HSM_MARK_VALUE_CAP) ||
	       ch_fail(err, CH_INVALID, "a mark of %zu octets named by %zu", value_size, size);
}

/* With it begins what a handle is remembered under. */
static void label_of(const char *name, char label[HSM_MARK_NAME_CAP + 32])
{
	snprintf(label, HSM_MARK_NAME_CAP + 32, APPLICATION "/%.*s", HSM_MARK_NAME_CAP, name);
}

static bool find(struct token_session *session, const char *label, struct copies *copies,
		 struct ch_error *err)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &data_class, sizeof(data_class) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};
	CK_RV rv;

	copies->count = 1;
	if (token_cached(session->token, label, &copies->handles[0]))
		return true;
	copies->count = 0;
	rv = session->f->C_FindObjectsInit(session->handle, template, CH_COUNT(template));
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjectsInit", err);
	rv = session->f->C_FindObjects(session->handle, copies->handles, COPIES_CAP, &copies->count);
	session->f->C_FindObjectsFinal(session->handle);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjects", err);
	/* Where there are more, another process is raising it: looked for again. */
	if (copies->count == 1)
		token_remember(session->token, label, copies->handles[0]);
	return true;
}

static CK_RV value_of(struct token_session *session, CK_OBJECT_HANDLE object, struct hsm_mark *mark)
{
	CK_ATTRIBUTE attribute = { CKA_VALUE, mark->value, sizeof(mark->value) };
	CK_RV rv = session->f->C_GetAttributeValue(session->handle, object, &attribute, 1);

	mark->size = rv == CKR_OK ? attribute.ulValueLen : 0;
	return rv;
}

/* The highest of its copies; *stale: one of them was removed meanwhile. */
static bool read_once(struct token_session *session, const char *label, struct copies *copies,
		      struct hsm_mark *highest, bool *stale, struct ch_error *err)
{
	*stale = false;
	*highest = (struct hsm_mark)CH_NONE;
	if (!find(session, label, copies, err))
		return false;
	for (CK_ULONG i = 0; i < copies->count; i++) {
		struct hsm_mark mark;
		CK_RV rv = value_of(session, copies->handles[i], &mark);

		if (token_is_stale(rv)) {
			token_uncache(session->token, label);
			*stale = true;
			return true;
		}
		if (rv != CKR_OK)
			return token_fail(session, rv, "C_GetAttributeValue", err);
		if (hsm_mark_compare(&mark, highest) > 0)
			*highest = mark;
	}
	return true;
}

static bool read_mark(struct token_session *session, const char *label, struct copies *copies,
		      struct hsm_mark *mark, struct ch_error *err)
{
	bool stale = true;

	for (int i = 0; i < TRIES && stale; i++)
		if (!read_once(session, label, copies, mark, &stale, err))
			return false;
	if (stale)
		ch_fail(err, CH_UNAVAILABLE, "mark '%s' changes too fast", label);
	if (stale && err)
		err->retryable = true;
	return !stale;
}

static bool make(struct token_session *session, const char *label, const struct hsm_mark *mark,
		 struct ch_error *err)
{
	CK_OBJECT_HANDLE object;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &data_class, sizeof(data_class) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },
		{ CKA_MODIFIABLE, &yes, sizeof(yes) },
		{ CKA_APPLICATION, (void *)(uintptr_t)APPLICATION, strlen(APPLICATION) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
		{ CKA_VALUE, (void *)(uintptr_t)mark->value, mark->size },
	};
	CK_RV rv = session->f->C_CreateObject(session->handle, template, CH_COUNT(template), &object);

	return rv == CKR_OK || token_fail(session, rv, "C_CreateObject of a mark", err);
}

/* The new object is there before the lower ones go: a crash between leaves the mark as high. */
static bool raise(struct token_session *session, const char *name, struct ch_view value, struct ch_error *err)
{
	char label[HSM_MARK_NAME_CAP + 32];
	struct hsm_mark wanted, mark;
	struct copies copies;

	if (!check(name, value.size, err))
		return false;
	label_of(name, label);
	hsm_mark_set(&wanted, value);
	token_uncache(session->token, label); /* all copies are to be seen */
	if (!read_mark(session, label, &copies, &mark, err))
		return false;
	if (copies.count && hsm_mark_compare(&mark, &wanted) >= 0)
		return true;
	if (!make(session, label, &wanted, err))
		return false;
	token_uncache(session->token, label);
	for (CK_ULONG i = 0; i < copies.count; i++) /* all were lower; gone already is as good */
		(void)session->f->C_DestroyObject(session->handle, copies.handles[i]);
	return true;
}

/* --- all of them --- */

static bool add_listed(struct token_session *session, CK_OBJECT_HANDLE object, struct hsm_mark_list *list)
{
	char label[HSM_MARK_NAME_CAP + 32] = "";
	CK_ATTRIBUTE attribute = { CKA_LABEL, label, sizeof(label) - 1 };
	const size_t prefix = strlen(APPLICATION "/");
	struct hsm_mark mark;

	/* Removed meanwhile: the one that took its place is listed or known to who raised it. */
	if (session->f->C_GetAttributeValue(session->handle, object, &attribute, 1) != CKR_OK ||
	    value_of(session, object, &mark) != CKR_OK || strncmp(label, APPLICATION "/", prefix) != 0)
		return true;
	hsm_mark_list_add(list, label + prefix, &mark);
	return true;
}

static bool list_all(struct token_session *session, struct hsm_mark_list *list, struct ch_error *err)
{
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &data_class, sizeof(data_class) },
		{ CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_APPLICATION, (void *)(uintptr_t)APPLICATION, strlen(APPLICATION) },
	};
	CK_OBJECT_HANDLE found[FIND_MARKS];
	CK_ULONG count = 0;
	CK_RV rv = session->f->C_FindObjectsInit(session->handle, template, CH_COUNT(template));

	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjectsInit", err);
	do {
		rv = session->f->C_FindObjects(session->handle, found, CH_COUNT(found), &count);
		for (CK_ULONG i = 0; rv == CKR_OK && i < count; i++)
			add_listed(session, found[i], list);
	} while (rv == CKR_OK && count);
	session->f->C_FindObjectsFinal(session->handle);
	return rv == CKR_OK || token_fail(session, rv, "C_FindObjects", err);
}

static bool remove_all(struct token_session *session, const char *name, struct ch_error *err)
{
	char label[HSM_MARK_NAME_CAP + 32];
	struct copies copies;

	if (!check(name, 0, err))
		return false;
	label_of(name, label);
	token_uncache(session->token, label);
	if (!find(session, label, &copies, err))
		return false;
	token_uncache(session->token, label);
	for (CK_ULONG i = 0; i < copies.count; i++)
		(void)session->f->C_DestroyObject(session->handle, copies.handles[i]);
	return true;
}

bool token_marks(struct token_session *session, const Chancery__HsmMarks *ask, struct ch_bytes *value,
		 struct hsm_mark_list *list, struct ch_error *err)
{
	char label[HSM_MARK_NAME_CAP + 32];
	struct hsm_mark mark;
	struct copies copies;

	for (size_t i = 0; i < ask->n_raise; i++)
		if (!raise(session, ask->raise[i]->name,
			   ch_view(ask->raise[i]->value.data, ask->raise[i]->value.len), err))
			return false;
	for (size_t i = 0; i < ask->n_remove; i++)
		if (!remove_all(session, ask->remove[i], err))
			return false;
	if (ask->list && !list_all(session, list, err))
		return false;
	if (!ask->read[0])
		return true;
	if (!check(ask->read, 0, err))
		return false;
	label_of(ask->read, label);
	if (!read_mark(session, label, &copies, &mark, err))
		return false;
	if (mark.size)
		*value = ch_bytes_copy(ch_view(mark.value, mark.size));
	return true;
}
