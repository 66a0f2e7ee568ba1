/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refused_identities.c: the lists of refused identities of services, between the database, this vault and
 * whoever asks: GetRefusedIdentities and PutRefusedIdentities of the dispatch table, and what the vault's own
 * thread does every two seconds (libcommon/identities). The SQL of the table stands here too.
 */
#include "refused_identities.h"

#include "identities/identities.h"
#include "log/log.h"

#include <string.h>

#define HEX_SIZE 65 /* SHA-256 and a zero */

static const struct ch_statement list_all = { "vault_refused_identities",
					      "SELECT crl FROM refused_identities LIMIT 64" };
/* $4: the digest of a row that was found to be no list of its CA's, or an older one than this vault has seen.
 */
static const struct ch_statement put = {
	"vault_put_refused_identities",
	"INSERT INTO refused_identities (issuer_key_sha256, crl_number, crl) VALUES ($1, $2::numeric, $3) "
	"ON CONFLICT (issuer_key_sha256) DO UPDATE SET crl_number = EXCLUDED.crl_number, crl = EXCLUDED.crl, "
	"updated_at = clock_timestamp() WHERE refused_identities.crl_number < EXCLUDED.crl_number "
	"OR encode(sha256(refused_identities.crl), 'hex') = $4"
};

static void digest_of(struct ch_view der, char hex[HEX_SIZE])
{
	CH_AUTO(ch_string) text = NULL;
	uint8_t digest[64] = CH_NONE;
	size_t size = 0;

	if (!ch_digest("sha256", der, digest, &size, NULL))
		memset(digest, 0, sizeof(digest));
	text = ch_hex(ch_view(digest, 32));
	memcpy(hex, text, HEX_SIZE);
}

/* What the table holds. */
struct rows {
	size_t count;
	char digests[64][HEX_SIZE];
	char bad[HEX_SIZE]; /* of a row that should be replaced; "": none */
};

/* Takes every row into `trust`; of what is older or no list of a trusted CA, one a time is noted as bad. */
static bool take_rows(struct vault *vault, struct ch_trust *trust, struct rows *known, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;
	CH_AUTO(ch_rows) rows = NULL;

	if (!ch_db_begin(vault->db, NULL, &transaction, err) ||
	    !ch_db_query(transaction, &list_all, CH_NO_PARAMETERS, &rows, err))
		return false;
	known->count = ch_rows_count(rows) < 64 ? ch_rows_count(rows) : 64;
	for (size_t i = 0; i < known->count; i++) {
		struct ch_view crl = ch_rows_bytes(rows, i, 0);

		digest_of(crl, known->digests[i]);
		if (!ch_trust_refuse(trust, crl, NULL, NULL))
			memcpy(known->bad, known->digests[i], HEX_SIZE);
	}
	return ch_db_commit(&transaction, err);
}

static bool write_row(struct vault *vault, const struct ch_refused_news *list, struct ch_view crl,
		      const char *replaces, struct ch_error *err)
{
	CH_AUTO(ch_transaction) transaction = NULL;

	return ch_db_begin(vault->db, NULL, &transaction, err) &&
	       ch_db_query(transaction, &put,
			   CH_PARAMETERS(ch_param_text(list->issuer), ch_param_text(list->number),
					 ch_param_bytes(crl), ch_param_text(replaces)),
			   NULL, err) &&
	       ch_db_commit(&transaction, err);
}

static bool has(const struct rows *known, struct ch_view crl)
{
	char digest[HEX_SIZE];

	digest_of(crl, digest);
	for (size_t i = 0; i < known->count; i++)
		if (strcmp(known->digests[i], digest) == 0)
			return true;
	return false;
}

/* What this vault has and the table has not is newer: the table was turned back, or was away when it came. */
static bool write_missing(struct vault *vault, struct ch_trust *trust, const struct rows *known,
			  struct ch_error *err)
{
	struct ch_bytes lists[CH_TRUST_CAS_CAP];
	size_t count = ch_trust_refused_lists(trust, CH_REFUSED_OF_ALL, lists);
	struct ch_refused_news news;
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		if (good && !has(known, ch_view_of(&lists[i])) &&
		    ch_trust_refuse(trust, ch_view_of(&lists[i]), &news, NULL))
			good = write_row(vault, &news, ch_view_of(&lists[i]), known->bad, err);
		ch_bytes_free(&lists[i]);
	}
	return good;
}

bool vault_refused_exchange(void *state, struct ch_trust *trust, struct ch_error *err)
{
	struct vault *vault = state;
	struct rows known = CH_NONE;

	return take_rows(vault, trust, &known, err) && write_missing(vault, trust, &known, err);
}

/* --- the bus ----------------------------------------------------------------------------------------------
 */

static bool is_known(const Chancery__GetRefusedIdentitiesRequest *ask, const uint8_t digest[32])
{
	for (size_t i = 0; ask && i < ask->n_known; i++)
		if (ask->known[i].len == 32 && memcmp(ask->known[i].data, digest, 32) == 0)
			return true;
	return false;
}

static ProtobufCMessage *make_reply(struct vault *vault, const Chancery__GetRefusedIdentitiesRequest *ask)
{
	Chancery__RefusedIdentitiesReply *reply =
		CH_PROTO_NEW(Chancery__RefusedIdentitiesReply, chancery__refused_identities_reply__init);
	struct ch_bytes lists[CH_TRUST_CAS_CAP];
	/* Who knows no operators' CA could not verify its list. */
	enum ch_refused_of of = ask && !ask->of_other_cas ? CH_REFUSED_OF_SYSTEM_CAS : CH_REFUSED_OF_ALL;
	size_t count = ch_trust_refused_lists(ch_identity_trust(vault->identity), of, lists);

	reply->held = ch_alloc((count + 1) * sizeof(*reply->held));
	reply->crls = ch_alloc((count + 1) * sizeof(*reply->crls));
	for (size_t i = 0; i < count; i++) {
		uint8_t digest[64] = CH_NONE;
		size_t size = 0;
		struct ch_bytes copy;

		if (!ch_digest("sha256", ch_view_of(&lists[i]), digest, &size, NULL))
			memset(digest, 0, sizeof(digest));
		copy = ch_bytes_copy(ch_view(digest, 32));
		reply->held[reply->n_held++] = (ProtobufCBinaryData){ copy.size, copy.data };
		if (is_known(ask, digest))
			ch_bytes_free(&lists[i]);
		else
			reply->crls[reply->n_crls++] = (ProtobufCBinaryData){ lists[i].size, lists[i].data };
	}
	return &reply->base;
}

bool vault_handle_get_refused_identities(void *state, const struct ch_bus_request *request,
					 ProtobufCMessage **reply, struct ch_error *err)
{
	(void)err;
	*reply = make_reply(state, (const Chancery__GetRefusedIdentitiesRequest *)request->payload);
	return true;
}

static bool record_taken(struct vault *vault, const struct ch_bus_request *request,
			 const struct ch_refused_news *news, struct ch_error *err)
{
	CH_AUTO(ch_string) count = ch_format("%zu", news->count);
	CH_AUTO(ch_string) new_count = ch_format("%zu", news->new_count);
	const struct ch_audit_detail details[] = {
		{ "number", news->number },
		{ "identities", count },
		{ "new", new_count },
	};

	ch_log(CH_LOG_WARN, &request->scope,
	       "refused identities: %s/%s brought list %s, which names %zu, %zu of them new",
	       request->sender->service, request->sender->instance, news->number, news->count,
	       news->new_count);
	return vault_record(vault, request, "identity.refused-list", news->issuer, details, CH_COUNT(details),
			    err);
}

/* Honoured here at once; the table tells the other vaults, and everyone who asks this one brings it to them
 * where the table is away. */
static bool take(struct vault *vault, const struct ch_bus_request *request, struct ch_view crl,
		 struct ch_error *err)
{
	struct ch_refused_news news;

	if (!ch_trust_refuse(ch_identity_trust(vault->identity), crl, &news, err))
		return false;
	if (news.taken && !record_taken(vault, request, &news, err))
		return false;
	return write_row(vault, &news, crl, "", err) ||
	       ch_fail_in(err,
			  "this vault refuses what the list names, the database does not know of it yet");
}

bool vault_handle_put_refused_identities(void *state, const struct ch_bus_request *request,
					 ProtobufCMessage **reply, struct ch_error *err)
{
	const Chancery__PutRefusedIdentitiesRequest *ask =
		(const Chancery__PutRefusedIdentitiesRequest *)request->payload;

	if (ask->n_crls == 0 || ask->n_crls > CH_TRUST_CAS_CAP)
		return ch_fail(err, CH_INVALID,
			       "request has %zu lists of refused identities, 1 to %d are taken", ask->n_crls,
			       CH_TRUST_CAS_CAP);
	for (size_t i = 0; i < ask->n_crls; i++)
		if (!take(state, request, ch_view(ask->crls[i].data, ask->crls[i].len), err))
			return false;
	*reply = make_reply(state, NULL);
	return true;
}
