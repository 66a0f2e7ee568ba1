/* SPDX-License-Identifier: Apache-2.0 */
/* text.h: small texts of the REST interface: base64, PEM around a CSR, RFC 3339 times, durations, numbers.
 * All pure. */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include "mem/mem.h"

/* RFC 4648 §4 with padding; white space between the characters is skipped, anything else is CH_INVALID. */
CH_MUST_USE bool text_base64(struct ch_view text, struct ch_bytes *out, struct ch_error *err);
char *text_to_base64(struct ch_view data); /* one line; the caller frees it */

/*
 * Takes the wrapping off a certification request as clients send it: PEM ("CERTIFICATE REQUEST", or
 * "NEW CERTIFICATE REQUEST" of old tools; RFC 7468 §7), bare base64 (what RFC 5967 users send), or DER
 * itself. Nothing of the ASN.1 is looked at but that it begins with a SEQUENCE: the issuer reads it.
 */
CH_MUST_USE bool text_csr_unwrap(struct ch_view input, struct ch_bytes *der, struct ch_error *err);

/* "2026-11-21T10:00:00Z", with offset or fraction (to microseconds; RFC 3339 §5.6). */
CH_MUST_USE bool text_time(const char *text, int64_t *time_us, struct ch_error *err);

/* "90d", "12h", "30m", "3600s", "2y" (365 days each) -> seconds, more than 0. */
CH_MUST_USE bool text_duration(const char *text, int64_t *seconds, struct ch_error *err);

/* Decimal digits only, at most `max`. */
CH_MUST_USE bool text_number(const char *text, uint64_t max, uint64_t *number, struct ch_error *err);

/* Idempotency-Key: 1 to 128 printable ASCII characters. */
CH_MUST_USE bool text_idempotency_key(const char *key, struct ch_error *err);

/* A serial as paths carry it: 1 to 40 hex digits in either case, made lower-case; colons are not taken. */
CH_MUST_USE bool text_serial(const char *text, char serial[41], struct ch_error *err);

#endif
