/* SPDX-License-Identifier: Apache-2.0 */
/* officer_token.c: opens an officer's key in a PKCS#11 token with libp11. */
#include "officer_token.h"

#include <libp11.h>
#include <stdlib.h>
#include <string.h>

#define PIN_CAP 256
#define URI_CAP 4096

struct officer_token {
	PKCS11_CTX *context;
	PKCS11_SLOT *slots;
	unsigned slot_count;
	EVP_PKEY *key;
	bool loaded;
};

void officer_token_close(struct officer_token *token)
{
	if (!token)
		return;
	EVP_PKEY_free(token->key);
	if (token->slots)
		PKCS11_release_all_slots(token->context, token->slots, token->slot_count);
	if (token->loaded)
		PKCS11_CTX_unload(token->context);
	if (token->context)
		PKCS11_CTX_free(token->context);
	free(token);
}

EVP_PKEY *officer_token_key(const struct officer_token *token)
{
	return token->key;
}

/* --- the URI --- */

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* RFC 7512 §2.3: the attribute's value, percent-decoded; the caller frees it. CH_INVALID: absent, or not
 * text. */
static bool attribute(const char *uri, const char *name, char **value, struct ch_error *err)
{
	size_t name_size = strlen(name), used = 0;
	const char *at = uri + strlen(OFFICER_TOKEN_SCHEME);

	while (strncmp(at, name, name_size) != 0 || at[name_size] != '=') {
		at += strcspn(at, ";?&");
		if (!*at++)
			return ch_fail(err, CH_INVALID, "'%.200s' names no %s", uri, name);
	}
	at += name_size + 1;
	*value = ch_alloc(strcspn(at, ";?&") + 1);
	for (; *at && !strchr(";?&", *at); at++) {
		int high = *at == '%' ? hex_digit(at[1]) : 0,
		    low = *at == '%' && high >= 0 ? hex_digit(at[2]) : 0;
		char c = *at == '%' ? (char)(high * 16 + low) : *at;

		if (high < 0 || low < 0 || !c) {
			free(*value);
			*value = NULL;
			return ch_fail(err, CH_INVALID, "'%.200s': %s is not percent-encoded text", uri,
				       name);
		}
		(*value)[used++] = c;
		at += *at == '%' ? 2 : 0;
	}
	return true;
}

/* --- the token --- */

static PKCS11_SLOT *find_slot(const struct officer_token *token, const char *label)
{
	for (unsigned i = 0; i < token->slot_count; i++)
		if (token->slots[i].token && token->slots[i].token->label &&
		    strcmp(token->slots[i].token->label, label) == 0)
			return &token->slots[i];
	return NULL;
}

static bool log_in(PKCS11_SLOT *slot, const char *label, const char *pin_file, struct ch_error *err)
{
	CH_AUTO(ch_secret) pin = CH_NONE;
	CH_AUTO(ch_secret) text = CH_NONE;
	const char *path = strncmp(pin_file, "file:", 5) == 0 ? pin_file + 5 : pin_file;

	if (!ch_secret_read_file(path, PIN_CAP, &pin, err) || !ch_secret_new(pin.size + 1, &text, err))
		return ch_fail_in(err, "PIN of token '%.64s'", label);
	memcpy(text.data, pin.data, pin.size);
	text.data[pin.size] = 0;
	return PKCS11_login(slot, 0, (const char *)text.data) == 0 ||
	       ch_fail_openssl(err, CH_DENIED, "token '%.64s' refused the log-in", label);
}

static bool find_key(struct officer_token *token, PKCS11_SLOT *slot, const char *object, struct ch_error *err)
{
	PKCS11_KEY *keys = NULL;
	unsigned count = 0;

	if (PKCS11_enumerate_keys(slot->token, &keys, &count) != 0)
		return ch_fail_openssl(err, CH_UNAVAILABLE, "token '%.64s'", slot->token->label);
	for (unsigned i = 0; i < count && !token->key; i++)
		if (keys[i].label && strcmp(keys[i].label, object) == 0)
			token->key = PKCS11_get_private_key(&keys[i]);
	return token->key || ch_fail(err, CH_NOT_FOUND, "token '%.64s' has no private key '%.64s'",
				     slot->token->label, object);
}

bool officer_token_open(const char *uri, struct officer_token **token, struct ch_error *err)
{
	CH_AUTO(officer_token) made = ch_alloc(sizeof(*made));
	CH_AUTO(ch_string) module = NULL;
	CH_AUTO(ch_string) label = NULL;
	CH_AUTO(ch_string) object = NULL;
	CH_AUTO(ch_string) pin_file = NULL;
	PKCS11_SLOT *slot;

	if (strlen(uri) > URI_CAP)
		return ch_fail(err, CH_INVALID, "a PKCS#11 URI of over %d octets", URI_CAP);
	if (!attribute(uri, "token", &label, err) || !attribute(uri, "object", &object, err) ||
	    !attribute(uri, "module-path", &module, err) || !attribute(uri, "pin-source", &pin_file, err))
		return false;
	made->context = PKCS11_CTX_new();
	made->loaded = made->context && PKCS11_CTX_load(made->context, module) == 0;
	if (!made->loaded)
		return ch_fail_openssl(err, CH_UNAVAILABLE, "PKCS#11 module '%s'", module);
	if (PKCS11_enumerate_slots(made->context, &made->slots, &made->slot_count) != 0)
		return ch_fail_openssl(err, CH_UNAVAILABLE, "PKCS#11 module '%s'", module);
	slot = find_slot(made, label);
	if (!slot)
		return ch_fail(err, CH_NOT_FOUND, "module '%s' has no token '%.64s'", module, label);
	if (!log_in(slot, label, pin_file, err) || !find_key(made, slot, object, err))
		return false;
	*token = CH_STEAL(made);
	return true;
}
