/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_making.h: how a CA is made, wherever that happens (the issuer, a key ceremony without daemons): what its
 * document decides, what officers approve, what the vault is asked for, and the bytes that are signed.
 */
#ifndef CH_CA_MAKING_H
#define CH_CA_MAKING_H

#include "action/action.h"
#include "issuance/issuance.h"
#include "x509/serial.h"

/*
 * Fills in what follows from ca->document: subject, algorithm, state "pending", validity from now_us on
 * (whole seconds), a fresh serial tag key.
 * parent   NULL: a root
 * Errors   CH_INVALID where the parent's path length or end does not allow it
 */
CH_MUST_USE bool ch_ca_plan(struct ch_ca *ca, const struct ch_ca *parent, int64_t now_us,
			    struct ch_error *err);

/* --- the key --- */

#define CH_CA_KEY_FIELDS 4
/* Of the action generate-key; borrowed from the CA. */
void ch_ca_key_fields(const struct ch_ca *ca, struct ch_action_field fields[CH_CA_KEY_FIELDS]);
/* What asks the vault for the approved key; borrowed from the CA and action_id. */
void ch_ca_key_request(const struct ch_ca *ca, const char *action_id, Chancery__GenerateKeyRequest *request);
/* Takes the key's id, public key and key identifier over. CH_CONFLICT where it is of another algorithm. */
CH_MUST_USE bool ch_ca_take_key(struct ch_ca *ca, const Chancery__Key *key, struct ch_error *err);

/* --- the certificate --- */

/* A serial number of the CA that signs (libcommon/x509/serial.h). */
void ch_ca_new_serial(const struct ch_ca *ca, const struct ch_ca *parent, uint8_t serial[CH_SERIAL_SIZE]);
/* ca->tbs_certificate, linted; the same input gives the same octets. After ch_ca_plan and ch_ca_take_key. */
CH_MUST_USE bool ch_ca_write_certificate(struct ch_ca *ca, const struct ch_ca *parent, struct ch_view serial,
					 struct ch_error *err);

#define CH_CA_CERTIFICATE_FIELDS 4
struct ch_ca_certificate_fields {
	struct ch_action_field fields[CH_CA_CERTIFICATE_FIELDS]; /* of the action ca-certificate */
	char digest[65], not_after[CH_TIME_TEXT_SIZE];
};
/* Of ca->tbs_certificate; borrowed from both CAs and from `fields` itself. */
CH_MUST_USE bool ch_ca_certificate_fields(const struct ch_ca *ca, const struct ch_ca *parent,
					  struct ch_ca_certificate_fields *fields, struct ch_error *err);

#endif
