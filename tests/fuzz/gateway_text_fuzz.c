/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_text_fuzz.c: any octets as a wrapped CSR, as base64, as a query, as a time. */
#include "text.h"

#include "http/parse.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(struct ch_view input)
{
	CH_AUTO(ch_bytes) decoded = CH_NONE;
	CH_AUTO(ch_bytes) again = CH_NONE;
	struct ch_error err;

	if (!text_base64(input, &decoded, &err))
		return;
	CH_AUTO(ch_string) text = text_to_base64(ch_view_of(&decoded));
	if (!text_base64(ch_view_text(text), &again, &err) ||
	    !ch_view_equal(ch_view_of(&decoded), ch_view_of(&again)))
		abort();
}

static void check_texts(const char *text)
{
	struct http_pair *pairs = NULL;
	size_t count = 0;
	int64_t number;
	char serial[41];
	struct ch_error err;

	if (http_query_parse(text, &pairs, &count, &err)) {
		for (size_t i = 0; i < count; i++)
			if (!http_utf8_valid(ch_view_text(pairs[i].value)))
				abort();
		http_pairs_free(pairs, count);
		free(pairs);
	}
	(void)!text_time(text, &number, &err);
	(void)!text_duration(text, &number, &err);
	(void)!text_serial(text, serial, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_string) text = ch_strndup(size ? (const char *)data : "", size);
	struct ch_view input = ch_view(data, size);
	struct ch_error err;

	(void)!text_csr_unwrap(input, &der, &err);
	check_base64(input);
	check_texts(text);
	return 0;
}
