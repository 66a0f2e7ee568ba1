/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token.c: writes TSTInfo (RFC 3161 §2.4.2), the signed attributes (RFC 5652 §5.3, RFC 5816) and the CMS
 * SignedData around them. Pure: stamp.c brings all that goes in, and the vault's signature.
 */
#include "tsa.h"

#include <stdio.h>
#include <stdlib.h>

static const char id_signed_data[] = "1.2.840.113549.1.7.2";
static const char id_content_type[] = "1.2.840.113549.1.9.3";
static const char id_message_digest[] = "1.2.840.113549.1.9.4";
static const char id_tst_info[] = "1.2.840.113549.1.9.16.1.4";
static const char id_signing_certificate_v2[] = "1.2.840.113549.1.9.16.2.47";

static void put_oid(struct ch_der_writer *writer, const char *oid)
{
	struct ch_error err;
	if (!ch_der_put_oid(writer, oid, &err)) { /* a constant of the program is wrong */
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
}

/* Accuracy: seconds, millis [0], micros [1]; zero parts are left out. */
static void put_accuracy(struct ch_der_writer *writer, int64_t accuracy_us)
{
	uint64_t millis = (uint64_t)(accuracy_us % CH_SECOND / CH_MILLISECOND);
	uint64_t micros = (uint64_t)(accuracy_us % CH_MILLISECOND);
	if (accuracy_us <= 0)
		return;
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (accuracy_us >= CH_SECOND)
		ch_der_put_uint64(writer, CH_DER_INTEGER, (uint64_t)(accuracy_us / CH_SECOND));
	if (millis)
		ch_der_put_uint64(writer, CH_DER_CONTEXT(0), millis);
	if (micros)
		ch_der_put_uint64(writer, CH_DER_CONTEXT(1), micros);
	ch_der_finish(writer);
}

/* The certificate's subject, so that it corresponds to it as §2.4.2 wants. */
static void put_tsa_name(struct ch_der_writer *writer, struct ch_view subject_der)
{
	if (subject_der.size <= 2) /* an empty Name */
		return;
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(4)); /* GeneralName directoryName */
	ch_der_put_raw(writer, subject_der);
	ch_der_finish(writer);
	ch_der_finish(writer);
}

struct ch_bytes tsa_tst_info(const struct tsa_stamp_facts *facts)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 1);
	ch_der_put(&writer, CH_DER_OID, facts->policy);
	ch_der_put_raw(&writer, facts->request->message_imprint);
	ch_der_put_integer(&writer, ch_view(facts->serial, TSA_SERIAL_SIZE));
	ch_der_put_generalized_time(&writer, facts->gen_time_us, true);
	put_accuracy(&writer, facts->accuracy_us);
	if (facts->ordering) /* DEFAULT FALSE is not written */
		ch_der_put_boolean(&writer, true);
	if (facts->request->nonce.data)
		ch_der_put(&writer, CH_DER_INTEGER, facts->request->nonce);
	put_tsa_name(&writer, ch_view_of(&facts->authority->subject_der));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

/* The digest of the content: that of the signature algorithm; Ed25519 wants SHA-512 (RFC 8419 §2.3). */
static const char *content_digest(const struct tsa_authority *authority)
{
	return authority->algorithm->digest[0] ? authority->algorithm->digest : "sha512";
}

/* AlgorithmIdentifier of a SHA-2 digest, without parameters (RFC 5754 §2). */
static void put_digest_identifier(struct ch_der_writer *writer, const char *digest)
{
	char last = digest[3] == '2' ? '1' : digest[3] == '3' ? '2' : '3'; /* sha256, sha384, sha512 */
	char oid[] = "2.16.840.1.101.3.4.2.?";
	oid[sizeof oid - 2] = last;
	ch_der_begin(writer, CH_DER_SEQUENCE);
	put_oid(writer, oid);
	ch_der_finish(writer);
}

/* Attribute { type, SET { value } } with `value` encoded already. */
static struct ch_bytes attribute(const char *type, struct ch_view value)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	put_oid(&writer, type);
	ch_der_put(&writer, CH_DER_SET, value);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

static struct ch_bytes content_type(void)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	put_oid(&value, id_tst_info);
	return attribute(id_content_type, ch_buffer_view(&value.buffer));
}

static struct ch_bytes message_digest(struct ch_view digest)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_put_octet_string(&value, digest);
	return attribute(id_message_digest, ch_buffer_view(&value.buffer));
}

/* SigningCertificateV2 with one ESSCertIDv2 (RFC 5035 §3): SHA-256 is the default and not written. */
static struct ch_bytes signing_certificate(const struct tsa_authority *authority)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	ch_der_begin(&value, CH_DER_SEQUENCE); /* SigningCertificateV2 */
	ch_der_begin(&value, CH_DER_SEQUENCE); /* certs */
	ch_der_begin(&value, CH_DER_SEQUENCE); /* ESSCertIDv2 */
	ch_der_put_octet_string(&value, ch_view(authority->certificate_sha256, 32));
	ch_der_begin(&value, CH_DER_SEQUENCE); /* IssuerSerial */
	ch_der_begin(&value, CH_DER_SEQUENCE); /* GeneralNames */
	ch_der_begin(&value, CH_DER_CONTEXT_CONSTRUCTED(4));
	ch_der_put_raw(&value, ch_view_of(&authority->issuer_der));
	ch_der_finish(&value);
	ch_der_finish(&value);
	ch_der_put_raw(&value, ch_view_of(&authority->serial));
	for (int i = 0; i < 4; i++)
		ch_der_finish(&value);
	return attribute(id_signing_certificate_v2, ch_buffer_view(&value.buffer));
}

bool tsa_signed_attributes(const struct tsa_authority *authority, struct ch_view tst_info,
			   struct ch_bytes *attributes, struct ch_error *err)
{
	uint8_t digest[64];
	size_t size = 0;
	if (!ch_digest(content_digest(authority), tst_info, digest, &size, err))
		return false;
	CH_AUTO(ch_bytes) type = content_type();
	CH_AUTO(ch_bytes) message = message_digest(ch_view(digest, size));
	CH_AUTO(ch_bytes) signer = signing_certificate(authority);
	struct ch_view elements[] = { ch_view_of(&type), ch_view_of(&message), ch_view_of(&signer) };
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_put_set_of(&writer, CH_DER_SET, elements, CH_COUNT(elements));
	*attributes = ch_der_done(&writer);
	return true;
}

/* CertificateSet: the signer's and the CAs above it, so that who trusts the root needs nothing more. */
static void put_certificates(struct ch_der_writer *writer, const struct tsa_authority *authority)
{
	size_t count = 1 + authority->chain_count;
	struct ch_view *certificates = ch_alloc(count * sizeof *certificates);
	certificates[0] = ch_view_of(&authority->certificate);
	for (size_t i = 1; i < count; i++)
		certificates[i] = ch_view_of(&authority->chain[i - 1]);
	ch_der_put_set_of(writer, CH_DER_CONTEXT_CONSTRUCTED(0), certificates, count);
	free(certificates);
}

static void put_signer_info(struct ch_der_writer *writer, const struct tsa_authority *authority,
			    struct ch_view signed_attributes, struct ch_view signature)
{
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(writer, CH_DER_INTEGER, 1); /* issuerAndSerialNumber */
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put_raw(writer, ch_view_of(&authority->issuer_der));
	ch_der_put_raw(writer, ch_view_of(&authority->serial));
	ch_der_finish(writer);
	put_digest_identifier(writer, content_digest(authority));
	/* [0] IMPLICIT in place of SET OF's tag, which was signed (RFC 5652 §5.4) */
	size_t at = writer->buffer.used;
	ch_der_put_raw(writer, signed_attributes);
	writer->buffer.data[at] = CH_DER_CONTEXT_CONSTRUCTED(0);
	ch_der_put_raw(writer, authority->algorithm->signature_identifier);
	ch_der_put_octet_string(writer, signature);
	ch_der_finish(writer);
}

struct ch_bytes tsa_token(const struct tsa_authority *authority, struct ch_view tst_info,
			  struct ch_view signed_attributes, struct ch_view signature, bool with_certificates)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE); /* ContentInfo */
	put_oid(&writer, id_signed_data);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_begin(&writer, CH_DER_SEQUENCE);        /* SignedData */
	ch_der_put_uint64(&writer, CH_DER_INTEGER, 3); /* §5.1: the content is not id-data */
	ch_der_begin(&writer, CH_DER_SET);
	put_digest_identifier(&writer, content_digest(authority));
	ch_der_finish(&writer);
	ch_der_begin(&writer, CH_DER_SEQUENCE); /* EncapsulatedContentInfo */
	put_oid(&writer, id_tst_info);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_octet_string(&writer, tst_info);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	if (with_certificates)
		put_certificates(&writer, authority);
	ch_der_begin(&writer, CH_DER_SET);
	put_signer_info(&writer, authority, signed_attributes, signature);
	for (int i = 0; i < 4; i++) /* signerInfos, SignedData, [0], ContentInfo */
		ch_der_finish(&writer);
	return ch_der_done(&writer);
}
