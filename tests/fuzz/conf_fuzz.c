/* SPDX-License-Identifier: Apache-2.0 */
/* conf_fuzz.c: any bytes as a document that came over the network, against a schema with every type. */
#include "conf/conf.h"

#include "clock/clock.h"

#include <stdlib.h>

struct fuzz_inner {
	char *text;
	struct ch_conf_strings list;
};
struct fuzz_outer {
	char *name;
	int64_t count;
	bool on;
	int64_t wait_us;
	int64_t cap;
	struct ch_conf_strings tags;
	struct fuzz_inner inner;
	struct ch_conf_list items;
};

static const struct ch_conf_field inner_fields[] = {
	CH_CONF_FIELD(struct fuzz_inner, text, CH_CONF_STRING, .required = true),
	CH_CONF_FIELD(struct fuzz_inner, list, CH_CONF_STRING_LIST, .choices = "a|b"),
};
static const struct ch_conf_schema inner_schema = { "inner", inner_fields, CH_COUNT(inner_fields) };
static const struct ch_conf_field outer_fields[] = {
	CH_CONF_FIELD(struct fuzz_outer, name, CH_CONF_STRING, .required = true),
	CH_CONF_FIELD(struct fuzz_outer, count, CH_CONF_INTEGER, .min = -10, .max = 10),
	CH_CONF_FIELD(struct fuzz_outer, on, CH_CONF_BOOLEAN),
	CH_CONF_NAMED("wait", struct fuzz_outer, wait_us, CH_CONF_DURATION, .default_text = "5s"),
	CH_CONF_FIELD(struct fuzz_outer, cap, CH_CONF_SIZE),
	CH_CONF_FIELD(struct fuzz_outer, tags, CH_CONF_STRING_LIST, .default_text = "[x]"),
	CH_CONF_SUB(struct fuzz_outer, inner, &inner_schema, .nullable_section = true),
	CH_CONF_FIELD(struct fuzz_outer, items, CH_CONF_SECTION_LIST, .schema = &inner_schema,
		      .element_size = sizeof(struct fuzz_inner), .max = 4),
};
static const struct ch_conf_schema outer_schema = { "outer", outer_fields, CH_COUNT(outer_fields) };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_outer outer = CH_NONE;
	struct ch_error err = CH_NONE;

	if (ch_conf_read(&outer_schema, ch_view(data, size), "", &outer, &err)) {
		if (!outer.name || outer.count < -10 || outer.count > 10 || outer.items.count > 4)
			abort();
		ch_conf_free(&outer_schema, &outer);
	} else if (outer.name || !err.message[0]) {
		abort();
	}
	return 0;
}
