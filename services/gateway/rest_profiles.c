/* SPDX-License-Identifier: Apache-2.0 */
/* rest_profiles.c: /v1/profiles. The document goes to the issuer as it came. Called by rest_dispatch. */
#include "gateway.h"

#include <string.h>

static const struct exchange list_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_PROFILES,
					       CHANCERY__PAYLOAD_TYPE__PAYLOAD_LIST_PROFILES_REPLY,
					       &chancery__list_profiles_reply__descriptor, 5 * CH_SECOND };
static const struct exchange apply_exchange = { CHANCERY__PAYLOAD_TYPE__PAYLOAD_APPLY_PROFILE,
						CHANCERY__PAYLOAD_TYPE__PAYLOAD_PROFILE_REPLY,
						&chancery__profile_reply__descriptor, 10 * CH_SECOND };

static cJSON *profile_json(const Chancery__Profile *profile)
{
	cJSON *tree = cJSON_CreateObject();

	add_text(tree, "name", profile->name);
	add_number(tree, "version", profile->version);
	add_text(tree, "kind", profile->kind);
	add_text(tree, "document", profile->document);
	add_time(tree, "applied_at", profile->applied_at_us);
	return tree;
}

bool rest_profile_list(struct call *call, struct ch_error *err)
{
	Chancery__ListProfilesRequest request = CHANCERY__LIST_PROFILES_REQUEST__INIT;
	const Chancery__ListProfilesReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	cJSON *tree;
	cJSON *list;

	if (!call_peer(call, call->gateway->issuer, &list_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ListProfilesReply *)message;
	tree = cJSON_CreateObject();
	list = cJSON_AddArrayToObject(tree, "profiles");
	for (size_t i = 0; i < reply->n_profiles; i++)
		cJSON_AddItemToArray(list, profile_json(reply->profiles[i]));
	answer_json(call, 200, tree);
	return true;
}

bool rest_profile_apply(struct call *call, struct ch_error *err)
{
	Chancery__ApplyProfileRequest request = CHANCERY__APPLY_PROFILE_REQUEST__INIT;
	const Chancery__ProfileReply *reply;
	CH_AUTO(ch_proto) message = NULL;
	CH_AUTO(ch_string) document = NULL;
	const char *name;
	cJSON *tree;

	if (!path_name(call, &name, err) || !body_document(call, &document, err))
		return false;
	request.requester = &call->requester;
	request.name = (char *)(uintptr_t)name;
	request.document = document;
	if (!call_peer(call, call->gateway->issuer, &apply_exchange, &request.base, &message, err))
		return false;
	reply = (const Chancery__ProfileReply *)message;
	if (!reply->profile)
		return ch_fail(err, CH_INTERNAL, "the issuer answered without a profile");
	tree = profile_json(reply->profile);
	cJSON_AddBoolToObject(tree, "changed", reply->changed);
	answer_json(call, 200, tree);
	return true;
}
