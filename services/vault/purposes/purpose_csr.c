/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_csr.c: a certification request for a CA key, so that another CA certifies it: only over bytes that
 * officers signed, for the name and the key that the vault has. Row of purposes.c. RFC 2986 §4.1.
 */
#include "purposes.h"

#include <string.h>

#define CSR_CAP (64 * 1024)

struct request_info {
	struct ch_view subject, public_key_info; /* whole elements */
	struct vault_extensions extensions;
};

static bool read_sequence(struct ch_view *in, const char *what, struct ch_view *whole, struct ch_error *err)
{
	const uint8_t *start = in->data;
	struct ch_view content;

	if (!ch_der_read(in, CH_DER_SEQUENCE, what, &content, err))
		return false;
	*whole = ch_view(start, (size_t)(in->data - start));
	return true;
}

/* At most one attribute, extensionRequest: whoever certifies the key decides anyway what the certificate
 * says. */
static bool read_attributes(struct ch_view attributes, struct vault_extensions *extensions,
			    struct ch_error *err)
{
	static const uint8_t extension_request[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e };
	struct ch_view attribute, type, values;

	if (!attributes.size)
		return true;
	if (!ch_der_read(&attributes, CH_DER_SEQUENCE, "CertificationRequestInfo.attributes", &attribute,
			 err) ||
	    !ch_der_end(&attributes, "CertificationRequestInfo.attributes", err) ||
	    !ch_der_read_oid(&attribute, "Attribute.type", &type, err) ||
	    !ch_der_read(&attribute, CH_DER_SET, "Attribute.values", &values, err) ||
	    !ch_der_end(&attribute, "Attribute", err))
		return false;
	if (!ch_view_equal(type, ch_view(extension_request, sizeof(extension_request))))
		return ch_fail(err, CH_INVALID,
			       "CertificationRequestInfo has an attribute other than extensionRequest");
	return vault_read_extensions(&values, extensions, err) &&
	       ch_der_end(&values, "extensionRequest", err);
}

static bool read_info(struct ch_view der, struct request_info *info, struct ch_error *err)
{
	struct ch_view in, attributes;
	uint64_t version;

	if (der.size > CSR_CAP)
		return ch_fail(err, CH_TOO_LARGE,
			       "CertificationRequestInfo of %zu octets, at most %d allowed", der.size,
			       CSR_CAP);
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "CertificationRequestInfo", &in, err) ||
	    !ch_der_end(&der, "CertificationRequestInfo", err) ||
	    !ch_der_read_uint64(&in, "CertificationRequestInfo.version", &version, err) ||
	    !read_sequence(&in, "CertificationRequestInfo.subject", &info->subject, err) ||
	    !read_sequence(&in, "CertificationRequestInfo.subjectPKInfo", &info->public_key_info, err) ||
	    !ch_der_read(&in, CH_DER_CONTEXT_CONSTRUCTED(0), "CertificationRequestInfo.attributes",
			 &attributes, err) ||
	    !ch_der_end(&in, "CertificationRequestInfo", err))
		return false;
	return (version == 0 ||
		ch_fail(err, CH_INVALID, "CertificationRequestInfo of version %llu, only v1 (0) is signed",
			(unsigned long long)version)) &&
	       read_attributes(attributes, &info->extensions, err);
}

static bool check_approved(struct vault_check *check, struct ch_error *err)
{
	const struct ch_action_field more[] = { { (char *)(uintptr_t) "subject", check->subject } };

	return vault_check_approvals(check, CHANCERY__ACTION_KIND__ACTION_CA_CSR, more, CH_COUNT(more), err);
}

bool purpose_csr(struct vault_check *check, struct ch_error *err)
{
	const struct vault_key *key = check->key;
	struct request_info info;

	info.extensions.count = 0;
	if (!read_info(check->to_be_signed, &info, err))
		return false;
	check->subject = ch_name_text(info.subject);
	if (!ch_view_equal(info.subject, ch_view_of(&key->subject_der)))
		return vault_refuse(check, "subject", err,
				    "subject is '%.200s', which is not the name of key '%s'",
				    check->subject ? check->subject : "", key->key_id);
	if (!ch_view_equal(info.public_key_info, ch_view_of(&key->public_key_info)))
		return vault_refuse(check, "subject-key", err, "the public key is not key '%s' itself",
				    key->key_id);
	return vault_check_extensions(check, &info.extensions, VAULT_IN_CA_CSR, err) &&
	       check_approved(check, err);
}
