/* SPDX-License-Identifier: Apache-2.0 */
/* json.c: takes members out of a checked JSON object. Called by the rest_*.c files. */
#include "json.h"

#include <stdio.h>
#include <string.h>

bool json_read_object(struct ch_view text, cJSON **object, struct ch_error *err)
{
	CH_AUTO(cJSON) tree = NULL;

	if (!json_check(text, err))
		return false;
	tree = cJSON_ParseWithLength((const char *)text.data, text.size);
	if (!tree)
		return ch_fail(err, CH_INVALID, "not JSON");
	if (!cJSON_IsObject(tree))
		return ch_fail(err, CH_INVALID, "the body must be a JSON object");
	*object = CH_STEAL(tree);
	return true;
}

static bool is_known(const char *name, const char *const *known)
{
	for (; *known; known++)
		if (strcmp(name, *known) == 0)
			return true;
	return false;
}

static void list_known(const char *const *known, char *text, size_t room)
{
	text[0] = 0;
	for (size_t used = 0; *known && used < room; known++, used = strlen(text))
		snprintf(text + used, room - used, "%s%s", used ? ", " : "", *known);
}

bool json_only(const cJSON *object, const char *where, const char *const *known, struct ch_error *err)
{
	char list[200];

	for (const cJSON *member = object->child; member; member = member->next) {
		if (!is_known(member->string, known)) {
			list_known(known, list, sizeof(list));
			return ch_fail(err, CH_INVALID, "unknown member '%.64s' in %s (known: %s)",
				       member->string, where, *list ? list : "none");
		}
		for (const cJSON *other = member->next; other; other = other->next)
			if (strcmp(member->string, other->string) == 0)
				return ch_fail(err, CH_INVALID, "member '%.64s' stands twice in %s",
					       member->string, where);
	}
	return true;
}

static const char *type_name(const cJSON *value)
{
	if (cJSON_IsString(value))
		return "a string";
	if (cJSON_IsNumber(value))
		return "a number";
	if (cJSON_IsBool(value))
		return "a boolean";
	return cJSON_IsArray(value) ? "an array" : "an object";
}

/* NULL where it is absent; false where it is but must not be. */
static bool find(const cJSON *object, const char *name, enum json_need need, const cJSON **member,
		 struct ch_error *err)
{
	*member = cJSON_GetObjectItemCaseSensitive(object, name);
	if (*member && cJSON_IsNull(*member))
		*member = NULL;
	return *member || need == JSON_OPTIONAL || ch_fail(err, CH_INVALID, "member '%s' is missing", name);
}

bool json_string(const cJSON *object, const char *name, enum json_need need, size_t cap, const char **value,
		 struct ch_error *err)
{
	const cJSON *member;

	*value = NULL;
	if (!find(object, name, need, &member, err))
		return false;
	if (!member)
		return true;
	if (!cJSON_IsString(member))
		return ch_fail(err, CH_INVALID, "member '%s' is %s, not a string", name, type_name(member));
	if (strlen(member->valuestring) > cap)
		return ch_fail(err, CH_INVALID, "member '%s' is over %zu octets", name, cap);
	*value = member->valuestring;
	return true;
}

bool json_array(const cJSON *object, const char *name, enum json_need need, size_t cap, const cJSON **value,
		struct ch_error *err)
{
	*value = NULL;
	if (!find(object, name, need, value, err))
		return false;
	if (!*value)
		return true;
	if (!cJSON_IsArray(*value))
		return ch_fail(err, CH_INVALID, "member '%s' is %s, not an array", name, type_name(*value));
	if ((size_t)cJSON_GetArraySize(*value) > cap)
		return ch_fail(err, CH_INVALID, "member '%s' has over %zu elements", name, cap);
	return true;
}
