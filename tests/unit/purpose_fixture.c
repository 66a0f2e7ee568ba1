/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_fixture.c: what the tests of the purposes share. */
#include "purpose_fixture.h"

#define POINT 65

struct ch_bytes public_key_info(uint8_t fill)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	uint8_t point[POINT];
	struct ch_error err;

	memset(point, fill, sizeof(point));
	point[0] = 4;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(&writer, "1.2.840.10045.2.1", &err));
	assert_true(ch_der_put_oid(&writer, "1.2.840.10045.3.1.7", &err));
	ch_der_finish(&writer);
	ch_der_put_bit_string(&writer, ch_view(point, sizeof(point)));
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

struct ch_bytes name_der(const char *text)
{
	struct ch_bytes der;
	struct ch_error err;

	if (!ch_name_parse(text, &der, &err))
		fail_msg("%s", err.message);
	return der;
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
}

static const struct vault_key *find_subordinate(void *state, struct ch_view info, struct ch_error *err)
{
	struct fixture *fixture = state;

	if (ch_view_equal(info, ch_view_of(&fixture->subordinate.public_key_info)))
		return &fixture->subordinate;
	ch_fail(err, CH_NOT_FOUND, "no such key");
	return NULL;
}

int fixture_set_up(void **state)
{
	struct fixture *fixture = ch_alloc(sizeof(*fixture));

	make_key(&fixture->key, "a", CA_SUBJECT, 0x11);
	make_key(&fixture->subordinate, "b", "CN=Sub CA", 0x22);
	fixture->policy = (struct vault_policy){ .clock_tolerance_us = 5 * CH_MINUTE,
						 .timestamp_tolerance_us = CH_SECOND,
						 .crl_max_validity_us = 30 * CH_DAY,
						 .ocsp_max_validity_us = 10 * CH_DAY,
						 .operators_ca = X509_STORE_new() };
	*state = fixture;
	return 0;
}

int fixture_tear_down(void **state)
{
	struct fixture *fixture = *state;

	vault_check_free(&fixture->check);
	vault_key_free(&fixture->key);
	vault_key_free(&fixture->subordinate);
	X509_STORE_free(fixture->policy.operators_ca);
	ch_bytes_free(&fixture->tbs);
	free(fixture);
	return 0;
}

bool ask(struct fixture *fixture, purpose check, struct ch_view to_be_signed, struct ch_view content)
{
	vault_check_free(&fixture->check);
	fixture->err = (struct ch_error)CH_NONE;
	fixture->check = (struct vault_check){ .key = &fixture->key,
					       .policy = &fixture->policy,
					       .now_us = NOW,
					       .tenant = "default",
					       .sender_service = fixture->service,
					       .sender_instance = fixture->instance,
					       .to_be_signed = to_be_signed,
					       .content = content,
					       .find_subject = find_subordinate,
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
