/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.c: which service and instance an identity certificate stands for: the one URI among its subject
 * alternative names (RFC 5280 §4.2.1.6) that is "chancery:service/<service>/<instance>". trust.c asks it once
 * the chain is verified.
 */
#include "envelope/internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

CH_DEFINE_AUTO_POINTER(names, GENERAL_NAMES, GENERAL_NAMES_free)

static bool copy_name(const char *from, size_t size, char *to, size_t room, const char *more)
{
	if (size == 0 || size >= room)
		return false;
	for (size_t i = 0; i < size; i++) {
		char c = from[i];
		bool letter = (c >= 'a' && c <= 'z') || (i > 0 && c && strchr(more, c));

		if (!letter)
			return false;
	}
	memcpy(to, from, size);
	to[size] = 0;
	return true;
}

/* "chancery:service/<service>/<instance>" */
static bool read_uri(const char *uri, size_t size, struct ch_peer *peer)
{
	const char *service = uri + strlen(CH_IDENTITY_URI);
	const char *end = uri + size;
	const char *slash = memchr(service, '/', (size_t)(end - service));

	return slash &&
	       copy_name(service, (size_t)(slash - service), peer->service, sizeof(peer->service), "") &&
	       copy_name(slash + 1, (size_t)(end - slash - 1), peer->instance, sizeof(peer->instance),
			 "0123456789-.");
}

bool ch_peer_read(X509 *certificate, struct ch_peer *peer, struct ch_error *err)
{
	CH_AUTO(names) names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int at = X509_get_ext_by_NID(certificate, NID_subject_alt_name, -1);
	const ASN1_OCTET_STRING *encoded = X509_EXTENSION_get_data(X509_get_ext(certificate, at));
	size_t found = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const char *uri;
		size_t size;

		if (name->type != GEN_URI)
			continue;
		uri = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
		size = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
		if (!ch_view_starts_with(ch_view(uri, size), CH_IDENTITY_URI))
			continue;
		if (!read_uri(uri, size, peer))
			return ch_fail(err, CH_UNAUTHENTICATED,
				       "identity certificate names no service: '%.*s'", (int)size, uri);
		found++;
	}
	ERR_clear_error();
	if (found != 1)
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "identity certificate has %zu names '" CH_IDENTITY_URI "…', needs one", found);
	return ch_envelope_digest(
		NULL, ch_view(ASN1_STRING_get0_data(encoded), (size_t)ASN1_STRING_length(encoded)),
		peer->names_sha256, err);
}
