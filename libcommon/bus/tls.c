/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c: the TLS that both ends of the bus demand of each other. */
#include "bus/internal.h"

#include <stdarg.h>
#include <stdio.h>

void ch_cleanup_tls_config(nng_tls_config **config)
{
	if (*config)
		nng_tls_config_free(*config);
}

bool ch_bus_fail_nng(struct ch_error *err, int result, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return ch_fail(err, result == NNG_EADDRINUSE ? CH_CONFLICT : CH_INTERNAL, "%s: %s", text,
		       nng_strerror(result));
}

bool ch_bus_tls_config(struct ch_identity *identity, const char *server_name, nng_tls_config **config,
		       struct ch_error *err)
{
	CH_AUTO(tls_config) made = NULL;
	CH_AUTO(ch_identity_pem) pem = CH_NONE;
	int result;

	if (!ch_identity_pem(identity, &pem, err))
		return ch_fail_in(err, "bus TLS");
	result = nng_tls_config_alloc(&made, server_name ? NNG_TLS_MODE_CLIENT : NNG_TLS_MODE_SERVER);
	if (result == 0)
		result = nng_tls_config_auth_mode(made, NNG_TLS_AUTH_MODE_REQUIRED);
	if (result == 0)
		result = nng_tls_config_ca_chain(made, (const char *)pem.system_ca.data, NULL);
	if (result == 0 && server_name)
		result = nng_tls_config_server_name(made, server_name);
	if (result == 0)
		result = nng_tls_config_own_cert(made, (const char *)pem.certificate.data,
						 (const char *)pem.key.data, NULL);
	if (result != 0)
		return ch_bus_fail_nng(err, result, "bus TLS: the identity's certificate, key and system CA");
	*config = CH_STEAL(made);
	return true;
}
