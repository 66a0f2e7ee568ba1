/* SPDX-License-Identifier: Apache-2.0 */
/* reply.c: rows and structs to messages. Everything in a message is from malloc: the bus frees it. */
#include "issuer.h"

#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

static ProtobufCBinaryData octets(struct ch_view view)
{
	struct ch_bytes copy = ch_bytes_copy(view);

	return (ProtobufCBinaryData){ .len = copy.size, .data = copy.data };
}

/* The CA's certificate and those above it, DER after DER. */
static ProtobufCBinaryData chain(const struct ch_ca *ca, const struct ca_set *set)
{
	CH_AUTO(ch_buffer) all = CH_NONE;

	for (size_t depth = 0; ca && depth < set->count; depth++) {
		ch_buffer_add_view(&all, ch_view_of(&ca->certificate_der));
		ca = ca->parent_id ? catalog_by_id(set, ca->parent_id) : NULL;
	}
	return octets(ch_buffer_view(&all));
}

char *sans_to_json(const struct ch_sans *sans)
{
	cJSON *list = cJSON_CreateArray();
	char *text;

	for (size_t i = 0; sans && i < sans->count; i++) {
		cJSON *item = cJSON_CreateObject();

		cJSON_AddStringToObject(item, "type", ch_san_type_name(sans->items[i].type));
		cJSON_AddStringToObject(item, "value", sans->items[i].value);
		cJSON_AddItemToArray(list, item);
	}
	text = cJSON_PrintUnformatted(list);
	cJSON_Delete(list);
	return text;
}

char *sans_to_text(const struct ch_sans *sans)
{
	struct ch_buffer text = CH_NONE;

	for (size_t i = 0; sans && i < sans->count; i++)
		ch_buffer_printf(&text, "%s%s", i ? "\n" : "", sans->items[i].value);
	return ch_buffer_steal_text(&text);
}

static void add_sans(Chancery__Certificate *message, const char *json)
{
	cJSON *list = cJSON_Parse(json), *item;
	size_t room = (size_t)cJSON_GetArraySize(list);

	message->subject_alt_names = ch_alloc_pointers(room);
	cJSON_ArrayForEach(item, list)
	{
		const char *type = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "type"));
		const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(item, "value"));
		Chancery__SubjectAltName *name =
			CH_PROTO_NEW(Chancery__SubjectAltName, chancery__subject_alt_name__init);

		name->type = ch_strdup(type ? type : "");
		name->value = ch_strdup(value ? value : "");
		message->subject_alt_names[message->n_subject_alt_names++] = name;
	}
	cJSON_Delete(list);
}

Chancery__Certificate *certificate_message(const struct certificate_row *row, const struct ca_set *set,
					   bool with_chain)
{
	Chancery__Certificate *message = CH_PROTO_NEW(Chancery__Certificate, chancery__certificate__init);
	const struct ch_ca *ca = catalog_by_id(set, row->ca_id);

	message->serial = ch_hex(ch_view_of(&row->serial));
	message->ca = ch_strdup(ca ? ca->document.name : "");
	message->profile = ch_strdup(row->profile);
	message->status = ch_strdup(row->status);
	message->subject = ch_strdup(row->subject);
	add_sans(message, row->sans_json);
	message->not_before_us = row->not_before_us;
	message->not_after_us = row->not_after_us;
	message->created_at_us = row->created_at_us;
	if (row->revocation_reason >= 0)
		message->revocation_reason = ch_strdup(ch_reason_name(row->revocation_reason));
	message->revoked_at_us = row->revoked_at_us;
	message->der = octets(ch_view_of(&row->der));
	if (with_chain)
		message->chain_der = chain(ca, set);
	message->requested_by = ch_strdup(row->requested_by);
	return message;
}

ProtobufCMessage *certificate_reply(const struct certificate_row *row, const struct ca_set *set,
				    bool repeated)
{
	Chancery__CertificateReply *reply =
		CH_PROTO_NEW(Chancery__CertificateReply, chancery__certificate_reply__init);

	reply->certificate = certificate_message(row, set, true);
	reply->repeated_request = repeated;
	return &reply->base;
}

Chancery__Ca *ca_message(const struct issuer *issuer, const struct ch_ca *ca, const struct ca_set *set,
			 uint64_t issued)
{
	Chancery__Ca *message = CH_PROTO_NEW(Chancery__Ca, chancery__ca__init);
	struct ch_ca_effect effect;

	ch_ca_effect_of(set->items, set->count, ca, ch_clock_now_us(issuer->clock), &effect);

	message->name = ch_strdup(ca->document.name);
	message->parent = ch_strdup(ca->document.parent ? ca->document.parent : "");
	message->state = ch_strdup(effect.state);
	message->why = ch_strdup(strcmp(effect.state, "pending") == 0 ? "" : effect.why);
	message->own_state = ch_strdup(ca->state);
	/* At most one of those in use (cas_timestamp_default of 0004_signers.sql). */
	message->timestamp_default = ca->timestamp_default && strcmp(ca->state, "retired") != 0 &&
				     strcmp(ca->state, "revoked") != 0;
	message->subject = ch_strdup(ca->subject);
	message->key_id = ch_strdup(ca->key_id);
	message->key_algorithm = ch_strdup(ca->algorithm->name);
	message->certificate_der = octets(ch_view_of(&ca->certificate_der));
	message->chain_der = chain(ca, set);
	message->not_before_us = ca->not_before_us;
	message->not_after_us = ca->not_after_us;
	message->certificates_issued = issued;
	message->ocsp_url = ch_strdup(ca->document.urls.ocsp);
	message->crl_url = ch_strdup(ca->document.urls.crl);
	message->ca_issuers_url = ch_strdup(ca->document.urls.ca_issuers);
	return message;
}
