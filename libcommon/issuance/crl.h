/* SPDX-License-Identifier: Apache-2.0 */
/* crl.h: TBSCertList (RFC 5280 §5.1.2), version 2, streamed: begin, an add for each entry, finish. Pure. The
 * crl daemon and the key ceremony write CRLs with it. */
#ifndef CH_CRL_H
#define CH_CRL_H

#include "x509/x509.h"

struct ch_crl_issuer { /* borrowed */
	const struct ch_algorithm *algorithm;
	struct ch_view subject_der;
	struct ch_view key_identifier;
};
struct ch_crl_entry {
	struct ch_view serial;
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
CH_MUST_USE bool ch_crl_add(struct ch_crl_builder *builder, const struct ch_crl_entry *entry,
			    struct ch_error *err);
/* The caller frees the result. */
struct ch_bytes ch_crl_finish(struct ch_crl_builder *builder, const struct ch_crl_issuer *issuer,
			      uint64_t crl_number);
void ch_crl_builder_free(struct ch_crl_builder *builder);
CH_DEFINE_AUTO_VALUE(ch_crl_builder, struct ch_crl_builder, ch_crl_builder_free)

#endif
