/* SPDX-License-Identifier: Apache-2.0 */
/* ca_document_fuzz.c: any bytes as a CA document: read or refused, never a crash or a leak. */
#include "issuance/issuance.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_ca_document) document = CH_NONE;
	struct ch_error err = CH_NONE;

	if (ch_ca_document_read(ch_view(data, size), &document, &err)) {
		CH_AUTO(ch_bytes) subject = CH_NONE, responder = CH_NONE;

		/* What was accepted can be built: its subject encodes, and so does its responder's. */
		if (!ch_name_parse(document.subject, &subject, &err) ||
		    !ch_subject_with_suffix(ch_view_of(&subject), "OCSP Responder", &responder, &err))
			abort();
	} else if (err.code == CH_OK || err.message[0] == '\0') {
		abort();
	}
	return 0;
}
