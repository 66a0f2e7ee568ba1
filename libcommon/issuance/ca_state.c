/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_state.c: what a CA's state comes to: its own, its key's, its validity, and all that of the CAs above it,
 * since a certificate is worth no more than each of those over it (RFC 5280 §6.1). Pure. The issuer asks
 * before it signs anything in a CA's name.
 */
#include "issuance/issuance.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct ch_ca *find_by_id(const struct ch_ca *cas, size_t count, int64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (cas[i].id == id)
			return &cas[i];
	return NULL;
}

static void set(struct ch_ca_effect *effect, const char *state, const char *format, ...) CH_PRINTF(3, 4);
static void set(struct ch_ca_effect *effect, const char *state, const char *format, ...)
{
	va_list arguments;

	effect->state = state;
	va_start(arguments, format);
	vsnprintf(effect->why, sizeof(effect->why), format, arguments);
	va_end(arguments);
}

static bool is(const char *state, const char *wanted)
{
	return state && strcmp(state, wanted) == 0;
}

/*
 * What of its key counts against it; NULL: nothing. That it was compromised outlasts its state. Above another
 * CA only that and a stop count: a root's key may well be suspended between its uses, or be destroyed after
 * them.
 */
static const char *key_fault(const struct ch_ca *ca, bool above)
{
	const char *state = ca->key_state;

	if (ca->key_was_compromised)
		return "compromised";
	if (!state || is(state, "active"))
		return NULL;
	return !above || is(state, "compromised") || is(state, "stopped") ? state : NULL;
}

/* Of this CA alone; what is final goes first. */
static void judge(const struct ch_ca *ca, bool above, int64_t now_us, struct ch_ca_effect *effect)
{
	const char *reason = ca->state_reason && ca->state_reason[0] ? ca->state_reason : NULL;
	const char *key = key_fault(ca, above), *certificate = ca->certificate_status;
	char end[CH_TIME_TEXT_SIZE];

	if (is(ca->state, "pending"))
		set(effect, "pending", "it has no certificate yet");
	else if (is(ca->state, "revoked"))
		set(effect, "revoked", "its certificate is revoked (%s)", reason ? reason : "unspecified");
	else if (is(ca->state, "retired"))
		set(effect, "retired", "it is retired");
	else if (ca->not_after_us < now_us)
		set(effect, "expired", "its certificate expired at %s", ch_time_text(ca->not_after_us, end));
	else if (!is(ca->state, "active"))
		set(effect, "suspended", "it is stopped%s%s", reason ? ": " : "", reason ? reason : "");
	else if (key)
		set(effect, is(key, "retired") ? "retired" : "suspended", "its key is %s", key);
	else if (certificate && certificate[0] && !is(certificate, "issued"))
		set(effect, is(certificate, "revoked") ? "revoked" : "suspended", "its certificate is %s",
		    certificate);
	else
		set(effect, "active", "%s", "");
}

void ch_ca_effect_of(const struct ch_ca *cas, size_t count, const struct ch_ca *ca, int64_t now_us,
		     struct ch_ca_effect *effect)
{
	const struct ch_ca *above = ca;

	judge(ca, false, now_us, effect);
	/* A set of CAs whose parents go in a circle is none that the issuer made: `count` steps see them all.
	 */
	for (size_t i = 0; i <= count && is(effect->state, "active") && above->parent_id; i++) {
		int64_t parent_id = above->parent_id;
		struct ch_ca_effect theirs;

		above = i < count ? find_by_id(cas, count, parent_id) : NULL;
		if (!above) {
			set(effect, "suspended", "CA number %lld above it is not there",
			    (long long)parent_id);
			return;
		}
		judge(above, true, now_us, &theirs);
		if (!is(theirs.state, "active"))
			set(effect, is(theirs.state, "pending") ? "suspended" : theirs.state,
			    "CA '%.80s' above it: %.140s", above->document.name, theirs.why);
	}
}

bool ch_ca_issues(const struct ch_ca *cas, size_t count, const struct ch_ca *ca, int64_t now_us,
		  struct ch_error *err)
{
	struct ch_ca_effect effect;

	ch_ca_effect_of(cas, count, ca, now_us, &effect);
	return is(effect.state, "active") || ch_fail(err, CH_CONFLICT, "CA '%s' is %s and issues nothing: %s",
						     ca->document.name, effect.state, effect.why);
}
