/* SPDX-License-Identifier: Apache-2.0 */
/* query.c: reads: a certificate by serial, certificates by filter, CAs. Called from the bus dispatch table.
 */
#include "issuer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool issuer_get_certificate(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			    struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__GetCertificateRequest *payload =
		(const Chancery__GetCertificateRequest *)request->payload;
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(certificate_row) row = CH_NONE;
	CH_AUTO(ch_bytes) serial = CH_NONE;
	struct ca_set *set = NULL;
	const struct ch_ca *ca;
	const char *tenant;
	bool found;

	if (!request_tenant(request, &tenant, err) || !catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	found = catalog_parse_serial(set, payload->serial, &serial, &ca, err) &&
		ch_db_begin(issuer->db, tenant, &transaction, err) &&
		store_find(transaction, ch_serial_period(ch_view_of(&serial)), ca->id, ch_view_of(&serial),
			   false, &row, err);
	if (found)
		*reply = certificate_reply(&row, set, false);
	catalog_release(issuer, set);
	return found;
}

/* --- listing
 * ----------------------------------------------------------------------------------------------------------------
 */

static const char *const statuses[] = { "issued", "suspended", "revoked", "pending", "cancelled" };

static const char *given(const char *text)
{
	return text[0] ? text : NULL;
}

/* "<created_at in microseconds>.<serial in hex>": where the next page begins. */
static bool read_cursor(const char *text, struct ch_bytes *serial, struct listing *listing,
			struct ch_error *err)
{
	char *end = NULL;

	if (!text[0])
		return true;
	listing->cursor_created_us = strtoll(text, &end, 10);
	if (strlen(text) > 80 || listing->cursor_created_us <= 0 || !end || *end != '.' ||
	    !ch_unhex(end + 1, serial, NULL))
		return ch_fail(err, CH_INVALID, "cursor '%.80s' is not one that a listing answered", text);
	listing->cursor_serial = ch_view_of(serial);
	return true;
}

static bool read_filters(const Chancery__ListCertificatesRequest *payload, const struct ca_set *set,
			 struct listing *listing, struct ch_error *err)
{
	const struct ch_ca *ca = given(payload->ca) ? catalog_find(set, payload->ca) : NULL;
	bool known = !given(payload->status);

	for (size_t i = 0; i < CH_COUNT(statuses); i++)
		known = known || strcmp(statuses[i], payload->status) == 0;
	if (!known)
		return ch_fail(err, CH_INVALID,
			       "status '%.40s' is none of issued, suspended, revoked, pending, cancelled",
			       payload->status);
	if (payload->limit > 1000)
		return ch_fail(err, CH_INVALID, "limit %u is over 1000", payload->limit);
	if (payload->expires_before_us < 0)
		return ch_fail(err, CH_INVALID, "expires_before lies before 1970");
	if (given(payload->ca) && !ca)
		return ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", payload->ca);
	listing->ca_id = ca ? ca->id : 0;
	listing->status = given(payload->status);
	listing->subject = given(payload->subject);
	listing->san = given(payload->san);
	listing->profile = given(payload->profile);
	listing->expires_before_us = payload->expires_before_us;
	listing->limit = payload->limit ? (int32_t)payload->limit : 100;
	return true;
}

/* One row more than asked for says whether there is a next page. */
static bool list_page(struct issuer *issuer, const char *tenant, const struct ca_set *set,
		      struct listing *listing, ProtobufCMessage **reply, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	Chancery__ListCertificatesReply *message;
	struct certificate_row *rows = NULL;
	size_t found = 0, page = (size_t)listing->limit;

	listing->limit++;
	if (!ch_db_begin(issuer->db, tenant, &transaction, err) ||
	    !store_list(transaction, tenant, listing, &rows, &found, err))
		return false;
	message = CH_PROTO_NEW(Chancery__ListCertificatesReply, chancery__list_certificates_reply__init);
	message->certificates = ch_alloc_pointers(found);
	for (size_t i = 0; i < found && i < page; i++)
		message->certificates[message->n_certificates++] = certificate_message(&rows[i], set, false);
	if (found > page) {
		CH_AUTO(ch_string) serial = ch_hex(ch_view_of(&rows[page - 1].serial));

		message->next_cursor = ch_format("%" PRId64 ".%s", rows[page - 1].created_at_us, serial);
	}
	for (size_t i = 0; i < found; i++)
		certificate_row_free(&rows[i]);
	free(rows);
	*reply = &message->base;
	return true;
}

bool issuer_list_certificates(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
			      struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__ListCertificatesRequest *payload =
		(const Chancery__ListCertificatesRequest *)request->payload;
	CH_AUTO(ch_bytes) cursor_serial = CH_NONE;
	struct listing listing = CH_NONE;
	struct ca_set *set = NULL;
	const char *tenant;
	bool listed;

	if (!request_tenant(request, &tenant, err) || !catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	listed = read_filters(payload, set, &listing, err) &&
		 read_cursor(payload->cursor, &cursor_serial, &listing, err) &&
		 list_page(issuer, tenant, set, &listing, reply, err);
	catalog_release(issuer, set);
	return listed;
}

/* --- CAs
 * --------------------------------------------------------------------------------------------------------------------
 */

/* ca_id 0: of all CAs of the tenant. */
static bool count_issued(struct issuer *issuer, const char *tenant, int64_t ca_id,
			 struct issued_counts *counts, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(issuer->db, tenant, &transaction, err) &&
	       store_count_issued(transaction, tenant, ca_id, counts, err) && ch_db_commit(&transaction, err);
}

static bool reply_ca(struct issuer *issuer, const char *tenant, const struct ca_set *set, const char *name,
		     ProtobufCMessage **reply, struct ch_error *err)
{
	const struct ch_ca *ca = catalog_find(set, name);
	CH_AUTO(issued_counts) counts = CH_NONE;
	Chancery__CaReply *message;

	if (!ca)
		return ch_fail(err, CH_NOT_FOUND, "CA '%.80s': no such CA", name);
	if (!count_issued(issuer, tenant, ca->id, &counts, err))
		return false;
	message = CH_PROTO_NEW(Chancery__CaReply, chancery__ca_reply__init);
	message->ca = ca_message(issuer, ca, set, issued_by(&counts, ca->id));
	*reply = &message->base;
	return true;
}

bool issuer_get_ca(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		   struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__GetCaRequest *payload = (const Chancery__GetCaRequest *)request->payload;
	struct ca_set *set = NULL;
	const char *tenant;
	bool found;

	if (!request_tenant(request, &tenant, err) || !catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	found = reply_ca(issuer, tenant, set, payload->name, reply, err);
	catalog_release(issuer, set);
	return found;
}

bool issuer_list_cas(void *state, const struct ch_bus_request *request, ProtobufCMessage **reply,
		     struct ch_error *err)
{
	struct issuer *issuer = state;
	const Chancery__ListCasRequest *payload = (const Chancery__ListCasRequest *)request->payload;
	CH_AUTO(issued_counts) counts = CH_NONE;
	Chancery__ListCasReply *message;
	struct ca_set *set = NULL;
	const char *tenant;

	if (!request_tenant(request, &tenant, err) ||
	    (!payload->without_counts && !count_issued(issuer, tenant, 0, &counts, err)) ||
	    !catalog_get(issuer, tenant, NULL, &set, err))
		return false;
	message = CH_PROTO_NEW(Chancery__ListCasReply, chancery__list_cas_reply__init);
	message->cas = ch_alloc_pointers(set->count);
	for (size_t i = 0; i < set->count; i++)
		message->cas[message->n_cas++] =
			ca_message(issuer, &set->items[i], set, issued_by(&counts, set->items[i].id));
	catalog_release(issuer, set);
	*reply = &message->base;
	return true;
}
