/* SPDX-License-Identifier: Apache-2.0 */
/* ceremony_fuzz.c: any bytes as the document of a key ceremony: read or refused, and what is read can be
 * rehearsed or says why not. */
#include "ceremony/ceremony.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RSA keys take too long to make, and certificates of CAs that exist would be files of this machine. */
static bool is_quick(const struct ceremony_document *document)
{
	const struct ch_ca_document *cas = document->file.cas.items;

	for (size_t i = 0; i < document->file.cas.count; i++)
		if (strncmp(cas[i].key, "rsa", 3) == 0)
			return false;
	return document->file.existing.count == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ceremony_document) document = CH_NONE;
	CH_AUTO(ceremony_plan) plan = CH_NONE;
	struct ch_error err = CH_NONE;

	if (ceremony_parse(ch_view(data, size), "document", &document, &err) &&
	    (!is_quick(&document) || ceremony_rehearse(&document, &plan, &err)))
		return 0;
	if (err.code == CH_OK || err.message[0] == '\0')
		abort();
	return 0;
}
