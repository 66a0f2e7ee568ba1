/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c: may this request become a certificate under this profile and CA, and what will it say? Pure;
 * called by issue.c after ch_csr_read has verified the request's signature. */
#include "issuance/issuance.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

static bool check_allowed(const struct ch_profile *profile, const struct ch_subject_item *item,
			  struct ch_error *err)
{
	if (!item->attribute || !ch_strings_contain(&profile->subject.allowed, item->attribute->name)) {
		CH_AUTO(ch_string) allowed = ch_strings_join(&profile->subject.allowed);

		return ch_fail(err, CH_INVALID, "subject attribute %s is not allowed (allowed: %s)",
			       item->attribute ? item->attribute->name : item->oid_text,
			       profile->subject.allowed.count ? allowed : "none");
	}
	return true;
}

/* Which attributes were seen, as a bit for each row of the attribute table. Only these may stand more than
 * once. */
static bool mark_seen(const struct ch_subject_item *item, uint32_t *seen, struct ch_error *err)
{
	uint32_t bit = 1u << (unsigned)(item->attribute - ch_subject_attribute_at(0));
	bool may_repeat = strcmp(item->attribute->name, "OU") == 0 ||
			  strcmp(item->attribute->name, "DC") == 0 ||
			  strcmp(item->attribute->name, "street") == 0;

	if ((*seen & bit) && !may_repeat)
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
		CH_AUTO(ch_subject_item) item = CH_NONE;

		if (!ch_subject_next(&sequence, &rdn, &item, err) || !check_allowed(profile, &item, err) ||
		    !mark_seen(&item, &seen, err))
			return false;
	}
	for (size_t i = 0; i < profile->subject.required.count; i++) {
		const char *name = profile->subject.required.items[i];

		if (!(seen &
		      (1u << (unsigned)(ch_subject_attribute_find(name) - ch_subject_attribute_at(0)))))
			return ch_fail(err, CH_INVALID, "subject lacks the required attribute %s", name);
	}
	return true;
}

static bool has_suffix(const char *name, const struct ch_conf_strings *suffixes)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < suffixes->count; i++) {
		size_t suffix = strlen(suffixes->items[i]);

		if (length >= suffix && strcasecmp(name + length - suffix, suffixes->items[i]) == 0 &&
		    (length == suffix || name[length - suffix - 1] == '.'))
			return true;
	}
	return suffixes->count == 0;
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
	if (san->type == CH_SAN_DNS && !has_suffix(san->value, &rules->dns_suffixes)) {
		CH_AUTO(ch_string) suffixes = ch_strings_join(&rules->dns_suffixes);

		return ch_fail(err, CH_INVALID, "subject alternative name dns:%.200s ends in none of: %s",
			       san->value, suffixes);
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

bool ch_policy_validity(const struct ch_profile *profile, const struct ch_ca *ca, int64_t validity_us,
			int64_t now_us, struct ch_order *order, struct ch_error *err)
{
	int64_t now = now_us - now_us % CH_SECOND;
	bool asked = validity_us != 0;

	if (validity_us < 0 || (asked && validity_us < CH_SECOND))
		return ch_fail(err, CH_INVALID, "validity %lld s is not positive",
			       (long long)(validity_us / CH_SECOND));
	if (validity_us > profile->validity.maximum_us)
		return ch_fail(err, CH_INVALID, "validity %lld s exceeds the profile's maximum of %lld s",
			       (long long)(validity_us / CH_SECOND),
			       (long long)(profile->validity.maximum_us / CH_SECOND));
	if (!asked)
		validity_us = profile->validity.default_us;
	order->not_before_us = now - profile->validity.backdate_us;
	order->not_before_us -= order->not_before_us % CH_SECOND;
	if (order->not_before_us < ca->not_before_us)
		order->not_before_us = ca->not_before_us;
	/* RFC 5280 §4.1.2.5: both ends belong to the period. Backdating does not shorten what was asked for,
	 * unless the profile's maximum would be exceeded. */
	order->not_after_us = now + validity_us - CH_SECOND;
	if (order->not_after_us - order->not_before_us > profile->validity.maximum_us - CH_SECOND)
		order->not_after_us = order->not_before_us + profile->validity.maximum_us - CH_SECOND;
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
	const struct ch_csr *csr = request->csr;
	const struct ch_sans *sans = request->sans && request->sans->count ? request->sans : &csr->sans;
	bool subject_empty;

	if (csr->requests_ca)
		return ch_fail(err, CH_INVALID,
			       "the request asks for CA:TRUE, which this profile never gives");
	if (request->validity_seconds < 0 || request->validity_seconds > INT64_C(100) * 366 * 86400)
		return ch_fail(err, CH_INVALID, "validity %lld s is out of range",
			       (long long)request->validity_seconds);
	if (!check_key(profile, ca, csr, err) || !check_subject(profile, csr, &subject_empty, err) ||
	    !check_sans(profile, sans, subject_empty, err) ||
	    !ch_policy_validity(profile, ca, request->validity_seconds * CH_SECOND, now_us, order, err))
		return false;
	order->subject_der = ch_view_of(&csr->subject_der);
	order->public_key_info = ch_view_of(&csr->public_key_info);
	order->key_algorithm = csr->algorithm;
	order->sans = sans;
	return true;
}
