/* SPDX-License-Identifier: Apache-2.0 */
/* authority.c: the CAs that this responder answers for, found by the hashes of a CertID. store.c fills them,
 * respond.c asks. */
#include "ocsp.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const digests[] = { [CH_CERT_ID_SHA1] = "sha1", [CH_CERT_ID_SHA256] = "sha256" };
static const size_t digest_sizes[] = { [CH_CERT_ID_SHA1] = 20, [CH_CERT_ID_SHA256] = 32 };

struct ocsp_authorities *ocsp_authorities_new(size_t count)
{
	struct ocsp_authorities *authorities = ch_alloc(sizeof(*authorities));

	authorities->items = ch_alloc(count * sizeof(*authorities->items));
	authorities->count = count;
	atomic_init(&authorities->users, 1);
	return authorities;
}

static void clear_authority(struct ocsp_authority *authority)
{
	for (size_t i = 0; i < authority->responder_count; i++)
		ch_bytes_free(&authority->responders[i].certificate);
	free(authority->responders);
	for (size_t i = 0; i < authority->untagged_count; i++)
		ch_bytes_free(&authority->untagged[i]);
	free(authority->untagged);
	if (authority->serial_tag_key.data)
		ch_wipe(authority->serial_tag_key.data, authority->serial_tag_key.size);
	ch_bytes_free(&authority->serial_tag_key);
}

void ocsp_authorities_release(struct ocsp_authorities *authorities)
{
	if (!authorities || atomic_fetch_sub(&authorities->users, 1) != 1)
		return;
	for (size_t i = 0; i < authorities->count; i++)
		clear_authority(&authorities->items[i]);
	free(authorities->items);
	free(authorities);
}

bool ocsp_authority_identify(struct ocsp_authority *authority, struct ch_view subject_der,
			     struct ch_view public_key_info, struct ch_error *err)
{
	for (size_t i = 0; i < CH_COUNT(digests); i++) {
		uint8_t hash[64];
		size_t size;

		if (!ch_digest(digests[i], subject_der, hash, &size, err))
			return false;
		memcpy(authority->issuer_name_hash[i], hash, digest_sizes[i]);
		if (!ch_key_identifier(public_key_info, digests[i], hash, &size, err))
			return false;
		memcpy(authority->issuer_key_hash[i], hash, digest_sizes[i]);
	}
	return true;
}

static bool public_key_info_of(X509 *certificate, struct ch_bytes *info, struct ch_error *err)
{
	uint8_t *der = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);

	if (size <= 0)
		return ch_fail_openssl(err, CH_INTERNAL, "public key does not encode");
	*info = ch_bytes_copy(ch_view(der, (size_t)size));
	OPENSSL_free(der);
	return true;
}

bool ocsp_authority_add_responder(struct ocsp_authority *authority, const char *key_id,
				  struct ch_view certificate, int64_t not_before_us, int64_t not_after_us,
				  struct ch_error *err)
{
	CH_AUTO(X509) x509 = NULL;
	CH_AUTO(ch_bytes) info = CH_NONE;
	struct ocsp_responder responder = { .not_before_us = not_before_us, .not_after_us = not_after_us };
	uint8_t hash[64];
	size_t size;

	if (!ch_certificate_read(certificate, &x509, err) || !public_key_info_of(x509, &info, err) ||
	    !ch_key_identifier(ch_view_of(&info), "sha1", hash, &size, err))
		return ch_fail_in(err, "responder certificate of CA '%s'", authority->name);
	responder.algorithm = ch_algorithm_of_key(X509_get0_pubkey(x509));
	if (!responder.algorithm)
		return ch_fail(err, CH_UNSUPPORTED, "responder certificate of CA '%s': key of no known kind",
			       authority->name);
	memcpy(responder.key_hash, hash, sizeof(responder.key_hash));
	if (!ch_digest("sha256", certificate, hash, &size, err))
		return false;
	memcpy(responder.certificate_sha256, hash, sizeof(responder.certificate_sha256));
	snprintf(responder.key_id, sizeof(responder.key_id), "%s", key_id);
	responder.certificate = ch_bytes_copy(certificate);
	authority->responders = ch_realloc(authority->responders,
					   (authority->responder_count + 1) * sizeof(*authority->responders));
	authority->responders[authority->responder_count++] = responder;
	return true;
}

void ocsp_authority_add_untagged(struct ocsp_authority *authority, struct ch_view serial)
{
	size_t count = authority->untagged_count;

	/* The room doubles. */
	if ((count & (count - 1)) == 0)
		authority->untagged = ch_realloc(authority->untagged,
						 (count ? 2 * count : 1) * sizeof(*authority->untagged));
	authority->untagged[authority->untagged_count++] = ch_bytes_copy(serial);
}

static int compare_serials(const void *key, const void *item)
{
	const struct ch_view *a = key;
	const struct ch_bytes *b = item;
	int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);

	return order ? order : (a->size > b->size) - (a->size < b->size);
}

bool ocsp_authority_is_untagged(const struct ocsp_authority *authority, struct ch_view serial)
{
	return authority->untagged_count && bsearch(&serial, authority->untagged, authority->untagged_count,
						    sizeof(*authority->untagged), compare_serials);
}

static bool is_issuer(const struct ocsp_authority *authority, const struct ch_cert_id *id)
{
	return memcmp(authority->issuer_key_hash[id->hash], id->issuer_key_hash.data,
		      id->issuer_key_hash.size) == 0 &&
	       memcmp(authority->issuer_name_hash[id->hash], id->issuer_name_hash.data,
		      id->issuer_name_hash.size) == 0;
}

const struct ocsp_authority *ocsp_authorities_find(const struct ocsp_authorities *authorities,
						   const struct ch_cert_id *cert_id)
{
	if (cert_id->hash == CH_CERT_ID_OTHER)
		return NULL;
	for (size_t i = 0; i < authorities->count; i++)
		if (is_issuer(&authorities->items[i], cert_id))
			return &authorities->items[i];
	return NULL;
}

const struct ocsp_responder *ocsp_authority_responder(const struct ocsp_authority *authority, int64_t now_us)
{
	for (size_t i = 0; i < authority->responder_count; i++) {
		const struct ocsp_responder *responder = &authority->responders[i];

		if (responder->not_before_us <= now_us && now_us < responder->not_after_us)
			return responder;
	}
	return NULL;
}

static const struct ocsp_authority *find_ca(const struct ocsp_authorities *authorities, int64_t ca_id)
{
	for (size_t i = 0; i < authorities->count; i++)
		if (authorities->items[i].ca_id == ca_id)
			return &authorities->items[i];
	return NULL;
}

static bool has_responder(const struct ocsp_authority *authority, const struct ocsp_responder *responder)
{
	for (size_t i = 0; authority && i < authority->responder_count; i++)
		if (memcmp(authority->responders[i].certificate_sha256, responder->certificate_sha256,
			   sizeof(responder->certificate_sha256)) == 0)
			return true;
	return false;
}

size_t ocsp_authorities_lost(const struct ocsp_authorities *before, const struct ocsp_authorities *now,
			     void (*lost)(void *context, const struct ocsp_authority *authority,
					  const struct ocsp_responder *responder),
			     void *context)
{
	size_t count = 0;

	for (size_t i = 0; i < before->count; i++) {
		const struct ocsp_authority *authority = &before->items[i];
		const struct ocsp_authority *then = find_ca(now, authority->ca_id);

		if (then && then->compromised_at_us && !authority->compromised_at_us) {
			count++;
			if (lost)
				lost(context, authority, NULL);
		}
		for (size_t r = 0; r < authority->responder_count; r++) {
			if (has_responder(then, &authority->responders[r]))
				continue;
			count++;
			if (lost)
				lost(context, authority, &authority->responders[r]);
		}
	}
	return count;
}

size_t ocsp_authorities_silent(const struct ocsp_authorities *authorities, int64_t now_us, size_t *served,
			       char *why, size_t size)
{
	size_t silent = 0;

	*served = 0;
	*why = '\0';
	for (size_t i = 0; i < authorities->count; i++) {
		const struct ocsp_authority *authority = &authorities->items[i];

		if (ocsp_authority_responder(authority, now_us)) {
			(*served)++;
		} else if (authority->had_responder && silent++ == 0) {
			snprintf(why, size, "CA '%s' has no responder: %s", authority->name,
				 authority->obstacle[0] ? authority->obstacle : "its certificate has ended");
		}
	}
	return silent;
}
