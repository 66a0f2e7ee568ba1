/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c: may this request become a certificate under this profile and CA, and what will it say? Pure;
 * called by issue.c after ch_csr_read has verified the request's signature. */
#include "issuance/issuance.h"

#include "x509/name.h"

#include <stdlib.h>
#include <string.h>

static bool check_key(const struct ch_profile *profile, const struct ch_ca *ca, const struct ch_csr *csr,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) accepted = ch_strings_join(&profile->keys);

	if (!csr->algorithm || !ch_strings_contain(&profile->keys, csr->algorithm->name))
		return ch_fail(err, CH_INVALID, "public key (%s) is not accepted: %s",
			       csr->algorithm ? csr->algorithm->name : csr->key_description, accepted);
	if (!ch_check_weak_key(ch_view_of(&csr->public_key_info), err))
		return ch_fail_in(err, "public key");
	if (ch_view_equal(ch_view_of(&csr->public_key_info), ch_view_of(&ca->public_key_info)))
		return ch_fail(err, CH_INVALID, "public key is the CA's own");
	return true;
}

static bool check_allowed(const struct ch_profile *profile, const struct ch_name_item *item,
			  struct ch_error *err)
{
	if (!ch_strings_contain(&profile->subject.allowed, item->attribute->name)) {
		CH_AUTO(ch_string) allowed = ch_strings_join(&profile->subject.allowed);

		return ch_fail(err, CH_INVALID, "subject attribute %s is not allowed (allowed: %s)",
			       item->attribute->name, profile->subject.allowed.count ? allowed : "none");
	}
	return true;
}

/* What a requester may not write, beyond what no name may say. */
static bool check_text(const struct ch_name_item *item, struct ch_error *err)
{
	const char *name = item->attribute->name;

	/* Comparing leaves them out (RFC 4518 §2.6.1), so that they can only mislead. */
	if (item->value.data[0] == ' ' || item->value.data[item->value.size - 1] == ' ')
		return ch_fail(err, CH_INVALID, "subject attribute %s begins or ends with a space", name);
	if (strcmp(name, "C") == 0 && !ch_country_is_known(item->value))
		return ch_fail(err, CH_INVALID, "subject attribute C: '%.2s' is no country (ISO 3166-1)",
			       (const char *)item->value.data);
	return true;
}

/* Which attributes were seen, as a bit for each row of the attribute table. Only these may stand more than
 * once. */
static bool mark_seen(const struct ch_name_item *item, uint32_t *seen, struct ch_error *err)
{
	uint32_t bit = 1u << (unsigned)(item->attribute - ch_name_attribute_at(0));

	if ((*seen & bit) && !item->attribute->may_repeat)
		return ch_fail(err, CH_INVALID, "subject attribute %s stands twice", item->attribute->name);
	*seen |= bit;
	return true;
}

static bool check_subject(const struct ch_profile *profile, const struct ch_csr *csr, bool *empty,
			  struct ch_error *err)
{
	struct ch_view rest = ch_view_of(&csr->subject_der), sequence, rdn = CH_NONE;
	uint32_t seen = 0;

	if (!ch_der_read(&rest, CH_DER_SEQUENCE, "subject", &sequence, err) ||
	    !ch_der_end(&rest, "subject", err))
		return false;
	*empty = sequence.size == 0;
	while (sequence.size > 0 || rdn.size > 0) {
		struct ch_name_item item;

		if (!ch_name_next(&sequence, &rdn, &item, err) || !check_allowed(profile, &item, err) ||
		    !check_text(&item, err) || !mark_seen(&item, &seen, err))
			return false;
	}
	for (size_t i = 0; i < profile->subject.required.count; i++) {
		const char *name = profile->subject.required.items[i];

		if (!(seen & (1u << (unsigned)(ch_name_attribute_find(name, strlen(name)) -
					       ch_name_attribute_at(0)))))
			return ch_fail(err, CH_INVALID, "subject lacks the required attribute %s", name);
	}
	return true;
}

static bool check_san(const struct ch_profile_sans *rules, const struct ch_san *san, struct ch_error *err)
{
	const char *type = ch_san_type_name(san->type);

	if (!ch_strings_contain(&rules->allowed, type)) {
		CH_AUTO(ch_string) allowed = ch_strings_join(&rules->allowed);

		return ch_fail(err, CH_INVALID,
			       "subject alternative name %s:%.200s is not allowed (allowed: %s)", type,
			       san->value, rules->allowed.count ? allowed : "none");
	}
	return true;
}

static bool check_sans(const struct ch_profile *profile, const struct ch_sans *sans, bool subject_empty,
		       struct ch_error *err)
{
	const struct ch_profile_sans *rules = &profile->subject_alt_names;

	if (sans->count > (size_t)rules->maximum)
		return ch_fail(err, CH_INVALID, "%zu subject alternative names, at most %lld allowed",
			       sans->count, (long long)rules->maximum);
	for (size_t i = 0; i < sans->count; i++)
		if (!check_san(rules, &sans->items[i], err))
			return false;
	if (sans->count < (size_t)rules->minimum)
		return ch_fail(err, CH_INVALID, "%zu subject alternative names, at least %lld needed",
			       sans->count, (long long)rules->minimum);
	if (sans->count == 0 && subject_empty)
		return ch_fail(err, CH_INVALID,
			       "neither a subject nor a subject alternative name (RFC 5280 §4.1.2.6)");
	return true;
}

/* Who looks for a CRL's or a certificate's issuer by name must not find an end entity (RFC 5280 §6.3.3 (f)).
 */
static bool check_not_ca(const struct ch_ca *ca, const struct ch_csr *csr, struct ch_error *err)
{
	bool equal;

	if (!ch_name_equal(ch_view_of(&csr->subject_der), ch_view_of(&ca->subject_der), &equal, err))
		return ch_fail_in(err, "subject");
	return !equal || ch_fail(err, CH_INVALID, "subject '%.200s' is the name of CA '%s'", csr->subject,
				 ca->document.name);
}

/* CA/Browser Forum Baseline Requirements §6.3.2 (ballot SC-081v3): both ends of the day in UTC. */
static const struct {
	int64_t from_s; /* since 1970 */
	int64_t days;
} browser_caps[] = {
	{ 0, 398 },
	{ INT64_C(1773532800), 200 }, /* 2026-03-15 */
	{ INT64_C(1805068800), 100 }, /* 2027-03-15 */
	{ INT64_C(1868227200), 47 },  /* 2029-03-15 */
};

static int64_t longest_at(const struct ch_profile *profile, int64_t now_us)
{
	int64_t longest = profile->validity.maximum_us;

	if (strcmp(profile->validity.caps, "browsers") != 0)
		return longest;
	for (size_t i = 0; i < CH_COUNT(browser_caps); i++)
		if (now_us >= browser_caps[i].from_s * CH_SECOND && browser_caps[i].days * CH_DAY < longest)
			longest = browser_caps[i].days * CH_DAY;
	return longest;
}

bool ch_policy_validity(const struct ch_profile *profile, const struct ch_ca *ca, int64_t validity_us,
			int64_t now_us, struct ch_order *order, struct ch_error *err)
{
	int64_t now = now_us - now_us % CH_SECOND;
	int64_t longest = longest_at(profile, now_us);
	bool asked = validity_us != 0;

	if (validity_us < 0 || (asked && validity_us < CH_SECOND))
		return ch_fail(err, CH_INVALID, "validity %lld s is not positive",
			       (long long)(validity_us / CH_SECOND));
	if (validity_us > longest)
		return ch_fail(err, CH_INVALID, "validity %lld s exceeds the profile's maximum of %lld s%s",
			       (long long)(validity_us / CH_SECOND), (long long)(longest / CH_SECOND),
			       longest < profile->validity.maximum_us ? " (what browsers take from now on)"
								      : "");
	if (!asked)
		validity_us = profile->validity.default_us < longest ? profile->validity.default_us : longest;
	order->not_before_us = now - profile->validity.backdate_us;
	order->not_before_us -= order->not_before_us % CH_SECOND;
	if (order->not_before_us < ca->not_before_us)
		order->not_before_us = ca->not_before_us;
	/* RFC 5280 §4.1.2.5: both ends belong to the period. Backdating does not shorten what was asked for,
	 * unless the profile's maximum would be exceeded. */
	order->not_after_us = now + validity_us - CH_SECOND;
	if (order->not_after_us - order->not_before_us > longest - CH_SECOND)
		order->not_after_us = order->not_before_us + longest - CH_SECOND;
	order->not_after_us -= order->not_after_us % CH_SECOND;
	if (order->not_after_us > ca->not_after_us) {
		char end[CH_TIME_TEXT_SIZE];

		if (asked)
			return ch_fail(err, CH_INVALID, "validity %lld s goes beyond the CA's end %s",
				       (long long)(validity_us / CH_SECOND),
				       ch_time_text(ca->not_after_us, end));
		order->not_after_us = ca->not_after_us;
	}
	if (order->not_after_us <= now)
		return ch_fail(err, CH_INVALID, "CA '%s' has expired", ca->document.name);
	return true;
}

bool ch_policy_check(const struct ch_profile *profile, const struct ch_ca *ca,
		     const struct ch_policy_request *request, int64_t now_us, struct ch_order *order,
		     struct ch_error *err)
{
	struct ch_csr *csr = request->csr;
	const struct ch_sans *sans = request->sans && request->sans->count ? request->sans : &csr->sans;
	bool subject_empty;

	if (csr->requests_ca)
		return ch_fail(err, CH_INVALID,
			       "the request asks for CA:TRUE, which this profile never gives");
	if (request->validity_seconds < 0 || request->validity_seconds > INT64_C(100) * 366 * 86400)
		return ch_fail(err, CH_INVALID, "validity %lld s is out of range",
			       (long long)request->validity_seconds);
	if (profile->common_name_from_san)
		ch_names_follow_sans(&csr->subject_der, sans);
	if (!check_key(profile, ca, csr, err) || !check_subject(profile, csr, &subject_empty, err) ||
	    !check_not_ca(ca, csr, err) || !check_sans(profile, sans, subject_empty, err) ||
	    !ch_names_check(profile, ch_view_of(&csr->subject_der), sans, err) ||
	    !ch_policy_validity(profile, ca, request->validity_seconds * CH_SECOND, now_us, order, err))
		return false;
	order->subject_der = ch_view_of(&csr->subject_der);
	order->public_key_info = ch_view_of(&csr->public_key_info);
	order->key_algorithm = csr->algorithm;
	order->sans = sans;
	return true;
}
