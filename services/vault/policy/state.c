/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c: the states of a key and the ways between them (NIST SP 800-57 Part 1 Rev. 5, §7, whose
 * "deactivated" is "retired" here), and what each is good for. Pure. limits.c and handlers.c ask.
 */
#include "key_states.h"

#include <string.h>

#define BIT(name) (1u << CHANCERY__PURPOSE__PURPOSE_##name)
#define ALL       (~0u)

/*
 * What a key in a state may sign. A private signature key that is deactivated signs nothing new (§7.4); the
 * exception is a CA's CRLs: certificates outlive the CA's issuing, and their status must go on being told
 * with the key that issued them (RFC 5280 §5). A compromised key's CRLs could be anybody's, so it signs none:
 * revoke its certificate in the CRL of the CA above it.
 */
static const struct state {
	const char *name;
	unsigned purposes;
} states[] = {
	{ "pre-active", 0 },  { "active", ALL },       { "suspended", 0 },
	{ "compromised", 0 }, { "retired", BIT(CRL) }, { "destroyed", 0 },
};

/* Suspending and marking as compromised make a key weaker and are emergencies: they wait for nobody. */
static const struct vault_transition transitions[] = {
	/* from           to             approval */
	{ "pre-active", "active", true },    { "pre-active", "compromised", false },
	{ "pre-active", "destroyed", true }, { "active", "suspended", false },
	{ "active", "compromised", false },  { "active", "retired", true },
	{ "suspended", "active", true },     { "suspended", "compromised", false },
	{ "suspended", "retired", true },    { "retired", "compromised", false },
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
