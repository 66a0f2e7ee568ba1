/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refused.c: the list of identities that are not believed any more, as its octets say: a CRL (RFC 5280 §5) of
 * a system CA. trust.c holds the lists and asks them.
 */
#include "envelope/internal.h"

#include "x509/x509.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

CH_DEFINE_AUTO_POINTER(list, struct ch_refused_list, ch_refused_list_free)
CH_DEFINE_AUTO_POINTER(number, ASN1_INTEGER, ASN1_INTEGER_free)

int64_t ch_asn1_time_us(const ASN1_TIME *time)
{
	struct tm parts;

	if (!time || ASN1_TIME_to_tm(time, &parts) != 1)
		return 0;
	return (int64_t)timegm(&parts) * CH_SECOND;
}

bool ch_spki_sha256(X509 *certificate, uint8_t digest[32])
{
	unsigned char *der = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
	bool done = size > 0 && ch_envelope_digest(NULL, ch_view(der, (size_t)size), digest, NULL);

	OPENSSL_free(der);
	return done;
}

bool ch_serial_take(const ASN1_INTEGER *number, uint8_t serial[CH_SERIAL_ROOM])
{
	int size = ASN1_STRING_length(number);

	if (ASN1_STRING_type(number) != V_ASN1_INTEGER || size < 1 || size >= CH_SERIAL_ROOM)
		return false;
	memset(serial, 0, CH_SERIAL_ROOM);
	serial[0] = (uint8_t)size;
	memcpy(serial + 1, ASN1_STRING_get0_data(number), (size_t)size);
	return true;
}

void ch_refused_list_free(struct ch_refused_list *list)
{
	if (!list)
		return;
	ch_bytes_free(&list->der);
	free(list->entries);
	free(list);
}

/* --- whose it is ------------------------------------------------------------------------------------------
 */

static bool may_sign(X509 *ca, X509_CRL *crl)
{
	EVP_PKEY *key = X509_get0_pubkey(ca);

	return X509_NAME_cmp(X509_get_subject_name(ca), X509_CRL_get_issuer(crl)) == 0 &&
	       X509_check_ca(ca) == 1 && (X509_get_key_usage(ca) & KU_CRL_SIGN) && key &&
	       X509_CRL_verify(crl, key) == 1;
}

/* CAs that follow each other may have one name, so the signature decides. */
static bool find_issuer(X509_CRL *crl, X509_STORE *store, uint8_t issuer[32], struct ch_error *err)
{
	STACK_OF(X509) *cas = X509_STORE_get1_all_certs(store);
	bool found = false;

	for (int i = 0; !found && i < sk_X509_num(cas); i++)
		found = may_sign(sk_X509_value(cas, i), crl) && ch_spki_sha256(sk_X509_value(cas, i), issuer);
	sk_X509_pop_free(cas, X509_free);
	ERR_clear_error();
	return found ||
	       ch_fail(err, CH_UNAUTHENTICATED, "list of refused identities is signed by no system CA");
}

/* --- what it says -----------------------------------------------------------------------------------------
 */

/* A critical extension is one that changes what the list means (RFC 5280 §5.2): deltas, scopes. */
static bool check_extensions(const STACK_OF(X509_EXTENSION) * extensions, const char *what,
			     struct ch_error *err)
{
	for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++)
		if (X509_EXTENSION_get_critical(sk_X509_EXTENSION_value(extensions, i)))
			return ch_fail(err, CH_INVALID,
				       "%s of refused identities has a critical extension, none is known",
				       what);
	return true;
}

static bool read_number(X509_CRL *crl, struct ch_refused_list *list, struct ch_error *err)
{
	int status = 0;
	CH_AUTO(number) number = X509_CRL_get_ext_d2i(crl, NID_crl_number, &status, NULL);
	uint8_t octets[CH_SERIAL_ROOM];
	BIGNUM *value;
	char *text;

	ERR_clear_error();
	if (!number || !ch_serial_take(number, octets))
		return ch_fail(err, CH_INVALID,
			       "list of refused identities has no cRLNumber of at most 20 octets");
	memcpy(list->number + sizeof(list->number) - octets[0], octets + 1, octets[0]);
	value = ASN1_INTEGER_to_BN(number, NULL);
	text = value ? BN_bn2dec(value) : NULL;
	if (text)
		memcpy(list->number_text, text, strnlen(text, sizeof(list->number_text) - 1));
	OPENSSL_free(text);
	BN_free(value);
	return text || ch_fail_openssl(err, CH_INTERNAL, "cRLNumber");
}

static bool read_reason(const X509_REVOKED *revoked, int *reason, struct ch_error *err)
{
	int status = 0;
	ASN1_ENUMERATED *value = X509_REVOKED_get_ext_d2i(revoked, NID_crl_reason, &status, NULL);

	ERR_clear_error();
	*reason = value ? (int)ASN1_ENUMERATED_get(value) : 0;
	ASN1_ENUMERATED_free(value);
	if (status == -2 || (!value && status >= 0) || !ch_reason_name(*reason) || *reason == 8)
		return ch_fail(err, CH_INVALID, "list of refused identities has a reason that is none");
	return true;
}

static int by_serial(const void *a, const void *b)
{
	return memcmp(((const struct ch_refused_entry *)a)->serial,
		      ((const struct ch_refused_entry *)b)->serial, CH_SERIAL_ROOM);
}

static bool read_entries(X509_CRL *crl, struct ch_refused_list *list, struct ch_error *err)
{
	STACK_OF(X509_REVOKED) *all = X509_CRL_get_REVOKED(crl);
	int count = all ? sk_X509_REVOKED_num(all) : 0;

	if (count > CH_REFUSED_ENTRIES_CAP)
		return ch_fail(err, CH_TOO_LARGE, "list of refused identities has %d entries, at most %d",
			       count, CH_REFUSED_ENTRIES_CAP);
	list->entries = ch_alloc((size_t)(count + 1) * sizeof(*list->entries));
	for (int i = 0; i < count; i++) {
		const X509_REVOKED *revoked = sk_X509_REVOKED_value(all, i);
		struct ch_refused_entry *entry = &list->entries[list->count++];

		entry->since_us = ch_asn1_time_us(X509_REVOKED_get0_revocationDate(revoked));
		if (!ch_serial_take(X509_REVOKED_get0_serialNumber(revoked), entry->serial))
			return ch_fail(err, CH_INVALID,
				       "list of refused identities has a serial number that is none");
		if (!check_extensions(X509_REVOKED_get0_extensions(revoked), "entry", err) ||
		    !read_reason(revoked, &entry->reason, err))
			return false;
	}
	qsort(list->entries, list->count, sizeof(*list->entries), by_serial);
	return true;
}

bool ch_refused_list_read(struct ch_view der, X509_STORE *store, struct ch_refused_list **list,
			  struct ch_error *err)
{
	const unsigned char *at = der.data;
	CH_AUTO(X509_CRL) crl = NULL;
	CH_AUTO(list) made = ch_alloc(sizeof(*made));

	if (der.size == 0 || der.size > CH_REFUSED_LIST_CAP)
		return ch_fail(err, CH_TOO_LARGE,
			       "list of refused identities of %zu octets, 1 to %d are taken", der.size,
			       CH_REFUSED_LIST_CAP);
	crl = d2i_X509_CRL(NULL, &at, (long)der.size);
	if (!crl || at != der.data + der.size || X509_CRL_get_version(crl) != X509_CRL_VERSION_2)
		return ch_fail_openssl(err, CH_INVALID,
				       "list of refused identities is not a CRL of version 2");
	made->der = ch_bytes_copy(der);
	if (!find_issuer(crl, store, made->issuer, err) ||
	    !check_extensions(X509_CRL_get0_extensions(crl), "list", err) || !read_number(crl, made, err) ||
	    !read_entries(crl, made, err))
		return false;
	*list = CH_STEAL(made);
	return true;
}

const struct ch_refused_entry *ch_refused_list_find(const struct ch_refused_list *list,
						    const uint8_t serial[CH_SERIAL_ROOM])
{
	struct ch_refused_entry key = CH_NONE;

	memcpy(key.serial, serial, CH_SERIAL_ROOM);
	return bsearch(&key, list->entries, list->count, sizeof(key), by_serial);
}
