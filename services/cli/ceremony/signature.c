/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signature.c: officers sign the transcript: one detached CMS SignedData (RFC 5652) with a SignerInfo for
 * each, which `openssl cms -verify` checks against the operators' CA. Called by run.c and `chancery ceremony
 * sign`.
 */
#include "ceremony.h"

#include <openssl/pem.h>
/* cms.h declares PEM_read_bio_CMS only where pem.h came first */
#include <openssl/cms.h>

#define FLAGS (CMS_BINARY | CMS_DETACHED | CMS_NOSMIMECAP)

CH_DEFINE_AUTO_POINTER(ceremony_bio, BIO, BIO_free_all)
CH_DEFINE_AUTO_POINTER(ceremony_cms, CMS_ContentInfo, CMS_ContentInfo_free)

static bool load_signatures(const struct ceremony_folder *folder, CMS_ContentInfo **cms, struct ch_error *err)
{
	CH_AUTO(ch_bytes) pem = CH_NONE;
	CH_AUTO(ceremony_bio) bio = NULL;
	bool found;

	if (!ceremony_load(folder, CEREMONY_SIGNATURES, &pem, &found, err) || !found)
		return !found;
	bio = BIO_new_mem_buf(pem.data, (int)pem.size);
	*cms = bio ? PEM_read_bio_CMS(bio, NULL, NULL, NULL) : NULL;
	return *cms || ch_fail_openssl(err, CH_INVALID, "'%s' is no CMS in PEM", CEREMONY_SIGNATURES);
}

static bool save_signatures(const struct ceremony_folder *folder, CMS_ContentInfo *cms, struct ch_error *err)
{
	CH_AUTO(ceremony_bio) bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long size;

	if (!bio || PEM_write_bio_CMS(bio, cms) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "'%s' cannot be encoded", CEREMONY_SIGNATURES);
	size = BIO_get_mem_data(bio, &text);
	return ceremony_save(folder, CEREMONY_SIGNATURES, ch_view(text, (size_t)size), err);
}

static bool signed_before(CMS_ContentInfo *cms, X509 *certificate)
{
	STACK_OF(CMS_SignerInfo) *signers = CMS_get0_SignerInfos(cms);

	for (int i = 0; i < sk_CMS_SignerInfo_num(signers); i++)
		if (CMS_SignerInfo_cert_cmp(sk_CMS_SignerInfo_value(signers, i), certificate) == 0)
			return true;
	return false;
}

/* A further officer signs the digest that the first one's SignerInfo has, so it must be this transcript's. */
static bool still_verifies(CMS_ContentInfo *cms, const struct ch_bytes *transcript, struct ch_error *err)
{
	CH_AUTO(ceremony_bio) content = BIO_new_mem_buf(transcript->data, (int)transcript->size);

	return (content &&
		CMS_verify(cms, NULL, NULL, content, NULL, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY) == 1) ||
	       ch_fail_openssl(err, CH_CONFLICT, "'%s' does not verify over '%s'", CEREMONY_SIGNATURES,
			       CEREMONY_TRANSCRIPT);
}

static bool sign_first(const struct ch_bytes *transcript, X509 *certificate, EVP_PKEY *key,
		       CMS_ContentInfo **cms, struct ch_error *err)
{
	CH_AUTO(ceremony_bio) content = BIO_new_mem_buf(transcript->data, (int)transcript->size);
	CH_AUTO(ceremony_cms) made = CMS_sign(NULL, NULL, NULL, NULL, FLAGS | CMS_PARTIAL);

	if (!content || !made || !CMS_add1_signer(made, certificate, key, EVP_sha256(), FLAGS) ||
	    CMS_final(made, content, NULL, FLAGS) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "the transcript cannot be signed");
	*cms = CH_STEAL(made);
	return true;
}

static bool sign_too(CMS_ContentInfo *cms, X509 *certificate, EVP_PKEY *key, struct ch_error *err)
{
	return CMS_add1_signer(cms, certificate, key, EVP_sha256(), FLAGS | CMS_REUSE_DIGEST) ||
	       ch_fail_openssl(err, CH_INTERNAL, "the transcript cannot be signed");
}

bool ceremony_sign(const struct ceremony_folder *folder, struct officer_key *officer, bool *added,
		   struct ch_error *err)
{
	const char *name = officer_key_holder(officer)->name;
	CH_AUTO(ch_bytes) transcript = CH_NONE;
	CH_AUTO(ceremony_cms) cms = NULL;
	CH_AUTO(X509) certificate = NULL;
	EVP_PKEY *key = officer_key_private(officer);
	bool found;

	*added = false;
	if (!ceremony_load(folder, CEREMONY_TRANSCRIPT, &transcript, &found, err))
		return false;
	if (!found)
		return ch_fail(err, CH_NOT_FOUND, "there is no '%s': the ceremony is not complete",
			       CEREMONY_TRANSCRIPT);
	if (!ch_certificate_read(officer_key_certificate(officer), &certificate, err) ||
	    !load_signatures(folder, &cms, err))
		return false;
	if (cms && signed_before(cms, certificate))
		return true;
	if (cms ? !still_verifies(cms, &transcript, err) || !sign_too(cms, certificate, key, err)
		: !sign_first(&transcript, certificate, key, &cms, err))
		return ch_fail_in(err, "officer '%s'", name);
	*added = true;
	return save_signatures(folder, cms, err);
}
