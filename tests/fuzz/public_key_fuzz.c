/* SPDX-License-Identifier: Apache-2.0 */
/* public_key_fuzz.c: hostile SubjectPublicKeyInfos and Names: what is rebuilt reads as itself. */
#include "x509/name.h"
#include "x509/public_key.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_key(struct ch_view info)
{
	CH_AUTO(ch_bytes) rebuilt = CH_NONE;
	CH_AUTO(ch_bytes) again = CH_NONE;
	struct ch_spki read, spki;
	struct ch_error err;

	if (!ch_spki_check(info, &read, &err))
		return;
	if (!ch_spki_rebuild(info, &rebuilt, &err) || !ch_spki_check(ch_view_of(&rebuilt), &spki, &err) ||
	    spki.compressed || !ch_spki_equal(&read, &spki) || spki.algorithm != read.algorithm)
		abort();
	/* Strict reading leaves nothing to choose: what was not compressed was written like that. */
	if (!read.compressed && !ch_view_equal(info, ch_view_of(&rebuilt)))
		abort();
	if (!ch_spki_rebuild(ch_view_of(&rebuilt), &again, &err) ||
	    !ch_view_equal(ch_view_of(&rebuilt), ch_view_of(&again)))
		abort();
}

static void fuzz_name(struct ch_view name)
{
	CH_AUTO(ch_bytes) rebuilt = CH_NONE;
	struct ch_error err;
	bool strict = ch_name_check(name, &err);

	if (!ch_name_rebuild(name, &rebuilt, &err)) {
		if (strict)
			abort();
		return;
	}
	if (!ch_name_check(ch_view_of(&rebuilt), &err) ||
	    (strict && !ch_view_equal(name, ch_view_of(&rebuilt))))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_key(ch_view(data, size));
	fuzz_name(ch_view(data, size));
	return 0;
}
