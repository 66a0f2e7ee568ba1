/* SPDX-License-Identifier: Apache-2.0 */
/* crl_read_fuzz.c: hostile TBSCertLists: what is read can be written again, and then reads the same. */
#include "issuance/crl.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The corpus's issuer: CN=a. */
static const uint8_t issuer_name[] = { 0x30, 0x0c, 0x31, 0x0a, 0x30, 0x08, 0x06,
				       0x03, 0x55, 0x04, 0x03, 0x0c, 0x01, 0x61 };

static bool add(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	if (!ch_crl_add(context, entry, err))
		abort();
	return true;
}

static bool count(void *context, const struct ch_crl_entry *entry, struct ch_error *err)
{
	++*(uint64_t *)context;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ch_crl_issuer issuer = { .algorithm = ch_algorithm_find("ecdsa-p256"),
					      .subject_der = ch_view(issuer_name, sizeof(issuer_name)) };
	CH_AUTO(ch_crl_builder) builder = CH_NONE;
	CH_AUTO(ch_bytes) again = CH_NONE;
	uint64_t seen = 0;
	struct ch_error err;
	bool read;

	ch_crl_begin(&builder, &issuer, 0, CH_DAY);
	read = ch_crl_entries(ch_view(data, size), issuer.subject_der, add, &builder, &err);
	again = ch_crl_finish(&builder, &issuer, 1);
	if (!ch_crl_entries(ch_view_of(&again), issuer.subject_der, count, &seen, &err) ||
	    seen != builder.entries)
		abort();
	(void)read;
	return 0;
}
