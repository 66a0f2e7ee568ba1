/* SPDX-License-Identifier: Apache-2.0 */
/* subject.c: the names of the suite's own signers. responders.c calls it. */
#include "issuance/issuance.h"

#include "x509/name.h"

#include <string.h>

/* At most 64 characters with the suffix whole: the common name gives way, at a character's boundary. */
static char *join_common_name(struct ch_view common_name, const char *suffix)
{
	size_t room = 64 - strlen(suffix) - 1;
	size_t size = common_name.size;

	if (size > room) {
		size = room;
		while (size > 0 && (common_name.data[size] & 0xc0) == 0x80)
			size--;
	}
	return ch_format("%.*s %s", (int)size, (const char *)common_name.data, suffix);
}

static void put_common_name(struct ch_der_writer *writer, const char *text)
{
	const struct ch_name_item item = { .attribute = ch_name_attribute_find("CN", 2),
					   .value = ch_view_text(text) };

	ch_name_put_rdn(writer, &item, 1);
}

bool ch_subject_with_suffix(struct ch_view ca_subject_der, const char *suffix, struct ch_bytes *der,
			    struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	CH_AUTO(ch_string) common_name = NULL;
	struct ch_view rest = ca_subject_der, sequence;

	if (!ch_der_read(&rest, CH_DER_SEQUENCE, "Name", &sequence, err))
		return false;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	while (sequence.size > 0) {
		struct ch_name_item item;
		struct ch_view whole = sequence, rdn = CH_NONE;

		if (!ch_name_next(&sequence, &rdn, &item, err))
			return false;
		whole.size = (size_t)(sequence.data - whole.data);
		if (strcmp(item.attribute->name, "CN") == 0) {
			free(CH_STEAL(common_name));
			common_name = join_common_name(item.value, suffix);
		} else {
			ch_der_put_raw(&writer, whole);
		}
	}
	if (!common_name)
		common_name = ch_strdup(suffix);
	put_common_name(&writer, common_name);
	ch_der_finish(&writer);
	*der = ch_der_done(&writer);
	return true;
}
