/* SPDX-License-Identifier: Apache-2.0 */
/* crl.h: TBSCertList (RFC 5280 §5.1.2), version 2, streamed: begin, an add for each entry, finish; and the
 * entries of a list read back. Pure. The crl daemon and the key ceremony write CRLs with it. */
#ifndef CH_CRL_H
#define CH_CRL_H

#include "x509/x509.h"

struct ch_crl_issuer { /* borrowed */
	const struct ch_algorithm *algorithm;
	struct ch_view subject_der;
	struct ch_view key_identifier;
};
struct ch_crl_entry {
	struct ch_view serial; /* big endian, no sign octet */
	int64_t revoked_at_us;
	int reason;                 /* RFC 5280 §5.3.1 */
	int64_t invalidity_date_us; /* 0: none */
};
struct ch_crl_builder { /* zero-initialised */
	struct ch_der_writer writer;
	uint64_t entries;
};
/* Times in µs. */
void ch_crl_begin(struct ch_crl_builder *builder, const struct ch_crl_issuer *issuer, int64_t this_update_us,
		  int64_t next_update_us);
/* CH_INVALID for a serial that RFC 5280 §4.1.2.2 does not allow or a reason that no full CRL may carry. */
CH_MUST_USE bool ch_crl_entry_check(const struct ch_crl_entry *entry, struct ch_error *err);
/* Errors: those of ch_crl_entry_check. */
CH_MUST_USE bool ch_crl_add(struct ch_crl_builder *builder, const struct ch_crl_entry *entry,
			    struct ch_error *err);
/* The caller frees the result. */
struct ch_bytes ch_crl_finish(struct ch_crl_builder *builder, const struct ch_crl_issuer *issuer,
			      uint64_t crl_number);
void ch_crl_builder_free(struct ch_crl_builder *builder);
CH_DEFINE_AUTO_VALUE(ch_crl_builder, struct ch_crl_builder, ch_crl_builder_free)

#define CH_CRL_CAP (64 * 1024 * 1024) /* octets of a CertificateList that is read */
/* The TBSCertList (borrowed from `der`) of a CertificateList that is the issuer's. CH_UNAUTHENTICATED
 * signature; CH_INVALID, CH_TOO_LARGE. */
CH_MUST_USE bool ch_crl_verify(struct ch_view der, const struct ch_crl_issuer *issuer,
			       struct ch_view public_key_info, struct ch_view *tbs, struct ch_error *err);
typedef bool (*ch_crl_each)(void *context, const struct ch_crl_entry *entry, struct ch_error *err);
/* The entries of a TBSCertList of that issuer, in its order; an entry's serial borrows from `tbs`. CH_INVALID
 * where it is not what ch_crl_add writes; the errors of `each`. */
CH_MUST_USE bool ch_crl_entries(struct ch_view tbs, struct ch_view subject_der, ch_crl_each each,
				void *context, struct ch_error *err);

#endif
