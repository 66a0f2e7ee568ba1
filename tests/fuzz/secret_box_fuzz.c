/* SPDX-License-Identifier: Apache-2.0 */
/* secret_box_fuzz.c: hostile octets where a sealed secret is expected: nothing that was not sealed opens. */
#include "secrets.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[SECRET_KEY_SIZE] = { 1, 2, 3 };
	static const struct secret_context context = { "default", "gateway", "fuzz" };
	struct ch_view sealed = ch_view(data, size);
	struct ch_secret plaintext = { NULL, 0, 0 };
	struct ch_error err;
	uint32_t version;

	if (secret_box_version(sealed, &version, &err) !=
	    (size >= SECRET_OVERHEAD && size <= SECRET_SIZE_CAP + SECRET_OVERHEAD && data[0] == 1 &&
	     (data[1] | data[2] | data[3] | data[4])))
		abort();
	if (secret_box_open(ch_view(key, sizeof(key)), &context, sealed, &plaintext, &err))
		abort(); /* a forged tag */
	return 0;
}
