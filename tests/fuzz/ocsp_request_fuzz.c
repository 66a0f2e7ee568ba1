/* SPDX-License-Identifier: Apache-2.0 */
/* ocsp_request_fuzz.c: any octets as an OCSPRequest, and as what follows the path of a GET. */
#include "ocsp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct ch_view part, struct ch_view whole)
{
	if (part.data < whole.data || part.data + part.size > whole.data + whole.size)
		abort();
}

static void read_request(struct ch_view der)
{
	struct ocsp_request request;
	struct ch_error err = CH_NONE;
	const char *reason = NULL;

	if (!ocsp_request_read(der, 16, &request, &reason, &err)) {
		if (!reason || !err.message[0])
			abort();
		return;
	}
	if (request.count < 1 || request.count > 16 || request.nonce.size > OCSP_NONCE_MAX)
		abort();
	for (size_t i = 0; i < request.count; i++) {
		check_inside(request.cert_ids[i].whole, der);
		check_inside(request.cert_ids[i].serial, request.cert_ids[i].whole);
		check_inside(request.cert_ids[i].issuer_key_hash, request.cert_ids[i].whole);
	}
	if (request.nonce.data)
		check_inside(request.nonce, der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_string) text = ch_strndup((const char *)data, size);
	uint8_t octets[256];
	size_t decoded = 0;
	struct ch_error err = CH_NONE;

	read_request(ch_view(data, size));
	if (ocsp_request_decode(text, octets, sizeof(octets), &decoded, &err))
		read_request(ch_view(octets, decoded));
	return 0;
}
