/* SPDX-License-Identifier: Apache-2.0 */
/* extensions.c: SEQUENCE OF Extension (RFC 5280 §4.1.2.9), read strictly. The certificate and CRL purposes
 * use it. */
#include "purposes.h"

static bool read_extension(struct ch_view *in, struct vault_extension *extension, struct ch_error *err)
{
	struct ch_view content, octets, rest;

	if (!ch_der_read(in, CH_DER_SEQUENCE, "Extension", &content, err) ||
	    !ch_der_read_oid(&content, "Extension.extnID", &extension->oid, err))
		return false;
	extension->critical = false;
	if (ch_der_next_is(&content, CH_DER_BOOLEAN)) {
		if (!ch_der_read_boolean(&content, "Extension.critical", &extension->critical, err))
			return false;
		if (!extension->critical) /* X.690 §11.5: a default value is not encoded */
			return ch_fail(err, CH_INVALID, "Extension.critical is FALSE, which DER leaves out");
	}
	if (!ch_der_read_octet_string(&content, "Extension.extnValue", &octets, err) ||
	    !ch_der_end(&content, "Extension", err))
		return false;
	extension->value = rest = octets;
	return ch_der_read_any(&rest, "Extension.extnValue", NULL, NULL, NULL, err) &&
	       ch_der_end(&rest, "Extension.extnValue", err);
}

bool vault_read_extension_list(struct ch_view list, struct vault_extensions *extensions, struct ch_error *err)
{
	extensions->count = 0;
	if (list.size == 0)
		return ch_fail(err, CH_INVALID, "Extensions is empty (RFC 5280 §4.1.2.9)");
	while (list.size) {
		struct vault_extension *extension = &extensions->items[extensions->count];

		if (extensions->count == VAULT_EXTENSIONS_CAP)
			return ch_fail(err, CH_TOO_LARGE, "more than %d extensions", VAULT_EXTENSIONS_CAP);
		if (!read_extension(&list, extension, err))
			return false;
		for (size_t i = 0; i < extensions->count; i++)
			if (ch_view_equal(extensions->items[i].oid, extension->oid))
				return ch_fail(err, CH_INVALID, "an extension stands twice (RFC 5280 §4.2)");
		extensions->count++;
	}
	return true;
}

bool vault_read_extensions(struct ch_view *in, struct vault_extensions *extensions, struct ch_error *err)
{
	struct ch_view list;

	return ch_der_read(in, CH_DER_SEQUENCE, "Extensions", &list, err) &&
	       vault_read_extension_list(list, extensions, err);
}

const struct vault_extension *vault_find_extension(const struct vault_extensions *extensions, uint8_t last)
{
	const uint8_t oid[] = { 0x55, 0x1d, last };

	for (size_t i = 0; i < extensions->count; i++)
		if (ch_view_equal(extensions->items[i].oid, ch_view(oid, sizeof(oid))))
			return &extensions->items[i];
	return NULL;
}
