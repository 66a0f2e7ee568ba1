/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unmet.c: what a CSR asks for and its certificate does not get. Nobody is left to find out from the
 * certificate: issue.c tells it in the answer, or the profile has such a request refused.
 */
#include "issuance/issuance.h"

#include <stdlib.h>
#include <string.h>

void ch_unmet_free(struct ch_unmet *unmet)
{
	for (size_t i = 0; i < unmet->count; i++)
		free(unmet->items[i]);
	free(unmet->items);
	*unmet = (struct ch_unmet)CH_NONE;
}

static void add(struct ch_unmet *unmet, char *text)
{
	if (unmet->count >= CH_UNMET_MAX) {
		free(text);
		return;
	}
	if (unmet->count == CH_UNMET_MAX - 1) {
		free(text);
		text = ch_strdup("and more");
	}
	unmet->items = ch_realloc(unmet->items, (unmet->count + 1) * sizeof(*unmet->items));
	unmet->items[unmet->count++] = text;
}

/* RFC 5280 §4.2.1.3, in the order of the bits. */
static const char *const usages[] = { "digitalSignature", "nonRepudiation", "keyEncipherment",
				      "dataEncipherment", "keyAgreement",   "keyCertSign",
				      "cRLSign",          "encipherOnly",   "decipherOnly" };

static bool find_usages(struct ch_view value, unsigned given, struct ch_unmet *unmet, struct ch_error *err)
{
	struct ch_view bits;

	if (!ch_der_read(&value, CH_DER_BIT_STRING, "keyUsage", &bits, err) ||
	    !ch_der_end(&value, "keyUsage", err))
		return false;
	if (bits.size < 1 || bits.size > 3)
		return ch_fail(err, CH_INVALID, "keyUsage is no BIT STRING of at most 9 bits");
	for (size_t i = 0; i < CH_COUNT(usages); i++) {
		bool asked = i / 8 + 1 < bits.size && bits.data[i / 8 + 1] & 0x80 >> i % 8;

		/* OpenSSL's KU_ bits: the first octet as it is */
		if (asked && (i >= 8 || !(given & 0x80u >> i)))
			add(unmet, ch_format("keyUsage %s", usages[i]));
	}
	return true;
}

static bool has_usage(const struct ch_profile *profile, const char *oid)
{
	for (size_t i = 0; i < profile->extended_key_usage.count; i++)
		if (strcmp(profile->extended_key_oids[i], oid) == 0)
			return true;
	return false;
}

static bool find_extended_usages(const struct ch_profile *profile, struct ch_view value,
				 struct ch_unmet *unmet, struct ch_error *err)
{
	struct ch_view list, oid;

	if (!ch_der_read(&value, CH_DER_SEQUENCE, "extendedKeyUsage", &list, err) ||
	    !ch_der_end(&value, "extendedKeyUsage", err))
		return false;
	while (list.size > 0) {
		CH_AUTO(ch_string) text = NULL;

		if (!ch_der_read_oid(&list, "extendedKeyUsage", &oid, err))
			return false;
		text = ch_der_oid_text(oid);
		if (text && !has_usage(profile, text))
			add(unmet, ch_format("extendedKeyUsage %s", ch_extended_key_usage_name(text)));
	}
	return true;
}

static bool find_policies(const struct ch_profile *profile, struct ch_view value, struct ch_unmet *unmet,
			  struct ch_error *err)
{
	struct ch_view list, information, oid;

	if (!ch_der_read(&value, CH_DER_SEQUENCE, "certificatePolicies", &list, err) ||
	    !ch_der_end(&value, "certificatePolicies", err))
		return false;
	while (list.size > 0) {
		CH_AUTO(ch_string) text = NULL;

		if (!ch_der_read(&list, CH_DER_SEQUENCE, "PolicyInformation", &information, err) ||
		    !ch_der_read_oid(&information, "PolicyInformation", &oid, err))
			return false;
		text = ch_der_oid_text(oid);
		if (text && (information.size > 0 || !ch_strings_contain(&profile->policies, text)))
			add(unmet, ch_format("certificatePolicies %s", text));
	}
	return true;
}

static bool find_key_identifier(const struct ch_csr *csr, struct ch_view value, struct ch_unmet *unmet,
				struct ch_error *err)
{
	struct ch_view asked;
	uint8_t given[64];
	size_t size;

	if (!ch_der_read_octet_string(&value, "subjectKeyIdentifier", &asked, err) ||
	    !ch_key_identifier(ch_view_of(&csr->public_key_info), "sha1", given, &size, err))
		return false;
	if (!ch_view_equal(asked, ch_view(given, size)))
		add(unmet, ch_strdup("subjectKeyIdentifier"));
	return true;
}

static bool find_wish(const struct ch_profile *profile, const struct ch_csr *csr,
		      const struct ch_csr_wish *wish, struct ch_unmet *unmet, struct ch_error *err)
{
	struct ch_view value = ch_view_of(&wish->value);

	if (strcmp(wish->oid, "2.5.29.15") == 0)
		return find_usages(value,
				   csr->algorithm ? ch_key_usage_for(profile->key_usage, csr->algorithm) : 0,
				   unmet, err);
	if (strcmp(wish->oid, "2.5.29.37") == 0)
		return find_extended_usages(profile, value, unmet, err);
	if (strcmp(wish->oid, "2.5.29.32") == 0)
		return find_policies(profile, value, unmet, err);
	if (strcmp(wish->oid, "2.5.29.14") == 0)
		return find_key_identifier(csr, value, unmet, err);
	if (strcmp(wish->oid, "1.3.6.1.5.5.7.1.24") == 0) /* RFC 7633 */
		add(unmet, ch_strdup("tlsfeature (must-staple)"));
	else
		add(unmet, ch_format("extension %.100s", wish->oid));
	return true;
}

static bool stands_in(const struct ch_sans *sans, const struct ch_san *san)
{
	for (size_t i = 0; i < sans->count; i++)
		if (sans->items[i].type == san->type && strcmp(sans->items[i].value, san->value) == 0)
			return true;
	return false;
}

bool ch_unmet_find(const struct ch_profile *profile, const struct ch_csr *csr, const struct ch_sans *sans,
		   struct ch_unmet *unmet, struct ch_error *err)
{
	CH_AUTO(ch_unmet) found = CH_NONE;

	for (size_t i = 0; i < csr->wish_count; i++)
		if (!find_wish(profile, csr, &csr->wishes[i], &found, err))
			return ch_fail_in(err, "certification request");
	/* Names beside the CSR stand instead of the CSR's. */
	for (size_t i = 0; i < csr->sans.count; i++)
		if (!stands_in(sans, &csr->sans.items[i]))
			add(&found,
			    ch_format("subjectAltName %s:%.200s", ch_san_type_name(csr->sans.items[i].type),
				      csr->sans.items[i].value));
	*unmet = CH_STEAL(found);
	return true;
}
