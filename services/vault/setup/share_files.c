/* SPDX-License-Identifier: Apache-2.0 */
/* share_files.c: writes and reads custodians' shares. init_hsms.c calls it. */
#include "share_files.h"

#include "err/err.h"
#include "x509/x509.h"

#include <openssl/cms.h>
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

CH_DEFINE_AUTO_POINTER(share_cms, CMS_ContentInfo, CMS_ContentInfo_free)
CH_DEFINE_AUTO_POINTER(share_bio, BIO, BIO_free_all)

typedef STACK_OF(X509) * ch_auto_share_recipients;
static void ch_cleanup_share_recipients(STACK_OF(X509) * *recipients)
{
	sk_X509_free(*recipients); /* the certificate is its owner's */
}

static bool encrypt(const char *text, const char *certificate_file, struct ch_buffer *pem,
		    struct ch_error *err)
{
	CH_AUTO(X509) certificate = NULL;
	CH_AUTO(share_recipients) recipients = sk_X509_new_null();
	CH_AUTO(share_bio) in = BIO_new_mem_buf(text, (int)strlen(text));
	CH_AUTO(share_bio) out = BIO_new(BIO_s_mem());
	CH_AUTO(share_cms) cms = NULL;
	char *data;
	long size;

	if (!ch_certificate_read_pem_file(certificate_file, &certificate, err))
		return ch_fail_in(err, "custodian");
	if (!recipients || !in || !out || sk_X509_push(recipients, certificate) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "custodian '%s'", certificate_file);
	cms = CMS_encrypt(recipients, in, EVP_aes_256_cbc(), CMS_BINARY);
	if (!cms || PEM_write_bio_CMS_stream(out, cms, NULL, CMS_BINARY) != 1)
		return ch_fail_openssl(err, CH_INVALID, "custodian '%s': nothing can be encrypted to it",
				       certificate_file);
	size = BIO_get_mem_data(out, &data);
	ch_buffer_add(pem, data, (size_t)size);
	return true;
}

static bool check_absent(const char *directory, size_t count, struct ch_error *err)
{
	static const char *const endings[] = { "txt", "pem" };

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < CH_COUNT(endings); j++) {
			CH_AUTO(ch_string) path = ch_format("%s/share-%zu.%s", directory, i + 1, endings[j]);

			if (access(path, F_OK) == 0)
				return ch_fail(err, CH_CONFLICT,
					       "'%s' is there already: a share of another set?", path);
		}
	return access(directory, W_OK) == 0 ||
	       ch_fail(err, CH_NOT_FOUND, "share directory '%s' is not there or not writable", directory);
}

static bool write_one(const char *directory, const char *custodian, const struct share *share,
		      struct ch_error *err)
{
	CH_AUTO(ch_string) path =
		ch_format("%s/share-%u.%s", directory, share->number, custodian ? "pem" : "txt");
	CH_AUTO(ch_buffer) pem = CH_NONE;
	char text[SHARE_TEXT_CAP];
	bool written;

	share_format(share, text);
	written = custodian ? encrypt(text, custodian, &pem, err) &&
				      ch_write_file(path, ch_buffer_view(&pem), 0444, err)
			    : ch_write_file(path, ch_view_text(text), 0400, err);
	ch_wipe(text, sizeof(text));
	return written;
}

bool share_files_write(const char *directory, const char *const *custodians, const struct share *shares,
		       size_t count, struct ch_error *err)
{
	if (!check_absent(directory, count, err))
		return false;
	for (size_t i = 0; i < count; i++)
		if (!write_one(directory, custodians ? custodians[i] : NULL, &shares[i], err))
			return false;
	return true;
}

bool share_file_read(const char *path, struct share *share, struct ch_error *err)
{
	CH_AUTO(ch_secret) text = CH_NONE;
	CH_AUTO(ch_secret) lines = CH_NONE;

	/* The last newline, which reading a secret drops, is part of the form. */
	if (!ch_secret_read_file(path, SHARE_TEXT_CAP - 1, &text, err) ||
	    !ch_secret_new(text.size + 1, &lines, err))
		return false;
	memcpy(lines.data, text.data, text.size);
	lines.data[text.size] = '\n';
	return share_read(ch_view(lines.data, lines.size), share, err) || ch_fail_in(err, "'%s'", path);
}
