/* SPDX-License-Identifier: Apache-2.0 */
/*
 * der.h: a bounded DER reader and a growing writer (X.690). The reader never allocates: a `struct ch_view` is
 * the cursor and every result points into it. The vault's purpose checks and everything that reads hostile
 * ASN.1 without OpenSSL use it.
 */
#ifndef CH_DER_H
#define CH_DER_H

#include "err/err.h"
#include "mem/mem.h"

enum ch_der_tag {
	CH_DER_BOOLEAN = 0x01,
	CH_DER_INTEGER = 0x02,
	CH_DER_BIT_STRING = 0x03,
	CH_DER_OCTET_STRING = 0x04,
	CH_DER_NULL = 0x05,
	CH_DER_OID = 0x06,
	CH_DER_ENUMERATED = 0x0a,
	CH_DER_UTF8_STRING = 0x0c,
	CH_DER_PRINTABLE_STRING = 0x13,
	CH_DER_IA5_STRING = 0x16,
	CH_DER_UTC_TIME = 0x17,
	CH_DER_GENERALIZED_TIME = 0x18,
	CH_DER_SEQUENCE = 0x30,
	CH_DER_SET = 0x31,
};
#define CH_DER_CONTEXT(number) (0x80 | (number)) /* [n] IMPLICIT primitive */
#define CH_DER_CONTEXT_CONSTRUCTED(number) \
	(0xa0 | (number)) /* [n] EXPLICIT, or IMPLICIT of a constructed type */

/* --- reading: each call takes one element off the front of *in; `what` names it in errors
 * ("TBSCertificate.version") --------- */

/* Definite lengths in minimal form only, single-octet tags only (X.690 §10.1). CH_INVALID otherwise; *in is
 * then unchanged. */
CH_MUST_USE bool ch_der_read(struct ch_view *in, unsigned tag, const char *what, struct ch_view *content,
			     struct ch_error *err);
/* Any tag; `whole` includes tag and length. tag, content, whole may be NULL. */
CH_MUST_USE bool ch_der_read_any(struct ch_view *in, const char *what, unsigned *tag, struct ch_view *content,
				 struct ch_view *whole, struct ch_error *err);
/* Is the next element of this tag? False at the end too. */
bool ch_der_next_is(const struct ch_view *in, unsigned tag);
/* Where the element is optional: *present says whether it was there. */
CH_MUST_USE bool ch_der_read_optional(struct ch_view *in, unsigned tag, const char *what, bool *present,
				      struct ch_view *content, struct ch_error *err);
/* CH_INVALID unless everything was read. */
CH_MUST_USE bool ch_der_end(const struct ch_view *in, const char *what, struct ch_error *err);

/* INTEGER as two's complement octets in minimal form (leading 0x00 kept where it is needed for the sign). */
CH_MUST_USE bool ch_der_read_integer(struct ch_view *in, const char *what, struct ch_view *octets,
				     struct ch_error *err);
CH_MUST_USE bool ch_der_read_uint64(struct ch_view *in, const char *what, uint64_t *value,
				    struct ch_error *err);
CH_MUST_USE bool ch_der_read_boolean(struct ch_view *in, const char *what, bool *value,
				     struct ch_error *err); /* 0x00 or 0xff */
CH_MUST_USE bool ch_der_read_oid(struct ch_view *in, const char *what, struct ch_view *oid_content,
				 struct ch_error *err);
CH_MUST_USE bool ch_der_read_octet_string(struct ch_view *in, const char *what, struct ch_view *octets,
					  struct ch_error *err);
/* Whole octets only: unused bits must be 0 (what signatures and keys are). */
CH_MUST_USE bool ch_der_read_bit_string(struct ch_view *in, const char *what, struct ch_view *octets,
					struct ch_error *err);
/* UTCTime or GeneralizedTime in the RFC 5280 §4.1.2.5 forms (seconds, Z). Fractions allowed only where
 * `fractions` is true (RFC 3161 genTime: no trailing zeros). Microseconds since 1970. */
CH_MUST_USE bool ch_der_read_time(struct ch_view *in, const char *what, bool fractions, int64_t *time_us,
				  struct ch_error *err);

/* Dotted text of an OID's content octets; the caller frees it. NULL where the octets are no OID. */
char *ch_der_oid_text(struct ch_view oid_content);

/* --- writing: errors are impossible but for memory; nested begin/end fix up their lengths
 * ------------------------------------- */

struct ch_der_writer { /* zero-initialised is empty */
	struct ch_buffer buffer;
	size_t open[16]; /* where each open element's content begins */
	unsigned depth;
};
void ch_der_begin(struct ch_der_writer *writer, unsigned tag);
void ch_der_finish(struct ch_der_writer *writer); /* ends the innermost open element */
void ch_der_put(struct ch_der_writer *writer, unsigned tag, struct ch_view content);
void ch_der_put_raw(struct ch_der_writer *writer, struct ch_view encoded); /* already DER */
void ch_der_put_integer(struct ch_der_writer *writer,
			struct ch_view unsigned_octets); /* big endian; made minimal and positive */
void ch_der_put_uint64(struct ch_der_writer *writer, unsigned tag,
		       uint64_t value); /* CH_DER_INTEGER or CH_DER_ENUMERATED */
void ch_der_put_boolean(struct ch_der_writer *writer, bool value);
void ch_der_put_null(struct ch_der_writer *writer);
CH_MUST_USE bool ch_der_put_oid(struct ch_der_writer *writer, const char *dotted,
				struct ch_error *err); /* CH_INVALID text */
void ch_der_put_octet_string(struct ch_der_writer *writer, struct ch_view octets);
void ch_der_put_bit_string(struct ch_der_writer *writer, struct ch_view octets); /* 0 unused bits */
void ch_der_put_time(struct ch_der_writer *writer,
		     int64_t time_us); /* UTCTime before 2050, else GeneralizedTime */
void ch_der_put_generalized_time(struct ch_der_writer *writer, int64_t time_us, bool fractions);
/* SET OF (or its IMPLICIT tag): the encoded elements in ascending order of their octets (X.690 §11.6). Sorts
 * `elements`. */
void ch_der_put_set_of(struct ch_der_writer *writer, unsigned tag, struct ch_view *elements, size_t count);
/* Aborts where an element is still open. Empties the writer. */
struct ch_bytes ch_der_done(struct ch_der_writer *writer);
void ch_der_writer_free(struct ch_der_writer *writer);

CH_DEFINE_AUTO_VALUE(ch_der_writer, struct ch_der_writer, ch_der_writer_free)

#endif
