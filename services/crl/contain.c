/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contain.c: CRL n+1 has the entries of CRL n but for those that may leave. A database that was set back, or
 * that somebody took a revocation out of, makes no revoked certificate good: what was published once is held
 * against it. Called by generate.c.
 */
#include "crl.h"

#include <stdlib.h>
#include <string.h>

#define BATCH       1000
#define SERIAL_CAP  20 /* octets: RFC 5280 §4.1.2.2 */
#define REASON_HOLD 6

struct crl_serial { /* without leading zeros, so equal serials have equal octets */
	uint8_t size;
	uint8_t octets[SERIAL_CAP];
};

/* --- the list that is being made --- */

static struct crl_serial serial_of(struct ch_view view)
{
	struct crl_serial serial = CH_NONE;

	while (view.size > 1 && view.data[0] == 0)
		view = ch_view(view.data + 1, view.size - 1);
	serial.size = (uint8_t)view.size;
	memcpy(serial.octets, view.data, view.size);
	return serial;
}

static int compare(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct crl_serial));
}

bool crl_list_add(struct crl_list *list, const struct ch_crl_entry *entry, struct ch_error *err)
{
	if (!ch_crl_add(&list->builder, entry, err))
		return false;
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : BATCH;
		list->listed = ch_realloc(list->listed, list->room * sizeof(list->listed[0]));
	}
	list->listed[list->count++] = serial_of(entry->serial);
	return true;
}

void crl_list_free(struct crl_list *list)
{
	ch_crl_builder_free(&list->builder);
	free(CH_STEAL(list->listed));
	ch_buffer_free(&list->kept_serials);
}

static bool is_listed(const struct crl_list *list, struct ch_view serial)
{
	struct crl_serial wanted = serial_of(serial);

	return list->count && bsearch(&wanted, list->listed, list->count, sizeof(wanted), compare);
}

/* --- the list before --- */

bool crl_previous(struct crl *crl, const struct crl_ca *ca, struct crl_record *previous, struct ch_error *err)
{
	CH_AUTO(crl_state) state = CH_NONE;

	crl_board_newest(crl->board, ca->ca_id, previous);
	if (!crl_store_find(crl->db, ca->tenant, ca->name, &state, err))
		return false;
	if (state.newest.number <= previous->number)
		return true;
	crl_record_free(previous);
	*previous = (struct crl_record)CH_NONE;
	return crl_store_read(crl->db, ca->ca_id, state.newest.number, previous, err);
}

/* Its entries that are not in the new one. */
struct missing {
	const struct crl_list *list;
	struct ch_crl_entry *items; /* borrow from the list before */
	size_t count, room;
};

static void free_missing(struct missing *missing)
{
	free(missing->items);
}
CH_DEFINE_AUTO_VALUE(missing, struct missing, free_missing)

static bool note_missing(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	struct missing *missing = context;

	(void)err;
	if (is_listed(missing->list, entry->serial))
		return true;
	if (missing->count == missing->room) {
		missing->room = missing->room ? 2 * missing->room : BATCH;
		missing->items = ch_realloc(missing->items, missing->room * sizeof(missing->items[0]));
	}
	missing->items[missing->count++] = *entry;
	return true;
}

static bool find_missing(const struct crl_ca *ca, const struct crl_record *previous, struct missing *missing,
			 struct ch_error *err)
{
	const struct ch_crl_issuer issuer = { .algorithm = ca->algorithm,
					      .subject_der = ch_view_of(&ca->subject_der) };
	struct ch_view tbs;

	return ch_crl_verify(ch_view_of(&previous->der), &issuer, ch_view_of(&ca->public_key_info), &tbs,
			     err) &&
	       ch_crl_entries(tbs, issuer.subject_der, note_missing, missing, err);
}

/* --- what stays --- */

/* "reinstated" lifts a hold; nothing lifts a revocation. */
static bool may_leave(const struct ch_crl_entry *entry, const struct crl_standing *standing)
{
	if (standing->action == CRL_REINSTATED)
		return entry->reason == REASON_HOLD;
	return standing->action == CRL_REVOKED && standing->over;
}

static bool keep(struct crl_list *list, const struct ch_crl_entry *entry, const struct crl_standing *standing,
		 struct ch_error *err)
{
	if (!ch_crl_add(&list->builder, entry, err))
		return false;
	if (standing->action == CRL_REVOKED) /* since the list was read */
		return true;
	if (list->kept++ < CRL_KEPT_NAMED) {
		CH_AUTO(ch_string) hex = ch_hex(entry->serial);

		ch_buffer_printf(&list->kept_serials, "%s%s", list->kept == 1 ? "" : ",", hex);
	}
	return true;
}

static bool keep_of_batch(struct crl_making *making, const struct ch_crl_entry *entries, size_t count,
			  struct ch_error *err)
{
	struct crl_standing standings[BATCH];
	char *serials[BATCH];
	bool known;

	for (size_t i = 0; i < count; i++)
		serials[i] = ch_hex(entries[i].serial);
	known = crl_store_standings(making->crl->db, making->ca, (const char *const *)serials, count,
				    standings, err);
	for (size_t i = 0; i < count; i++)
		free(serials[i]);
	for (size_t i = 0; known && i < count; i++)
		if (!may_leave(&entries[i], &standings[i]) &&
		    !keep(&making->list, &entries[i], &standings[i], err))
			return false;
	return known;
}

bool crl_contain(struct crl_making *making, struct ch_error *err)
{
	struct crl_list *list = &making->list;
	CH_AUTO(missing) missing = { .list = list };

	if (!making->previous.number)
		return true;
	if (list->count)
		qsort(list->listed, list->count, sizeof(list->listed[0]), compare);
	/* A list that cannot be read must not be the last one that the CA ever made: this one goes out, and
	 * it is told. */
	if (!find_missing(making->ca, &making->previous, &missing, &list->unreadable))
		return true;
	for (size_t at = 0; at < missing.count; at += BATCH) {
		size_t count = missing.count - at < BATCH ? missing.count - at : BATCH;

		if (!keep_of_batch(making, missing.items + at, count, err))
			return false;
	}
	return true;
}
