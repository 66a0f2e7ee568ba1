/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.h: what a distinguished name is made of. One table of attributes says for CA documents, subjects of
 * requests, the lint and the vault which there are, their string type, alphabet and length. x509.h has the
 * names' text form and their comparison.
 */
#ifndef CH_X509_NAME_H
#define CH_X509_NAME_H

#include "der/der.h"

/* --- attributes (name_attribute.c): a new one is a row of the table there --- */

struct ch_name_attribute {
	const char *name;        /* "CN": as RFC 4514 texts and profiles write it */
	const char *other_name;  /* "commonName"; NULL: none */
	struct ch_view oid;      /* content octets */
	unsigned string_tag;     /* the one string type that Chancery writes it in */
	size_t minimum, maximum; /* characters (RFC 5280 appendix A.1, X.520) */
	bool may_repeat;         /* may stand more than once in a subject */
};
const struct ch_name_attribute *ch_name_attribute_at(size_t index); /* NULL past the end */
/* By either name, in upper or lower case (RFC 4514 §2.3); NULL: unknown. */
const struct ch_name_attribute *ch_name_attribute_find(const char *name, size_t size);
const struct ch_name_attribute *ch_name_attribute_of_oid(struct ch_view oid); /* NULL: unknown */
/* Text in UTF-8. CH_INVALID: a character that the string type does not have or that nobody sees, too short or
 * too long, a country that is not two capital letters. */
CH_MUST_USE bool ch_name_attribute_check(const struct ch_name_attribute *attribute, struct ch_view value,
					 struct ch_error *err);
bool ch_country_is_known(struct ch_view code); /* ISO 3166-1 alpha-2, or XX (country.c) */

/* --- names in DER (name_der.c) --- */

#define CH_NAME_ATTRIBUTES_MAX 32
struct ch_name_item {
	const struct ch_name_attribute *attribute;
	unsigned tag; /* the string type that it stands in */
	struct ch_view value;
};
/*
 * Takes the next attribute off the content of an RDNSequence; *rdn (empty at first) is what is left of the
 * RDN that is being read. The name has ended where both are empty.
 * Errors  CH_INVALID: malformed, an attribute that is not in the table, a string type that is none of
 *         UTF8String, PrintableString and, for mail addresses and domain components, IA5String, a value that
 *         ch_name_attribute_check refuses
 * Source  RFC 5280 §4.1.2.4
 */
CH_MUST_USE bool ch_name_next(struct ch_view *rdn_sequence, struct ch_view *rdn, struct ch_name_item *item,
			      struct ch_error *err);
/*
 * Is it written as ch_name_parse and ch_name_rebuild write names? Each attribute in its string type, none
 * twice in one RDN, RDNs in the order of DER, nothing but names inside. An empty name (RFC 5280 §4.1.2.6)
 * passes. CH_INVALID names the attribute at fault. Allocates nothing.
 */
CH_MUST_USE bool ch_name_check(struct ch_view der, struct ch_error *err);
/* One RelativeDistinguishedName of `count` attributes, at most CH_NAME_ATTRIBUTES_MAX: each in its own string
 * type, in the order of DER (X.690 §11.6). */
void ch_name_put_rdn(struct ch_der_writer *writer, const struct ch_name_item *items, size_t count);
/* The same name, written anew from its attributes and their texts. Errors as ch_name_next. */
CH_MUST_USE bool ch_name_rebuild(struct ch_view der, struct ch_bytes *rebuilt, struct ch_error *err);

#endif
