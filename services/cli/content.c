/* SPDX-License-Identifier: Apache-2.0 */
/* content.c: tells keys, requests and certificates apart by their PEM labels (RFC 7468) or their outer DER.
 */
#include "content.h"

#include "der/der.h"
#include "x509/x509.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_CAP   (64 * 1024)
#define REQUEST_LABEL "CERTIFICATE REQUEST"

static void set(struct content_kind *kind, enum content_class class, const char *text)
{
	kind->class = class;
	snprintf(kind->text, sizeof(kind->text), "%s", text);
}

/* --- PEM --- */

static const struct {
	const char *label;
	enum content_class class;
	const char *text;
} labels[] = {
	{ REQUEST_LABEL, CONTENT_REQUEST, "a certification request" },
	{ "NEW CERTIFICATE REQUEST", CONTENT_REQUEST, "a certification request" },
	{ "CERTIFICATE", CONTENT_CERTIFICATE, "a certificate" },
	{ "X509 CERTIFICATE", CONTENT_CERTIFICATE, "a certificate" },
	{ "TRUSTED CERTIFICATE", CONTENT_CERTIFICATE, "a certificate" },
	{ "PUBLIC KEY", CONTENT_PUBLIC_KEY, "a public key" },
	{ "X509 CRL", CONTENT_OTHER, "a CRL" },
	{ "PKCS7", CONTENT_OTHER, "PKCS#7" },
	{ "CMS", CONTENT_OTHER, "CMS" },
	{ "PRIVATE KEY", CONTENT_PRIVATE_KEY, "a private key (PKCS#8)" },
	{ "ENCRYPTED PRIVATE KEY", CONTENT_PRIVATE_KEY, "a private key (PKCS#8, encrypted)" },
	{ "RSA PRIVATE KEY", CONTENT_PRIVATE_KEY, "a private key (PKCS#1)" },
	{ "EC PRIVATE KEY", CONTENT_PRIVATE_KEY, "a private key (SEC 1)" },
	{ "OPENSSH PRIVATE KEY", CONTENT_PRIVATE_KEY, "a private key (OpenSSH)" },
};

/* `after` is what follows the label's line: older forms say there that they are encrypted (RFC 1421
 * §4.6.1.1). */
static void kind_of_label(const char *label, const char *after, struct content_kind *kind)
{
	bool encrypted = strncmp(after, "Proc-Type: 4,ENCRYPTED", 22) == 0;

	for (size_t i = 0; i < CH_COUNT(labels); i++) {
		if (strcmp(labels[i].label, label) != 0)
			continue;
		set(kind, labels[i].class, labels[i].text);
		if (encrypted && labels[i].class == CONTENT_PRIVATE_KEY)
			snprintf(kind->text, sizeof(kind->text), "%.*s, encrypted)",
				 (int)strlen(labels[i].text) - 1, labels[i].text);
		return;
	}
	kind->class = strstr(label, "PRIVATE") ? CONTENT_PRIVATE_KEY : CONTENT_OTHER;
	snprintf(kind->text, sizeof(kind->text), "%s'%.40s'",
		 kind->class == CONTENT_PRIVATE_KEY ? "a private key: " : "PEM of ", label);
}

/* The first block tells what the file is, unless another one is a private key. False: there is none. */
static bool kind_of_pem(const char *text, struct content_kind *kind)
{
	static const char begin[] = "-----BEGIN ";
	bool found = false;

	while ((text = strstr(text, begin))) {
		struct content_kind one;
		char label[48];
		size_t size;

		text += sizeof(begin) - 1;
		size = strcspn(text, "-\r\n");
		snprintf(label, sizeof(label), "%.*s", (int)(size < 47 ? size : 47), text);
		text += size;
		text += strcspn(text, "\n");
		kind_of_label(label, *text ? text + 1 : text, &one);
		if (!found || one.class == CONTENT_PRIVATE_KEY)
			*kind = one;
		found = true;
		if (one.class == CONTENT_PRIVATE_KEY)
			break;
	}
	return found;
}

/* Keys in forms that are neither PEM nor DER. */
static bool kind_of_text(const char *text, struct content_kind *kind)
{
	if (strstr(text, "PuTTY-User-Key-File"))
		set(kind, CONTENT_PRIVATE_KEY, "a private key (PuTTY)");
	else if (strstr(text, "\"kty\"") && strstr(text, "\"d\""))
		set(kind, CONTENT_PRIVATE_KEY, "a private key (JWK)");
	else if (strstr(text, "PRIVATE KEY"))
		set(kind, CONTENT_PRIVATE_KEY, "a private key, damaged or in an unknown form");
	else
		return false;
	return true;
}

/* --- DER --- */

/* The tags of the first members of a SEQUENCE, and what the first INTEGER is. */
struct shape {
	unsigned tags[4];
	size_t count;
	int number; /* -1: the first member is no small INTEGER */
};

static bool read_shape(struct ch_view der, struct shape *shape)
{
	struct ch_view members, content;
	struct ch_error err;

	*shape = (struct shape){ .number = -1 };
	if (!ch_der_read(&der, CH_DER_SEQUENCE, "file", &members, &err))
		return false;
	while (members.size && shape->count < CH_COUNT(shape->tags)) {
		if (!ch_der_read_any(&members, "member", &shape->tags[shape->count], &content, NULL, &err))
			return false;
		if (!shape->count && shape->tags[0] == CH_DER_INTEGER && content.size == 1)
			shape->number = content.data[0];
		shape->count++;
	}
	return true;
}

static bool begins(const struct shape *shape, unsigned first, unsigned second, unsigned third)
{
	return shape->count >= (third ? 3 : 2) && shape->tags[0] == first && shape->tags[1] == second &&
	       (!third || shape->tags[2] == third);
}

static bool is_request(struct ch_view der)
{
	const unsigned char *at = der.data;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.size);
	bool whole = request && at == der.data + der.size;

	X509_REQ_free(request);
	ERR_clear_error();
	return whole;
}

static bool is_certificate(struct ch_view der)
{
	struct ch_error err;
	X509 *certificate = NULL;
	bool is = ch_certificate_read(der, &certificate, &err);

	X509_free(certificate);
	return is;
}

static bool kind_of_der(struct ch_view der, struct content_kind *kind)
{
	struct shape shape;

	if (!read_shape(der, &shape))
		return false;
	if (begins(&shape, CH_DER_INTEGER, CH_DER_SEQUENCE, CH_DER_OCTET_STRING) && shape.number <= 1)
		set(kind, CONTENT_PRIVATE_KEY, "a private key (PKCS#8, DER)"); /* RFC 5958 §2 */
	else if (shape.count == 2 && begins(&shape, CH_DER_SEQUENCE, CH_DER_OCTET_STRING, 0))
		set(kind, CONTENT_PRIVATE_KEY, "a private key (PKCS#8, encrypted, DER)"); /* RFC 5958 §3 */
	else if (shape.count == 4 && begins(&shape, CH_DER_INTEGER, CH_DER_INTEGER, CH_DER_INTEGER))
		set(kind, CONTENT_PRIVATE_KEY, "a private key (PKCS#1, DER)"); /* RFC 8017 §A.1.2 */
	else if (begins(&shape, CH_DER_INTEGER, CH_DER_OCTET_STRING, 0) && shape.number == 1)
		set(kind, CONTENT_PRIVATE_KEY, "a private key (SEC 1, DER)"); /* RFC 5915 §3 */
	else if (begins(&shape, CH_DER_INTEGER, CH_DER_SEQUENCE, 0) && shape.number == 3)
		set(kind, CONTENT_PRIVATE_KEY, "a private key or certificates (PKCS#12)"); /* RFC 7292 §4 */
	else if (is_request(der))
		set(kind, CONTENT_REQUEST, "a certification request");
	else if (is_certificate(der))
		set(kind, CONTENT_CERTIFICATE, "a certificate");
	else if (shape.count == 2 && begins(&shape, CH_DER_SEQUENCE, CH_DER_BIT_STRING, 0))
		set(kind, CONTENT_PUBLIC_KEY, "a public key");
	else
		set(kind, CONTENT_OTHER, "DER of another kind");
	return true;
}

void content_kind_of(struct ch_view content, struct content_kind *kind)
{
	CH_AUTO(ch_string) text = ch_strndup((const char *)content.data, content.size);

	if (!content.size)
		set(kind, CONTENT_OTHER, "nothing");
	else if (!kind_of_pem(text, kind) && !kind_of_der(content, kind) && !kind_of_text(text, kind))
		set(kind, CONTENT_OTHER, "neither PEM nor DER");
}

/* --- files --- */

bool content_is_no_private_key(const char *path, struct ch_view content, const char *wanted,
			       struct ch_error *err)
{
	struct content_kind kind;

	content_kind_of(content, &kind);
	return kind.class != CONTENT_PRIVATE_KEY ||
	       ch_fail(err, CH_INVALID, "'%s' holds %s, not %s: it is not sent anywhere", path, kind.text,
		       wanted);
}

bool content_read_request(const char *path, char **pem, struct ch_error *err)
{
	CH_AUTO(ch_bytes) file = CH_NONE;
	CH_AUTO(ch_bytes) der = CH_NONE;
	CH_AUTO(ch_buffer) alone = CH_NONE;
	struct content_kind kind;
	struct ch_error ignored;

	if (!ch_read_file(path, REQUEST_CAP, &file, err))
		return false;
	content_kind_of(ch_view_of(&file), &kind);
	if (kind.class != CONTENT_REQUEST)
		return ch_fail(err, CH_INVALID, "'%s' holds %s, not a certification request", path,
			       kind.text);
	if (!ch_pem_read(ch_view_of(&file), REQUEST_LABEL, &der, &ignored) &&
	    !ch_pem_read(ch_view_of(&file), "NEW " REQUEST_LABEL, &der, &ignored))
		der = ch_bytes_copy(ch_view_of(&file));
	if (!is_request(ch_view_of(&der)))
		return ch_fail(err, CH_INVALID, "'%s' holds a damaged certification request", path);
	ch_pem_add(&alone, REQUEST_LABEL, ch_view_of(&der));
	*pem = ch_buffer_steal_text(&alone);
	return true;
}
