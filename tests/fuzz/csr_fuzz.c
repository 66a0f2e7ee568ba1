/* SPDX-License-Identifier: Apache-2.0 */
/* csr_fuzz.c: any bytes as a certification request; what is read has its members set and can be freed. */
#include "x509/x509.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_csr) csr = CH_NONE;
	struct ch_error err = CH_NONE;
	if (ch_csr_read(ch_view(data, size), &csr, &err)) {
		if (!csr.subject || !csr.key_description || !csr.public_key_info.size)
			abort();
	} else if (err.code == CH_OK || err.code == CH_INTERNAL || !err.message[0]) {
		abort();
	}
	if (!ch_check_weak_key(ch_view(data, size), &err) && err.code == CH_INTERNAL)
		abort();
	return 0;
}
