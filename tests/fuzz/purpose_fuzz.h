/* SPDX-License-Identifier: Apache-2.0 */
/* purpose_fuzz.h: a key of every purpose and a fixed time, for the fuzz targets of the vault's purposes. */
#ifndef PURPOSE_FUZZ_H
#define PURPOSE_FUZZ_H

#include "purposes.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* 2026-11-21T01:00:00Z: what the corpus was made for, so that it gets past the checks of time. */
#define FUZZ_NOW (INT64_C(1795222800) * CH_SECOND)

static const struct vault_key *fuzz_find_subject(void *state, struct ch_view info, struct ch_error *err)
{
	(void)info;
	(void)err;
	return state;
}

/* One name of a CA beside the key's own: CN=Sub CA. */
static bool fuzz_is_ca_name(void *state, struct ch_view name, bool *is, struct ch_error *err)
{
	static const uint8_t subordinate[] = { 0x30, 0x11, 0x31, 0x0f, 0x30, 0x0d, 0x06, 0x03, 0x55, 0x04,
					       0x03, 0x0c, 0x06, 'S',  'u',  'b',  ' ',  'C',  'A' };

	(void)state;
	return ch_name_equal(name, ch_view(subordinate, sizeof(subordinate)), is, err);
}

static inline void fuzz_purpose(bool (*check)(struct vault_check *check, struct ch_error *err),
				struct ch_view to_be_signed, struct ch_view content)
{
	/* CN=Test CA */
	static uint8_t subject[] = { 0x30, 0x12, 0x31, 0x10, 0x30, 0x0e, 0x06, 0x03, 0x55, 0x04,
				     0x03, 0x0c, 0x07, 'T',  'e',  's',  't',  ' ',  'C',  'A' };
	static char policy[] = "1.3.6.1.4.1.99999.1.1", origin[] = "chancery.example/log";
	static char *policies[] = { policy }, extra[] = "1.2.3.4", *extras[] = { extra };
	struct vault_key key = { .algorithm = ch_algorithm_find("ecdsa-p256"),
				 .purposes = ~0u,
				 .subject_der = { subject, sizeof(subject) },
				 .ca_not_before_us = 1,
				 .ca_not_after_us = FUZZ_NOW + 10000 * CH_DAY,
				 .ca_path_length = -1,
				 .timestamp_policies = policies,
				 .timestamp_policy_count = 1,
				 .checkpoint_origin = origin,
				 .extra_extensions = extras,
				 .extra_extension_count = 1 };
	const struct vault_policy limits = { .clock_tolerance_us = CH_HOUR,
					     .timestamp_tolerance_us = CH_HOUR,
					     .crl_max_validity_us = 400 * CH_DAY,
					     .ocsp_max_validity_us = 400 * CH_DAY };
	struct vault_check question = { .key = &key,
					.policy = &limits,
					.now_us = FUZZ_NOW,
					.tenant = "",
					.sender_service = "ocsp",
					.sender_instance = "ocsp-1",
					.to_be_signed = to_be_signed,
					.content = content,
					.find_subject = fuzz_find_subject,
					.is_ca_name = fuzz_is_ca_name,
					.find_state = &key,
					.reason = "malformed" };
	struct ch_error err = CH_NONE;

	/* A refusal always says why; a signature always is for bytes that were there. */
	if (!check(&question, &err) && (!err.message[0] || err.code == CH_OK || !question.reason))
		abort();
	vault_check_free(&question);
}

#endif
