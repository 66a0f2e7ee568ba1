/* SPDX-License-Identifier: Apache-2.0 */
/* operator.c: reads who a client certificate stands for, and builds what an officer signs; operator.h has the
 * forms. */
#include "x509/operator.h"

#include <string.h>

static const struct {
	enum ch_role role;
	const char *name;
} roles[] = {
	{ CH_ROLE_REQUESTER, "requester" },
	{ CH_ROLE_OFFICER, "officer" },
	{ CH_ROLE_AUDITOR, "auditor" },
};

const char *ch_role_name(enum ch_role role)
{
	for (size_t i = 0; i < CH_COUNT(roles); i++)
		if (roles[i].role == role)
			return roles[i].name;
	return "unknown";
}

bool ch_role_find(const char *name, enum ch_role *role, struct ch_error *err)
{
	for (size_t i = 0; i < CH_COUNT(roles); i++) {
		if (!strcmp(roles[i].name, name)) {
			*role = roles[i].role;
			return true;
		}
	}
	return ch_fail(err, CH_INVALID, "role '%.64s' is not known", name);
}

/* Takes the text up to `end`, or all where `end` is not there; false where it is empty, too long, or has
 * another character than [a-z0-9._-]. */
static bool take_part(struct ch_view *text, char end, char out[64])
{
	const uint8_t *stop = text->size ? memchr(text->data, end, text->size) : NULL;
	size_t size = stop ? (size_t)(stop - text->data) : text->size;
	if (size == 0 || size > 63 ||
	    !ch_view_has_only(ch_view(text->data, size), "abcdefghijklmnopqrstuvwxyz0123456789._-"))
		return false;
	memcpy(out, text->data, size);
	out[size] = '\0';
	size_t taken = stop ? size + 1 : size;
	*text = ch_view(text->data + taken, text->size - taken);
	return true;
}

static bool read_roles(struct ch_view text, unsigned *all)
{
	char name[64];
	enum ch_role role;
	if (text.size == 0 || text.data[text.size - 1] == '+')
		return false;
	for (*all = 0; text.size > 0; *all |= role)
		if (!take_part(&text, '+', name) || !ch_role_find(name, &role, NULL))
			return false;
	return true;
}

/* "<tenant>/<role>[+<role>…]/<name>" */
static bool read_name(struct ch_view text, struct ch_operator *operator_)
{
	if (!take_part(&text, '/', operator_->tenant))
		return false;
	const uint8_t *slash = text.size ? memchr(text.data, '/', text.size) : NULL;
	if (!slash)
		return false;
	size_t size = (size_t)(slash - text.data);
	if (!read_roles(ch_view(text.data, size), &operator_->roles))
		return false;
	text = ch_view(slash + 1, text.size - size - 1);
	return take_part(&text, '/', operator_->name) && text.size == 0;
}

CH_DEFINE_AUTO_POINTER(GENERAL_NAMES, GENERAL_NAMES, GENERAL_NAMES_free)

/* How many operator URIs the names hold; the last one goes to *uri, which points into `names`. */
static int find_operator_uri(const GENERAL_NAMES *names, struct ch_view *uri)
{
	int found = 0;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_URI)
			continue;
		const ASN1_IA5STRING *text = name->d.uniformResourceIdentifier;
		struct ch_view value = ch_view(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text));
		if (!ch_view_starts_with(value, CH_OPERATOR_URI))
			continue;
		*uri = value;
		found++;
	}
	return found;
}

bool ch_operator_read(X509 *certificate, struct ch_operator *operator_, struct ch_error *err)
{
	int critical = 0;
	CH_AUTO(GENERAL_NAMES) names = X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, NULL);
	if (!names)
		return ch_fail(err, CH_UNAUTHENTICATED, "client certificate: %s",
			       critical == -2 ? "two subjectAltName extensions"
					      : "no readable subjectAltName");
	struct ch_view uri = CH_NONE;
	int found = find_operator_uri(names, &uri);
	if (found != 1)
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "client certificate: %d operator names (" CH_OPERATOR_URI "…), one is wanted",
			       found);
	size_t prefix = strlen(CH_OPERATOR_URI);
	struct ch_operator read = CH_NONE;
	if (!read_name(ch_view(uri.data + prefix, uri.size - prefix), &read))
		return ch_fail(err, CH_UNAUTHENTICATED,
			       "client certificate: operator name is not <tenant>/<role>[+<role>…]/<name>");
	*operator_ = read;
	return true;
}

bool ch_operator_key_sha256(X509 *certificate, uint8_t digest[32], struct ch_error *err)
{
	unsigned char *info = NULL;
	int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &info);
	uint8_t sha256[64];
	size_t digest_size;
	bool done;

	if (size <= 0)
		return ch_fail_openssl(err, CH_INTERNAL, "the operator's public key does not encode");
	done = ch_digest("sha256", ch_view(info, (size_t)size), sha256, &digest_size, err);
	OPENSSL_free(info);
	if (done)
		memcpy(digest, sha256, 32);
	return done;
}
