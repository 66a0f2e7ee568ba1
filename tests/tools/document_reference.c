/* SPDX-License-Identifier: Apache-2.0 */
/* document_reference.c: prints the reference table of a document that people write: `document_reference
 * ca-document`, `profile` or `ceremony`. docs/update-configuration calls it, so that docs/configuration.md
 * says what the schemas say. */
#include "ceremony/ceremony.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	const struct ch_conf_schema *schema;
} documents[] = {
	{ "ca-document", &ch_ca_document_schema },
	{ "profile", &ch_profile_schema },
	{ "ceremony", &ceremony_schema },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < CH_COUNT(documents); i++) {
		if (strcmp(argv[1], documents[i].name) != 0)
			continue;
		CH_AUTO(ch_string) table = ch_conf_describe(documents[i].schema);

		printf("| key | type | default | range | meaning |\n|---|---|---|---|---|\n%s", table);
		return 0;
	}
	fprintf(stderr, "usage: document_reference ca-document|profile|ceremony\n");
	return 2;
}
