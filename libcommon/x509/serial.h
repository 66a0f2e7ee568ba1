/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.h: Chancery's serial numbers, 16 octets:
 *
 *   2 period   month of notAfter, (year - 1970) * 12 + month - 1: a look-up by serial goes to one partition
 *  10 random   80 bits from the operating system
 *   4 tag      first octets of HMAC-SHA-256(the CA's tag key, the 12 octets before): responders reject
 * serials that no CA of ours made without asking the database
 *
 * The issuer makes them; the issuer, ocsp and gateway read them.
 */
#ifndef CH_SERIAL_H
#define CH_SERIAL_H

#include "mem/mem.h"

#define CH_SERIAL_SIZE 16

/* Positive and at most 20 octets as RFC 5280 §4.1.2.2 wants. `tag_key` is cas.serial_tag_key. */
void ch_serial_make(struct ch_view tag_key, int64_t not_after_us, uint8_t serial[CH_SERIAL_SIZE]);
/* Was this serial made under this key? Constant time in the tag. False for another length. */
bool ch_serial_check(struct ch_view tag_key, struct ch_view serial);
/* The period in its first two octets; -1 for another length. */
int ch_serial_period(struct ch_view serial);
/* The period of a time, 0 .. 0x7fff: earlier and later times (RFC 5280's 99991231235959Z) take the first and
 * last. */
int ch_expiry_period(int64_t time_us);

#endif
