/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.c: the board: each CA's newest CRL and its certificate as they are served, in memory. follow.c and
 * generate.c put up, http.c takes down references. One lock guards the list and the reference counts;
 * documents never change.
 */
#include "crl.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATE_MAX_AGE CH_HOUR

struct face { /* of one CA */
	int64_t ca_id;
	char *name;
	uint64_t number;
	int64_t this_update_us, next_update_us;
	struct crl_document *crl, *certificate;
	struct ch_metric *number_metric, *entries, *age, *next_update, *size;
};

struct crl_board {
	pthread_mutex_t lock;
	struct face *faces;
	size_t count;
	struct ch_metrics *metrics;
};

struct crl_board *crl_board_new(struct ch_metrics *metrics)
{
	struct crl_board *board = ch_alloc(sizeof(*board));

	pthread_mutex_init(&board->lock, NULL);
	board->metrics = metrics;
	return board;
}

/* Under the lock. */
static void unreference(struct crl_document *document)
{
	if (!document || --document->references)
		return;
	ch_bytes_free(&document->der);
	free(document);
}

void crl_document_release(void *context)
{
	struct crl_document *document = context;
	struct crl_board *board = document->board;

	pthread_mutex_lock(&board->lock);
	unreference(document);
	pthread_mutex_unlock(&board->lock);
}

static void clear_face(struct face *face)
{
	unreference(face->crl);
	unreference(face->certificate);
	free(face->name);
}

void crl_board_free(struct crl_board *board)
{
	for (size_t i = 0; i < board->count; i++)
		clear_face(&board->faces[i]);
	free(board->faces);
	pthread_mutex_destroy(&board->lock);
	free(board);
}

static struct crl_document *new_document(struct crl_board *board, struct ch_view der, uint64_t number)
{
	struct crl_document *document = ch_alloc(sizeof(*document));
	unsigned char digest[EVP_MAX_MD_SIZE] = CH_NONE;
	CH_AUTO(ch_string) hex = NULL;

	/* No error is possible: SHA-256 is compiled in, and an empty digest would only make a poor tag. */
	(void)EVP_Digest(der.data, der.size, digest, NULL, EVP_sha256(), NULL);
	hex = ch_hex(ch_view(digest, 12));
	document->references = 1;
	document->board = board;
	document->der = ch_bytes_copy(der);
	snprintf(document->etag, sizeof(document->etag), "\"%llu-%s\"", (unsigned long long)number, hex);
	return document;
}

static void open_metrics(struct crl_board *board, struct face *face)
{
	CH_AUTO(ch_string) ca = ch_format("ca=\"%s\"", face->name);

	face->number_metric =
		ch_metrics_gauge(board->metrics, "chancery_crl_number", "CRL number served", ca);
	face->entries =
		ch_metrics_gauge(board->metrics, "chancery_crl_entries", "Entries of the CRL served", ca);
	face->size =
		ch_metrics_gauge(board->metrics, "chancery_crl_size_bytes", "Size of the CRL served", ca);
	face->age = ch_metrics_gauge(board->metrics, "chancery_crl_age_seconds", "Time since thisUpdate", ca);
	face->next_update = ch_metrics_gauge(board->metrics, "chancery_crl_next_update_timestamp_seconds",
					     "nextUpdate of the CRL served", ca);
}

static struct face *find(const struct crl_board *board, int64_t ca_id)
{
	for (size_t i = 0; i < board->count; i++)
		if (board->faces[i].ca_id == ca_id)
			return &board->faces[i];
	return NULL;
}

static struct face *find_or_add(struct crl_board *board, const struct crl_ca *ca)
{
	struct face *face = find(board, ca->ca_id);

	if (face)
		return face;
	board->faces = ch_realloc(board->faces, (board->count + 1) * sizeof(board->faces[0]));
	face = &board->faces[board->count++];
	*face = (struct face){ .ca_id = ca->ca_id, .name = ch_strdup(ca->name) };
	open_metrics(board, face);
	return face;
}

static void put_crl(struct face *face, struct crl_document *document, const struct crl_record *record)
{
	unreference(face->crl);
	face->crl = document;
	face->number = record->number;
	face->this_update_us = record->this_update_us;
	face->next_update_us = record->next_update_us;
	ch_metric_set(face->number_metric, (int64_t)record->number);
	ch_metric_set(face->entries, (int64_t)record->entries);
	ch_metric_set(face->size, (int64_t)record->der.size);
	ch_metric_set(face->next_update, record->next_update_us / CH_SECOND);
}

/* A cache may keep a CRL until the next one is expected, not until its nextUpdate: that is what makes a
 * revocation known. The last one of a CA is followed by none, and ends all the same. */
static int64_t fresh_until(const struct crl_ca *ca, const struct crl_record *record)
{
	int64_t due_us = crl_due_at(ca, record);

	return due_us < record->next_update_us ? due_us : record->next_update_us;
}

void crl_board_put(struct crl_board *board, const struct crl_ca *ca, const struct crl_record *record)
{
	struct crl_document *crl = NULL,
			    *certificate = new_document(board, ch_view_of(&ca->certificate_der), 0);
	struct face *face;

	certificate->modified_us = ca->not_before_us;
	certificate->fresh_until_us = ca->not_after_us;
	certificate->longest_fresh_us = CERTIFICATE_MAX_AGE;
	if (record->der.data) {
		crl = new_document(board, ch_view_of(&record->der), record->number);
		crl->modified_us = record->this_update_us;
		crl->fresh_until_us = fresh_until(ca, record);
		crl->longest_fresh_us = INT64_MAX;
	}
	pthread_mutex_lock(&board->lock);
	face = find_or_add(board, ca);
	unreference(face->certificate);
	face->certificate = certificate;
	if (crl && record->number > face->number)
		put_crl(face, CH_STEAL(crl), record);
	unreference(crl);
	pthread_mutex_unlock(&board->lock);
}

static bool is_among(const struct crl_states *states, int64_t ca_id)
{
	for (size_t i = 0; i < states->count; i++)
		if (states->items[i].ca.ca_id == ca_id)
			return true;
	return false;
}

void crl_board_keep(struct crl_board *board, const struct crl_states *states)
{
	size_t kept = 0;

	pthread_mutex_lock(&board->lock);
	for (size_t i = 0; i < board->count; i++) {
		if (is_among(states, board->faces[i].ca_id))
			board->faces[kept++] = board->faces[i];
		else
			clear_face(&board->faces[i]);
	}
	board->count = kept;
	pthread_mutex_unlock(&board->lock);
}

void crl_board_newest(struct crl_board *board, int64_t ca_id, struct crl_record *record)
{
	const struct face *face;

	pthread_mutex_lock(&board->lock);
	face = find(board, ca_id);
	if (face && face->crl) {
		record->number = face->number;
		record->this_update_us = face->this_update_us;
		record->next_update_us = face->next_update_us;
		record->der = ch_bytes_copy(ch_view_of(&face->crl->der));
	}
	pthread_mutex_unlock(&board->lock);
}

bool crl_board_is_current(struct crl_board *board, const struct crl_ca *ca, uint64_t number)
{
	const struct face *face;
	bool current;

	pthread_mutex_lock(&board->lock);
	face = find(board, ca->ca_id);
	current = face && face->number >= number &&
		  ch_view_equal(ch_view_of(&face->certificate->der), ch_view_of(&ca->certificate_der));
	pthread_mutex_unlock(&board->lock);
	return current;
}

struct crl_document *crl_board_get(struct crl_board *board, const char *name, enum crl_document_kind kind,
				   bool *known)
{
	struct crl_document *document = NULL;

	*known = false;
	pthread_mutex_lock(&board->lock);
	for (size_t i = 0; i < board->count && !*known; i++) {
		struct face *face = &board->faces[i];

		if (strcmp(face->name, name) != 0)
			continue;
		*known = true;
		document = kind == CRL_DOCUMENT_CRL ? face->crl : face->certificate;
		if (document)
			document->references++;
	}
	pthread_mutex_unlock(&board->lock);
	return document;
}

void crl_board_measure(struct crl_board *board, int64_t now_us)
{
	pthread_mutex_lock(&board->lock);
	for (size_t i = 0; i < board->count; i++)
		if (board->faces[i].number)
			ch_metric_set(board->faces[i].age,
				      (now_us - board->faces[i].this_update_us) / CH_SECOND);
	pthread_mutex_unlock(&board->lock);
}
