/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_json_fuzz.c: any octets as a JSON body of the REST interface. */
#include "json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const known[] = { "profile", "csr", "subject_alt_names", NULL };
	CH_AUTO(cJSON) tree = NULL;
	struct ch_view text = ch_view(data, size);
	const cJSON *list;
	const char *value;
	struct ch_error err;
	bool good = json_check(text, &err);

	/* what the check lets through, cJSON must take: they read the same language */
	if (good) {
		cJSON *parsed = cJSON_ParseWithLength((const char *)data, size);

		if (!parsed)
			abort();
		cJSON_Delete(parsed);
	}
	if (!json_read_object(text, &tree, &err))
		return 0;
	if (!good)
		abort();
	(void)!json_only(tree, "the body", known, &err);
	(void)!json_string(tree, "profile", JSON_REQUIRED, 63, &value, &err);
	(void)!json_array(tree, "subject_alt_names", JSON_OPTIONAL, 100, &list, &err);
	return 0;
}
