/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_header_fuzz.c: any octets as the beginning of a connection on a PROXY listener. */
#include "http/proxy_header.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_proxy_header header;
	struct http_proxy_header again;
	struct ch_error err;
	enum http_proxy_result result = http_proxy_header_read(ch_view(data, size), &header, &err);

	if (result == HTTP_PROXY_BAD && !err.message[0])
		abort();
	if (result != HTTP_PROXY_DONE)
		return 0;
	/* what follows the header must not matter, and one octet less must not do */
	if (header.size > size || header.size > HTTP_PROXY_HEADER_CAP ||
	    http_proxy_header_read(ch_view(data, header.size), &again, &err) != HTTP_PROXY_DONE ||
	    again.size != header.size ||
	    http_proxy_header_read(ch_view(data, header.size - 1), &again, &err) != HTTP_PROXY_MORE)
		abort();
	return 0;
}
