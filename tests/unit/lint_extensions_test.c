/* SPDX-License-Identifier: Apache-2.0 */
/* lint_extensions_test.c: what lint.c says of certificates that differ from a good one in one extension, or
 * by an octet where there should be none. */
#include "issuer_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST      30
#define YEAR_2050 (INT64_C(2524608000) * CH_SECOND)

#define SKI      "2.5.29.14"
#define AKI      "2.5.29.35"
#define USAGE    "2.5.29.15"
#define EXTENDED "2.5.29.37"
#define BASIC    "2.5.29.19"
#define NAMES    "2.5.29.17"
#define POLICIES "2.5.29.32"
#define NO_CHECK "1.3.6.1.5.5.7.48.1.5"
#define ODD      "1.2.3.4"

/* KeyPurposeIds, as they stand in extKeyUsage. */
#define KP(last)     "06082b060105050703" last
#define TWO_OF(a, b) "3014" a b
#define ONE(a)       "300a" a
#define SERVER       KP("01")
#define CLIENT       KP("02")
#define CODE         KP("03")
#define EMAIL        KP("04")
#define STAMPING     KP("08")
#define RESPONDER    KP("09")

struct extension {
	char oid[32];
	bool critical;
	struct ch_bytes value;
};

struct certificate {
	struct fixture fixture;
	struct ch_template_signer signer;
	struct ch_lint_context context;
	struct ch_bytes subject, key;
	bool own_issuer, empty_subject;
	struct extension extensions[MOST];
	size_t count;
	/* one octet more than there should be: behind the value, in Extension, behind Extensions, … */
	bool in_extension, false_written, behind_list, behind_explicit, in_validity, behind_all;
	bool generalized_end, far_end, from_2050, bad_boolean;
	int version;
};

static void put(struct certificate *c, const char *oid, bool critical, const char *hex)
{
	struct extension *extension = &c->extensions[c->count++];

	assert_true(c->count <= MOST);
	*extension = (struct extension){ .critical = critical };
	snprintf(extension->oid, sizeof(extension->oid), "%s", oid);
	assert_true(ch_unhex(hex, &extension->value, NULL));
}

static void put_identifier(struct certificate *c, const char *oid, const char *before, struct ch_view id)
{
	CH_AUTO(ch_string) tail = ch_hex(id);
	CH_AUTO(ch_string) hex = ch_format("%s%s", before, tail);

	put(c, oid, false, hex);
}

static struct extension *of(struct certificate *c, const char *oid)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->extensions[i].oid, oid) == 0)
			return &c->extensions[i];
	fail_msg("no %s", oid);
	return NULL;
}

static void leave_out(struct certificate *c, const char *oid)
{
	struct extension *extension = of(c, oid);

	ch_bytes_free(&extension->value);
	*extension = c->extensions[--c->count];
}

static void set(struct certificate *c, const char *oid, const char *hex)
{
	struct extension *extension = of(c, oid);

	ch_bytes_free(&extension->value);
	assert_true(ch_unhex(hex, &extension->value, NULL));
}

/* Any octet behind what is whole. */
static void lengthen(struct certificate *c, const char *oid)
{
	struct extension *extension = of(c, oid);

	extension->value.data = ch_realloc(extension->value.data, extension->value.size + 1);
	extension->value.data[extension->value.size++] = 0;
}

/* Good for a TLS server. */
static struct certificate *begin(enum ch_profile_kind kind, bool ca)
{
	struct certificate *c = ch_alloc(sizeof(*c));
	EVP_PKEY *key = fixture_key("ecdsa-p256");
	uint8_t identifier[64];
	size_t size;

	fixture_begin(&c->fixture);
	c->signer = ch_template_signer_of(&c->fixture.ca);
	c->context = (struct ch_lint_context){ .signer = &c->signer, .kind = kind, .ca = ca };
	c->version = 2;
	assert_true(ch_name_parse("CN=leaf", &c->subject, NULL));
	c->key.size = (size_t)i2d_PUBKEY(key, &c->key.data);
	EVP_PKEY_free(key);
	assert_true(ch_key_identifier(ch_view_of(&c->key), "sha1", identifier, &size, NULL));
	put_identifier(c, SKI, "0414", ch_view(identifier, size));
	put_identifier(c, AKI, "30168014", ch_view_of(&c->fixture.ca.key_identifier));
	put(c, USAGE, true, ca ? "03020204" : "03020780");
	if (ca) {
		put(c, BASIC, true, "30030101ff");
		put(c, POLICIES, false, "300630040602551d");
	} else if (kind == CH_KIND_OCSP_RESPONDER) {
		put(c, EXTENDED, false, ONE(RESPONDER));
		put(c, NO_CHECK, false, "0500");
	} else {
		put(c, EXTENDED, kind == CH_KIND_TSA, kind == CH_KIND_TSA ? ONE(STAMPING) : ONE(SERVER));
	}
	return c;
}

static void end(struct certificate *c)
{
	for (size_t i = 0; i < c->count; i++)
		ch_bytes_free(&c->extensions[i].value);
	ch_bytes_free(&c->subject);
	ch_bytes_free(&c->key);
	fixture_end(&c->fixture);
	free(c);
}

static void put_odd_octet(struct ch_der_writer *w, bool wanted)
{
	if (wanted)
		ch_der_put_raw(w, ch_view("\x05\x00", 2));
}

static void write_extension(struct ch_der_writer *w, const struct certificate *c,
			    const struct extension *extension)
{
	ch_der_begin(w, CH_DER_SEQUENCE);
	assert_true(ch_der_put_oid(w, extension->oid, NULL));
	if (c->bad_boolean)
		ch_der_put_raw(w, ch_view("\x01\x01\x01", 3));
	else if (extension->critical)
		ch_der_put_raw(w, ch_view("\x01\x01\xff", 3));
	else if (c->false_written)
		ch_der_put_raw(w, ch_view("\x01\x01\x00", 3));
	ch_der_put(w, CH_DER_OCTET_STRING, ch_view_of(&extension->value));
	put_odd_octet(w, c->in_extension);
	ch_der_finish(w);
}

static void write_validity(struct ch_der_writer *w, const struct certificate *c)
{
	int64_t until = c->far_end || c->from_2050 ? NOW + 40 * 366 * CH_DAY : NOW + CH_DAY;

	ch_der_begin(w, CH_DER_SEQUENCE);
	ch_der_put_time(w, c->from_2050 ? YEAR_2050 : NOW);
	if (c->generalized_end)
		ch_der_put_generalized_time(w, until, false);
	else
		ch_der_put_time(w, until);
	put_odd_octet(w, c->in_validity);
	ch_der_finish(w);
}

static struct ch_bytes write(const struct certificate *c)
{
	CH_AUTO(ch_der_writer) w = CH_NONE;
	uint8_t serial[16];

	memset(serial, 0x11, sizeof(serial));
	ch_der_begin(&w, CH_DER_SEQUENCE);
	ch_der_begin(&w, CH_DER_CONTEXT_CONSTRUCTED(0));
	ch_der_put_uint64(&w, CH_DER_INTEGER, (uint64_t)c->version);
	ch_der_finish(&w);
	ch_der_put(&w, CH_DER_INTEGER, ch_view(serial, sizeof(serial)));
	ch_der_put_raw(&w, ch_algorithm_find("ecdsa-p256")->signature_identifier);
	ch_der_put_raw(&w, ch_view_of(&c->fixture.ca.subject_der));
	write_validity(&w, c);
	ch_der_put_raw(&w, c->empty_subject ? ch_view("\x30\x00", 2)
			   : c->own_issuer  ? ch_view_of(&c->fixture.ca.subject_der)
					    : ch_view_of(&c->subject));
	ch_der_put_raw(&w, ch_view_of(&c->key));
	ch_der_begin(&w, CH_DER_CONTEXT_CONSTRUCTED(3));
	ch_der_begin(&w, CH_DER_SEQUENCE);
	for (size_t i = 0; i < c->count; i++)
		write_extension(&w, c, &c->extensions[i]);
	ch_der_finish(&w);
	put_odd_octet(&w, c->behind_list);
	ch_der_finish(&w);
	put_odd_octet(&w, c->behind_explicit);
	ch_der_finish(&w);
	put_odd_octet(&w, c->behind_all);
	return ch_der_done(&w);
}

/* Lints it and ends it. `says` NULL: it passes. */
static void expect(struct certificate *c, const char *says, int line)
{
	CH_AUTO(ch_bytes) tbs = write(c);
	struct ch_error err = CH_NONE;
	struct ch_lint_token token;
	bool passed = ch_lint_tbs(ch_view_of(&tbs), &c->context, &token, &err);

	end(c);
	assert_int_equal(passed, token.valid);
	if (passed != !says || (says && !strstr(err.message, says)))
		fail_msg("line %d: '%s', expected '%s'", line, passed ? "passed" : err.message,
			 says ? says : "passed");
}

/* A good certificate of a kind, one change, what is to be said. */
#define OTHERWISE(kind, ca, change, says)                \
	do {                                             \
		struct certificate *c = begin(kind, ca); \
		change;                                  \
		expect(c, says, __LINE__);               \
	} while (0)
#define LEAF(change, says)       OTHERWISE(CH_KIND_END_ENTITY, false, change, says)
#define RESPONDERS(change, says) OTHERWISE(CH_KIND_OCSP_RESPONDER, false, change, says)
#define TSAS(change, says)       OTHERWISE(CH_KIND_TSA, false, change, says)
#define CAS(change, says)        OTHERWISE(CH_KIND_END_ENTITY, true, change, says)

static void good_ones_pass(void **state)
{
	LEAF((void)c, NULL);
	RESPONDERS((void)c, NULL);
	TSAS((void)c, NULL);
	CAS((void)c, NULL);
	LEAF(put(c, BASIC, false, "3000"), NULL);
	LEAF(put(c, BASIC, true, "3000"), NULL);
	LEAF(put(c, NAMES, false,
		 "3006820461"
		 "2e6162"),
	     NULL);
	LEAF((c->empty_subject = true, put(c, NAMES, true,
					   "3006820461"
					   "2e6162")),
	     NULL);
	LEAF((c->far_end = true), NULL);
	LEAF((c->from_2050 = true), NULL);
	LEAF(of(c, EXTENDED)->critical = true, NULL);
	CAS((c->own_issuer = true, leave_out(c, POLICIES)), NULL);
}

static void identifiers(void **state)
{
	const char *missing = "subjectKeyIdentifier is missing or critical", *wrong = "is not the SHA-1";

	LEAF(leave_out(c, SKI), missing);
	LEAF(of(c, SKI)->critical = true, missing);
	LEAF(lengthen(c, SKI), wrong);
	LEAF(of(c, SKI)->value.data[0] = CH_DER_BIT_STRING, wrong);
	LEAF(of(c, SKI)->value.data[21] ^= 1, wrong);
	LEAF(set(c, SKI, "0400"), wrong);
	missing = "authorityKeyIdentifier is missing or critical";
	wrong = "authorityKeyIdentifier is not the CA's";
	LEAF(leave_out(c, AKI), missing);
	LEAF(of(c, AKI)->critical = true, missing);
	LEAF(lengthen(c, AKI), wrong);
	LEAF(of(c, AKI)->value.data[0] = 0x31, wrong);
	LEAF(of(c, AKI)->value.data[2] = 0x81, wrong);
	LEAF(of(c, AKI)->value.data[23] ^= 1, wrong);
}

static void key_usage(void **state)
{
	const char *missing = "keyUsage is missing or not critical",
		   *empty = "keyUsage does not decode or is empty";

	LEAF(leave_out(c, USAGE), missing);
	LEAF(of(c, USAGE)->critical = false, missing);
	LEAF(set(c, USAGE, "030100"), empty);
	LEAF(set(c, USAGE, "04020780"), empty);
	LEAF(lengthen(c, USAGE), empty);
	LEAF(set(c, USAGE, "03020284"), "keyCertSign or cRLSign in what is no CA");
	LEAF(set(c, USAGE, "03020182"), "keyCertSign or cRLSign in what is no CA");
	CAS(set(c, USAGE, "03020102"), "lacks keyCertSign");
	CAS(set(c, USAGE, "03020106"), NULL);
}

static void basic_constraints(void **state)
{
	LEAF(put(c, BASIC, true, "30030101ff"), "CA:TRUE in what is no CA");
	LEAF(put(c, BASIC, false, "3003020100"), "pathLenConstraint in what is no CA");
	LEAF(put(c, BASIC, false, "300000"), "basicConstraints does not decode");
	LEAF(put(c, BASIC, false, "3100"), "basicConstraints does not decode");
	LEAF(put(c, BASIC, false, "3003010101"), "basicConstraints.cA does not decode");
	CAS(leave_out(c, BASIC), "a CA's basicConstraints is missing");
	CAS(of(c, BASIC)->critical = false, "is not critical");
	CAS(set(c, BASIC, "3000"), "CA:FALSE in a CA certificate");
	CAS(set(c, BASIC, "30060101ff020100"), NULL);
}

static void a_cas_name_and_policies(void **state)
{
	CAS(leave_out(c, POLICIES), "a subordinate CA has no certificatePolicies");
	CAS(c->empty_subject = true, "a CA's subject is empty");
	LEAF(c->own_issuer = true, NULL); /* whose name it is, policy.c says */
}

static void extended_usages_need_their_usages(void **state)
{
	/* What each takes of nonRepudiation, keyEncipherment (not this key's), keyAgreement,
	 * dataEncipherment. */
	static const struct {
		const char *usages;
		bool repudiates, agrees;
	} rows[] = {
		{ ONE(SERVER), false, true },          { ONE(CLIENT), false, true },
		{ ONE(CODE), false, false },           { ONE(EMAIL), true, true },
		{ ONE(STAMPING), true, false },        { ONE(RESPONDER), true, false },
		{ TWO_OF(EMAIL, CODE), false, false }, { TWO_OF(CODE, EMAIL), false, false },
		{ ONE(KP("11")), true, true },
	};
	const char *lacks = "needs a key usage that is not there";

	for (size_t i = 0; i < CH_COUNT(rows); i++) {
		LEAF(set(c, EXTENDED, rows[i].usages), NULL);
		LEAF((set(c, EXTENDED, rows[i].usages), set(c, USAGE, "03020640")),
		     rows[i].repudiates ? NULL : lacks);
		LEAF((set(c, EXTENDED, rows[i].usages), set(c, USAGE, "03020308")),
		     rows[i].agrees ? NULL : lacks);
	}
	LEAF(leave_out(c, EXTENDED), NULL);
	LEAF(set(c, EXTENDED, "3000"), "extendedKeyUsage is empty or does not decode");
	LEAF(set(c, EXTENDED, "310a" SERVER), "extendedKeyUsage is empty or does not decode");
	LEAF(set(c, EXTENDED, "300b" SERVER "06"), "extendedKeyUsage does not decode");
	LEAF(set(c, EXTENDED, "3003020101"), "extendedKeyUsage does not decode");
	LEAF(set(c, EXTENDED, "300d" SERVER "020101"), "extendedKeyUsage does not decode");
}

static void signers_are_marked(void **state)
{
	const char *alone = "a responder's extended key usage is not OCSPSigning alone",
		   *no_check = "a responder's ocsp-nocheck is missing or not NULL",
		   *stamping = "a TSA's extended key usage is not timeStamping alone and critical",
		   *none = "ocsp-nocheck in what is no responder's certificate";

	RESPONDERS(leave_out(c, EXTENDED), alone);
	RESPONDERS(set(c, EXTENDED, ONE(STAMPING)), alone);
	RESPONDERS(set(c, EXTENDED, TWO_OF(RESPONDER, SERVER)), alone);
	RESPONDERS(leave_out(c, NO_CHECK), no_check);
	RESPONDERS(set(c, NO_CHECK, "0400"), no_check);
	RESPONDERS(set(c, NO_CHECK, "050000"), no_check);
	TSAS(leave_out(c, EXTENDED), stamping);
	TSAS(of(c, EXTENDED)->critical = false, stamping);
	TSAS(set(c, EXTENDED, TWO_OF(STAMPING, SERVER)), stamping);
	TSAS(put(c, NO_CHECK, false, "0500"), none);
	LEAF(put(c, NO_CHECK, false, "0500"), none);
	CAS(put(c, NO_CHECK, false, "0500"), none);
	OTHERWISE(CH_KIND_OCSP_RESPONDER, true, put(c, NO_CHECK, false, "0500"), none);
	OTHERWISE(CH_KIND_TSA, true, (void)c, NULL);
}

static void alternative_names(void **state)
{
	LEAF(put(c, NAMES, true,
		 "3006820461"
		 "2e6162"),
	     "critical beside a subject");
	LEAF(c->empty_subject = true, "the subject is empty and subjectAltName not critical");
	LEAF((c->empty_subject = true, put(c, NAMES, false,
					   "3006820461"
					   "2e6162")),
	     "the subject is empty and subjectAltName not critical");
	LEAF(put(c, NAMES, false, "3000"), "subjectAltName is empty");
	LEAF(put(c, NAMES, false, "30028200"), "subjectAltName is empty");
}

static void name_it(struct certificate *c, const char *name, const char *names)
{
	ch_bytes_free(&c->subject);
	assert_true(ch_name_parse(name, &c->subject, NULL));
	put(c, NAMES, false, names);
	c->context.common_name_from_san = true;
}

static void a_common_name_is_a_host_of_the_alternative_names(void **state)
{
	const char *none = "the common name is none of the alternative names";

	LEAF(name_it(c, "CN=192.0.2.1", "30068704c0000201"), NULL);
	LEAF(name_it(c, "CN=192.0.2.2", "30068704c0000201"), none);
	LEAF(name_it(c, "CN=a@b.c",
		     "3007810561"
		     "40622e63"),
	     none);
	LEAF(name_it(c, "O=Example,CN=192.0.2.1", "30068704c0000201"), NULL);
	LEAF(name_it(c, "CN=192.0.2.1,O=Example", "30068704c0000201"), NULL);
	LEAF(name_it(c, "CN=192.0.2.1,CN=leaf", "30068704c0000201"), none);
	LEAF(name_it(c, "CN=leaf,CN=192.0.2.1", "30068704c0000201"), none);
	LEAF(name_it(c, "O=Example", "30068704c0000201"), NULL);
}

static void extensions_of_any_kind(void **state)
{
	struct certificate *full = begin(CH_KIND_END_ENTITY, false), *more = begin(CH_KIND_END_ENTITY, false);

	LEAF(put(c, ODD, false, "0500"), NULL);
	LEAF(put(c, ODD, true, "0500"), "that relying parties need not know is critical");
	LEAF((put(c, ODD, false, "0500"), put(c, ODD, false, "0500")), "an extension stands twice");
	LEAF(put(c, SKI, false, "0500"), "an extension stands twice");
	for (int i = 0; i < 21; i++) {
		char oid[32];

		snprintf(oid, sizeof(oid), "1.2.3.%d", i);
		if (i < 20)
			put(full, oid, false, "0500");
		put(more, oid, false, "0500");
	}
	assert_int_equal(full->count, 24);
	expect(full, NULL, __LINE__);
	expect(more, "more than 24 extensions", __LINE__);
}

static void nothing_stands_where_nothing_should(void **state)
{
	LEAF(c->in_extension = true, "lint structure: Extension");
	LEAF(c->false_written = true, "lint structure: Extension.critical FALSE is written out");
	LEAF(c->behind_list = true, "lint structure: extensions");
	LEAF(c->behind_explicit = true, "lint structure: TBSCertificate");
	LEAF(c->in_validity = true, "lint structure: Validity");
	LEAF(c->behind_all = true, "lint structure: TBSCertificate");
	LEAF(c->bad_boolean = true, "lint structure: Extension.critical");
	LEAF(c->version = 1, "version is not v3");
	LEAF(c->generalized_end = true, "lint time_encoding:");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones_pass),
		cmocka_unit_test(identifiers),
		cmocka_unit_test(key_usage),
		cmocka_unit_test(basic_constraints),
		cmocka_unit_test(a_cas_name_and_policies),
		cmocka_unit_test(extended_usages_need_their_usages),
		cmocka_unit_test(signers_are_marked),
		cmocka_unit_test(alternative_names),
		cmocka_unit_test(a_common_name_is_a_host_of_the_alternative_names),
		cmocka_unit_test(extensions_of_any_kind),
		cmocka_unit_test(nothing_stands_where_nothing_should),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
