/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_config.c: what the tables of the configuration cannot say of HSMs: ports are numbers, and no HSM's
 * library may reach what is another's or the vault's own. Pure but for looking up where links lead.
 */
#include "hsm.h"

#include "mem/mem.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

static bool check_ports(const struct hsm_config *hsm, struct ch_error *err)
{
	if (hsm->network_ports.count && !hsm->network)
		return ch_fail(err, CH_INVALID, "HSM '%s' has network_ports, but network is false",
			       hsm->name);
	for (size_t i = 0; i < hsm->network_ports.count; i++) {
		const char *text = hsm->network_ports.items[i];
		char *end;
		unsigned long port = strtoul(text, &end, 10);

		if (text[0] < '0' || text[0] > '9' || *end || port < 1 || port > UINT16_MAX)
			return ch_fail(err, CH_INVALID,
				       "HSM '%s': network_ports '%.40s' is not a port, 1 to 65535 allowed",
				       hsm->name, text);
	}
	return true;
}

static bool check_listener(const struct hsm_config *hsm, struct ch_error *err)
{
	if (!hsm->listener == !hsm->user)
		return true;
	return ch_fail(err, CH_INVALID, "HSM '%s' has %s, but no %s", hsm->name,
		       hsm->listener ? "a listener" : "a user", hsm->listener ? "user" : "listener");
}

/* Where the path leads; as it is where nothing is there yet. The caller frees it. */
static char *real_path(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : ch_strdup(path);
}

static bool is_below(const char *path, const char *directory)
{
	CH_AUTO(ch_string) inner = real_path(path);
	CH_AUTO(ch_string) outer = real_path(directory);
	size_t size = strlen(outer);

	while (size > 1 && outer[size - 1] == '/')
		size--;
	return strncmp(inner, outer, size) == 0 && (size == 1 || inner[size] == '/' || !inner[size]);
}

static bool check_apart(const struct hsm_config *hsm, const char *path, const char *what,
			struct ch_error *err)
{
	for (size_t i = 0; i < hsm->paths.count; i++)
		if (is_below(path, hsm->paths.items[i]))
			return ch_fail(err, CH_INVALID, "HSM '%s': paths '%s' gives its library %s '%s' too",
				       hsm->name, hsm->paths.items[i], what, path);
	return true;
}

static bool check_pair(const struct hsm_config *hsm, const struct hsm_config *other, struct ch_error *err)
{
	CH_AUTO(ch_string) what_pin = ch_format("the PIN of HSM '%s'", other->name);
	CH_AUTO(ch_string) what_path = ch_format("a path of HSM '%s'", other->name);

	if (!check_apart(hsm, other->pin_file, what_pin, err))
		return false;
	/* A directory that both share is a choice: several tokens of one network HSM's client. */
	for (size_t i = 0; i < other->paths.count; i++)
		for (size_t j = 0; j < hsm->paths.count; j++)
			if (strcmp(other->paths.items[i], hsm->paths.items[j]) != 0 &&
			    is_below(other->paths.items[i], hsm->paths.items[j]))
				return check_apart(hsm, other->paths.items[i], what_path, err);
	return true;
}

bool hsm_config_check(const struct hsm_config *hsms, size_t count, const char *identity_key,
		      struct ch_error *err)
{
	for (size_t i = 0; i < count; i++) {
		if (!check_ports(&hsms[i], err) || !check_listener(&hsms[i], err) ||
		    !check_apart(&hsms[i], identity_key, "the vault's own key", err))
			return false;
		for (size_t j = 0; j < count; j++)
			if (i != j && !check_pair(&hsms[i], &hsms[j], err))
				return false;
	}
	return true;
}
