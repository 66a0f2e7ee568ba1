/* SPDX-License-Identifier: Apache-2.0 */
/* tsa_request_fuzz.c: any octets as TimeStampReq: read with views inside them, or refused with a failure that
 * has a name. */
#include "tsa.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require_inside(struct ch_view view, const uint8_t *data, size_t size)
{
	if (view.data && (view.data < data || view.data + view.size > data + size))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tsa_request request;
	struct ch_error err = CH_NONE;
	enum tsa_failure failure;
	if (!tsa_request_read(ch_view(data, size), &request, &failure, &err)) {
		if (!strcmp(tsa_failure_name(failure), "unknown") || !err.message[0])
			abort();
		return 0;
	}
	require_inside(request.message_imprint, data, size);
	require_inside(request.policy, data, size);
	require_inside(request.nonce, data, size);
	if (!request.message_imprint.data)
		abort();
	return 0;
}
