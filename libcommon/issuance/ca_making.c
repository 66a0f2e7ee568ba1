/* SPDX-License-Identifier: Apache-2.0 */
/* ca_making.c: the steps of making a CA that need neither a vault nor a database. The issuer (ca_prepare.c)
 * and the key ceremony call them. */
#include "issuance/ca_making.h"

#include <string.h>

/* nextUpdate - thisUpdate that the vault allows this CA's CRLs, beyond the document's: for clocks that
 * differ. */
#define CRL_TOLERANCE_SECONDS 600

static bool check_parent(const struct ch_ca *ca, const struct ch_ca *parent, struct ch_error *err)
{
	int64_t length = ca->document.path_length, limit = parent->document.path_length;
	char end[CH_TIME_TEXT_SIZE];

	if (limit == 0)
		return ch_fail(err, CH_INVALID, "parent '%s' has path_length 0: no CA may stand below it",
			       parent->document.name);
	if (limit > 0 && (length < 0 || length >= limit))
		return ch_fail(err, CH_INVALID, "path_length %lld is not below the parent's %lld",
			       (long long)length, (long long)limit);
	if (ca->not_after_us > parent->not_after_us)
		return ch_fail(err, CH_INVALID, "validity goes beyond the parent's end %s",
			       ch_time_text(parent->not_after_us, end));
	return true;
}

bool ch_ca_plan(struct ch_ca *ca, const struct ch_ca *parent, int64_t now_us, struct ch_error *err)
{
	if (!ch_name_parse(ca->document.subject, &ca->subject_der, err))
		return false;
	ca->subject = ch_name_text(ch_view_of(&ca->subject_der));
	ca->algorithm = ch_algorithm_find(ca->document.key);
	ca->state = ch_strdup("pending");
	ca->not_before_us = now_us - now_us % CH_SECOND;
	ca->not_after_us = ca->not_before_us + ca->document.validity_us - CH_SECOND;
	ca->not_after_us -= ca->not_after_us % CH_SECOND;
	ch_random(ca->serial_tag_key, sizeof(ca->serial_tag_key));
	ca->parent_id = parent ? parent->id : 0;
	return !parent || check_parent(ca, parent, err);
}

void ch_ca_key_fields(const struct ch_ca *ca, struct ch_action_field fields[CH_CA_KEY_FIELDS])
{
	fields[0] = ch_action_field("label", ca->document.name);
	fields[1] = ch_action_field("algorithm", ca->document.key);
	fields[2] = ch_action_field("purposes", "end-entity-certificate,ca-certificate,crl");
	fields[3] = ch_action_field("subject", ca->subject);
}

void ch_ca_key_request(const struct ch_ca *ca, const char *action_id, Chancery__GenerateKeyRequest *request)
{
	static const Chancery__Purpose purposes[] = { CHANCERY__PURPOSE__PURPOSE_END_ENTITY_CERTIFICATE,
						      CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE,
						      CHANCERY__PURPOSE__PURPOSE_CRL };

	chancery__generate_key_request__init(request);
	request->algorithm = ca->document.key;
	request->purposes = (Chancery__Purpose *)(uintptr_t)purposes; /* only read */
	request->n_purposes = CH_COUNT(purposes);
	request->subject_der =
		(ProtobufCBinaryData){ .len = ca->subject_der.size, .data = ca->subject_der.data };
	request->label = ca->document.name;
	request->action_id = (char *)(uintptr_t)action_id;
	request->max_validity_seconds = ca->document.crl.validity_us / CH_SECOND + CRL_TOLERANCE_SECONDS;
}

bool ch_ca_take_key(struct ch_ca *ca, const Chancery__Key *key, struct ch_error *err)
{
	uint8_t identifier[64];
	size_t size;

	if (strcmp(key->algorithm, ca->document.key) != 0)
		return ch_fail(err, CH_CONFLICT, "key '%s' is %s, the document asks for %s", key->key_id,
			       key->algorithm, ca->document.key);
	if (!ch_key_identifier(ch_view(key->public_key_info.data, key->public_key_info.len), "sha1",
			       identifier, &size, err))
		return false;
	ca->key_id = ch_strdup(key->key_id);
	ca->public_key_info = ch_bytes_copy(ch_view(key->public_key_info.data, key->public_key_info.len));
	ca->key_identifier = ch_bytes_copy(ch_view(identifier, size));
	return true;
}

void ch_ca_new_serial(const struct ch_ca *ca, const struct ch_ca *parent, uint8_t serial[CH_SERIAL_SIZE])
{
	const struct ch_ca *issuing = parent ? parent : ca;

	ch_serial_make(ch_view(issuing->serial_tag_key, sizeof(issuing->serial_tag_key)), ca->not_after_us,
		       serial);
}

bool ch_ca_write_certificate(struct ch_ca *ca, const struct ch_ca *parent, struct ch_view serial,
			     struct ch_error *err)
{
	const struct ch_ca *issuing = parent ? parent : ca;
	struct ch_template_signer signer = ch_template_signer_of(issuing);
	struct ch_lint_context context = { .signer = &signer, .ca = true };
	struct ch_order order = {
		.subject_der = ch_view_of(&ca->subject_der),
		.public_key_info = ch_view_of(&ca->public_key_info),
		.key_algorithm = ca->algorithm,
		.not_before_us = ca->not_before_us,
		.not_after_us = ca->not_after_us,
	};
	struct ch_lint_token lint;

	if (!parent)
		signer.urls = NULL;
	return ch_template_ca(&ca->document, &signer, &order, serial, &ca->tbs_certificate, err) &&
	       ch_lint_tbs(ch_view_of(&ca->tbs_certificate), &context, &lint, err);
}

bool ch_ca_certificate_fields(const struct ch_ca *ca, const struct ch_ca *parent,
			      struct ch_ca_certificate_fields *fields, struct ch_error *err)
{
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", ch_view_of(&ca->tbs_certificate), digest, &size, err))
		return false;
	digest_text = ch_hex(ch_view(digest, size));
	memcpy(fields->digest, digest_text, sizeof(fields->digest));
	fields->fields[0] = ch_action_field("key", parent ? parent->key_id : ca->key_id);
	fields->fields[1] = ch_action_field("tbs-sha256", fields->digest);
	fields->fields[2] = ch_action_field("subject", ca->subject);
	fields->fields[3] = ch_action_field("not-after", ch_time_text(ca->not_after_us, fields->not_after));
	return true;
}
