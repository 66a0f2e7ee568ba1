/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crl.c: TBSCertList (RFC 5280 §5.1.2), one entry after the other, so that what is held beside the DER
 * itself does not grow with the list. Called by the crl daemon with rows from a cursor, and by the key
 * ceremony.
 */
#include "issuance/crl.h"

#define OID_CRL_NUMBER      "2.5.29.20"
#define OID_REASON_CODE     "2.5.29.21"
#define OID_INVALIDITY_DATE "2.5.29.24"

#define REASON_UNSPECIFIED     0
#define REASON_REMOVE_FROM_CRL 8
#define REASON_AA_COMPROMISE   10

static void put_extension(struct ch_der_writer *writer, const char *oid, struct ch_der_writer *value)
{
	CH_AUTO(ch_bytes) der = ch_der_done(value);

	ch_extension_put(writer, oid, false, ch_view_of(&der));
}

void ch_crl_begin(struct ch_crl_builder *builder, const struct ch_crl_issuer *issuer, int64_t this_update_us,
		  int64_t next_update_us)
{
	struct ch_der_writer *writer = &builder->writer;

	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(writer, CH_DER_INTEGER, 1); /* v2 */
	ch_der_put_raw(writer, issuer->algorithm->signature_identifier);
	ch_der_put_raw(writer, issuer->subject_der);
	ch_der_put_time(writer, this_update_us);
	ch_der_put_time(writer, next_update_us);
}

/* §5.3.1: absent rather than unspecified. §5.3.2: the invalidity date. */
static void put_entry_extensions(struct ch_der_writer *writer, const struct ch_crl_entry *entry)
{
	if (entry->reason == REASON_UNSPECIFIED && entry->invalidity_date_us == 0)
		return;
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (entry->reason != REASON_UNSPECIFIED) {
		struct ch_der_writer value = CH_NONE;

		ch_der_put_uint64(&value, CH_DER_ENUMERATED, (uint64_t)entry->reason);
		put_extension(writer, OID_REASON_CODE, &value);
	}
	if (entry->invalidity_date_us) {
		struct ch_der_writer value = CH_NONE;

		ch_der_put_generalized_time(&value, entry->invalidity_date_us, false);
		put_extension(writer, OID_INVALIDITY_DATE, &value);
	}
	ch_der_finish(writer);
}

bool ch_crl_entry_check(const struct ch_crl_entry *entry, struct ch_error *err)
{
	if (entry->serial.size < 1 || entry->serial.size > 20)
		return ch_fail(err, CH_INVALID,
			       "a revoked serial has %zu octets (RFC 5280 §4.1.2.2: 1 to 20)",
			       entry->serial.size);
	if (entry->reason < 0 || entry->reason > REASON_AA_COMPROMISE || entry->reason == 7 ||
	    entry->reason == REASON_REMOVE_FROM_CRL)
		return ch_fail(err, CH_INVALID,
			       "revocation reason %d has no place in a full CRL (RFC 5280 §5.3.1)",
			       entry->reason);
	return true;
}

bool ch_crl_add(struct ch_crl_builder *builder, const struct ch_crl_entry *entry, struct ch_error *err)
{
	struct ch_der_writer *writer = &builder->writer;

	if (!ch_crl_entry_check(entry, err))
		return false;
	if (builder->entries++ == 0) /* §5.1.2.6: no empty list */
		ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_der_put_integer(writer, entry->serial);
	ch_der_put_time(writer, entry->revoked_at_us);
	put_entry_extensions(writer, entry);
	ch_der_finish(writer);
	return true;
}

struct ch_bytes ch_crl_finish(struct ch_crl_builder *builder, const struct ch_crl_issuer *issuer,
			      uint64_t crl_number)
{
	struct ch_der_writer *writer = &builder->writer;
	struct ch_der_writer number = CH_NONE;

	if (builder->entries)
		ch_der_finish(writer);
	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_begin(writer, CH_DER_SEQUENCE);
	ch_extension_authority_key_identifier(writer, issuer->key_identifier);
	ch_der_put_uint64(&number, CH_DER_INTEGER, crl_number);
	put_extension(writer, OID_CRL_NUMBER, &number);
	ch_der_finish(writer);
	ch_der_finish(writer);
	ch_der_finish(writer);
	return ch_der_done(writer);
}

void ch_crl_builder_free(struct ch_crl_builder *builder)
{
	ch_der_writer_free(&builder->writer);
}
