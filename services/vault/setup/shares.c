/* SPDX-License-Identifier: Apache-2.0 */
/* shares.c: splits and combines the root secret (libgfshare: Shamir over GF(2^8)), writes and reads shares.
 * init_hsms.c calls it. */
#include "shares.h"

#include "err/err.h"
#include "x509/x509.h"

#include <libgfshare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TITLE       "Chancery custodian share v1\n"
#define CHECK_LABEL "secret-check"

/* --- what tells one secret from another without saying anything of it --- */

static bool check_of(struct ch_view root, uint8_t check[8], struct ch_error *err)
{
	CH_AUTO(ch_secret) derived = CH_NONE;

	if (!domain_key_derive(root, CHECK_LABEL, &derived, err))
		return false;
	memcpy(check, derived.data, 8);
	return true;
}

/* --- splitting --- */

static void fill_random(unsigned char *to, unsigned int size)
{
	ch_random(to, size);
}

bool shares_split(struct ch_view root, uint8_t threshold, uint8_t count, struct share *shares,
		  struct ch_error *err)
{
	uint8_t numbers[SHARES_MAX], set[8], check[8];
	gfshare_ctx *context;

	if (count < 1 || count > SHARES_MAX || threshold < 1 || threshold > count ||
	    (threshold == 1 && count > 1))
		return ch_fail(err, CH_INVALID,
			       "%u of %u shares: 2 of 2 to %d of %d, or 1 of 1, are possible", threshold,
			       count, SHARES_MAX, SHARES_MAX);
	if (!check_of(root, check, err))
		return false;
	ch_random(set, sizeof(set));
	for (uint8_t i = 0; i < count; i++)
		numbers[i] = (uint8_t)(i + 1);
	gfshare_fill_rand = fill_random;
	context = gfshare_ctx_init_enc(numbers, count, threshold, DOMAIN_ROOT_SIZE);
	if (!context)
		return ch_fail(err, CH_INTERNAL, "shares: no memory");
	gfshare_ctx_enc_setsecret(context, (unsigned char *)(uintptr_t)root.data);
	for (uint8_t i = 0; i < count; i++) {
		shares[i] = (struct share){ .number = numbers[i], .threshold = threshold, .count = count };
		memcpy(shares[i].set, set, sizeof(set));
		memcpy(shares[i].secret_check, check, sizeof(check));
		gfshare_ctx_enc_getshare(context, i, shares[i].value);
	}
	gfshare_ctx_free(context); /* fills its memory with random octets first (libgfshare 2.0.0) */
	return true;
}

/* --- combining --- */

static bool check_set(const struct share *shares, size_t count, struct ch_error *err)
{
	for (size_t i = 1; i < count; i++) {
		if (memcmp(shares[i].set, shares[0].set, sizeof(shares[0].set)) != 0 ||
		    shares[i].threshold != shares[0].threshold || shares[i].count != shares[0].count)
			return ch_fail(err, CH_INVALID, "share %u is of another set than share %u",
				       shares[i].number, shares[0].number);
		for (size_t j = 0; j < i; j++)
			if (shares[i].number == shares[j].number)
				return ch_fail(err, CH_INVALID, "share %u is given twice", shares[i].number);
	}
	return count >= shares[0].threshold ||
	       ch_fail(err, CH_INVALID, "%zu shares, %u of the set's %u are needed", count,
		       shares[0].threshold, shares[0].count);
}

bool shares_combine(const struct share *shares, size_t count, struct ch_secret *root, struct ch_error *err)
{
	uint8_t numbers[SHARES_MAX], check[8];
	gfshare_ctx *context;
	bool right;

	if (count < 1 || count > SHARES_MAX)
		return ch_fail(err, CH_INVALID, "%zu shares, 1 to %d are possible", count, SHARES_MAX);
	if (!check_set(shares, count, err) || !ch_secret_new(DOMAIN_ROOT_SIZE, root, err))
		return false;
	for (size_t i = 0; i < count; i++)
		numbers[i] = shares[i].number;
	gfshare_fill_rand = fill_random; /* gfshare_ctx_free overwrites its memory with it */
	context = gfshare_ctx_init_dec(numbers, (unsigned)count, DOMAIN_ROOT_SIZE);
	for (size_t i = 0; context && i < count; i++)
		gfshare_ctx_dec_giveshare(context, (unsigned char)i,
					  (unsigned char *)(uintptr_t)shares[i].value);
	if (context)
		gfshare_ctx_dec_extract(context, root->data);
	if (context)
		gfshare_ctx_free(context);
	right = context && check_of(ch_view(root->data, root->size), check, err) &&
		memcmp(check, shares[0].secret_check, sizeof(check)) == 0;
	if (right)
		return true;
	ch_secret_free(root);
	return ch_fail(err, CH_INVALID, "the shares make another secret than the one that was split");
}

/* --- as text --- */

static void hex_of(const uint8_t *octets, size_t size, char *to)
{
	for (size_t i = 0; i < size; i++)
		snprintf(to + 2 * i, 3, "%02x", octets[i]);
}

/* Octets 0 to 3 of the SHA-256 of the lines above. */
static bool checksum_of(struct ch_view lines, char text[9], struct ch_error *err)
{
	uint8_t digest[64];
	size_t size;

	if (!ch_digest("sha256", lines, digest, &size, err))
		return false;
	hex_of(digest, 4, text);
	return true;
}

void share_format(const struct share *share, char text[SHARE_TEXT_CAP])
{
	char set[17], check[17], value[2 * DOMAIN_ROOT_SIZE + 1], checksum[9] = "";
	struct ch_error err;
	int used;

	hex_of(share->set, sizeof(share->set), set);
	hex_of(share->secret_check, sizeof(share->secret_check), check);
	hex_of(share->value, sizeof(share->value), value);
	used = snprintf(text, SHARE_TEXT_CAP,
			TITLE "set: %s\nnumber: %u\nthreshold: %u\ncount: %u\n" CHECK_LABEL
			      ": %s\nvalue: %s\n",
			set, share->number, share->threshold, share->count, check, value);
	if (checksum_of(ch_view(text, (size_t)used), checksum, &err))
		snprintf(text + used, SHARE_TEXT_CAP - (size_t)used, "checksum: %s\n", checksum);
	ch_wipe(value, sizeof(value));
}

/* "name: " and then `digits` hexadecimal digits, or up to two decimal ones where digits is 0. */
static bool take_field(struct ch_view *in, const char *name, size_t digits, char *value, struct ch_error *err)
{
	size_t head = strlen(name) + 2;
	const uint8_t *end = in->size ? memchr(in->data, '\n', in->size) : NULL;
	size_t size = end ? (size_t)(end - in->data) : 0;
	const char *allowed = digits ? "0123456789abcdef" : "0123456789";

	if (size <= head || memcmp(in->data, name, head - 2) != 0 ||
	    memcmp(in->data + head - 2, ": ", 2) != 0)
		return ch_fail(err, CH_INVALID, "custodian share: the line '%s: …' is missing", name);
	size -= head;
	if (digits ? size != digits : size > 2)
		return ch_fail(err, CH_INVALID, "custodian share: '%s' has %zu digits%s", name, size,
			       digits ? "" : ", at most 2 are possible");
	memcpy(value, in->data + head, size);
	value[size] = 0;
	if (strspn(value, allowed) != size)
		return ch_fail(err, CH_INVALID, "custodian share: '%s' holds another character than %s", name,
			       allowed);
	*in = ch_view(end + 1, in->size - (head + size + 1));
	return true;
}

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static bool take_octets(struct ch_view *in, const char *name, uint8_t *to, size_t size, struct ch_error *err)
{
	char value[2 * DOMAIN_ROOT_SIZE + 1];
	bool taken = take_field(in, name, 2 * size, value, err);

	for (size_t i = 0; taken && i < size; i++)
		to[i] = (uint8_t)(digit(value[2 * i]) << 4 | digit(value[2 * i + 1]));
	ch_wipe(value, sizeof(value));
	return taken;
}

static bool take_number(struct ch_view *in, const char *name, uint8_t *to, struct ch_error *err)
{
	char value[8];
	long number;

	if (!take_field(in, name, 0, value, err))
		return false;
	number = strtol(value, NULL, 10);
	if (value[0] == '0' || number > SHARES_MAX)
		return ch_fail(err, CH_INVALID, "custodian share: '%s' is %s, 1 to %d is possible", name,
			       value, SHARES_MAX);
	*to = (uint8_t)number;
	return true;
}

static bool read_lines(struct ch_view text, struct share *share, struct ch_error *err)
{
	struct ch_view in = text;
	char found[9], right[9];

	if (text.size < sizeof(TITLE) - 1 || memcmp(text.data, TITLE, sizeof(TITLE) - 1) != 0)
		return ch_fail(err, CH_INVALID,
			       "no custodian share: it does not begin with 'Chancery custodian share v1'");
	in = ch_view(text.data + sizeof(TITLE) - 1, text.size - (sizeof(TITLE) - 1));
	if (!take_octets(&in, "set", share->set, sizeof(share->set), err) ||
	    !take_number(&in, "number", &share->number, err) ||
	    !take_number(&in, "threshold", &share->threshold, err) ||
	    !take_number(&in, "count", &share->count, err) ||
	    !take_octets(&in, CHECK_LABEL, share->secret_check, sizeof(share->secret_check), err) ||
	    !take_octets(&in, "value", share->value, sizeof(share->value), err) ||
	    !checksum_of(ch_view(text.data, text.size - in.size), right, err) ||
	    !take_field(&in, "checksum", 8, found, err))
		return false;
	if (strcmp(found, right) != 0)
		return ch_fail(err, CH_INVALID,
			       "custodian share %u: its checksum does not match: a typing error?",
			       share->number);
	if (in.size)
		return ch_fail(err, CH_INVALID, "custodian share %u: %zu octets follow it", share->number,
			       in.size);
	if (share->number > share->count || share->threshold > share->count)
		return ch_fail(err, CH_INVALID, "custodian share: number %u, threshold %u of %u",
			       share->number, share->threshold, share->count);
	return true;
}

bool share_read(struct ch_view text, struct share *share, struct ch_error *err)
{
	*share = (struct share){ 0 };
	if (text.size > SHARE_TEXT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "custodian share of %zu octets, at most %d allowed",
			       text.size, SHARE_TEXT_CAP);
	if (read_lines(text, share, err))
		return true;
	ch_wipe(share, sizeof(*share));
	return false;
}
