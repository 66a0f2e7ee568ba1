/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c: the TLS that both ends of the bus demand of each other. */
#include "bus/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define PEM_CAP (64 * 1024)

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

static char *as_text(struct ch_view pem)
{
	return ch_strndup(pem.data ? (const char *)pem.data : "", pem.size);
}

static bool set_own(nng_tls_config *config, const struct ch_identity_config *files, struct ch_error *err)
{
	CH_AUTO(ch_bytes) certificate = CH_NONE;
	CH_AUTO(ch_secret) key = CH_NONE;
	CH_AUTO(ch_string) certificate_text = NULL;
	char *key_text;
	int result;

	if (!ch_read_file(files->certificate, PEM_CAP, &certificate, err) ||
	    !ch_secret_read_file(files->key, PEM_CAP, &key, err))
		return ch_fail_in(err, "bus TLS");
	certificate_text = as_text(ch_view_of(&certificate));
	key_text = as_text(ch_view(key.data, key.size));
	result = nng_tls_config_own_cert(config, certificate_text, key_text, NULL);
	ch_wipe(key_text, key.size);
	free(key_text);
	return result == 0 ||
	       ch_bus_fail_nng(err, result, "bus TLS: certificate '%s' and key", files->certificate);
}

bool ch_bus_tls_config(const struct ch_identity_config *files, const char *server_name,
		       nng_tls_config **config, struct ch_error *err)
{
	CH_AUTO(tls_config) made = NULL;
	CH_AUTO(ch_bytes) ca = CH_NONE;
	CH_AUTO(ch_string) ca_text = NULL;
	int result;

	if (!ch_read_file(files->system_ca, PEM_CAP, &ca, err))
		return ch_fail_in(err, "bus TLS");
	ca_text = as_text(ch_view_of(&ca));
	result = nng_tls_config_alloc(&made, server_name ? NNG_TLS_MODE_CLIENT : NNG_TLS_MODE_SERVER);
	if (result == 0)
		result = nng_tls_config_auth_mode(made, NNG_TLS_AUTH_MODE_REQUIRED);
	if (result == 0)
		result = nng_tls_config_ca_chain(made, ca_text, NULL);
	if (result == 0 && server_name)
		result = nng_tls_config_server_name(made, server_name);
	if (result != 0)
		return ch_bus_fail_nng(err, result, "bus TLS with system CA '%s'", files->system_ca);
	if (!set_own(made, files, err))
		return false;
	*config = CH_STEAL(made);
	return true;
}
