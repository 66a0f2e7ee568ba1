/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c: the states of a key and the ways between them (NIST SP 800-57 Part 1 Rev. 5, §7, whose
 * "deactivated" is "retired" here), and what each is good for. Pure. limits.c and handlers.c ask.
 */
#include "key_states.h"

#include <string.h>

#define BIT(name) (1u << CHANCERY__PURPOSE__PURPOSE_##name)
#define ALL       (~0u)
/* CRLs, and certificates of OCSP responders alone: purpose_end_entity.c looks at that. */
#define STATUS (BIT(CRL) | BIT(END_ENTITY_CERTIFICATE))

/*
 * What a key in a state may sign. A private signature key that is deactivated signs nothing new (§7.4); the
 * exception is status: certificates outlive the CA's issuing, and their status must go on being told with the
 * key that issued them, in CRLs (RFC 5280 §5) and by the CA's own responders (RFC 6960 §4.2.2.2). "stopped"
 * is our own: a CA that one officer stopped and that the quorum may start again. A compromised key's CRLs
 * could be anybody's, so it signs none: revoke its certificate in the CRL of the CA above it.
 */
static const struct state {
	const char *name;
	unsigned purposes;
} states[] = {
	{ "pre-active", 0 },  { "active", ALL },     { "stopped", STATUS }, { "suspended", 0 },
	{ "compromised", 0 }, { "retired", STATUS }, { "destroyed", 0 },
};

/* Stopping, suspending and marking as compromised make a key weaker and are emergencies: they wait for
 * nobody. */
static const struct vault_transition transitions[] = {
	/* from           to             approval */
	{ "pre-active", "active", true },    { "pre-active", "compromised", false },
	{ "pre-active", "destroyed", true }, { "active", "suspended", false },
	{ "active", "compromised", false },  { "active", "retired", true },
	{ "suspended", "active", true },     { "suspended", "compromised", false },
	{ "suspended", "retired", true },    { "retired", "compromised", false },
	{ "active", "stopped", false },      { "stopped", "active", true },
	{ "stopped", "suspended", false },   { "stopped", "compromised", false },
	{ "stopped", "retired", true },      { "suspended", "stopped", true },
	{ "retired", "destroyed", true },    { "compromised", "destroyed", true },
};

static const struct state *find_state(const char *name)
{
	for (size_t i = 0; i < CH_COUNT(states); i++)
		if (strcmp(states[i].name, name) == 0)
			return &states[i];
	return NULL;
}

bool vault_state_known(const char *name)
{
	return find_state(name) != NULL;
}

bool vault_state_signs(const char *name, Chancery__Purpose purpose)
{
	const struct state *state = find_state(name);

	return state && (state->purposes & 1u << purpose);
}

bool vault_state_may_be_certified(const char *name)
{
	return strcmp(name, "pre-active") == 0 || strcmp(name, "active") == 0;
}

bool vault_state_tells_status_alone(const char *name)
{
	return strcmp(name, "stopped") == 0 || strcmp(name, "retired") == 0;
}

/* A key whose CA is revoked: whoever took it could sign CRLs too, so a compromised one signs none. */
static const char *revoked_key_state(const char *from, const char *reason)
{
	bool compromised = strcmp(reason, "keyCompromise") == 0 || strcmp(reason, "cACompromise") == 0;

	if (strcmp(from, "compromised") == 0 || strcmp(from, "destroyed") == 0)
		return from;
	return compromised ? "compromised" : "retired";
}

const char *vault_ca_key_state(const char *from, const char *ca_state, const char *reason)
{
	if (strcmp(ca_state, "suspended") == 0)
		return strcmp(from, "active") == 0 ? "stopped" : from;
	if (strcmp(ca_state, "active") == 0)
		return "active";
	if (strcmp(ca_state, "retired") == 0)
		return "retired";
	return strcmp(ca_state, "revoked") == 0 ? revoked_key_state(from, reason) : NULL;
}

const struct vault_transition *vault_transition_find(const char *from, const char *to)
{
	for (size_t i = 0; i < CH_COUNT(transitions); i++)
		if (strcmp(transitions[i].from, from) == 0 && strcmp(transitions[i].to, to) == 0)
			return &transitions[i];
	return NULL;
}

char *vault_transitions_from(const char *from)
{
	CH_AUTO(ch_buffer) names = CH_NONE;

	for (size_t i = 0; i < CH_COUNT(transitions); i++)
		if (strcmp(transitions[i].from, from) == 0)
			ch_buffer_printf(&names, "%s%s", names.used ? ", " : "", transitions[i].to);
	if (!names.used)
		ch_buffer_printf(&names, "nothing");
	return ch_buffer_steal_text(&names);
}
