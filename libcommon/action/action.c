/* SPDX-License-Identifier: Apache-2.0 */
/* action.c: writes and reads the document of an action; action.h has its form. The vault and the command line
 * use it. */
#include "action/action.h"

#include "clock/clock.h"
#include "err/err.h"
#include "text/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TITLE "Chancery action v2"

/* --- the kinds: a new one is a row here --- */

#define FIELDS(...)               \
	{                         \
		__VA_ARGS__, NULL \
	}
static const struct kind {
	Chancery__ActionKind kind;
	const char *name;
	const char *fields[CH_ACTION_FIELDS_CAP];
} kinds[] = {
	{ CHANCERY__ACTION_KIND__ACTION_GENERATE_KEY, "generate-key",
	  FIELDS("label", "algorithm", "purposes", "subject") },
	{ CHANCERY__ACTION_KIND__ACTION_CA_CERTIFICATE, "ca-certificate",
	  FIELDS("key", "tbs-sha256", "subject", "not-after") },
	{ CHANCERY__ACTION_KIND__ACTION_CA_CSR, "ca-csr", FIELDS("key", "tbs-sha256", "subject") },
	{ CHANCERY__ACTION_KIND__ACTION_SERVICE_IDENTITY, "service-identity",
	  FIELDS("key", "tbs-sha256", "identity", "not-after") },
	{ CHANCERY__ACTION_KIND__ACTION_EXPORT_KEY, "export-key", FIELDS("key") },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_STATE, "change-key-state",
	  FIELDS("key", "policy-version", "from", "to") },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_KEY_POLICY, "change-key-policy",
	  FIELDS("key", "policy-version", "callers", "signature-algorithms", "max-validity-seconds",
		 "quota-burst", "quota-per-hour", "approvals-required", "audit-mode", "extra-extensions",
		 "verify-signatures") },
	{ CHANCERY__ACTION_KIND__ACTION_REPLACE_HSM, "replace-hsm", FIELDS("hsm") },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_QUORUM, "change-quorum",
	  FIELDS("version", "required", "officers") },
	{ CHANCERY__ACTION_KIND__ACTION_CRL, "crl",
	  FIELDS("key", "tbs-sha256", "crl-number", "next-update") },
	{ CHANCERY__ACTION_KIND__ACTION_CHANGE_CA_STATE, "change-ca-state",
	  FIELDS("ca", "to", "key", "policy-version", "certificate", "reason") },
};

static const struct kind *find_kind(Chancery__ActionKind kind)
{
	for (size_t i = 0; i < CH_COUNT(kinds); i++)
		if (kinds[i].kind == kind)
			return &kinds[i];
	return NULL;
}

const char *ch_action_kind_name(Chancery__ActionKind kind)
{
	const struct kind *found = find_kind(kind);

	return found ? found->name : NULL;
}

Chancery__ActionKind ch_action_kind_find(const char *name)
{
	for (size_t i = 0; i < CH_COUNT(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	return CHANCERY__ACTION_KIND__ACTION_NONE;
}

static void free_pairs(struct ch_action_field *pairs, size_t *count)
{
	for (size_t i = 0; i < *count; i++) {
		free(pairs[i].name);
		free(pairs[i].value);
	}
	*count = 0;
}

void ch_action_free(struct ch_action *action)
{
	free_pairs(action->fields, &action->field_count);
	free_pairs(action->facts, &action->fact_count);
	free(action->proposed_by);
	free(action->proposed_through);
	free(action->proposed_from);
	action->proposed_by = action->proposed_through = action->proposed_from = NULL;
}

const char *ch_action_value(const struct ch_action *action, const char *name)
{
	for (size_t i = 0; i < action->field_count; i++)
		if (strcmp(action->fields[i].name, name) == 0)
			return action->fields[i].value;
	return NULL;
}

/* As a line may have it: visible, within the cap, without spaces at its ends. */
static char *fact_value(const char *value)
{
	CH_AUTO(ch_string) shown = ch_text_escape(ch_view_text(value));
	size_t size = strlen(shown), begin = strspn(shown, " ");
	struct ch_error ignored;

	size = size > CH_ACTION_VALUE_CAP ? CH_ACTION_VALUE_CAP : size;
	while (size > begin &&
	       (shown[size - 1] == ' ' || !ch_text_check("", ch_view(shown + begin, size - begin), &ignored)))
		size--;
	return size > begin ? ch_strndup(shown + begin, size - begin) : ch_strdup("-");
}

void ch_action_add_fact(struct ch_action *action, const char *name, const char *value)
{
	if (action->fact_count < CH_ACTION_FACTS_CAP)
		action->facts[action->fact_count++] =
			(struct ch_action_field){ ch_format(CH_ACTION_FACT "%s", name), fact_value(value) };
}

/* --- writing --- */

/* One line of UTF-8 (RFC 3629) that shows as what it is. */
static bool check_value(const char *name, const char *value, struct ch_error *err)
{
	size_t size = strlen(value);

	if (size < 1 || size > CH_ACTION_VALUE_CAP)
		return ch_fail(err, CH_INVALID, "%s of %zu octets, 1 to %d allowed", name, size,
			       CH_ACTION_VALUE_CAP);
	if (!ch_text_check(name, ch_view(value, size), err))
		return false;
	if (value[0] == ' ' || value[size - 1] == ' ')
		return ch_fail(err, CH_INVALID, "%s begins or ends with a space", name);
	return true;
}

static bool check_time(const char *name, int64_t time_us, struct ch_error *err)
{
	const int64_t limit = INT64_C(253402300799) * CH_SECOND; /* 9999-12-31T23:59:59Z */

	return (time_us > 0 && time_us <= limit && time_us % CH_SECOND == 0) ||
	       ch_fail(err, CH_INVALID, "%s is no whole second of the years 1970 to 9999", name);
}

static bool check_id(const char *id, struct ch_error *err)
{
	return (strlen(id) == CH_ACTION_ID_SIZE - 1 &&
		strspn(id, "0123456789abcdef") == CH_ACTION_ID_SIZE - 1) ||
	       ch_fail(err, CH_INVALID, "id '%.40s' is not %d hexadecimal digits", id, CH_ACTION_ID_SIZE - 1);
}

static const char *or_none(const char *text)
{
	return text && text[0] ? text : "-";
}

static bool is_fact(const char *name)
{
	const size_t size = strlen(CH_ACTION_FACT);

	return strncmp(name, CH_ACTION_FACT, size) == 0 && name[size] &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name);
}

static bool check_facts(const struct ch_action *action, struct ch_error *err)
{
	for (size_t i = 0; i < action->fact_count; i++) {
		if (!is_fact(action->facts[i].name))
			return ch_fail(err, CH_INVALID, "'%.40s' does not begin with '" CH_ACTION_FACT "'",
				       action->facts[i].name);
		if (!check_value(action->facts[i].name, action->facts[i].value, err))
			return false;
	}
	return true;
}

static bool check(const struct ch_action *action, const struct kind **kind, struct ch_error *err)
{
	*kind = find_kind(action->kind);
	if (!*kind)
		return ch_fail(err, CH_INVALID, "action of kind %d is not known", (int)action->kind);
	if (!check_id(action->id, err) || !check_value("tenant", action->tenant, err) ||
	    !check_time("created", action->created_us, err) ||
	    !check_time("expires", action->expires_us, err) ||
	    !check_value("proposed-by", or_none(action->proposed_by), err) ||
	    !check_value("proposed-through", or_none(action->proposed_through), err) ||
	    !check_value("proposed-from", or_none(action->proposed_from), err))
		return false;
	for (size_t i = 0; (*kind)->fields[i] || i < action->field_count; i++) {
		const char *wanted = (*kind)->fields[i];

		if (!wanted)
			return ch_fail(err, CH_INVALID, "%s has no field '%.40s'", (*kind)->name,
				       action->fields[i].name);
		if (i >= action->field_count || strcmp(action->fields[i].name, wanted) != 0)
			return ch_fail(err, CH_INVALID, "%s wants the field '%s'%s%.40s%s", (*kind)->name,
				       wanted, i < action->field_count ? ", not '" : "",
				       i < action->field_count ? action->fields[i].name : "",
				       i < action->field_count ? "'" : "");
		if (!check_value(wanted, action->fields[i].value, err))
			return false;
	}
	return check_facts(action, err);
}

bool ch_action_format(const struct ch_action *action, struct ch_bytes *document, struct ch_error *err)
{
	char created[CH_TIME_TEXT_SIZE], expires[CH_TIME_TEXT_SIZE];
	CH_AUTO(ch_buffer) out = CH_NONE;
	const struct kind *kind;

	if (!check(action, &kind, err))
		return false;
	ch_buffer_printf(&out, TITLE "\naction: %s\nid: %s\ntenant: %s\ncreated: %s\nexpires: %s\n",
			 kind->name, action->id, action->tenant, ch_time_text(action->created_us, created),
			 ch_time_text(action->expires_us, expires));
	ch_buffer_printf(&out, "proposed-by: %s\nproposed-through: %s\nproposed-from: %s\n",
			 or_none(action->proposed_by), or_none(action->proposed_through),
			 or_none(action->proposed_from));
	for (size_t i = 0; i < action->field_count; i++)
		ch_buffer_printf(&out, "%s: %s\n", action->fields[i].name, action->fields[i].value);
	for (size_t i = 0; i < action->fact_count; i++)
		ch_buffer_printf(&out, "%s: %s\n", action->facts[i].name, action->facts[i].value);
	if (out.used > CH_ACTION_CAP)
		return ch_fail(err, CH_TOO_LARGE, "document of %zu octets, at most %d allowed", out.used,
			       CH_ACTION_CAP);
	*document = ch_buffer_steal(&out);
	return true;
}

/* --- reading: line by line, then held against what writing would give --- */

/* The next line without its LF; false at the end or where there is none. */
static bool take_line(struct ch_view *in, struct ch_view *line)
{
	const uint8_t *end = in->size ? memchr(in->data, '\n', in->size) : NULL;

	if (!end)
		return false;
	*line = ch_view(in->data, (size_t)(end - in->data));
	*in = ch_view(end + 1, in->size - line->size - 1);
	return true;
}

static char *text_of(struct ch_view view)
{
	char *text = ch_alloc(view.size + 1);

	if (view.size)
		memcpy(text, view.data, view.size);
	return text;
}

/* "name: value"; the caller frees both. */
static bool take_pair(struct ch_view *in, char **name, char **value, struct ch_error *err)
{
	struct ch_view line;
	const uint8_t *colon;

	if (!take_line(in, &line))
		return ch_fail(err, CH_INVALID, "the action's document ends early");
	colon = line.size ? memchr(line.data, ':', line.size) : NULL;
	if (!colon || colon + 1 >= line.data + line.size || colon[1] != ' ' ||
	    memchr(line.data, 0, line.size))
		return ch_fail(err, CH_INVALID, "the action's document has a line that is not 'name: value'");
	*name = text_of(ch_view(line.data, (size_t)(colon - line.data)));
	*value = text_of(ch_view(colon + 2, line.size - (size_t)(colon - line.data) - 2));
	return true;
}

static bool take_named(struct ch_view *in, const char *wanted, char **value, struct ch_error *err)
{
	CH_AUTO(ch_string) name = NULL;

	if (!take_pair(in, &name, value, err))
		return false;
	return strcmp(name, wanted) == 0 ||
	       ch_fail(err, CH_INVALID, "the action's document has '%.40s' where '%s' belongs", name, wanted);
}

static bool take_time(struct ch_view *in, const char *name, int64_t *time_us, struct ch_error *err)
{
	CH_AUTO(ch_string) text = NULL;

	return take_named(in, name, &text, err) &&
	       (ch_time_read(text, time_us) ||
		ch_fail(err, CH_INVALID, "%s: '%.40s' is not a time as 2026-11-21T04:30:00Z", name, text));
}

static bool copy_named(struct ch_view *in, const char *name, char *to, size_t room, struct ch_error *err)
{
	CH_AUTO(ch_string) text = NULL;

	if (!take_named(in, name, &text, err))
		return false;
	if (strlen(text) >= room)
		return ch_fail(err, CH_INVALID, "%s of %zu octets, at most %zu allowed", name, strlen(text),
			       room - 1);
	memcpy(to, text, strlen(text) + 1);
	return true;
}

static bool read_head(struct ch_view *in, struct ch_action *action, struct ch_error *err)
{
	CH_AUTO(ch_string) kind = NULL;
	struct ch_view title;

	if (!take_line(in, &title) || !ch_view_equal(title, ch_view_text(TITLE)))
		return ch_fail(err, CH_INVALID, "the document does not begin with '" TITLE "'");
	if (!take_named(in, "action", &kind, err))
		return false;
	action->kind = ch_action_kind_find(kind);
	if (action->kind == CHANCERY__ACTION_KIND__ACTION_NONE)
		return ch_fail(err, CH_INVALID, "action '%.40s' is not known", kind);
	return copy_named(in, "id", action->id, sizeof(action->id), err) &&
	       copy_named(in, "tenant", action->tenant, sizeof(action->tenant), err) &&
	       take_time(in, "created", &action->created_us, err) &&
	       take_time(in, "expires", &action->expires_us, err) &&
	       take_named(in, "proposed-by", &action->proposed_by, err) &&
	       take_named(in, "proposed-through", &action->proposed_through, err) &&
	       take_named(in, "proposed-from", &action->proposed_from, err);
}

static bool add_pair(struct ch_action_field *pairs, size_t *count, size_t cap, struct ch_action_field pair,
		     struct ch_error *err)
{
	if (*count == cap) {
		free(pair.name);
		free(pair.value);
		return ch_fail(err, CH_INVALID, "the action's document has more than %zu fields", cap);
	}
	pairs[(*count)++] = pair;
	return true;
}

/* Facts after fields: writing it again shows where they were mixed. */
static bool read_pair(struct ch_view *in, struct ch_action *action, struct ch_error *err)
{
	struct ch_action_field pair = CH_NONE;

	if (!take_pair(in, &pair.name, &pair.value, err))
		return false;
	return is_fact(pair.name)
		       ? add_pair(action->facts, &action->fact_count, CH_ACTION_FACTS_CAP, pair, err)
		       : add_pair(action->fields, &action->field_count, CH_ACTION_FIELDS_CAP, pair, err);
}

bool ch_action_read(struct ch_view document, struct ch_action *action, struct ch_error *err)
{
	CH_AUTO(ch_bytes) again = CH_NONE;
	struct ch_view in = document;
	bool read;

	*action = (struct ch_action)CH_NONE;
	if (document.size > CH_ACTION_CAP)
		return ch_fail(err, CH_TOO_LARGE, "document of %zu octets, at most %d allowed", document.size,
			       CH_ACTION_CAP);
	read = read_head(&in, action, err);
	while (read && in.size)
		read = read_pair(&in, action, err);
	read = read && ch_action_format(action, &again, err);
	if (read && !ch_view_equal(ch_view_of(&again), document))
		read = ch_fail(err, CH_INVALID, "the action's document is not in the one form that it has");
	if (!read)
		ch_action_free(action);
	return read;
}

/* --- comparing --- */

bool ch_action_matches(const struct ch_action *action, Chancery__ActionKind kind,
		       const struct ch_action_field *expected, size_t count, struct ch_error *err)
{
	if (action->kind != kind)
		return ch_fail(err, CH_DENIED, "the approved action is %s, not %s",
			       ch_action_kind_name(action->kind) ? ch_action_kind_name(action->kind) : "none",
			       ch_action_kind_name(kind) ? ch_action_kind_name(kind) : "none");
	if (action->field_count != count)
		return ch_fail(err, CH_DENIED, "the approved action has %zu fields, %zu are wanted",
			       action->field_count, count);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(action->fields[i].name, expected[i].name) != 0)
			return ch_fail(err, CH_DENIED, "the approved action names '%.40s', not '%.40s'",
				       action->fields[i].name, expected[i].name);
		if (strcmp(action->fields[i].value, expected[i].value) != 0)
			return ch_fail(err, CH_DENIED, "approved is %s '%.120s', asked for is '%.120s'",
				       expected[i].name, action->fields[i].value, expected[i].value);
	}
	return true;
}
