/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.c: lists of refused identities between this daemon and a vault. Each is signed by its system CA
 * and has a rising number, so it may come from anybody: who has a newer one brings it.
 */
#include "identities/internal.h"

#include "x509/x509.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT (3 * CH_SECOND)

void ch_refused_take(struct ch_trust *trust, struct ch_view crl)
{
	struct ch_refused_news news;
	struct ch_error err = CH_NONE;

	if (ch_trust_refuse(trust, crl, &news, &err)) {
		if (news.taken)
			ch_log_warn("refused identities: list %s of the CA with key %.16s… names %zu, "
				    "%zu of "
				    "them new",
				    news.number, news.issuer, news.count, news.new_count);
	} else if (err.code == CH_CONFLICT || err.code == CH_UNAUTHENTICATED) {
		ch_log_debug("refused identities: %s", err.message);
	} else {
		ch_log_error("refused identities: %s", err.message);
	}
}

/* Up to CH_TRUST_CAS_CAP lists with their digests. */
struct held {
	size_t count;
	struct ch_bytes lists[CH_TRUST_CAS_CAP];
	uint8_t digests[CH_TRUST_CAS_CAP][64];
	ProtobufCBinaryData members[CH_TRUST_CAS_CAP]; /* of messages: borrowed from the others */
};

static bool collect(struct ch_trust *trust, struct held *held, struct ch_error *err)
{
	size_t size;

	held->count = ch_trust_refused_lists(trust, CH_REFUSED_OF_ALL, held->lists);
	for (size_t i = 0; i < held->count; i++) {
		if (!ch_digest("sha256", ch_view_of(&held->lists[i]), held->digests[i], &size, err))
			return false;
		held->members[i] = (ProtobufCBinaryData){ 32, held->digests[i] };
	}
	return true;
}

static void free_held(struct held *held)
{
	for (size_t i = 0; i < held->count; i++)
		ch_bytes_free(&held->lists[i]);
}
CH_DEFINE_AUTO_VALUE(held, struct held, free_held)

static bool call(struct ch_bus_client *bus, Chancery__PayloadType type, const ProtobufCMessage *request,
		 ProtobufCMessage **reply, struct ch_error *err)
{
	const struct ch_bus_call call = {
		.request_type = type,
		.request = request,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_REFUSED_IDENTITIES_REPLY,
		.reply_descriptor = &chancery__refused_identities_reply__descriptor,
		.timeout_us = TIMEOUT,
	};

	return ch_bus_call(bus, &call, reply, err);
}

static bool names(const Chancery__RefusedIdentitiesReply *reply, const uint8_t digest[32])
{
	for (size_t i = 0; i < reply->n_held; i++)
		if (reply->held[i].len == 32 && memcmp(reply->held[i].data, digest, 32) == 0)
			return true;
	return false;
}

static bool bring(struct ch_bus_client *bus, const struct held *held,
		  const Chancery__RefusedIdentitiesReply *theirs, struct ch_error *err)
{
	Chancery__PutRefusedIdentitiesRequest request = CHANCERY__PUT_REFUSED_IDENTITIES_REQUEST__INIT;
	ProtobufCBinaryData crls[CH_TRUST_CAS_CAP];
	CH_AUTO(ch_proto) reply = NULL;

	request.crls = crls;
	for (size_t i = 0; i < held->count; i++)
		if (!names(theirs, held->digests[i]))
			crls[request.n_crls++] =
				(ProtobufCBinaryData){ held->lists[i].size, held->lists[i].data };
	return request.n_crls == 0 ||
	       call(bus, CHANCERY__PAYLOAD_TYPE__PAYLOAD_PUT_REFUSED_IDENTITIES, &request.base, &reply, err);
}

bool ch_refused_exchange_vault(void *state, struct ch_trust *trust, struct ch_error *err)
{
	Chancery__GetRefusedIdentitiesRequest request = CHANCERY__GET_REFUSED_IDENTITIES_REQUEST__INIT;
	CH_AUTO(held) before = CH_NONE;
	CH_AUTO(held) now = CH_NONE;
	CH_AUTO(ch_proto) reply = NULL;
	const Chancery__RefusedIdentitiesReply *theirs;

	if (!collect(trust, &before, err))
		return false;
	request.known = before.members;
	request.n_known = before.count;
	request.of_other_cas = ch_trust_has_other_cas(trust);
	if (!call(state, CHANCERY__PAYLOAD_TYPE__PAYLOAD_GET_REFUSED_IDENTITIES, &request.base, &reply, err))
		return false;
	theirs = (const Chancery__RefusedIdentitiesReply *)reply;
	for (size_t i = 0; i < theirs->n_crls; i++)
		ch_refused_take(trust, ch_view(theirs->crls[i].data, theirs->crls[i].len));
	/* What is held now and unknown to that vault is newer than what it has. */
	return collect(trust, &now, err) && bring(state, &now, theirs, err);
}
