/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_certificate.c: writes the certificates of purpose_end_entity_test.c and
 * purpose_ca_certificate_test.c. */
#include "purpose_certificate.h"

const struct tbs_options good_certificate = { .version = 2,
					      .serial_size = 16,
					      .serial_first = 0x4a,
					      .algorithm = "ecdsa-p256",
					      .issuer = CA_SUBJECT,
					      .subject = "CN=www.example",
					      .not_before_us = NOW,
					      .not_after_us = NOW + 90 * CH_DAY,
					      .key_fill = 0x33,
					      .path_length = -1,
					      .key_usage = KU_DIGITAL_SIGNATURE };

struct tbs_options good_subordinate(void)
{
	struct tbs_options options = good_certificate;

	options.subject = "CN=Sub CA";
	options.key_fill = 0x22;
	options.ca = 1;
	options.path_length = 0;
	options.key_usage = KU_KEY_CERT_SIGN | KU_CRL_SIGN;
	return options;
}

static void put_extended_key_usage(struct ch_der_writer *writer, const char *const oids[2])
{
	CH_AUTO(ch_der_writer) list = CH_NONE;
	CH_AUTO(ch_bytes) encoded = CH_NONE;
	struct ch_error err;

	ch_der_begin(&list, CH_DER_SEQUENCE);
	for (size_t i = 0; i < 2 && oids[i] && oids[i][0]; i++)
		assert_true(ch_der_put_oid(&list, oids[i], &err));
	ch_der_finish(&list);
	encoded = ch_der_done(&list);
	ch_extension_put(writer, "2.5.29.37", false, ch_view_of(&encoded));
}

/* Of identifiers that differ, with an OCTET STRING each. */
static void put_unknown(struct ch_der_writer *writer, size_t count, size_t padding)
{
	CH_AUTO(ch_der_writer) value = CH_NONE;
	CH_AUTO(ch_bytes) octets = CH_NONE, encoded = CH_NONE;

	octets.size = padding;
	octets.data = ch_alloc(padding ? padding : 1);
	ch_der_put_octet_string(&value, ch_view_of(&octets));
	encoded = ch_der_done(&value);
	for (size_t i = 0; i < count; i++) {
		CH_AUTO(ch_string) oid = ch_format("1.2.3.5.%zu", i);

		ch_extension_put(writer, oid, false, ch_view_of(&encoded));
	}
}

static void put_extensions(struct ch_der_writer *writer, const struct tbs_options *options)
{
	static const uint8_t null[] = { 0x05, 0x00 }, broken[] = { 0x30, 0x05, 0x01 };
	static const uint8_t explicit_false[] = { 0x30, 0x03, 0x01, 0x01, 0x00 },
			     ca_true[] = { 0x30, 0x03, 0x01, 0x01, 0xff };

	ch_der_begin(writer, CH_DER_CONTEXT_CONSTRUCTED(3));
	ch_der_begin(writer, CH_DER_SEQUENCE);
	if (options->empty_extensions) {
		ch_der_finish(writer);
		ch_der_finish(writer);
		return;
	}
	if (options->constraints.data)
		ch_extension_put(writer, "2.5.29.19", true, options->constraints);
	if (options->usage.data)
		ch_extension_put(writer, "2.5.29.15", true, options->usage);
	ch_der_put_raw(writer, options->extension);
	put_unknown(writer, options->more_extensions, options->padding);
	if (options->explicit_false)
		ch_extension_put(writer, "2.5.29.19", true, ch_view(explicit_false, sizeof(explicit_false)));
	else if (options->ca == 1 && options->constraints_not_critical)
		ch_extension_put(writer, "2.5.29.19", false, ch_view(ca_true, sizeof(ca_true)));
	else if (options->ca)
		ch_extension_basic_constraints(writer, options->ca == 1, options->path_length);
	if (options->key_usage)
		ch_extension_key_usage(writer, options->key_usage);
	if (options->extended_key_usage[0])
		put_extended_key_usage(writer, options->extended_key_usage);
	if (options->duplicate)
		ch_extension_key_usage(writer, KU_DIGITAL_SIGNATURE);
	ch_extension_put(writer, "1.2.3.4", false,
			 options->unparsable ? ch_view(broken, sizeof(broken)) : ch_view(null, sizeof(null)));
	ch_der_finish(writer);
	ch_der_finish(writer);
}

struct ch_view make_tbs(struct fixture *fixture, const struct tbs_options *options)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) info = public_key_info(options->key_fill);
	uint8_t serial[32], unique[] = { 0 };

	memset(serial, 0x77, sizeof(serial));
	serial[0] = options->serial_first;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_uint64(&writer, CH_DER_INTEGER, options->version);
	ch_der_finish(&writer);
	ch_der_put(&writer, CH_DER_INTEGER, ch_view(serial, options->serial_size));
	ch_der_put_raw(&writer, ch_algorithm_find(options->algorithm)->signature_identifier);
	put_name(&writer, options->issuer);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_time(&writer, options->not_before_us);
	ch_der_put_time(&writer, options->not_after_us);
	ch_der_finish(&writer);
	if (options->subject_der.data)
		ch_der_put_raw(&writer, options->subject_der);
	else if (options->subject)
		put_name(&writer, options->subject);
	else
		ch_der_put_null(&writer);
	ch_der_put_raw(&writer, options->public_key_info.data ? options->public_key_info : ch_view_of(&info));
	if (options->unique_id)
		ch_der_put(&writer, CH_DER_CONTEXT(1), ch_view(unique, sizeof(unique)));
	put_extensions(&writer, options);
	ch_der_finish(&writer);
	if (options->trailing)
		ch_der_put_null(&writer);
	ch_bytes_free(&fixture->tbs);
	fixture->tbs = ch_der_done(&writer);
	return ch_view_of(&fixture->tbs);
}

bool ask_certificate(struct fixture *fixture, purpose check, const struct tbs_options *options)
{
	return ask(fixture, check, make_tbs(fixture, options), (struct ch_view)CH_NONE);
}
