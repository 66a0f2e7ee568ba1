/* SPDX-License-Identifier: Apache-2.0 */
/*
 * san.c: subject alternative names between text and GeneralNames DER (RFC 5280 §4.2.1.6). CSR reading, REST
 * input and certificate building call it; what passes ch_sans_add may stand in a certificate.
 */
#include "x509/x509.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <idn2.h>
#include <string.h>

#define DNS_NAME_MAX   253 /* RFC 1035 §2.3.4 as text */
#define DNS_LABEL_MAX  63
#define LOCAL_PART_MAX 64 /* RFC 5321 §4.5.3.1.1 */
#define URI_MAX        2048

static const char *const type_names[] = { "dns", "ip", "email", "uri" };

void ch_sans_free(struct ch_sans *sans)
{
	if (!sans)
		return;
	for (size_t i = 0; i < sans->count; i++)
		free(sans->items[i].value);
	free(sans->items);
	*sans = (struct ch_sans)CH_NONE;
}

const char *ch_san_type_name(enum ch_san_type type)
{
	return (size_t)type < CH_COUNT(type_names) ? type_names[type] : "unknown";
}

/* RFC 1034 §3.5 and RFC 1123 §2.1: letters, digits and inner hyphens, 1 to 63 of them. */
static bool is_label(const char *label, size_t size)
{
	if (size == 0 || size > DNS_LABEL_MAX || label[0] == '-' || label[size - 1] == '-')
		return false;
	for (size_t i = 0; i < size; i++)
		if (!isalnum((unsigned char)label[i]) && label[i] != '-')
			return false;
	return true;
}

/* Labels joined by single dots. *labels counts them; *last_numeric: the last has digits alone, as an address
 * would. */
static bool is_host(const char *name, size_t *labels, bool *last_numeric)
{
	*labels = 0;
	if (strlen(name) > DNS_NAME_MAX)
		return false;
	for (;;) {
		size_t size = strcspn(name, ".");
		if (!is_label(name, size))
			return false;
		++*labels;
		*last_numeric = strspn(name, "0123456789") == size;
		if (name[size] == '\0')
			return true;
		name += size + 1;
	}
}

/*
 * RFC 5890 §2.3.2.1: hyphens in the third and fourth place are for labels that mean something else than they
 * say. Those that begin with "xn--" must be A-labels: they decode to a U-label of IDNA2008, which gives the
 * same A-label. There are no others.
 */
static bool is_plain_or_a_label(const char *label, size_t size)
{
	CH_AUTO(ch_string) lower = ch_strndup(label, size);
	uint8_t *again = NULL;
	int code;

	if (size < 4 || label[2] != '-' || label[3] != '-')
		return true;
	for (char *at = lower; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	code = idn2_register_u8(NULL, (const uint8_t *)lower, &again, 0);
	idn2_free(again);
	return code == IDN2_OK;
}

static bool labels_decode(const char *name)
{
	for (;;) {
		size_t size = strcspn(name, ".");

		if (!is_plain_or_a_label(name, size))
			return false;
		if (name[size] == '\0')
			return true;
		name += size + 1;
	}
}

static bool check_dns(char *value, struct ch_error *err)
{
	size_t labels = 0;
	bool wildcard = !strncmp(value, "*.", 2), last_numeric = false;
	uint8_t address[16];
	if (inet_pton(AF_INET, value, address) == 1 || inet_pton(AF_INET6, value, address) == 1)
		return ch_fail(err, CH_INVALID, "dns '%.100s': an IP address belongs under ip", value);
	if (!is_host(wildcard ? value + 2 : value, &labels, &last_numeric))
		return ch_fail(err, CH_INVALID, "dns '%.100s': not a host name (RFC 1034 3.5)%s", value,
			       strchr(value, '*') ? "; a wildcard is the whole left-most label" : "");
	if (!labels_decode(wildcard ? value + 2 : value))
		return ch_fail(err, CH_INVALID,
			       "dns '%.100s': a label with '--' in its third and fourth place is no A-label "
			       "that decodes (RFC 5890 2.3.2.1)",
			       value);
	if (last_numeric)
		return ch_fail(err, CH_INVALID, "dns '%.100s': the last label has digits alone", value);
	if (wildcard && labels < 2)
		return ch_fail(err, CH_INVALID, "dns '%.100s': a wildcard needs two labels after it", value);
	for (char *at = value; *at; at++)
		*at = (char)tolower((unsigned char)*at);
	return true;
}

/* Replaces the text by its canonical form (RFC 5952), so that equal addresses are equal texts. */
static bool check_ip(char **value, struct ch_error *err)
{
	uint8_t address[16];
	char text[INET6_ADDRSTRLEN];
	int family = strchr(*value, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, *value, address) != 1 || !inet_ntop(family, address, text, sizeof text))
		return ch_fail(err, CH_INVALID, "ip '%.100s': not an IPv4 or IPv6 address", *value);
	free(*value);
	*value = ch_strdup(text);
	return true;
}

static bool is_dot_atom(const char *text, size_t size) /* RFC 5321 §4.1.2 Dot-string */
{
	if (size == 0 || size > LOCAL_PART_MAX || text[0] == '.' || text[size - 1] == '.')
		return false;
	for (size_t i = 0; i < size; i++) {
		bool atom = isalnum((unsigned char)text[i]) || strchr("!#$%&'*+-/=?^_`{|}~.", text[i]);
		if (!atom || (text[i] == '.' && text[i + 1] == '.'))
			return false;
	}
	return true;
}

static bool check_email(const char *value, struct ch_error *err)
{
	const char *at = strrchr(value, '@');
	size_t labels = 0;
	bool last_numeric = false;
	if (!at || !is_dot_atom(value, (size_t)(at - value)) || !is_host(at + 1, &labels, &last_numeric) ||
	    last_numeric || !labels_decode(at + 1))
		return ch_fail(err, CH_INVALID, "email '%.100s': not a mailbox (RFC 5280 4.2.1.6)", value);
	return true;
}

/* The host of an authority: after user information, before the port. *bracket: it stood in brackets. */
static bool take_host(const char *authority, size_t size, char host[DNS_NAME_MAX + 1], bool *bracket)
{
	const char *user = size ? memchr(authority, '@', size) : NULL;
	if (user) {
		size -= (size_t)(user + 1 - authority);
		authority = user + 1;
	}
	*bracket = size > 0 && authority[0] == '[';
	const char *end = size ? memchr(authority, *bracket ? ']' : ':', size) : NULL;
	if (*bracket) {
		if (!end)
			return false;
		authority++;
	}
	size_t length = end ? (size_t)(end - authority) : size;
	if (length == 0 || length > DNS_NAME_MAX)
		return false;
	memcpy(host, authority, length);
	host[length] = '\0';
	return true;
}

/* RFC 5280 §4.2.1.6 wants a host name or an address. */
static bool check_authority(const char *authority, size_t size)
{
	char host[DNS_NAME_MAX + 1];
	uint8_t address[16];
	size_t labels = 0;
	bool last_numeric = false, bracket;

	if (!take_host(authority, size, host, &bracket))
		return false;
	if (bracket)
		return inet_pton(AF_INET6, host, address) == 1;
	return inet_pton(AF_INET, host, address) == 1 ||
	       (is_host(host, &labels, &last_numeric) && !last_numeric && labels_decode(host));
}

char *ch_uri_host(const char *uri)
{
	const char *authority = strstr(uri, "://");
	char host[DNS_NAME_MAX + 1];
	bool bracket;

	if (!authority || strcspn(uri, ":/?#") != (size_t)(authority - uri))
		return NULL;
	authority += 3;
	return take_host(authority, strcspn(authority, "/?#"), host, &bracket) ? ch_strdup(host) : NULL;
}

static bool check_uri(const char *value, struct ch_error *err)
{
	size_t scheme = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");
	if (strlen(value) > URI_MAX)
		return ch_fail(err, CH_INVALID, "uri: %zu characters, at most %d allowed", strlen(value),
			       URI_MAX);
	if (!isalpha((unsigned char)value[0]) || value[scheme] != ':' || value[scheme + 1] == '\0')
		return ch_fail(err, CH_INVALID, "uri '%.100s': not absolute (RFC 5280 4.2.1.6)", value);
	for (const char *at = value; *at; at++)
		if (*at <= ' ' || *at >= 0x7f || strchr("\"<>\\^`{|}", *at))
			return ch_fail(err, CH_INVALID, "uri '%.100s': a character that must be %%-escaped",
				       value);
	if (!strncmp(value + scheme, "://", 3)) {
		const char *authority = value + scheme + 3;
		if (!check_authority(authority, strcspn(authority, "/?#")))
			return ch_fail(err, CH_INVALID,
				       "uri '%.100s': its host is neither a host name nor an address", value);
	}
	return true;
}

static bool check_value(enum ch_san_type type, char **value, struct ch_error *err)
{
	switch (type) {
	case CH_SAN_DNS:
		return check_dns(*value, err);
	case CH_SAN_IP:
		return check_ip(value, err);
	case CH_SAN_EMAIL:
		return check_email(*value, err);
	case CH_SAN_URI:
		return check_uri(*value, err);
	}
	return ch_fail(err, CH_INVALID, "subject alternative name of an unknown type");
}

static bool contains(const struct ch_sans *sans, enum ch_san_type type, const char *value)
{
	for (size_t i = 0; i < sans->count; i++)
		if (sans->items[i].type == type && !strcmp(sans->items[i].value, value))
			return true;
	return false;
}

bool ch_sans_add(struct ch_sans *sans, const char *type_name, const char *value, struct ch_error *err)
{
	size_t type = 0;
	while (type < CH_COUNT(type_names) && strcmp(type_names[type], type_name) != 0)
		type++;
	if (type == CH_COUNT(type_names))
		return ch_fail(err, CH_INVALID, "subject alternative name type '%.32s' is not known",
			       type_name);
	CH_AUTO(ch_string) checked = ch_strdup(value);
	if (!check_value((enum ch_san_type)type, &checked, err))
		return false;
	if (contains(sans, (enum ch_san_type)type, checked))
		return true;
	if (sans->count == CH_SANS_MAX)
		return ch_fail(err, CH_TOO_LARGE, "more than %d subject alternative names", CH_SANS_MAX);
	sans->items = ch_realloc(sans->items, (sans->count + 1) * sizeof *sans->items);
	sans->items[sans->count].type = (enum ch_san_type)type;
	sans->items[sans->count++].value = CH_STEAL(checked);
	return true;
}

/* GeneralName tags of the types in enum order (RFC 5280 §4.2.1.6). */
static const uint8_t tags[] = { CH_DER_CONTEXT(2), CH_DER_CONTEXT(7), CH_DER_CONTEXT(1), CH_DER_CONTEXT(6) };

bool ch_sans_encode(const struct ch_sans *sans, struct ch_bytes *general_names, struct ch_error *err)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	if (sans->count == 0)
		return ch_fail(err, CH_INVALID, "GeneralNames without a name (RFC 5280 4.2.1.6)");
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	for (size_t i = 0; i < sans->count; i++) {
		const struct ch_san *san = &sans->items[i];
		struct ch_view content = ch_view_text(san->value);
		uint8_t address[16];
		if (san->type == CH_SAN_IP) {
			bool six = strchr(san->value, ':') != NULL;
			if (inet_pton(six ? AF_INET6 : AF_INET, san->value, address) != 1)
				return ch_fail(err, CH_INVALID, "ip '%.100s' is not an address", san->value);
			content = ch_view(address, six ? 16 : 4);
		}
		ch_der_put(&writer, tags[san->type], content);
	}
	ch_der_finish(&writer);
	*general_names = ch_der_done(&writer);
	return true;
}

/* iPAddress octets as text, or the IA5String itself. NULL: wrong length, or a zero octet inside. */
static char *value_text(enum ch_san_type type, struct ch_view content)
{
	char text[INET6_ADDRSTRLEN];
	if (type != CH_SAN_IP)
		return content.size && !memchr(content.data, 0, content.size)
			       ? ch_strndup((const char *)content.data, content.size)
			       : NULL;
	if (content.size != 4 && content.size != 16)
		return NULL;
	int family = content.size == 4 ? AF_INET : AF_INET6;
	return inet_ntop(family, content.data, text, sizeof text) ? ch_strdup(text) : NULL;
}

static bool decode_name(struct ch_view *in, struct ch_sans *sans, struct ch_error *err)
{
	unsigned tag = 0;
	struct ch_view content = CH_NONE;
	if (!ch_der_read_any(in, "GeneralName", &tag, &content, NULL, err))
		return false;
	for (size_t type = 0; type < CH_COUNT(tags); type++) {
		if (tags[type] != tag)
			continue;
		CH_AUTO(ch_string) value = value_text((enum ch_san_type)type, content);
		if (!value)
			return ch_fail(err, CH_INVALID, "GeneralName: malformed %s of %zu octets",
				       type_names[type], content.size);
		return ch_sans_add(sans, type_names[type], value, err);
	}
	bool known = tag == 0xa0 || tag == 0xa3 || tag == 0xa4 || tag == 0xa5 || tag == 0x88;
	return ch_fail(err, known ? CH_UNSUPPORTED : CH_INVALID,
		       known ? "GeneralName of form [%u] is not issued" : "GeneralName has tag 0x%02x",
		       known ? tag & 0x1f : tag);
}

bool ch_sans_decode(struct ch_view general_names, struct ch_sans *sans, struct ch_error *err)
{
	struct ch_view in = general_names, names = CH_NONE;
	CH_AUTO(ch_sans) decoded = CH_NONE;
	if (!ch_der_read(&in, CH_DER_SEQUENCE, "GeneralNames", &names, err) ||
	    !ch_der_end(&in, "GeneralNames", err))
		return false;
	if (names.size == 0)
		return ch_fail(err, CH_INVALID, "GeneralNames without a name (RFC 5280 4.2.1.6)");
	while (names.size > 0)
		if (!decode_name(&names, &decoded, err))
			return false;
	*sans = CH_STEAL(decoded);
	return true;
}
