/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_crl.c: TBSCertList (RFC 5280 §5.1): the crl daemon's, or with officers' approvals an operator's,
 * such as at an offline root; a system CA's with officers' approvals, whoever asks. Row of purposes.c. That
 * the CRL number never goes back is settled in the database (store.c), so that two vaults agree.
 */
#include "purposes.h"

#include <stdlib.h>
#include <string.h>

/* What officers approved may be this old: they sign one after the other. */
#define APPROVED_AGE CH_DAY
/* A number that is taken is never given back: one high enough, and the CA makes no CRL any more. */
#define STEP_CAP 10000

struct tbs_cert_list {
	struct ch_view signature_algorithm, issuer, number;
	int64_t this_update_us, next_update_us;
};

/* Every entry is walked, so that what is signed is well formed to its end; entries themselves are the CRL
 * daemon's word. */
static bool read_revoked(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	struct vault_extensions extensions;
	struct ch_view list, entry, serial;
	int64_t revoked_us;

	if (!ch_der_read(in, CH_DER_SEQUENCE, "TBSCertList.revokedCertificates", &list, err))
		return false;
	if (list.size == 0)
		return ch_fail(err, CH_INVALID,
			       "revokedCertificates is empty and must then be absent (RFC 5280 §5.1.2.6)");
	while (list.size) {
		if (!ch_der_read(&list, CH_DER_SEQUENCE, "revokedCertificate", &entry, err) ||
		    !ch_der_read_integer(&entry, "revokedCertificate.userCertificate", &serial, err) ||
		    !ch_der_read_time(&entry, "revokedCertificate.revocationDate", false, &revoked_us, err))
			return false;
		/* Not certificateIssuer, for one: a CA revokes what it issued itself (RFC 5280 §5.3.3). */
		if (entry.size && (!vault_read_extensions(&entry, &extensions, err) ||
				   !ch_der_end(&entry, "revokedCertificate", err) ||
				   !vault_check_extensions(check, &extensions, VAULT_IN_CRL_ENTRY, err)))
			return false;
	}
	return true;
}

/* Extensions that a CRL may carry as critical: a reader that does not know one would misread the list. */
static bool check_critical(const struct vault_extensions *extensions, struct ch_error *err)
{
	const struct vault_extension *delta = vault_find_extension(extensions, VAULT_CE_DELTA_CRL_INDICATOR);
	const struct vault_extension *point =
		vault_find_extension(extensions, VAULT_CE_ISSUING_DISTRIBUTION_POINT);

	for (size_t i = 0; i < extensions->count; i++) {
		const struct vault_extension *extension = &extensions->items[i];

		if (extension->critical && extension != delta && extension != point) {
			CH_AUTO(ch_string) oid = ch_der_oid_text(extension->oid);

			return ch_fail(err, CH_INVALID, "crlExtensions: critical extension %s is not known",
				       oid ? oid : "?");
		}
	}
	return true;
}

static bool read_number(const struct vault_extensions *extensions, struct ch_view *number,
			struct ch_error *err)
{
	const struct vault_extension *extension = vault_find_extension(extensions, VAULT_CE_CRL_NUMBER);
	struct ch_view value;

	if (!extension)
		return ch_fail(err, CH_INVALID, "cRLNumber is absent (RFC 5280 §5.2.3)");
	value = extension->value;
	if (!ch_der_read_integer(&value, "cRLNumber", number, err))
		return false;
	if (number->data[0] & 0x80)
		return ch_fail(err, CH_INVALID, "cRLNumber is negative");
	if (number->size > VAULT_NUMBER_CAP)
		return ch_fail(err, CH_INVALID, "cRLNumber is %zu octets, at most %d allowed", number->size,
			       VAULT_NUMBER_CAP);
	return true;
}

static bool read_crl_extensions(struct vault_check *check, struct ch_view *in, struct tbs_cert_list *tbs,
				struct ch_error *err)
{
	struct vault_extensions extensions;
	struct ch_view explicit;

	return ch_der_read(in, CH_DER_CONTEXT_CONSTRUCTED(0), "TBSCertList.crlExtensions", &explicit, err) &&
	       vault_read_extensions(&explicit, &extensions, err) &&
	       ch_der_end(&explicit, "TBSCertList.crlExtensions", err) && check_critical(&extensions, err) &&
	       vault_check_extensions(check, &extensions, VAULT_IN_CRL, err) &&
	       read_number(&extensions, &tbs->number, err);
}

static bool read_version(struct ch_view *in, struct ch_error *err)
{
	uint64_t version;

	if (!ch_der_read_uint64(in, "TBSCertList.version", &version, err))
		return false;
	return version == 1 || ch_fail(err, CH_INVALID, "TBSCertList.version is v%llu, only v2 is signed",
				       (unsigned long long)version + 1);
}

static bool tbs_cert_list_read(struct vault_check *check, struct tbs_cert_list *tbs, struct ch_error *err)
{
	struct ch_view der = check->to_be_signed, in;

	*tbs = (struct tbs_cert_list)CH_NONE;
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "TBSCertList", &in, err) ||
	    !ch_der_end(&der, "TBSCertList", err) || !read_version(&in, err) ||
	    !ch_der_read_any(&in, "TBSCertList.signature", NULL, NULL, &tbs->signature_algorithm, err) ||
	    !ch_der_read_any(&in, "TBSCertList.issuer", NULL, NULL, &tbs->issuer, err) ||
	    !ch_der_read_time(&in, "TBSCertList.thisUpdate", false, &tbs->this_update_us, err) ||
	    !ch_der_read_time(&in, "TBSCertList.nextUpdate", false, &tbs->next_update_us, err))
		return false;
	if (ch_der_next_is(&in, CH_DER_SEQUENCE) && !read_revoked(check, &in, err))
		return false;
	return read_crl_extensions(check, &in, tbs, err) && ch_der_end(&in, "TBSCertList", err);
}

/* A system CA's CRL is the list of refused identities, which shuts daemons out: no daemon makes one alone, a
 * taken-over one neither. */
static bool needs_officers(const struct vault_check *check)
{
	return strcmp(check->sender_service, "operator") == 0 ||
	       check->key->purposes >> CHANCERY__PURPOSE__PURPOSE_SERVICE_IDENTITY & 1;
}

static bool check_approved(struct vault_check *check, const struct tbs_cert_list *tbs, struct ch_error *err)
{
	char next_update[CH_TIME_TEXT_SIZE];
	const struct ch_action_field more[] = {
		{ (char *)(uintptr_t) "crl-number", check->subject },
		{ (char *)(uintptr_t) "next-update",
		  (char *)(uintptr_t)ch_time_text(tbs->next_update_us, next_update) },
	};

	return vault_check_approvals(check, CHANCERY__ACTION_KIND__ACTION_CRL, more, CH_COUNT(more), err);
}

static bool check_window(struct vault_check *check, const struct tbs_cert_list *tbs, struct ch_error *err)
{
	int64_t tolerance = check->policy->clock_tolerance_us;
	int64_t longest = check->key->max_validity_us ? check->key->max_validity_us
						      : check->policy->crl_max_validity_us;
	int64_t age = needs_officers(check) ? APPROVED_AGE : tolerance;
	char is[CH_TIME_TEXT_SIZE], now[CH_TIME_TEXT_SIZE];

	if (tbs->this_update_us > check->now_us + tolerance || tbs->this_update_us < check->now_us - age)
		return vault_refuse(check, "this-update", err, "thisUpdate %s is not now (%s)",
				    ch_time_text(tbs->this_update_us, is), ch_time_text(check->now_us, now));
	if (tbs->next_update_us <= tbs->this_update_us)
		return vault_refuse(check, "next-update", err, "nextUpdate %s is not after thisUpdate",
				    ch_time_text(tbs->next_update_us, is));
	if (tbs->next_update_us - tbs->this_update_us > longest)
		return vault_refuse(check, "next-update", err,
				    "nextUpdate is %lld s after thisUpdate, at most %lld s allowed",
				    (long long)((tbs->next_update_us - tbs->this_update_us) / CH_SECOND),
				    (long long)(longest / CH_SECOND));
	return true;
}

bool purpose_crl(struct vault_check *check, struct ch_error *err)
{
	const struct vault_key *key = check->key;
	struct tbs_cert_list tbs;

	if (!tbs_cert_list_read(check, &tbs, err))
		return false;
	if (!ch_view_equal(tbs.signature_algorithm, key->algorithm->signature_identifier))
		return vault_refuse(check, "algorithm", err,
				    "TBSCertList.signature is not %s, the key's algorithm",
				    key->algorithm->signature_name);
	if (!ch_view_equal(tbs.issuer, ch_view_of(&key->subject_der)))
		return vault_refuse(check, "issuer", err, "TBSCertList.issuer is not the name of key '%s'",
				    key->key_id);
	if (!check_window(check, &tbs, err))
		return false;
	check->number = tbs.number;
	check->number_step_cap = needs_officers(check) ? 0 : STEP_CAP;
	check->subject = ch_hex(tbs.number);
	return !needs_officers(check) || check_approved(check, &tbs, err);
}
