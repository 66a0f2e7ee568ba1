/* SPDX-License-Identifier: Apache-2.0 */
/* file_ca.c: makes and uses CAs whose key is a PEM file. Called by system_ca*.c, public_ca.c and
 * operator.c. */
#include "file_ca.h"

#include "clock/clock.h"
#include "mem/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_CAP    65536
#define LIST_CAP    (16 * 1024 * 1024)
#define DAY_SECONDS (24L * 60 * 60)

CH_DEFINE_AUTO_POINTER(FILE_BIO, BIO, BIO_free_all)
CH_DEFINE_AUTO_POINTER(FILE_BN, BIGNUM, BN_free)

struct extension {
	int nid;
	const char *value; /* NULL: the one below */
	X509_EXTENSION *as_it_is;
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
			extensions[i].value
				? X509V3_EXT_conf_nid(NULL, &context, extensions[i].nid, extensions[i].value)
				: X509_EXTENSION_dup(extensions[i].as_it_is);
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
	CH_AUTO(X509) certificate = X509_new();
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

/* --- files ------------------------------------------------------------------------------------------------
 */

/* A file that is replaced keeps its owner and mode. */
static bool open_file(const char *path, unsigned mode, struct ch_new_file *file, struct ch_error *err)
{
	struct stat before;
	bool replaced = lstat(path, &before) == 0;

	if (!ch_new_file_open(path, replaced ? 0400 : mode, file, err))
		return false;
	return !replaced ||
	       (fchown(file->fd, before.st_uid, before.st_gid) == 0 &&
		fchmod(file->fd, before.st_mode & 0777) == 0) ||
	       ch_fail_errno(err, CH_DENIED, errno, "file '%s' cannot be replaced with its owner kept", path);
}

bool file_ca_write(const char *path, struct ch_view content, unsigned mode, struct ch_error *err)
{
	CH_AUTO(ch_new_file) file = CH_NONE;

	return open_file(path, mode, &file, err) && ch_new_file_finish(&file, content, err);
}

static bool finish_with(struct ch_new_file *file, BIO *bio, struct ch_error *err)
{
	char *data = NULL;
	long size = BIO_get_mem_data(bio, &data);

	return ch_new_file_finish(file, ch_view(data, (size_t)size), err);
}

static bool finish_key(struct ch_new_file *file, EVP_PKEY *key, struct ch_error *err)
{
	CH_AUTO(FILE_BIO) bio = BIO_new(BIO_s_secmem());

	if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return ch_fail_openssl(err, CH_INTERNAL, "'%s' cannot be encoded", file->path);
	return finish_with(file, bio, err);
}

bool file_ca_write_key(const char *path, EVP_PKEY *key, struct ch_error *err)
{
	CH_AUTO(ch_new_file) file = CH_NONE;

	return open_file(path, 0400, &file, err) && finish_key(&file, key, err);
}

/* A certificate and its key, whose places are taken before the certificate is made. */
struct pair {
	struct ch_new_file certificate;
	struct ch_new_file key;
};

static void pair_free(struct pair *pair)
{
	ch_new_file_free(&pair->certificate);
	ch_new_file_free(&pair->key);
}

CH_DEFINE_AUTO_VALUE(pair, struct pair, pair_free)

static bool open_pair(const char *certificate_path, const char *key_path, struct pair *pair,
		      struct ch_error *err)
{
	return open_file(key_path, 0400, &pair->key, err) &&
	       open_file(certificate_path, 0444, &pair->certificate, err);
}

static bool finish_pair(struct pair *pair, X509 *certificate, EVP_PKEY *key, struct ch_error *err)
{
	CH_AUTO(FILE_BIO) bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, certificate))
		return ch_fail_openssl(err, CH_INTERNAL, "'%s' cannot be encoded", pair->certificate.path);
	return finish_key(&pair->key, key, err) && finish_with(&pair->certificate, bio, err);
}

/* --- what was issued --------------------------------------------------------------------------------------
 */

/* The first URI of the names. The caller frees it; NULL: none. */
static char *uri_of(X509 *certificate)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	char *uri = NULL;

	for (int i = 0; !uri && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_URI)
			uri = ch_strndup(
				(const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
				(size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier));
	}
	GENERAL_NAMES_free(names);
	return uri;
}

static char *line_of(X509 *certificate)
{
	const ASN1_INTEGER *number = X509_get0_serialNumber(certificate);
	CH_AUTO(ch_string) serial =
		ch_hex(ch_view(ASN1_STRING_get0_data(number), (size_t)ASN1_STRING_length(number)));
	CH_AUTO(ch_string) uri = uri_of(certificate);
	char end[CH_TIME_TEXT_SIZE];
	struct tm parts = CH_NONE;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts))
		memset(&parts, 0, sizeof(parts));
	return ch_format("%s %s %s\n", serial, ch_time_text((int64_t)timegm(&parts) * CH_SECOND, end),
			 uri ? uri : "-");
}

/* On disk before the certificate is: what cannot be refused later by its name is not issued. */
static bool note_issued(const struct file_ca_request *request, X509 *certificate, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s.issued", request->directory, request->name);
	CH_AUTO(ch_string) line = line_of(certificate);
	CH_AUTO(ch_fd) fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	ssize_t size = (ssize_t)strlen(line);

	return (fd >= 0 && write(fd, line, (size_t)size) == size && fsync(fd) == 0) ||
	       ch_fail_errno(err, CH_INTERNAL, errno, "'%s'", path);
}

bool file_ca_each_issued(const char *directory, const char *name,
			 void (*each)(void *context, const struct file_ca_line *line), void *context,
			 struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s.issued", directory, name);
	CH_AUTO(ch_bytes) content = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	char *rest = NULL;
	struct ch_error why = CH_NONE;

	if (!ch_read_file(path, LIST_CAP, &content, &why)) {
		if (why.code == CH_NOT_FOUND)
			return true;
		*err = why;
		return false;
	}
	text = ch_strndup((const char *)content.data, content.size);
	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *words = NULL;
		const char *serial = strtok_r(line, " ", &words), *end = strtok_r(NULL, " ", &words),
			   *uri = strtok_r(NULL, " ", &words);

		if (!uri)
			return ch_fail(err, CH_INVALID, "'%s' has a line that is none of the CA's", path);
		each(context, &(struct file_ca_line){ serial, end, uri });
	}
	return true;
}

/* --- making and using -------------------------------------------------------------------------------------
 */

bool file_ca_make(const char *common_name, int64_t days, X509 **certificate, EVP_PKEY **key,
		  struct ch_error *err)
{
	static const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:TRUE,pathlen:0", NULL },
		{ NID_key_usage, "critical,keyCertSign,cRLSign", NULL },
		{ NID_subject_key_identifier, "hash", NULL },
	};
	CH_AUTO(EVP_PKEY) made = EVP_EC_gen("P-256");

	if (!made)
		return ch_fail_openssl(err, CH_INTERNAL, "no P-256 key could be made");
	if (!build(made, common_name, NULL, made, days, extensions, CH_COUNT(extensions), certificate, err))
		return false;
	*key = CH_STEAL(made);
	return true;
}

bool file_ca_init(const char *directory, const char *name, const char *common_name, int64_t days,
		  struct ch_error *err)
{
	CH_AUTO(ch_string) certificate_path = ch_format("%s/%s.pem", directory, name);
	CH_AUTO(ch_string) key_path = ch_format("%s/%s.key", directory, name);
	CH_AUTO(EVP_PKEY) key = NULL;
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(pair) pair = CH_NONE;

	if (access(certificate_path, F_OK) == 0 || access(key_path, F_OK) == 0)
		return ch_fail(err, CH_CONFLICT, "'%s' or '%s' exists already", certificate_path, key_path);
	if (mkdir(directory, 0755) != 0 && errno != EEXIST)
		return ch_fail_errno(err, CH_INTERNAL, errno, "directory '%s'", directory);
	return open_pair(certificate_path, key_path, &pair, err) &&
	       file_ca_make(common_name, days, &certificate, &key, err) &&
	       finish_pair(&pair, certificate, key, err);
}

bool file_ca_load(const char *directory, const char *name, X509 **certificate, EVP_PKEY **key,
		  struct ch_error *err)
{
	CH_AUTO(ch_string) certificate_path = ch_format("%s/%s.pem", directory, name);
	CH_AUTO(ch_string) key_path = ch_format("%s/%s.key", directory, name);
	CH_AUTO(X509) loaded = NULL;
	CH_AUTO(EVP_PKEY) loaded_key = NULL;
	CH_AUTO(ch_bytes) certificate_text = CH_NONE;
	CH_AUTO(ch_secret) key_text = CH_NONE;
	CH_AUTO(FILE_BIO) certificate_bio = NULL;
	CH_AUTO(FILE_BIO) key_bio = NULL;

	if (!ch_read_file(certificate_path, FILE_CAP, &certificate_text, err))
		return false;
	certificate_bio = BIO_new_mem_buf(certificate_text.data, (int)certificate_text.size);
	loaded = certificate_bio ? PEM_read_bio_X509(certificate_bio, NULL, NULL, NULL) : NULL;
	if (!loaded)
		return ch_fail_openssl(err, CH_INVALID, "'%s' is not PEM", certificate_path);
	if (key) {
		if (!ch_secret_read_file(key_path, FILE_CAP, &key_text, err))
			return false;
		key_bio = BIO_new_mem_buf(key_text.data, (int)key_text.size);
		loaded_key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
		if (!loaded_key || !X509_check_private_key(loaded, loaded_key))
			return ch_fail_openssl(err, CH_INVALID, "'%s' is not the key of '%s'", key_path,
					       certificate_path);
		*key = CH_STEAL(loaded_key);
	}
	*certificate = CH_STEAL(loaded);
	return true;
}

bool file_ca_issue(const struct file_ca_request *request, struct ch_error *err)
{
	const struct extension extensions[] = {
		{ NID_basic_constraints, "critical,CA:FALSE", NULL },
		{ NID_key_usage, "critical,digitalSignature", NULL },
		{ NID_ext_key_usage, request->extended_key_usage, NULL },
		{ NID_subject_key_identifier, "hash", NULL },
		{ NID_authority_key_identifier, "keyid:always", NULL },
		{ NID_subject_alt_name, request->subject_alt_names, request->names },
	};
	CH_AUTO(X509) issuer = NULL;
	CH_AUTO(EVP_PKEY) issuer_key = NULL;
	CH_AUTO(EVP_PKEY) key = NULL;
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(pair) pair = CH_NONE;

	if (!file_ca_load(request->directory, request->name, &issuer, &issuer_key, err) ||
	    !open_pair(request->certificate_path, request->key_path, &pair, err))
		return false;
	key = EVP_EC_gen("P-256");
	if (!key)
		return ch_fail_openssl(err, CH_INTERNAL, "no P-256 key could be made");
	return build(key, request->common_name, issuer, issuer_key, request->days, extensions,
		     CH_COUNT(extensions), &certificate, err) &&
	       (!request->listed || note_issued(request, certificate, err)) &&
	       finish_pair(&pair, certificate, key, err);
}
