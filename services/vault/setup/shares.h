/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shares.h: the root secret of the HSMs' domain as custodians keep it: N shares, of which any M make it
 *again, and fewer say nothing of it. Each is a short text that can be typed from paper:
 *
 *	Chancery custodian share v1
 *	set: 3f1a9c7be2d04815
 *	number: 2
 *	threshold: 2
 *	count: 3
 *	secret-check: 9b0e44c1a7d25f38
 *	value: 8d3f… (64 hexadecimal digits)
 *	checksum: 5e1f77a0
 */
#ifndef VAULT_SHARES_H
#define VAULT_SHARES_H

#include "domain_keys.h"

#define SHARES_MAX     16
#define SHARE_TEXT_CAP 1024

struct share {
	uint8_t set[8]; /* the same in all shares of one splitting */
	uint8_t number, threshold, count;
	uint8_t secret_check[8]; /* of the root secret: tells that the right one came out, and nothing else of
				    it */
	uint8_t value[DOMAIN_ROOT_SIZE];
};

/* threshold 2 to count (1 of 1 too), count up to SHARES_MAX. The caller wipes the shares. */
CH_MUST_USE bool shares_split(struct ch_view root, uint8_t threshold, uint8_t count, struct share *shares,
			      struct ch_error *err);
/*
 * Any `threshold` shares or more of one set. The caller frees *root.
 * Errors  CH_INVALID names the share: of another set, the same number twice, too few, or they make another
 * secret
 */
CH_MUST_USE bool shares_combine(const struct share *shares, size_t count, struct ch_secret *root,
				struct ch_error *err);

/* Zero-terminated; the caller wipes it. */
void share_format(const struct share *share, char text[SHARE_TEXT_CAP]);
/* CH_INVALID: which line is wrong, or "checksum does not match" for a typing error. */
CH_MUST_USE bool share_read(struct ch_view text, struct share *share, struct ch_error *err);

#endif
