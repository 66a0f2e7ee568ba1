/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_rules.c: which hosts a certificate may speak of. A profile's suffixes and ranges hold wherever a host
 * stands, for those who read a certificate look in all these places. policy.c calls it.
 */
#include "issuance/issuance.h"

#include "x509/name.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- addresses --- */

static int family_of(const char *address)
{
	return strchr(address, ':') ? AF_INET6 : AF_INET;
}

/* The first `bits` bits of both are equal. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, long bits)
{
	size_t octets = (size_t)bits / 8;
	unsigned rest = (unsigned)bits % 8;

	return memcmp(a, b, octets) == 0 && (rest == 0 || (a[octets] ^ b[octets]) >> (8 - rest) == 0);
}

bool ch_ip_range_contains(const char *range, const char *address, bool *valid)
{
	uint8_t network[16] = { 0 }, host[16], cut[16] = { 0 };
	char text[INET6_ADDRSTRLEN];
	const char *slash = strchr(range, '/');
	int family = family_of(range);
	long bits, all = family == AF_INET6 ? 128 : 32;
	char *end;

	*valid = false;
	if (!slash || (size_t)(slash - range) >= sizeof(text) || slash[1] < '0' || slash[1] > '9')
		return false;
	memcpy(text, range, (size_t)(slash - range));
	text[slash - range] = '\0';
	bits = strtol(slash + 1, &end, 10);
	if (*end || bits > all || inet_pton(family, text, network) != 1)
		return false;
	for (long i = 0; i < bits; i++) /* no bit after the prefix */
		cut[i / 8] |= (uint8_t)(network[i / 8] & 0x80 >> i % 8);
	*valid = memcmp(cut, network, sizeof(cut)) == 0;
	return *valid && family_of(address) == family && inet_pton(family, address, host) == 1 &&
	       same_prefix(network, host, bits);
}

static bool is_address(const char *text)
{
	uint8_t address[16];

	return inet_pton(family_of(text), text, address) == 1;
}

static bool check_address(const struct ch_profile_sans *rules, const char *where, const char *address,
			  struct ch_error *err)
{
	bool valid;

	for (size_t i = 0; i < rules->ip_ranges.count; i++)
		if (ch_ip_range_contains(rules->ip_ranges.items[i], address, &valid))
			return true;
	if (rules->ip_ranges.count == 0)
		return true;
	CH_AUTO(ch_string) ranges = ch_strings_join(&rules->ip_ranges);
	return ch_fail(err, CH_INVALID, "%s%.200s is in none of: %s", where, address, ranges);
}

/* --- host names --- */

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), end = strlen(suffix);

	return length >= end && strcasecmp(name + length - end, suffix) == 0 &&
	       (length == end || name[length - end - 1] == '.');
}

static bool check_host(const struct ch_profile_sans *rules, const char *where, const char *name,
		       struct ch_error *err)
{
	if (is_address(name))
		return check_address(rules, where, name, err);
	for (size_t i = 0; i < rules->dns_suffixes.count; i++)
		if (has_suffix(name, rules->dns_suffixes.items[i]))
			return true;
	if (rules->dns_suffixes.count == 0)
		return true;
	CH_AUTO(ch_string) suffixes = ch_strings_join(&rules->dns_suffixes);
	return ch_fail(err, CH_INVALID, "%s%.200s ends in none of: %s", where, name, suffixes);
}

static bool check_san(const struct ch_profile_sans *rules, const struct ch_san *san, struct ch_error *err)
{
	CH_AUTO(ch_string) where = ch_format("subject alternative name %s:", ch_san_type_name(san->type));
	CH_AUTO(ch_string) host = NULL;

	switch (san->type) {
	case CH_SAN_DNS:
		return check_host(rules, where, san->value, err);
	case CH_SAN_IP:
		return check_address(rules, where, san->value, err);
	case CH_SAN_EMAIL: /* ch_sans_add has seen its one "@" */
		return check_host(rules, where, strrchr(san->value, '@') + 1, err);
	case CH_SAN_URI:
		host = ch_uri_host(san->value);
		return !host || check_host(rules, where, host, err);
	}
	return ch_fail(err, CH_INVALID, "%sof an unknown type", where);
}

/* --- the subject --- */

static bool is_a_name(const char *type, const char *text)
{
	CH_AUTO(ch_sans) scratch = CH_NONE;

	return ch_sans_add(&scratch, type, text, NULL);
}

/* A common name that reads as a host, a mailbox or a URI is one to those who look there. */
static bool check_common_name(const struct ch_profile_sans *rules, const char *text, struct ch_error *err)
{
	CH_AUTO(ch_string) host = NULL;

	if (is_a_name("email", text))
		return check_host(rules, "CN ", strrchr(text, '@') + 1, err);
	if (is_a_name("uri", text) && (host = ch_uri_host(text)))
		return check_host(rules, "CN ", host, err);
	if (is_a_name("ip", text) || (strchr(text, '.') && is_a_name("dns", text)))
		return check_host(rules, "CN ", text, err);
	return true;
}

static bool is_san(const struct ch_sans *sans, const char *text)
{
	for (size_t i = 0; i < sans->count; i++)
		if ((sans->items[i].type == CH_SAN_DNS || sans->items[i].type == CH_SAN_IP) &&
		    strcmp(sans->items[i].value, text) == 0)
			return true;
	return false;
}

/* The value is a view of what the caller may write. */
static void follow(struct ch_view value, const struct ch_sans *sans)
{
	for (size_t i = 0; i < sans->count; i++) {
		const char *name = sans->items[i].value;

		if (sans->items[i].type == CH_SAN_DNS && strlen(name) == value.size &&
		    strncasecmp(name, (const char *)value.data, value.size) == 0)
			memcpy((uint8_t *)(uintptr_t)value.data, name, value.size);
	}
}

void ch_names_follow_sans(struct ch_bytes *subject_der, const struct ch_sans *sans)
{
	struct ch_view whole = ch_view_of(subject_der), sequence, rdn = CH_NONE;
	struct ch_name_item item;

	if (!ch_der_read(&whole, CH_DER_SEQUENCE, "subject", &sequence, NULL))
		return;
	while ((sequence.size > 0 || rdn.size > 0) && ch_name_next(&sequence, &rdn, &item, NULL))
		if (strcmp(item.attribute->name, "CN") == 0)
			follow(item.value, sans);
}

static bool check_attribute(const struct ch_profile *profile, const struct ch_name_item *item,
			    const struct ch_sans *sans, struct ch_error *err)
{
	const struct ch_profile_sans *rules = &profile->subject_alt_names;
	CH_AUTO(ch_string) text = ch_strndup((const char *)item->value.data, item->value.size);

	if (strcmp(item->attribute->name, "emailAddress") == 0) {
		if (!is_a_name("email", text))
			return ch_fail(err, CH_INVALID, "emailAddress '%.100s' is not a mailbox", text);
		return check_host(rules, "emailAddress ", strrchr(text, '@') + 1, err);
	}
	if (strcmp(item->attribute->name, "CN") != 0)
		return true;
	if (profile->common_name_from_san && !is_san(sans, text))
		return ch_fail(err, CH_INVALID,
			       "CN '%.200s' is none of the dns and ip names (CA/Browser Forum Baseline "
			       "Requirements 7.1.4.3)",
			       text);
	return check_common_name(rules, text, err);
}

bool ch_names_check(const struct ch_profile *profile, struct ch_view subject_der, const struct ch_sans *sans,
		    struct ch_error *err)
{
	struct ch_view sequence, rdn = CH_NONE;

	for (size_t i = 0; i < sans->count; i++)
		if (!check_san(&profile->subject_alt_names, &sans->items[i], err))
			return false;
	if (!ch_der_read(&subject_der, CH_DER_SEQUENCE, "subject", &sequence, err))
		return false;
	while (sequence.size > 0 || rdn.size > 0) {
		struct ch_name_item item;

		if (!ch_name_next(&sequence, &rdn, &item, err) || !check_attribute(profile, &item, sans, err))
			return false;
	}
	return true;
}
