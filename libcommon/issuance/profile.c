/* SPDX-License-Identifier: Apache-2.0 */
/* profile.c: a certificate profile document becomes a struct ch_profile, or is refused with its line. Called
 * by profiles_ops.c when one is applied and by cache.c when one is read back. */
#include "issuance/issuance.h"

#include "x509/name.h"

#include <stdlib.h>
#include <string.h>

#define YEAR (365 * CH_DAY)

static const struct ch_conf_field validity_fields[] = {
	CH_CONF_NAMED("default", struct ch_profile_validity, default_us, CH_CONF_DURATION, .required = true,
		      .min = CH_SECOND, .max = 100 * YEAR,
		      .help = "when the request names none; shortened to the CA's end"),
	CH_CONF_NAMED("maximum", struct ch_profile_validity, maximum_us, CH_CONF_DURATION, .required = true,
		      .min = CH_SECOND, .max = 100 * YEAR, .help = "a request for more is refused"),
	CH_CONF_NAMED("backdate", struct ch_profile_validity, backdate_us, CH_CONF_DURATION,
		      .default_text = "1m", .min = 0, .max = CH_DAY,
		      .help = "notBefore lies this far back, for clocks that are slow"),
	CH_CONF_FIELD(struct ch_profile_validity, caps, CH_CONF_STRING, .default_text = "none",
		      .choices = "none|browsers",
		      .help = "browsers: at most what the CA/Browser Forum allows TLS servers on the day of "
			      "issue: 398d, 200d from 2026-03-15, 100d from 2027-03-15, 47d from 2029-03-15"),
};
static const struct ch_conf_schema validity_schema = { "validity", validity_fields,
						       CH_COUNT(validity_fields) };

static const struct ch_conf_field subject_fields[] = {
	CH_CONF_FIELD(struct ch_profile_subject, allowed, CH_CONF_STRING_LIST, .min = 0, .max = 32,
		      .help = "attributes that a subject may have: CN, O, OU, L, ST, C, serialNumber, "
			      "emailAddress, …"),
	CH_CONF_FIELD(struct ch_profile_subject, required, CH_CONF_STRING_LIST, .min = 0, .max = 32,
		      .help = "attributes that it must have"),
	CH_CONF_FIELD(struct ch_profile_subject, common_name, CH_CONF_STRING, .default_text = "auto",
		      .choices = "auto|any|san",
		      .help = "san: CN, where there is one, is one of the subject alternative names, "
			      "and spelt as it; any: it need not be; auto: san with serverAuth, else any"),
};
static const struct ch_conf_schema subject_schema = { "subject", subject_fields, CH_COUNT(subject_fields) };

static const struct ch_conf_field sans_fields[] = {
	CH_CONF_FIELD(struct ch_profile_sans, allowed, CH_CONF_STRING_LIST, .choices = "dns|ip|email|uri",
		      .min = 0, .max = 4, .help = "name forms that a certificate may carry"),
	CH_CONF_FIELD(struct ch_profile_sans, minimum, CH_CONF_INTEGER, .default_text = "0", .min = 0,
		      .max = 1000, .help = "fewest names"),
	CH_CONF_FIELD(struct ch_profile_sans, maximum, CH_CONF_INTEGER, .default_text = "100", .min = 0,
		      .max = 1000, .help = "most names"),
	CH_CONF_FIELD(struct ch_profile_sans, dns_suffixes, CH_CONF_STRING_LIST, .min = 0, .max = 100,
		      .help = "host names must be one of these or end in a dot and one of these, in dns "
			      "names, CN, e-mail addresses and URIs; empty: any"),
	CH_CONF_FIELD(struct ch_profile_sans, ip_ranges, CH_CONF_STRING_LIST, .min = 0, .max = 100,
		      .help = "addresses must be in one of these (192.0.2.0/24, 2001:db8::/32), in ip names, "
			      "CN and URIs; empty: any"),
};
static const struct ch_conf_schema sans_schema = { "subject_alt_names", sans_fields, CH_COUNT(sans_fields) };

static const struct ch_conf_field profile_fields[] = {
	CH_CONF_FIELD(struct ch_profile, name, CH_CONF_STRING, .required = true,
		      .help = "[a-z0-9-], what requests name"),
	CH_CONF_NAMED("kind", struct ch_profile, kind_name, CH_CONF_STRING, .default_text = "end-entity",
		      .choices = "end-entity|ocsp-responder|tsa",
		      .help = "ocsp-responder and tsa are for the suite's own signers and for officers"),
	CH_CONF_SUB(struct ch_profile, validity, &validity_schema, .required = true,
		    .help = "how long certificates live"),
	CH_CONF_FIELD(struct ch_profile, keys, CH_CONF_STRING_LIST, .required = true, .min = 1, .max = 32,
		      .help = "accepted public keys: rsa-2048, rsa-3072, rsa-4096, ecdsa-p256, ecdsa-p384, "
			      "ecdsa-p521, ed25519"),
	CH_CONF_NAMED("key_usage", struct ch_profile, key_usage_names, CH_CONF_STRING_LIST, .required = true,
		      .min = 1, .max = 9,
		      .choices =
			      "digitalSignature|nonRepudiation|keyEncipherment|dataEncipherment|keyAgreement",
		      .help = "keyUsage (RFC 5280 §4.2.1.3); keyEncipherment is left out for keys that "
			      "cannot encipher"),
	CH_CONF_FIELD(struct ch_profile, extended_key_usage, CH_CONF_STRING_LIST, .min = 0, .max = 15,
		      .help = "serverAuth, clientAuth, codeSigning, emailProtection, timeStamping, "
			      "OCSPSigning, or dotted OIDs"),
	CH_CONF_SUB(struct ch_profile, subject, &subject_schema, .help = "rules for the subject name"),
	CH_CONF_SUB(struct ch_profile, subject_alt_names, &sans_schema,
		    .help = "rules for subject alternative names"),
	CH_CONF_FIELD(struct ch_profile, policies, CH_CONF_STRING_LIST, .min = 0, .max = 16,
		      .help = "certificate policy OIDs to put in"),
	CH_CONF_FIELD(struct ch_profile, cas, CH_CONF_STRING_LIST, .min = 0, .max = 100,
		      .help = "CAs that may use it; empty: any issuing CA (one that has a parent)"),
	CH_CONF_FIELD(struct ch_profile, requesters, CH_CONF_STRING_LIST, .min = 0, .max = 1000,
		      .help = "who may request it: names of clients, or role:officer, role:requester; empty: "
			      "whoever may request certificates"),
	CH_CONF_FIELD(struct ch_profile, requested_extensions, CH_CONF_STRING, .default_text = "ignore",
		      .choices = "ignore|refuse",
		      .help = "what a CSR asks for and this profile does not give (key usages, must-staple, "
			      "…): ignore: told in the answer as `ignored`; refuse: the request is refused"),
};
const struct ch_conf_schema ch_profile_schema = { "profile", profile_fields, CH_COUNT(profile_fields) };

static const struct {
	const char *name;
	unsigned bit;
} key_usages[] = {
	{ "digitalSignature", KU_DIGITAL_SIGNATURE }, { "nonRepudiation", KU_NON_REPUDIATION },
	{ "keyEncipherment", KU_KEY_ENCIPHERMENT },   { "dataEncipherment", KU_DATA_ENCIPHERMENT },
	{ "keyAgreement", KU_KEY_AGREEMENT },
};

#define OID_TIME_STAMPING "1.3.6.1.5.5.7.3.8"
#define OID_OCSP_SIGNING  "1.3.6.1.5.5.7.3.9"
#define OID_ANY_USAGE     "2.5.29.37.0"

static const struct {
	const char *name;
	const char *oid;
} extended_key_usages[] = {
	{ "serverAuth", "1.3.6.1.5.5.7.3.1" },  { "clientAuth", "1.3.6.1.5.5.7.3.2" },
	{ "codeSigning", "1.3.6.1.5.5.7.3.3" }, { "emailProtection", "1.3.6.1.5.5.7.3.4" },
	{ "timeStamping", OID_TIME_STAMPING },  { "OCSPSigning", OID_OCSP_SIGNING },
};

static const struct {
	const char *name;
	enum ch_profile_kind kind;
	const char *only_usage; /* the one extended key usage that it must have; NULL: none of the others' */
} kinds[] = {
	{ "end-entity", CH_KIND_END_ENTITY, NULL },
	{ "ocsp-responder", CH_KIND_OCSP_RESPONDER, OID_OCSP_SIGNING }, /* RFC 6960 §4.2.2.2 */
	{ "tsa", CH_KIND_TSA, OID_TIME_STAMPING },                      /* RFC 3161 §2.3 */
};

const char *ch_extended_key_usage_name(const char *oid)
{
	for (size_t i = 0; i < CH_COUNT(extended_key_usages); i++)
		if (strcmp(extended_key_usages[i].oid, oid) == 0)
			return extended_key_usages[i].name;
	return oid;
}

bool ch_check_name(const char *what, const char *name, struct ch_error *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t length = strlen(name);

	if (length == 0 || length > CH_PROFILE_NAME_MAX || name[0] == '-' || strspn(name, allowed) != length)
		return ch_fail(err, CH_INVALID, "%s '%.80s': 1 to 63 of a-z, 0-9 and -, not beginning with -",
			       what, name);
	return true;
}

bool ch_check_oid(const char *what, const char *dotted, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	if (!ch_der_put_oid(&writer, dotted, NULL))
		return ch_fail(err, CH_INVALID, "%s '%.80s' is neither a known name nor a dotted OID", what,
			       dotted);
	return true;
}

bool ch_strings_contain(const struct ch_conf_strings *strings, const char *item)
{
	for (size_t i = 0; i < strings->count; i++)
		if (strcmp(strings->items[i], item) == 0)
			return true;
	return false;
}

char *ch_strings_join(const struct ch_conf_strings *strings)
{
	struct ch_buffer text = CH_NONE;

	for (size_t i = 0; i < strings->count; i++)
		ch_buffer_printf(&text, "%s%s", i ? ", " : "", strings->items[i]);
	return ch_buffer_steal_text(&text);
}

static bool derive_key_usage(struct ch_profile *profile)
{
	for (size_t i = 0; i < profile->key_usage_names.count; i++)
		for (size_t k = 0; k < CH_COUNT(key_usages); k++)
			if (strcmp(key_usages[k].name, profile->key_usage_names.items[i]) == 0)
				profile->key_usage |= key_usages[k].bit;
	return true;
}

static bool derive_extended_key_usage(struct ch_profile *profile, struct ch_error *err)
{
	for (size_t i = 0; i < profile->extended_key_usage.count; i++) {
		const char *text = profile->extended_key_usage.items[i];

		for (size_t k = 0; k < CH_COUNT(extended_key_usages); k++)
			if (strcmp(extended_key_usages[k].name, text) == 0)
				text = extended_key_usages[k].oid;
		if (!ch_check_oid("extended_key_usage", text, err))
			return false;
		for (size_t k = 0; k < i; k++)
			if (strcmp(profile->extended_key_oids[k], text) == 0)
				return ch_fail(err, CH_INVALID, "extended_key_usage names '%s' twice", text);
		profile->extended_key_oids[i] = text;
	}
	return true;
}

#define OID_SERVER_AUTH "1.3.6.1.5.5.7.3.1"

static void derive_common_name(struct ch_profile *profile)
{
	bool server = false;

	for (size_t i = 0; i < profile->extended_key_usage.count; i++)
		server = server || strcmp(profile->extended_key_oids[i], OID_SERVER_AUTH) == 0;
	profile->common_name_from_san = strcmp(profile->subject.common_name, "san") == 0 ||
					(server && strcmp(profile->subject.common_name, "auto") == 0);
}

/* A profile that anyone may use must not make a certificate that relying parties take for a responder or a
 * TSA. */
static bool derive_kind(struct ch_profile *profile, struct ch_error *err)
{
	size_t row = 0;

	while (strcmp(kinds[row].name, profile->kind_name) != 0)
		row++;
	profile->kind = kinds[row].kind;
	if (kinds[row].only_usage) {
		if (profile->extended_key_usage.count != 1 ||
		    strcmp(profile->extended_key_oids[0], kinds[row].only_usage) != 0)
			return ch_fail(err, CH_INVALID,
				       "kind %s must have exactly one extended_key_usage, %s",
				       kinds[row].name,
				       profile->kind == CH_KIND_TSA ? "timeStamping (RFC 3161 §2.3)"
								    : "OCSPSigning (RFC 6960 §4.2.2.2)");
		return true;
	}
	for (size_t i = 0; i < profile->extended_key_usage.count; i++) {
		const char *oid = profile->extended_key_oids[i];

		if (strcmp(oid, OID_OCSP_SIGNING) == 0 || strcmp(oid, OID_TIME_STAMPING) == 0 ||
		    strcmp(oid, OID_ANY_USAGE) == 0)
			return ch_fail(err, CH_INVALID, "extended_key_usage '%s' is not for kind end-entity",
				       profile->extended_key_usage.items[i]);
	}
	return true;
}

static bool check_requesters(const struct ch_profile *profile, struct ch_error *err)
{
	for (size_t i = 0; i < profile->requesters.count; i++) {
		const char *item = profile->requesters.items[i];

		if (!item[0] || (strncmp(item, "role:", 5) == 0 && strcmp(item, "role:officer") != 0 &&
				 strcmp(item, "role:requester") != 0))
			return ch_fail(err, CH_INVALID,
				       "requesters: '%.80s' is neither a client's name nor role:officer or "
				       "role:requester",
				       item);
	}
	return true;
}

static bool check_lists(const struct ch_profile *profile, struct ch_error *err)
{
	for (size_t i = 0; i < profile->keys.count; i++)
		if (!ch_algorithm_find(profile->keys.items[i]))
			return ch_fail(err, CH_INVALID, "keys: unknown algorithm '%s'",
				       profile->keys.items[i]);
	for (size_t i = 0; i < profile->subject.allowed.count; i++) {
		const char *name = profile->subject.allowed.items[i];
		const struct ch_name_attribute *known = ch_name_attribute_find(name, strlen(name));

		if (!known || strcmp(known->name, name) != 0)
			return ch_fail(err, CH_INVALID, "subject.allowed: unknown attribute '%s'", name);
	}
	for (size_t i = 0; i < profile->subject.required.count; i++)
		if (!ch_strings_contain(&profile->subject.allowed, profile->subject.required.items[i]))
			return ch_fail(err, CH_INVALID, "subject.required '%s' is not in subject.allowed",
				       profile->subject.required.items[i]);
	for (size_t i = 0; i < profile->policies.count; i++)
		if (!ch_check_oid("policies", profile->policies.items[i], err))
			return false;
	for (size_t i = 0; i < profile->cas.count; i++)
		if (!ch_check_name("cas", profile->cas.items[i], err))
			return false;
	for (size_t i = 0; i < profile->subject_alt_names.dns_suffixes.count; i++) {
		CH_AUTO(ch_sans) scratch = CH_NONE;

		if (!ch_sans_add(&scratch, "dns", profile->subject_alt_names.dns_suffixes.items[i], err))
			return ch_fail_in(err, "subject_alt_names.dns_suffixes");
	}
	for (size_t i = 0; i < profile->subject_alt_names.ip_ranges.count; i++) {
		const char *range = profile->subject_alt_names.ip_ranges.items[i];
		bool valid;

		ch_ip_range_contains(range, "", &valid);
		if (!valid)
			return ch_fail(
				err, CH_INVALID,
				"subject_alt_names.ip_ranges: '%.80s' is no range such as 192.0.2.0/24 or "
				"2001:db8::/32 with no bit after its prefix",
				range);
	}
	return check_requesters(profile, err);
}

static bool check_numbers(const struct ch_profile *profile, struct ch_error *err)
{
	const struct ch_profile_sans *sans = &profile->subject_alt_names;

	if (profile->validity.default_us > profile->validity.maximum_us)
		return ch_fail(err, CH_INVALID, "validity.default is longer than validity.maximum");
	if (sans->minimum > sans->maximum)
		return ch_fail(err, CH_INVALID, "subject_alt_names.minimum %lld is over maximum %lld",
			       (long long)sans->minimum, (long long)sans->maximum);
	if (sans->minimum > 0 && sans->allowed.count == 0)
		return ch_fail(err, CH_INVALID, "subject_alt_names.minimum is %lld but allowed is empty",
			       (long long)sans->minimum);
	return true;
}

bool ch_profile_read(struct ch_view document, struct ch_profile *profile, struct ch_error *err)
{
	CH_AUTO(ch_profile) read = CH_NONE;

	if (!ch_conf_read(&ch_profile_schema, document, "profile", &read, err))
		return false;
	if (!ch_check_name("profile name", read.name, err))
		return false;
	if (!derive_key_usage(&read) || !derive_extended_key_usage(&read, err) || !derive_kind(&read, err) ||
	    !check_lists(&read, err) || !check_numbers(&read, err))
		return ch_fail_in(err, "profile '%s'", read.name);
	derive_common_name(&read);
	*profile = CH_STEAL(read);
	return true;
}

void ch_profile_free(struct ch_profile *profile)
{
	ch_conf_free(&ch_profile_schema, profile);
	*profile = (struct ch_profile)CH_NONE;
}
