/* SPDX-License-Identifier: Apache-2.0 */
/* file_ca.c: makes and uses CAs whose key is a PEM file. Called by system_ca.c and operator.c. */
#include "file_ca.h"

#include "mem/mem.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_CAP    65536
#define DAY_SECONDS (24L * 60 * 60)

CH_DEFINE_AUTO_POINTER(FILE_X509, X509, X509_free)
CH_DEFINE_AUTO_POINTER(FILE_KEY, EVP_PKEY, EVP_PKEY_free)
CH_DEFINE_AUTO_POINTER(FILE_BIO, BIO, BIO_free_all)
CH_DEFINE_AUTO_POINTER(FILE_BN, BIGNUM, BN_free)

struct extension {
	int nid;
	const char *value;
};

bool file_ca_check_name(const char *what, const char *name, struct ch_error *err)
{
	size_t size = strlen(name);

	if (size == 0 || size > 63)
		return ch_fail(err, CH_INVALID, "%s '%s' is not 1 to 63 characters long", what, name);
	if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != size)
		return ch_fail(err, CH_INVALID, "%s '%s' has a character outside a-z 0-9 . _ -", what, name);
	return true;
}

static bool set_serial(X509 *certificate)
{
	uint8_t octets[16];
	CH_AUTO(FILE_BN) number = NULL;

	ch_random(octets, sizeof(octets));
	octets[0] =
		(uint8_t)((octets[0] & 0x7f) | 0x40); /* positive and of full length (RFC 5280 §4.1.2.2) */
	number = BN_bin2bn(octets, sizeof(octets), NULL);
	return number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
}

/* A minute of tolerance for clocks that differ; the end is not after the issuer's. */
static bool set_validity(X509 *certificate, const X509 *issuer, int64_t days)
{
	if (!X509_gmtime_adj(X509_getm_notBefore(certificate), -60) ||
	    !X509_time_adj_ex(X509_getm_notAfter(certificate), (int)days, 0, NULL))
		return false;
	if (issuer == certificate ||
	    ASN1_TIME_compare(X509_get0_notAfter(certificate), X509_get0_notAfter(issuer)) <= 0)
		return true;
	return X509_set1_notAfter(certificate, X509_get0_notAfter(issuer));
}

static bool add_extensions(X509 *certificate, X509 *issuer, const struct extension *extensions, size_t count)
{
	X509V3_CTX context;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	for (size_t i = 0; i < count; i++) {
		X509_EXTENSION *extension =
			X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value);
		bool added = extension && X509_add_ext(certificate, extension, -1);

		X509_EXTENSION_free(extension);
		if (!added)
			return false;
	}
	return true;
}

/* issuer NULL: self-signed. */
static bool build(EVP_PKEY *key, const char *common_name, X509 *issuer, EVP_PKEY *issuer_key, int64_t days,
		  const struct extension *extensions, size_t count, X509 **result, struct ch_error *err)
{
	CH_AUTO(FILE_X509) certificate = X509_new();
	X509_NAME *subject = certificate ? X509_get_subject_name(certificate) : NULL;

	if (!issuer)
		issuer = certificate;
	if (!certificate || !X509_set_version(certificate, X509_VERSION_3) || !set_serial(certificate) ||
	    !X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1,
					-1, 0) ||
	    !X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) ||
	    !set_validity(certificate, issuer, days) || !X509_set_pubkey(certificate, key) ||
	    !add_extensions(certificate, issuer, extensions, count) ||
	    !X509_sign(certificate, issuer_key, EVP_sha256()))
		return ch_fail_openssl(err, CH_INTERNAL, "certificate for '%s' cannot be made", common_name);
	*result = CH_STEAL(certificate);
	return true;
}

static bool write_bio(const char *path, BIO *bio, unsigned mode, struct ch_error *err)
{
	char *data = NULL;
	long size = BIO_get_mem_data(bio, &data);

	return ch_write_file(path, ch_view(data, (size_t)size), mode, err);
}

static bool write_pair(const char *certificate_path, X509 *certificate, const char *key_path, EVP_PKEY *key,
		       struct ch_error *err)
{
	CH_AUTO(FILE_BIO) certificate_bio = BIO_new(BIO_s_mem());
	CH_AUTO(FILE_BIO) key_bio = BIO_new(BIO_s_secmem());

	if (!certificate_bio || !key_bio || !PEM_write_bio_X509(certificate_bio, certificate) ||
	    !PEM_write_bio_PKCS8PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL))
		return ch_fail_openssl(err, CH_INTERNAL, "'%s' cannot be encoded", certificate_path);
	return write_bio(key_path, key_bio, 0400, err) &&
	       write_bio(certificate_path, certificate_bio, 0444, err);
}

bool file_ca_init(const char *directory, const char *name, const char *common_name, int64_t days,
		  struct ch_error *err)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0" },
		{ NID_key_usage, "critical,keyCertSign,cRLSign" },
		{ NID_subject_key_identifier, "hash" },
	};
	CH_AUTO(ch_string) certificate_path = ch_format("%s/%s.pem", directory, name);
	CH_AUTO(ch_string) key_path = ch_format("%s/%s.key", directory, name);
	CH_AUTO(FILE_KEY) key = NULL;
	CH_AUTO(FILE_X509) certificate = NULL;

	if (access(certificate_path, F_OK) == 0 || access(key_path, F_OK) == 0)
		return ch_fail(err, CH_CONFLICT, "'%s' or '%s' exists already", certificate_path, key_path);
	if (mkdir(directory, 0755) != 0 && errno != EEXIST)
		return ch_fail_errno(err, CH_INTERNAL, errno, "directory '%s'", directory);
	key = EVP_EC_gen("P-256");
	if (!key)
		return ch_fail_openssl(err, CH_INTERNAL, "no P-256 key could be made");
	return build(key, common_name, NULL, key, days, extensions, CH_COUNT(extensions), &certificate,
		     err) &&
	       write_pair(certificate_path, certificate, key_path, key, err);
}

static bool load_ca(const struct file_ca_request *request, X509 **certificate, EVP_PKEY **key,
		    struct ch_error *err)
{
	CH_AUTO(ch_string) certificate_path = ch_format("%s/%s.pem", request->directory, request->name);
	CH_AUTO(ch_string) key_path = ch_format("%s/%s.key", request->directory, request->name);
	CH_AUTO(ch_bytes) certificate_text = CH_NONE;
	CH_AUTO(ch_secret) key_text = CH_NONE;
	CH_AUTO(FILE_BIO) certificate_bio = NULL;
	CH_AUTO(FILE_BIO) key_bio = NULL;

	if (!ch_read_file(certificate_path, FILE_CAP, &certificate_text, err) ||
	    !ch_secret_read_file(key_path, FILE_CAP, &key_text, err))
		return false;
	certificate_bio = BIO_new_mem_buf(certificate_text.data, (int)certificate_text.size);
	key_bio = BIO_new_mem_buf(key_text.data, (int)key_text.size);
	*certificate = certificate_bio ? PEM_read_bio_X509(certificate_bio, NULL, NULL, NULL) : NULL;
	*key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
	if (!*certificate || !*key)
		return ch_fail_openssl(err, CH_INVALID, "'%s' or '%s' is not PEM", certificate_path,
				       key_path);
	if (!X509_check_private_key(*certificate, *key))
		return ch_fail_openssl(err, CH_INVALID, "'%s' is not the key of '%s'", key_path,
				       certificate_path);
	return true;
}

bool file_ca_issue(const struct file_ca_request *request, struct ch_error *err)
{
	const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:FALSE" },
		{ NID_key_usage, "critical,digitalSignature" },
		{ NID_ext_key_usage, request->extended_key_usage },
		{ NID_subject_key_identifier, "hash" },
		{ NID_authority_key_identifier, "keyid:always" },
		{ NID_subject_alt_name, request->subject_alt_names },
	};
	CH_AUTO(FILE_X509) issuer = NULL;
	CH_AUTO(FILE_KEY) issuer_key = NULL;
	CH_AUTO(FILE_KEY) key = NULL;
	CH_AUTO(FILE_X509) certificate = NULL;

	if (!load_ca(request, &issuer, &issuer_key, err))
		return false;
	key = EVP_EC_gen("P-256");
	if (!key)
		return ch_fail_openssl(err, CH_INTERNAL, "no P-256 key could be made");
	return build(key, request->common_name, issuer, issuer_key, request->days, extensions,
		     CH_COUNT(extensions), &certificate, err) &&
	       write_pair(request->certificate_path, certificate, request->key_path, key, err);
}
