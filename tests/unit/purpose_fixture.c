/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_fixture.c: what the tests of the purposes share. */
#include "purpose_fixture.h"

#include "x509/operator.h"

#include <openssl/ec.h>

#define POINT 65

/* The point of the private key `number`. */
static void point_of(uint8_t number, point_conversion_form_t form, uint8_t *octets, size_t size)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	BIGNUM *scalar = BN_new();

	assert_true(BN_set_word(scalar, number));
	assert_true(EC_POINT_mul(group, point, scalar, NULL, NULL, NULL));
	assert_int_equal(EC_POINT_point2oct(group, point, form, octets, size, NULL), size);
	BN_free(scalar);
	EC_POINT_free(point);
	EC_GROUP_free(group);
}

static struct ch_bytes key_info(struct ch_view point)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	struct ch_error err;

	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer, "1.2.840.10045.2.1", &err));
	assert_true(ch_der_put_oid(&writer, "1.2.840.10045.3.1.7", &err));
	ch_der_finish(&writer);
	ch_der_put_bit_string(&writer, point);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

struct ch_bytes public_key_info(uint8_t fill)
{
	uint8_t point[POINT];

	point_of(fill, POINT_CONVERSION_UNCOMPRESSED, point, sizeof(point));
	return key_info(ch_view(point, sizeof(point)));
}

struct ch_bytes compressed_key_info(uint8_t fill)
{
	uint8_t point[1 + POINT / 2];

	point_of(fill, POINT_CONVERSION_COMPRESSED, point, sizeof(point));
	return key_info(ch_view(point, sizeof(point)));
}

struct ch_bytes name_der(const char *text)
{
	struct ch_bytes der;
	struct ch_error err;

	if (!ch_name_parse(text, &der, &err))
		fail_msg("%s", err.message);
	return der;
}

/* Those that purpose_certificate.c writes. */
static void allow_unknown_extensions(struct vault_key *key)
{
	key->extra_extension_count = 1 + VAULT_EXTENSIONS_CAP;
	key->extra_extensions = ch_alloc(key->extra_extension_count * sizeof(char *));
	key->extra_extensions[0] = ch_strdup("1.2.3.4");
	for (size_t i = 1; i < key->extra_extension_count; i++)
		key->extra_extensions[i] = ch_format("1.2.3.5.%zu", i - 1);
}

static void make_key(struct vault_key *key, const char *id, const char *subject, uint8_t fill)
{
	memset(key->key_id, id[0], 32);
	strcpy(key->tenant, "default");
	key->algorithm = ch_algorithm_find("ecdsa-p256");
	key->purposes = 1u << CHANCERY__PURPOSE__PURPOSE_CA_CERTIFICATE;
	key->subject_der = name_der(subject);
	key->public_key_info = public_key_info(fill);
	memset(key->key_hash, 0x5a, sizeof(key->key_hash));
	key->ca_not_before_us = NOW - CH_DAY;
	key->ca_not_after_us = NOW + 1000 * CH_DAY;
	key->ca_path_length = -1;
	key->checkpoint_origin = ch_strdup("chancery.example/log");
	key->timestamp_policies = ch_alloc(sizeof(char *));
	key->timestamp_policies[0] = ch_strdup("1.3.6.1.4.1.99999.1.1");
	key->timestamp_policy_count = 1;
	allow_unknown_extensions(key);
}

static const struct vault_key *find_subordinate(void *state, struct ch_view info, struct ch_error *err)
{
	struct fixture *fixture = state;

	if (!ch_view_equal(info, ch_view_of(&fixture->subordinate.public_key_info)))
		ch_fail(err, CH_NOT_FOUND, "no such key");
	else if (strcmp(fixture->subordinate.state, "compromised") == 0)
		ch_fail(err, CH_CONFLICT, "key is compromised: no certificate is made for it");
	else
		return &fixture->subordinate;
	return NULL;
}

static bool is_ca_name(void *state, struct ch_view name, bool *is, struct ch_error *err)
{
	struct fixture *fixture = state;

	if (fixture->names_are_away)
		return ch_fail(err, CH_UNAVAILABLE, "no database");
	return ch_name_equal(name, ch_view_of(&fixture->subordinate.subject_der), is, err);
}

static void appoint_officers(struct fixture *fixture)
{
	fixture->operators_ca = make_person(NULL, EVP_EC_gen("P-256"), "Operators CA", NULL, NOW);
	fixture->alice = make_person(&fixture->operators_ca, EVP_EC_gen("P-256"), "alice",
				     "URI:" CH_OPERATOR_URI "default/officer/alice", NOW);
	fixture->bob = make_person(&fixture->operators_ca, EVP_EC_gen("P-256"), "bob",
				   "URI:" CH_OPERATOR_URI "default/officer/bob", NOW);
	X509_STORE_add_cert(fixture->policy.operators.ca, fixture->operators_ca.certificate);
	fixture->quorum = (struct vault_quorum){ .version = 1, .required = 2 };
	appoint(&fixture->quorum, "alice", &fixture->alice);
	appoint(&fixture->quorum, "bob", &fixture->bob);
}

int fixture_set_up(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));

	fixture->service = "issuer"; /* tests of who may ask say who */
	fixture->instance = "issuer-1";
	make_key(&fixture->key, "a", CA_SUBJECT, 0x11);
	make_key(&fixture->subordinate, "b", "CN=Sub CA", 0x22);
	fixture->policy = (struct vault_policy){ .clock_tolerance_us = 5 * CH_MINUTE,
						 .timestamp_tolerance_us = CH_SECOND,
						 .crl_max_validity_us = 30 * CH_DAY,
						 .ocsp_max_validity_us = 10 * CH_DAY,
						 .operators = { .ca = X509_STORE_new() } };
	appoint_officers(fixture);
	*state = fixture;
	return 0;
}

int fixture_tear_down(void **state)
{
	struct fixture *fixture = *state;

	vault_check_free(&fixture->check);
	vault_key_free(&fixture->key);
	vault_key_free(&fixture->subordinate);
	X509_STORE_free(fixture->policy.operators.ca);
	free_person(&fixture->operators_ca);
	free_person(&fixture->alice);
	free_person(&fixture->bob);
	vault_action_free(&fixture->action);
	ch_bytes_free(&fixture->tbs);
	free(fixture);
	return 0;
}

bool ask(struct fixture *fixture, purpose check, struct ch_view to_be_signed, struct ch_view content)
{
	vault_check_free(&fixture->check);
	fixture->err = (struct ch_error)CH_NONE;
	fixture->check = (struct vault_check){ .key = &fixture->key,
					       .status_alone = fixture->status_alone,
					       .policy = &fixture->policy,
					       .now_us = NOW,
					       .tenant = "default",
					       .sender_service = fixture->service,
					       .sender_instance = fixture->instance,
					       .sender_names_sha256 = fixture->names_sha256,
					       .to_be_signed = to_be_signed,
					       .content = content,
					       .action = fixture->names_action ? &fixture->action : NULL,
					       .quorum = &fixture->quorum,
					       .find_subject = find_subordinate,
					       .is_ca_name = is_ca_name,
					       .find_state = fixture,
					       .reason = "malformed",
					       .ca_path_length = -1 };
	return check(&fixture->check, &fixture->err);
}

void put_name(struct ch_der_writer *writer, const char *text)
{
	CH_AUTO(ch_bytes) der = name_der(text);

	ch_der_put_raw(writer, ch_view_of(&der));
}

/* --- approvals --- */

void have_approved(struct fixture *fixture, Chancery__ActionKind kind, struct ch_view to_be_signed,
		   const struct ch_action_field *more, size_t more_count)
{
	struct ch_action action = { .kind = kind,
				    .id = "5f0c0c1a77b84a2c9d3c8e0b7d1f2a34",
				    .tenant = "default",
				    .created_us = NOW - fixture->proposed_ago_us,
				    .expires_us = NOW + CH_HOUR,
				    .field_count = 2 + more_count };
	CH_AUTO(ch_string) digest_text = NULL;
	uint8_t digest[64];
	size_t size;

	assert_true(ch_digest("sha256", to_be_signed, digest, &size, &fixture->err));
	digest_text = ch_hex(ch_view(digest, size));
	action.fields[0] = (struct ch_action_field){ (char *)"key", fixture->key.key_id };
	action.fields[1] = (struct ch_action_field){ (char *)"tbs-sha256", digest_text };
	for (size_t i = 0; i < more_count; i++)
		action.fields[2 + i] = more[i];
	write_document(&fixture->action, &action);
	approve(&fixture->action, &fixture->alice);
	approve(&fixture->action, &fixture->bob);
	fixture->names_action = true;
}

/* --- other forms of a document --- */

static bool is_well_formed(struct fixture *fixture, purpose check, struct ch_view to_be_signed,
			   struct ch_view content)
{
	return ask(fixture, check, to_be_signed, content) ||
	       strcmp(fixture->check.reason, "approval-missing") == 0;
}

void assert_truncated_is_malformed(struct fixture *fixture, purpose check, struct ch_view to_be_signed,
				   struct ch_view content)
{
	if (!is_well_formed(fixture, check, to_be_signed, content))
		fail_msg("%s", fixture->err.message);
	for (size_t size = 0; size < to_be_signed.size; size++) {
		uint8_t *exact = malloc(size ? size : 1); /* so that a sanitizer sees an octet too far */

		memcpy(exact, to_be_signed.data, size);
		assert_false(ask(fixture, check, ch_view(exact, size), content));
		assert_string_equal(fixture->check.reason, "malformed");
		free(exact);
	}
}

/* Copies elements; *index counts the constructed ones, of which number `grown` gets a NULL more. */
static void copy_grown(struct ch_der_writer *writer, struct ch_view in, size_t *index, size_t grown)
{
	struct ch_view content, whole;
	struct ch_error err;
	unsigned tag;

	while (in.size) {
		assert_true(ch_der_read_any(&in, "element", &tag, &content, &whole, &err));
		if (!(tag & 0x20)) {
			ch_der_put_raw(writer, whole);
			continue;
		}
		bool grows = (*index)++ == grown;

		ch_der_begin(writer, tag);
		copy_grown(writer, content, index, grown);
		if (grows)
			ch_der_put_null(writer);
		ch_der_finish(writer);
	}
}

struct ch_bytes grow(struct ch_view document, size_t number, size_t *elements)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;

	*elements = 0;
	copy_grown(&writer, document, elements, number);
	return ch_der_done(&writer);
}

static void assert_followed_is_malformed(struct fixture *fixture, purpose check, struct ch_view to_be_signed,
					 struct ch_view content)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_bytes) followed = CH_NONE;

	ch_der_put_raw(&writer, to_be_signed);
	ch_der_put_null(&writer);
	followed = ch_der_done(&writer);
	assert_false(ask(fixture, check, ch_view_of(&followed), content));
	assert_string_equal(fixture->check.reason, "malformed");
}

size_t count_accepted_when_grown(struct fixture *fixture, purpose check, struct ch_view to_be_signed,
				 struct ch_view content)
{
	size_t accepted = 0, elements = 1;

	assert_true(is_well_formed(fixture, check, to_be_signed, content));
	assert_followed_is_malformed(fixture, check, to_be_signed, content);
	for (size_t i = 0; i < elements; i++) {
		CH_AUTO(ch_bytes) grown = grow(to_be_signed, i, &elements);

		accepted += is_well_formed(fixture, check, ch_view_of(&grown), content);
	}
	return accepted;
}
