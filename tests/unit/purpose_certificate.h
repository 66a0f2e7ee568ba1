/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_certificate.h: a TBSCertificate, written with the DER writer, of which a test changes one field.
 */
#ifndef PURPOSE_CERTIFICATE_H
#define PURPOSE_CERTIFICATE_H

#include "purpose_fixture.h"

struct tbs_options {
	uint64_t version;
	size_t serial_size;
	uint8_t serial_first;
	const char *algorithm, *issuer, *subject; /* subject NULL: a NULL in its place */
	struct ch_view subject_der;               /* as it is; data NULL: subject */
	int64_t not_before_us, not_after_us;
	uint8_t key_fill;
	struct ch_view public_key_info; /* as it is; data NULL: a point of key_fill */
	int ca;                         /* 0: no basicConstraints, 1: cA TRUE, 2: cA FALSE */
	bool constraints_not_critical;
	int path_length;    /* -1: none */
	unsigned key_usage; /* KU_…; 0: none */
	bool duplicate, explicit_false, unique_id, trailing, unparsable;
	const char *extended_key_usage[2]; /* OIDs; "" : an empty list */
	struct ch_view constraints,
		usage;            /* values of basicConstraints and keyUsage, as they are; data NULL: none */
	struct ch_view extension; /* a whole Extension, as it is; data NULL: none */
	size_t more_extensions;   /* that nobody knows */
	size_t padding;           /* octets of a value that nobody knows */
	bool empty_extensions;
};

extern const struct tbs_options good_certificate;

/* Of the fixture's subordinate key. */
struct tbs_options good_subordinate(void);

struct ch_view make_tbs(struct fixture *fixture, const struct tbs_options *options);
bool ask_certificate(struct fixture *fixture, purpose check, const struct tbs_options *options);

#endif
