/* SPDX-License-Identifier: Apache-2.0 */
/*
 * csr.c: reads certification requests (PKCS#10, RFC 2986). The issuer calls it with bytes that come from
 * anyone: all of it is read with libcommon/der, and subject and key are written anew, so that neither
 * OpenSSL nor a certificate sees an octet that the requester chose and that means nothing.
 */
#include "x509/name.h"
#include "x509/public_key.h"

#include <string.h>

#define EXTENSIONS_MAX 64

static const char extension_request[] = "1.2.840.113549.1.9.14"; /* RFC 2985 §5.4.2 */

/* The parts of a request; all point into its DER. */
struct request {
	struct ch_view info_whole, signature_oid, signature;
	struct ch_view subject, public_key_info;
	bool has_attributes;
	struct ch_view attributes;
};

static bool read_info(struct ch_view info, struct request *request, struct ch_error *err)
{
	uint64_t version = 0;
	unsigned tag = 0;
	if (!ch_der_read_uint64(&info, "CertificationRequestInfo.version", &version, err))
		return false;
	if (version != 0)
		return ch_fail(err, CH_INVALID,
			       "CSR: version %llu where 1 (0) is the only one (RFC 2986 4.1)",
			       (unsigned long long)version + 1);
	if (!ch_der_read_any(&info, "CertificationRequestInfo.subject", &tag, NULL, &request->subject, err))
		return false;
	if (tag != CH_DER_SEQUENCE)
		return ch_fail(err, CH_INVALID, "CSR: the subject is not a Name");
	if (!ch_der_read_any(&info, "CertificationRequestInfo.subjectPKInfo", &tag, NULL,
			     &request->public_key_info, err))
		return false;
	return ch_der_read_optional(&info, CH_DER_CONTEXT_CONSTRUCTED(0),
				    "CertificationRequestInfo.attributes", &request->has_attributes,
				    &request->attributes, err) &&
	       ch_der_end(&info, "CertificationRequestInfo", err);
}

static bool read_request(struct ch_view der, struct request *request, struct ch_error *err)
{
	struct ch_view in = der, outer = CH_NONE, info = CH_NONE, identifier = CH_NONE;
	unsigned tag = 0;
	if (!ch_der_read(&in, CH_DER_SEQUENCE, "CertificationRequest", &outer, err) ||
	    !ch_der_end(&in, "CertificationRequest", err) ||
	    !ch_der_read_any(&outer, "CertificationRequestInfo", &tag, &info, &request->info_whole, err))
		return false;
	if (tag != CH_DER_SEQUENCE)
		return ch_fail(err, CH_INVALID, "CSR: CertificationRequestInfo is not a SEQUENCE");
	return read_info(info, request, err) &&
	       ch_der_read(&outer, CH_DER_SEQUENCE, "CertificationRequest.signatureAlgorithm", &identifier,
			   err) &&
	       ch_der_read_oid(&identifier, "CertificationRequest.signatureAlgorithm",
			       &request->signature_oid, err) &&
	       ch_der_read_bit_string(&outer, "CertificationRequest.signature", &request->signature, err) &&
	       ch_der_end(&outer, "CertificationRequest", err);
}

/* Signature algorithms that prove possession; MD5 and SHA-1 are not among them. */
static const struct {
	const char *oid, *digest;
	int key_type;
} signatures[] = {
	{ "1.2.840.113549.1.1.11", "sha256", EVP_PKEY_RSA },
	{ "1.2.840.113549.1.1.12", "sha384", EVP_PKEY_RSA },
	{ "1.2.840.113549.1.1.13", "sha512", EVP_PKEY_RSA },
	{ "1.2.840.10045.4.3.2", "sha256", EVP_PKEY_EC },
	{ "1.2.840.10045.4.3.3", "sha384", EVP_PKEY_EC },
	{ "1.2.840.10045.4.3.4", "sha512", EVP_PKEY_EC },
	{ "1.3.101.112", NULL, EVP_PKEY_ED25519 },
	{ "1.3.101.113", NULL, EVP_PKEY_ED448 },
};

static bool verify_possession(const struct request *request, EVP_PKEY *key, struct ch_error *err)
{
	CH_AUTO(ch_string) oid = ch_der_oid_text(request->signature_oid);
	CH_AUTO(EVP_MD_CTX) context = EVP_MD_CTX_new();
	size_t i = 0;
	while (i < CH_COUNT(signatures) && strcmp(signatures[i].oid, oid) != 0)
		i++;
	if (i == CH_COUNT(signatures))
		return ch_fail(err, CH_INVALID, "CSR: signature algorithm %.64s is not accepted", oid);
	if (signatures[i].key_type != EVP_PKEY_get_base_id(key))
		return ch_fail(err, CH_INVALID, "CSR: signature algorithm %.64s does not fit the key", oid);
	if (!context ||
	    EVP_DigestVerifyInit_ex(context, NULL, signatures[i].digest, NULL, NULL, key, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "CSR: cannot verify");
	if (EVP_DigestVerify(context, request->signature.data, request->signature.size,
			     request->info_whole.data, request->info_whole.size) != 1)
		return ch_fail_openssl(err, CH_INVALID,
				       "CSR: the signature does not verify (no proof of possession)");
	return true;
}

static char *describe_key(EVP_PKEY *key)
{
	char curve[64] = "";
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
		return ch_format("RSA %d bits", EVP_PKEY_get_bits(key));
	case EVP_PKEY_EC:
		EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL);
		return ch_format("EC %s", curve);
	default:
		return ch_strdup(EVP_PKEY_get0_type_name(key));
	}
}

/* OpenSSL sees nothing but what will stand in a certificate: possession is proven of that. */
static bool read_key(const struct request *request, struct ch_csr *csr, struct ch_error *err)
{
	CH_AUTO(EVP_PKEY) key = NULL;
	size_t size = 0;
	uint8_t digest[64];

	if (!ch_spki_rebuild(request->public_key_info, &csr->public_key_info, err))
		return ch_fail_in(err, "CSR");
	if (!ch_public_key_read(ch_view_of(&csr->public_key_info), &key, err) ||
	    !verify_possession(request, key, err) ||
	    !ch_digest("sha256", ch_view_of(&csr->public_key_info), digest, &size, err))
		return false;
	memcpy(csr->public_key_sha256, digest, sizeof csr->public_key_sha256);
	csr->algorithm = ch_algorithm_of_key(key);
	csr->key_description = describe_key(key);
	return true;
}

/* RFC 5280 §4.2.1.9 */
static bool read_basic_constraints(struct ch_view value, bool *ca, struct ch_error *err)
{
	struct ch_view in = CH_NONE, path_length = CH_NONE;
	if (!ch_der_read(&value, CH_DER_SEQUENCE, "basicConstraints", &in, err) ||
	    !ch_der_end(&value, "basicConstraints", err))
		return false;
	if (ch_der_next_is(&in, CH_DER_BOOLEAN) && !ch_der_read_boolean(&in, "basicConstraints.cA", ca, err))
		return false;
	if (ch_der_next_is(&in, CH_DER_INTEGER) &&
	    !ch_der_read_integer(&in, "basicConstraints.pathLenConstraint", &path_length, err))
		return false;
	return ch_der_end(&in, "basicConstraints", err);
}

/* One Extension (RFC 5280 §4.1). A DEFAULT FALSE that is written out is let pass: some clients do that. */
static bool read_extension(struct ch_view *in, struct ch_csr *csr, struct ch_view *oid, struct ch_error *err)
{
	struct ch_view extension = CH_NONE, value = CH_NONE;
	bool critical = false;
	if (!ch_der_read(in, CH_DER_SEQUENCE, "Extension", &extension, err) ||
	    !ch_der_read_oid(&extension, "Extension.extnID", oid, err) ||
	    (ch_der_next_is(&extension, CH_DER_BOOLEAN) &&
	     !ch_der_read_boolean(&extension, "Extension.critical", &critical, err)) ||
	    !ch_der_read_octet_string(&extension, "Extension.extnValue", &value, err) ||
	    !ch_der_end(&extension, "Extension", err))
		return false;
	CH_AUTO(ch_string) name = ch_der_oid_text(*oid);
	if (!strcmp(name, "2.5.29.17"))
		return ch_sans_decode(value, &csr->sans, err);
	if (!strcmp(name, "2.5.29.19"))
		return read_basic_constraints(value, &csr->requests_ca, err);
	csr->wishes = ch_alloc(sizeof(*csr->wishes));
	csr->wishes[csr->wish_count++] =
		(struct ch_csr_wish){ .oid = CH_STEAL(name), .value = ch_bytes_copy(value) };
	return true;
}

static void wishes_free(struct ch_csr *csr)
{
	for (size_t i = 0; i < csr->wish_count; i++) {
		free(csr->wishes[i].oid);
		ch_bytes_free(&csr->wishes[i].value);
	}
	free(csr->wishes);
}

/* What one extension of a request said, to what others did. */
static void take_extension(struct ch_csr *csr, struct ch_csr *one)
{
	if (one->sans.count > 0)
		csr->sans = one->sans;
	csr->requests_ca |= one->requests_ca;
	if (!one->wish_count)
		return;
	csr->wishes = ch_realloc(csr->wishes, (csr->wish_count + 1) * sizeof(*csr->wishes));
	csr->wishes[csr->wish_count++] = one->wishes[0];
	free(one->wishes);
}

static bool read_extensions(struct ch_view values, struct ch_csr *csr, struct ch_error *err)
{
	struct ch_view extensions = CH_NONE, seen[EXTENSIONS_MAX];
	size_t count = 0;
	if (!ch_der_read(&values, CH_DER_SEQUENCE, "extensionRequest", &extensions, err) ||
	    !ch_der_end(&values, "extensionRequest", err))
		return false;
	for (; extensions.size > 0; count++) {
		if (count == EXTENSIONS_MAX)
			return ch_fail(err, CH_INVALID, "CSR: more than %d extensions", EXTENSIONS_MAX);
		struct ch_csr one = CH_NONE; /* a second one of its kind must not replace the first */
		bool read = read_extension(&extensions, &one, &seen[count], err);
		for (size_t i = 0; read && i < count; i++)
			if (ch_view_equal(seen[i], seen[count]))
				read = ch_fail(err, CH_INVALID,
					       "CSR: an extension stands twice (RFC 5280 4.2)");
		if (!read) {
			ch_csr_free(&one);
			return false;
		}
		take_extension(csr, &one);
	}
	return true;
}

/* RFC 2986 §4.1: SET OF Attribute { type, SET OF value }. Attributes other than extensionRequest are ignored.
 */
static bool read_attributes(struct ch_view attributes, struct ch_csr *csr, struct ch_error *err)
{
	bool requested = false;
	while (attributes.size > 0) {
		struct ch_view attribute = CH_NONE, oid = CH_NONE, values = CH_NONE;
		if (!ch_der_read(&attributes, CH_DER_SEQUENCE, "Attribute", &attribute, err) ||
		    !ch_der_read_oid(&attribute, "Attribute.type", &oid, err) ||
		    !ch_der_read(&attribute, CH_DER_SET, "Attribute.values", &values, err) ||
		    !ch_der_end(&attribute, "Attribute", err))
			return false;
		CH_AUTO(ch_string) name = ch_der_oid_text(oid);
		if (strcmp(name, extension_request) != 0)
			continue;
		if (requested)
			return ch_fail(err, CH_INVALID, "CSR: two extensionRequest attributes");
		requested = true;
		if (!read_extensions(values, csr, err))
			return false;
	}
	return true;
}

static bool read_subject(struct ch_view subject, struct ch_csr *csr, struct ch_error *err)
{
	if (!ch_name_rebuild(subject, &csr->subject_der, err))
		return ch_fail_in(err, "CSR");
	csr->subject = ch_name_text(ch_view_of(&csr->subject_der));
	return true;
}

/* PEM is told by its first character: DER begins with 0x30 ("0"). */
static bool to_der(struct ch_view input, struct ch_bytes *der, struct ch_error *err)
{
	if (input.size > 0 && input.data[0] == CH_DER_SEQUENCE) {
		*der = ch_bytes_copy(input);
		return true;
	}
	struct ch_error second;
	if (ch_pem_read(input, "CERTIFICATE REQUEST", der, err) ||
	    ch_pem_read(input, "NEW CERTIFICATE REQUEST", der, &second))
		return true;
	return ch_fail(err, CH_INVALID, "CSR: neither DER nor PEM 'CERTIFICATE REQUEST'");
}

bool ch_csr_read(struct ch_view input, struct ch_csr *csr, struct ch_error *err)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_csr) read = CH_NONE;
	struct request request = CH_NONE;
	if (input.size > CH_CSR_CAP)
		return ch_fail(err, CH_TOO_LARGE, "CSR: %zu octets, at most %d allowed", input.size,
			       CH_CSR_CAP);
	if (!to_der(input, &der, err) || !read_request(ch_view_of(&der), &request, err) ||
	    !read_key(&request, &read, err) || !read_subject(request.subject, &read, err) ||
	    (request.has_attributes && !read_attributes(request.attributes, &read, err)))
		return false;
	*csr = CH_STEAL(read);
	return true;
}

void ch_csr_free(struct ch_csr *csr)
{
	if (!csr)
		return;
	ch_bytes_free(&csr->subject_der);
	free(csr->subject);
	ch_bytes_free(&csr->public_key_info);
	free(csr->key_description);
	ch_sans_free(&csr->sans);
	wishes_free(csr);
	*csr = (struct ch_csr)CH_NONE;
}
