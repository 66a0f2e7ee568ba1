/* SPDX-License-Identifier: Apache-2.0 */
/* cert_id.h: reads OCSP's CertID (RFC 6960 §4.1.1). The responder repeats one octet for octet in what it asks
 * to be signed, and the vault signs it: nothing may stand in it but what names a certificate. */
#ifndef CH_CERT_ID_H
#define CH_CERT_ID_H

#include "mem/mem.h"

enum ch_cert_id_hash { CH_CERT_ID_SHA1, CH_CERT_ID_SHA256, CH_CERT_ID_OTHER };

struct ch_cert_id { /* views into what was read */
	struct ch_view whole;
	enum ch_cert_id_hash hash;
	struct ch_view issuer_name_hash;
	struct ch_view issuer_key_hash;
	struct ch_view serial; /* INTEGER content: two's complement, minimal */
};

/*
 * Reads one CertID off the front of `in`. The parameters of hashAlgorithm are absent or NULL (RFC 5754 §2,
 * RFC 3370 §2.1), SHA-1 and SHA-256 hashes are 20 and 32 octets, and the serial number at most 21 (RFC 5280
 * §4.1.2.2, and the sign octet of one that uses all its bits). Another hash is told by CH_CERT_ID_OTHER; its
 * hashes are not looked at. CH_INVALID.
 */
CH_MUST_USE bool ch_cert_id_read(struct ch_view *in, struct ch_cert_id *id, struct ch_error *err);

#endif
