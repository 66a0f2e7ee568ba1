/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c: the server's certificate and key, and the check of a client's certificate. GnuTLS is what
 * libmicrohttpd speaks TLS with. */
#include "http/internal.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>

#define PEM_CAP (256 * 1024)

static bool load_pem(const char *path, struct ch_bytes *pem, struct ch_error *err)
{
	CH_AUTO(ch_bytes) content = CH_NONE;

	if (!ch_read_file(path, PEM_CAP, &content, err))
		return false;
	*pem = (struct ch_bytes){ ch_alloc(content.size + 1), content.size + 1 };
	memcpy(pem->data, content.data, content.size);
	return true;
}

bool http_tls_load(const struct ch_http_config *config, struct http_tls *tls, struct ch_error *err)
{
	if (!config->tls_key)
		return ch_fail(err, CH_INVALID, "http.tls_certificate is set without http.tls_key");
	return load_pem(config->tls_certificate, &tls->certificate, err) &&
	       ch_secret_read_file(config->tls_key, PEM_CAP, &tls->key, err) &&
	       (!config->tls_client_ca || load_pem(config->tls_client_ca, &tls->client_ca, err));
}

void http_tls_free(struct http_tls *tls)
{
	ch_bytes_free(&tls->certificate);
	ch_bytes_free(&tls->client_ca);
	ch_secret_free(&tls->key);
}

static bool refuse(struct http_connection *connection, const char *why)
{
	connection->certificate_state = CERTIFICATE_BAD;
	return ch_fail(&connection->certificate_error, CH_UNAUTHENTICATED, "client certificate refused: %s",
		       why);
}

static bool remember_expiry(struct http_connection *connection, const gnutls_datum_t *der)
{
	gnutls_x509_crt_t certificate;
	bool read;

	if (gnutls_x509_crt_init(&certificate) < 0)
		return false;
	read = gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) >= 0;
	connection->certificate_expires = read ? gnutls_x509_crt_get_expiration_time(certificate) : 0;
	gnutls_x509_crt_deinit(certificate);
	return read;
}

/* GnuTLS has checked in the handshake that the client holds the key; here its chain, dates and purpose. */
static bool verify(gnutls_session_t session, struct http_connection *connection)
{
	gnutls_typed_vdata_st purpose = { GNUTLS_DT_KEY_PURPOSE_OID, (void *)GNUTLS_KP_TLS_WWW_CLIENT, 0 };
	unsigned count = 0;
	unsigned status = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
	gnutls_datum_t text = { NULL, 0 };
	bool accepted;

	if (!chain || !count) {
		connection->certificate_state = CERTIFICATE_NONE;
		return true;
	}
	if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) < 0)
		return refuse(connection, "it cannot be verified");
	if (status) {
		gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
		accepted = refuse(connection, text.data ? (const char *)text.data : "not trusted");
		gnutls_free(text.data);
		return accepted;
	}
	if (!remember_expiry(connection, &chain[0]))
		return refuse(connection, "it does not decode");
	connection->certificate = ch_view(chain[0].data, chain[0].size);
	connection->certificate_state = CERTIFICATE_GOOD;
	return true;
}

bool http_tls_check_client(struct MHD_Connection *mhd, struct http_connection *connection,
			   struct ch_error *err)
{
	const union MHD_ConnectionInfo *info;

	if (connection->certificate_state == CERTIFICATE_UNCHECKED) {
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
		if (!info)
			return ch_fail(err, CH_INTERNAL, "a TLS connection without a TLS session");
		(void)verify((gnutls_session_t)info->tls_session, connection);
	}
	/* a connection may outlive the certificate that opened it */
	if (connection->certificate_state == CERTIFICATE_GOOD &&
	    connection->certificate_expires < time(NULL)) {
		connection->certificate = ch_view(NULL, 0);
		refuse(connection, "it has expired");
	}
	if (connection->certificate_state != CERTIFICATE_BAD)
		return true;
	*err = connection->certificate_error;
	return false;
}
