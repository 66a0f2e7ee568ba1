/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_timestamp.c: the signed attributes of a timestamp token (RFC 5652 §5.4) and the TSTInfo (RFC 3161
 * §2.4.2) that their digest covers. Row of purposes.c.
 */
#include "purposes.h"

#include <stdlib.h>
#include <string.h>

#define CONTENT_CAP (64 * 1024)

/* Content octets of object identifiers. */
static const uint8_t oid_content_type[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03 };
static const uint8_t oid_message_digest[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04 };
static const uint8_t oid_signing_certificate_v2[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d,
						      0x01, 0x09, 0x10, 0x02, 0x2f };
static const uint8_t oid_tst_info[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04 };

enum attribute { CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2, ATTRIBUTES };
static const struct {
	const char *name;
	struct ch_view oid;
} attributes[ATTRIBUTES] = {
	[CONTENT_TYPE] = { "contentType", { oid_content_type, sizeof(oid_content_type) } },
	[MESSAGE_DIGEST] = { "messageDigest", { oid_message_digest, sizeof(oid_message_digest) } },
	[SIGNING_CERTIFICATE_V2] = { "signingCertificateV2",
				     { oid_signing_certificate_v2, sizeof(oid_signing_certificate_v2) } },
};

/* --- signed attributes --- */

/* One Attribute with exactly one value; `values` receives it by kind. */
static bool read_attribute(struct vault_check *check, struct ch_view attribute,
			   struct ch_view values[ATTRIBUTES], struct ch_error *err)
{
	struct ch_view oid, set, value;

	if (!ch_der_read_oid(&attribute, "Attribute.attrType", &oid, err) ||
	    !ch_der_read(&attribute, CH_DER_SET, "Attribute.attrValues", &set, err) ||
	    !ch_der_end(&attribute, "Attribute", err) ||
	    !ch_der_read_any(&set, "AttributeValue", NULL, NULL, &value, err) ||
	    !ch_der_end(&set, "Attribute.attrValues", err))
		return false;
	for (size_t i = 0; i < ATTRIBUTES; i++) {
		if (!ch_view_equal(oid, attributes[i].oid))
			continue;
		if (values[i].data)
			return vault_refuse(check, "attributes", err, "signed attribute %s stands twice",
					    attributes[i].name);
		values[i] = value;
		return true;
	}
	return vault_refuse(check, "attributes", err,
			    "a signed attribute is not contentType, messageDigest or signingCertificateV2");
}

static int compare(struct ch_view a, struct ch_view b)
{
	size_t common = a.size < b.size ? a.size : b.size;
	int order = memcmp(a.data, b.data, common);

	return order ? order : (a.size > b.size) - (a.size < b.size);
}

static bool read_attributes(struct vault_check *check, struct ch_view values[ATTRIBUTES],
			    struct ch_error *err)
{
	struct ch_view der = check->to_be_signed, set, content, whole, previous = CH_NONE;
	unsigned tag;

	if (!ch_der_read(&der, CH_DER_SET, "SignedAttributes", &set, err) ||
	    !ch_der_end(&der, "SignedAttributes", err))
		return false;
	while (set.size) {
		if (!ch_der_read_any(&set, "Attribute", &tag, &content, &whole, err))
			return false;
		if (tag != CH_DER_SEQUENCE)
			return ch_fail(err, CH_INVALID, "Attribute is not a SEQUENCE");
		if (previous.data && compare(previous, whole) >= 0) /* X.690 §11.6 */
			return ch_fail(err, CH_INVALID, "SignedAttributes are not in DER order");
		previous = whole;
		if (!read_attribute(check, content, values, err))
			return false;
	}
	for (size_t i = 0; i < ATTRIBUTES; i++)
		if (!values[i].data)
			return vault_refuse(check, "attributes", err, "signed attribute %s is absent",
					    attributes[i].name);
	return true;
}

static bool check_content_type(struct vault_check *check, struct ch_view value, struct ch_error *err)
{
	struct ch_view oid;

	if (!ch_der_read_oid(&value, "contentType", &oid, err))
		return false;
	if (!ch_view_equal(oid, ch_view(oid_tst_info, sizeof(oid_tst_info))))
		return vault_refuse(check, "content-type", err, "contentType is not id-ct-TSTInfo");
	return true;
}

/* The digest algorithm is told by its size: SHA-256, SHA-384 or SHA-512. */
static bool check_message_digest(struct vault_check *check, struct ch_view value, struct ch_error *err)
{
	struct ch_view stated;
	uint8_t digest[64];
	size_t size;

	if (!ch_der_read_octet_string(&value, "messageDigest", &stated, err))
		return false;
	if (stated.size != 32 && stated.size != 48 && stated.size != 64)
		return vault_refuse(check, "message-digest", err,
				    "messageDigest is %zu octets: not SHA-256, SHA-384 or SHA-512",
				    stated.size);
	if (!ch_digest(stated.size == 32   ? "sha256"
		       : stated.size == 48 ? "sha384"
					   : "sha512",
		       check->content, digest, &size, err))
		return false;
	if (!ch_view_equal(stated, ch_view(digest, size)))
		return vault_refuse(check, "message-digest", err,
				    "messageDigest is not the digest of the TSTInfo");
	return true;
}

/* --- TSTInfo --- */

static bool check_policy(struct vault_check *check, struct ch_view oid, struct ch_error *err)
{
	CH_AUTO(ch_string) dotted = ch_der_oid_text(oid);

	for (size_t i = 0; dotted && i < check->key->timestamp_policy_count; i++)
		if (strcmp(check->key->timestamp_policies[i], dotted) == 0)
			return true;
	return vault_refuse(check, "policy", err, "policy %s is not one of key '%s'", dotted ? dotted : "?",
			    check->key->key_id);
}

/* Without a fraction, genTime stands for its whole second. What is too old, or of another clock, says nothing
 * against who asks: made anew, or asked of another vault, it may do. */
static bool check_gen_time(struct vault_check *check, int64_t gen_time_us, struct ch_error *err)
{
	int64_t tolerance = check->policy->timestamp_tolerance_us;
	int64_t span = gen_time_us % CH_SECOND ? 0 : CH_SECOND - 1;
	char is[CH_TIME_TEXT_SIZE], now[CH_TIME_TEXT_SIZE];

	if (check->now_us >= gen_time_us - tolerance && check->now_us <= gen_time_us + span + tolerance)
		return true;
	vault_refuse(check, "gen-time", err, "genTime %s is not the vault's time (%s)",
		     ch_time_text(gen_time_us, is), ch_time_text(check->now_us, now));
	if (err) {
		err->code = CH_EXPIRED;
		err->retryable = true;
	}
	return false;
}

static bool read_message_imprint(struct ch_view *in, struct ch_error *err)
{
	struct ch_view imprint, octets;

	return ch_der_read(in, CH_DER_SEQUENCE, "TSTInfo.messageImprint", &imprint, err) &&
	       ch_der_read(&imprint, CH_DER_SEQUENCE, "MessageImprint.hashAlgorithm", NULL, err) &&
	       ch_der_read_octet_string(&imprint, "MessageImprint.hashedMessage", &octets, err) &&
	       ch_der_end(&imprint, "TSTInfo.messageImprint", err);
}

/* accuracy, ordering, nonce, tsa, extensions: each at most once and in this order */
static bool check_optional_rest(struct vault_check *check, struct ch_view *in, struct ch_error *err)
{
	static const unsigned tags[] = { CH_DER_SEQUENCE, CH_DER_BOOLEAN, CH_DER_INTEGER,
					 CH_DER_CONTEXT_CONSTRUCTED(0) };
	struct vault_extensions extensions;
	struct ch_view list;
	bool present;

	for (size_t i = 0; i < CH_COUNT(tags); i++)
		if (!ch_der_read_optional(in, tags[i], "TSTInfo", &present, NULL, err))
			return false;
	if (!ch_der_read_optional(in, CH_DER_CONTEXT_CONSTRUCTED(1), "TSTInfo.extensions", &present, &list,
				  err))
		return false;
	if (present && (!vault_read_extension_list(list, &extensions, err) ||
			!vault_check_extensions(check, &extensions, VAULT_IN_TST_INFO, err)))
		return false;
	return ch_der_end(in, "TSTInfo", err);
}

static bool check_tst_info(struct vault_check *check, struct ch_error *err)
{
	struct ch_view der = check->content, in, policy, serial;
	int64_t gen_time_us;
	uint64_t version;

	if (check->content.size > CONTENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "TSTInfo of %zu octets, at most %d allowed",
			       check->content.size, CONTENT_CAP);
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "TSTInfo", &in, err) || !ch_der_end(&der, "TSTInfo", err) ||
	    !ch_der_read_uint64(&in, "TSTInfo.version", &version, err) ||
	    !ch_der_read_oid(&in, "TSTInfo.policy", &policy, err) || !read_message_imprint(&in, err) ||
	    !ch_der_read_integer(&in, "TSTInfo.serialNumber", &serial, err) ||
	    !ch_der_read_time(&in, "TSTInfo.genTime", true, &gen_time_us, err) ||
	    !check_optional_rest(check, &in, err))
		return false;
	if (version != 1)
		return vault_refuse(check, "version", err, "TSTInfo.version is %llu, must be 1",
				    (unsigned long long)version);
	return check_policy(check, policy, err) && check_gen_time(check, gen_time_us, err);
}

bool purpose_timestamp(struct vault_check *check, struct ch_error *err)
{
	struct ch_view values[ATTRIBUTES] = CH_NONE;

	return read_attributes(check, values, err) && check_content_type(check, values[CONTENT_TYPE], err) &&
	       check_message_digest(check, values[MESSAGE_DIGEST], err) && check_tst_info(check, err);
}
