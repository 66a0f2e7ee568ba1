/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_equal.c: whether two distinguished names are one name to those who look for an issuer by it. The
 * vault's purposes call it.
 */
#include "x509/x509.h"

bool ch_name_read(struct ch_view der, X509_NAME **name, struct ch_error *err)
{
	const uint8_t *at = der.data;

	if (der.size > CH_CERTIFICATE_CAP)
		return ch_fail(err, CH_TOO_LARGE, "name of %zu octets, at most %d allowed", der.size,
			       CH_CERTIFICATE_CAP);
	*name = d2i_X509_NAME(NULL, &at, (long)der.size);
	if (*name && at == der.data + der.size)
		return true;
	X509_NAME_free(*name);
	*name = NULL;
	return ch_fail_openssl(err, CH_INVALID, "name");
}

bool ch_name_equal(struct ch_view a, struct ch_view b, bool *equal, struct ch_error *err)
{
	CH_AUTO(X509_NAME) first = NULL, second = NULL;

	*equal = ch_view_equal(a, b);
	if (*equal)
		return true;
	if (!ch_name_read(a, &first, err) || !ch_name_read(b, &second, err))
		return false;
	*equal = X509_NAME_cmp(first, second) == 0;
	return true;
}
