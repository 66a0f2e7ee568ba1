/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_service_identity.c: the certificate of a daemon instance, signed by a system CA whose key is in the
 * vault. A daemon renews its own and nobody else's, with exactly the names of the one that it has: those that
 * the system CA's owner gave it; an operator makes any, with officers' approvals. Row of purposes.c.
 */
#include "purposes.h"

#include <string.h>

#define IDENTITY_URI      "chancery:service/"
#define URI_CAP           128
#define VALIDITY_DEFAULT  (90 * CH_DAY)
#define DIGITAL_SIGNATURE 0x80

/* --- who it is for --- */

static bool is_name(const char *text, size_t size, const char *allowed)
{
	return size >= 1 && size <= 63 && ch_view_has_only(ch_view(text, size), allowed);
}

/* "<service>/<instance>" as libcommon/envelope reads it from a peer's certificate. */
static bool take_identity(struct ch_view uri, char identity[URI_CAP], struct ch_error *err)
{
	size_t head = sizeof(IDENTITY_URI) - 1, size = uri.size > head ? uri.size - head : 0;
	const char *text = (const char *)uri.data + head, *slash = size ? memchr(text, '/', size) : NULL;

	if (size == 0 || size >= URI_CAP || !ch_view_starts_with(uri, IDENTITY_URI) || !slash ||
	    !is_name(text, (size_t)(slash - text), "abcdefghijklmnopqrstuvwxyz") ||
	    !is_name(slash + 1, size - (size_t)(slash + 1 - text), "abcdefghijklmnopqrstuvwxyz0123456789._-"))
		return ch_fail(err, CH_DENIED,
			       "subjectAltName has a URI that is not " IDENTITY_URI "<service>/<instance>");
	memcpy(identity, text, size);
	identity[size] = 0;
	return true;
}

/* Exactly one URI; DNS names and addresses, which TLS may want, besides: check_asker says which. */
static bool read_names(struct vault_check *check, struct ch_view names, char identity[URI_CAP],
		       struct ch_error *err)
{
	struct ch_view in, value;
	bool found = false;

	check->reason = "identity";
	if (!names.size)
		return ch_fail(err, CH_DENIED, "there is no subjectAltName: it names no service");
	if (!ch_der_read(&names, CH_DER_SEQUENCE, "subjectAltName", &in, err))
		return false;
	while (in.size) {
		if (ch_der_next_is(&in, CH_DER_CONTEXT(6))) {
			if (found)
				return ch_fail(err, CH_DENIED, "subjectAltName has two URIs");
			if (!ch_der_read(&in, CH_DER_CONTEXT(6), "subjectAltName.URI", &value, err) ||
			    !take_identity(value, identity, err))
				return false;
			found = true;
		} else if (ch_der_next_is(&in, CH_DER_CONTEXT(2)) || ch_der_next_is(&in, CH_DER_CONTEXT(7))) {
			if (!ch_der_read_any(&in, "subjectAltName", NULL, NULL, NULL, err))
				return false;
		} else {
			return ch_fail(err, CH_DENIED,
				       "subjectAltName has a name that is no URI, DNS name or address");
		}
	}
	return found || ch_fail(err, CH_DENIED, "subjectAltName names no service");
}

/* --- what it may do --- */

static bool check_usage(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	static const uint8_t server_and_client[] = { 0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05,
						     0x05, 0x07, 0x03, 0x01, 0x06, 0x08, 0x2b, 0x06,
						     0x01, 0x05, 0x05, 0x07, 0x03, 0x02 };

	if (tbs->is_ca || tbs->path_length >= 0)
		return vault_refuse(check, "ca-true", err,
				    "basicConstraints has cA TRUE: a service is no CA");
	if (tbs->key_usage != DIGITAL_SIGNATURE)
		return vault_refuse(check, "key-usage", err, "keyUsage is not digitalSignature alone");
	if (!ch_view_equal(tbs->extended_key_usage, ch_view(server_and_client, sizeof(server_and_client))))
		return vault_refuse(check, "extended-key-usage", err,
				    "extendedKeyUsage is not id-kp-serverAuth and id-kp-clientAuth");
	return true;
}

/* The bus signs its messages with P-256 (libcommon/envelope). */
static bool check_subject_key(struct vault_check *check, const struct tbs_certificate *tbs,
			      struct ch_error *err)
{
	static const uint8_t p256[] = { 0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
					0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
					0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04 };
	struct ch_view info = tbs->public_key_info;

	return (info.size == sizeof(p256) + 64 && memcmp(info.data, p256, sizeof(p256)) == 0) ||
	       vault_refuse(check, "subject-key", err, "the public key is not an uncompressed P-256 point");
}

static bool check_length(struct vault_check *check, const struct tbs_certificate *tbs, struct ch_error *err)
{
	int64_t longest = check->key->max_certificate_validity_us ? check->key->max_certificate_validity_us
								  : VALIDITY_DEFAULT;

	return tbs->not_after_us - tbs->not_before_us <= longest ||
	       vault_refuse(check, "validity", err, "validity is over %lld days",
			    (long long)(longest / CH_DAY));
}

/* --- who asks --- */

static bool is_own(const struct vault_check *check, const char *identity)
{
	size_t size = strlen(check->sender_service);

	return strncmp(identity, check->sender_service, size) == 0 && identity[size] == '/' &&
	       strcmp(identity + size + 1, check->sender_instance) == 0;
}

/* The names of the identity that asks, to the octet. What the owner of the system CA allowed when it was
 * issued is in there; a name of the gateway's public HTTPS, or another service's, is not. */
static bool has_own_names(struct vault_check *check, struct ch_view names, struct ch_error *err)
{
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", names, digest, &size, err))
		return false;
	return (check->sender_names_sha256 && memcmp(digest, check->sender_names_sha256, 32) == 0) ||
	       vault_refuse(
		       check, "identity-names", err,
		       "subjectAltName differs from the one of the identity that %s/%s has: a renewal keeps "
		       "its names",
		       check->sender_service, check->sender_instance);
}

/* A subject that reads as another's name would, where somebody looks at it: CN=<instance> alone. */
static bool has_own_subject(struct vault_check *check, struct ch_view subject, struct ch_error *err)
{
	CH_AUTO(ch_string) expected = ch_format("CN=%s", check->sender_instance);
	CH_AUTO(ch_string) text = ch_name_text(subject);

	return strcmp(text, expected) == 0 ||
	       vault_refuse(check, "identity-subject", err, "subject is '%s', a renewal has '%s'", text,
			    expected);
}

static bool check_asker(struct vault_check *check, const struct tbs_certificate *tbs, const char *identity,
			struct ch_error *err)
{
	char not_after[CH_TIME_TEXT_SIZE];
	const struct ch_action_field more[] = {
		{ (char *)(uintptr_t) "identity", (char *)(uintptr_t)identity },
		{ (char *)(uintptr_t) "not-after",
		  (char *)(uintptr_t)ch_time_text(tbs->not_after_us, not_after) },
	};

	if (strcmp(check->sender_service, "operator") == 0)
		return vault_check_approvals(check, CHANCERY__ACTION_KIND__ACTION_SERVICE_IDENTITY, more,
					     CH_COUNT(more), err) &&
		       tbs_certificate_check_backdating(check, tbs, check->proposed_us, err);
	if (!tbs_certificate_check_backdating(check, tbs, check->now_us, err))
		return false;
	if (!is_own(check, identity))
		return vault_refuse(check, "identity", err,
				    "%s/%s asks for the identity of %s: a daemon renews its own alone",
				    check->sender_service, check->sender_instance, identity);
	return has_own_names(check, tbs->subject_alt_name, err) && has_own_subject(check, tbs->subject, err);
}

bool purpose_service_identity(struct vault_check *check, struct ch_error *err)
{
	struct tbs_certificate tbs;
	char identity[URI_CAP];

	if (!tbs_certificate_read(check->to_be_signed, &tbs, err) ||
	    !tbs_certificate_check(check, &tbs, err) || !check_usage(check, &tbs, err) ||
	    !vault_check_extensions(check, &tbs.extensions, VAULT_IN_SERVICE_IDENTITY, err) ||
	    !tbs_certificate_check_subject(check, &tbs, err) || !check_subject_key(check, &tbs, err) ||
	    !check_length(check, &tbs, err) || !tbs_certificate_check_within_ca(check, &tbs, err))
		return false;
	return read_names(check, tbs.subject_alt_name, identity, err) &&
	       check_asker(check, &tbs, identity, err);
}
