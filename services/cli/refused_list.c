/* SPDX-License-Identifier: Apache-2.0 */
/* refused_list.c: see refused_list.h. */
#include "refused_list.h"

#include "file_ca.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

CH_DEFINE_AUTO_POINTER(integer, ASN1_INTEGER, ASN1_INTEGER_free)
CH_DEFINE_AUTO_POINTER(revoked, X509_REVOKED, X509_REVOKED_free)
CH_DEFINE_AUTO_POINTER(bignum, BIGNUM, BN_free)
CH_DEFINE_AUTO_POINTER(asn1_time, ASN1_TIME, ASN1_TIME_free)
CH_DEFINE_AUTO_POINTER(enumerated, ASN1_ENUMERATED, ASN1_ENUMERATED_free)

void refused_list_free(struct refused_list *list)
{
	if (list->path && list->lock >= 0)
		close(list->lock);
	free(list->path);
	free(list->number_text);
	X509_free(list->ca);
	EVP_PKEY_free(list->key);
	X509_CRL_free(list->crl);
}

static BIGNUM *number_of(const X509_CRL *crl)
{
	CH_AUTO(integer) number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);

	return number ? ASN1_INTEGER_to_BN(number, NULL) : NULL;
}

static bool is_of(const struct refused_list *list, X509_CRL *crl)
{
	return X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(list->ca)) == 0 &&
	       X509_CRL_verify(crl, X509_get0_pubkey(list->ca)) == 1;
}

static X509_CRL *decode(struct ch_view der)
{
	const unsigned char *at = der.data;

	return d2i_X509_CRL(NULL, &at, (long)der.size);
}

static bool read_file(struct refused_list *list, struct ch_error *err)
{
	CH_AUTO(ch_bytes) text = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(bignum) number = NULL;

	if (!ch_read_file(list->path, REFUSED_LIST_FILE_CAP, &text, err) ||
	    !ch_pem_read(ch_view_of(&text), "X509 CRL", &der, err))
		return false;
	list->crl = decode(ch_view_of(&der));
	number = list->crl ? number_of(list->crl) : NULL;
	return (number && is_of(list, list->crl)) ||
	       ch_fail_openssl(err, CH_INVALID, "'%s' is no list of the CA beside it", list->path);
}

static bool begin(struct refused_list *list, struct ch_error *err)
{
	CH_AUTO(integer) number = ASN1_INTEGER_new();

	list->crl = X509_CRL_new();
	return (list->crl && number && ASN1_INTEGER_set(number, 0) &&
		X509_CRL_set_version(list->crl, X509_CRL_VERSION_2) &&
		X509_CRL_set_issuer_name(list->crl, X509_get_subject_name(list->ca)) &&
		X509_CRL_add1_ext_i2d(list->crl, NID_crl_number, number, 0, 0) == 1) ||
	       ch_fail_openssl(err, CH_INTERNAL, "no list of refused identities could be made");
}

bool refused_list_open(const char *directory, const char *ca, struct refused_list *list, struct ch_error *err)
{
	list->path = ch_format("%s/%s.crl", directory, ca);
	list->lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (list->lock < 0 || flock(list->lock, LOCK_EX) != 0)
		return ch_fail_errno(err, CH_NOT_FOUND, errno, "directory '%s'", directory);
	if (!file_ca_load(directory, ca, &list->ca, &list->key, err))
		return false;
	return access(list->path, F_OK) == 0 ? read_file(list, err) : begin(list, err);
}

void refused_list_take_newer(struct refused_list *list, struct ch_view der)
{
	CH_AUTO(X509_CRL) crl = decode(der);
	CH_AUTO(bignum) theirs = crl && is_of(list, crl) ? number_of(crl) : NULL;
	CH_AUTO(bignum) ours = number_of(list->crl);

	ERR_clear_error();
	if (!theirs || !ours || BN_cmp(theirs, ours) <= 0)
		return;
	X509_CRL_free(list->crl);
	list->crl = CH_STEAL(crl);
}

static bool make_entry(const ASN1_INTEGER *serial, int reason, X509_REVOKED **entry)
{
	CH_AUTO(revoked) made = X509_REVOKED_new();
	CH_AUTO(asn1_time) now = X509_gmtime_adj(NULL, 0);
	CH_AUTO(enumerated) code = ASN1_ENUMERATED_new();

	if (!made || !now || !code || !ASN1_ENUMERATED_set(code, reason) ||
	    !X509_REVOKED_set_serialNumber(made, (ASN1_INTEGER *)(uintptr_t)serial) ||
	    !X509_REVOKED_set_revocationDate(made, now) ||
	    X509_REVOKED_add1_ext_i2d(made, NID_crl_reason, code, 0, 0) != 1)
		return false;
	*entry = CH_STEAL(made);
	return true;
}

bool refused_list_add(struct refused_list *list, const char *serial, const char *reason, bool *is_new,
		      struct ch_error *err)
{
	CH_AUTO(bignum) value = NULL;
	CH_AUTO(integer) number = NULL;
	X509_REVOKED *found = NULL;
	X509_REVOKED *entry = NULL;

	if (strspn(serial, "0123456789abcdefABCDEF") != strlen(serial) || !*serial || strlen(serial) > 40 ||
	    !BN_hex2bn(&value, serial) || !(number = BN_to_ASN1_INTEGER(value, NULL)))
		return ch_fail(err, CH_INVALID, "'%s' is not a serial number in hexadecimal", serial);
	*is_new = X509_CRL_get0_by_serial(list->crl, &found, number) == 0;
	if (!*is_new)
		return true;
	if (!make_entry(number, ch_reason_number(reason), &entry))
		return ch_fail_openssl(err, CH_INTERNAL, "entry for serial %s", serial);
	if (X509_CRL_add0_revoked(list->crl, entry))
		return true;
	X509_REVOKED_free(entry);
	return ch_fail_openssl(err, CH_INTERNAL, "entry for serial %s", serial);
}

/* A minute of tolerance for clocks that differ. It is in force until there is a higher number: nextUpdate,
 * which RFC 5280 §5.1.2.5 demands, is the end of the CA. */
static bool sign_next(struct refused_list *list, BIGNUM *number, struct ch_error *err)
{
	CH_AUTO(asn1_time) now = X509_gmtime_adj(NULL, -60);
	CH_AUTO(integer) value = NULL;

	if (!BN_add_word(number, 1) || !(value = BN_to_ASN1_INTEGER(number, NULL)) || !now ||
	    X509_CRL_add1_ext_i2d(list->crl, NID_crl_number, value, 0, X509V3_ADD_REPLACE) != 1 ||
	    !X509_CRL_set1_lastUpdate(list->crl, now) ||
	    !X509_CRL_set1_nextUpdate(list->crl, X509_get0_notAfter(list->ca)) || !X509_CRL_sort(list->crl) ||
	    !X509_CRL_sign(list->crl, list->key, EVP_sha256()))
		return ch_fail_openssl(err, CH_INTERNAL, "list of refused identities cannot be signed");
	return true;
}

bool refused_list_save(struct refused_list *list, bool changed, struct ch_bytes *der, struct ch_error *err)
{
	CH_AUTO(bignum) number = number_of(list->crl);
	CH_AUTO(ch_buffer) text = CH_NONE;
	unsigned char *encoded = NULL;
	char *decimal;
	int size;

	if (!number || (changed && !sign_next(list, number, err)))
		return ch_fail_in(err, "'%s'", list->path);
	decimal = BN_bn2dec(number);
	list->number_text = ch_strdup(decimal ? decimal : "");
	OPENSSL_free(decimal);
	size = i2d_X509_CRL(list->crl, &encoded);
	if (size <= 0)
		return ch_fail_openssl(err, CH_INTERNAL, "list of refused identities cannot be encoded");
	*der = ch_bytes_copy(ch_view(encoded, (size_t)size));
	OPENSSL_free(encoded);
	ch_pem_add(&text, "X509 CRL", ch_view_of(der));
	return file_ca_write(list->path, ch_buffer_view(&text), 0444, err);
}
