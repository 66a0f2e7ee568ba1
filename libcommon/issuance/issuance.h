/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issuance.h: what certificates are decided and written with: profiles, CA documents, CAs, and the pure steps
 * from a request to the linted bytes of a certificate. Nothing here touches a database, a socket or a clock,
 * so unit tests and fuzz targets link it.
 */
#ifndef CH_ISSUANCE_H
#define CH_ISSUANCE_H

#include "conf/conf.h"
#include "x509/x509.h"

/* --- subject attributes (subject.c): a new one is a row of the table there
 * ------------------------------------------- */
struct ch_subject_attribute {
	const char *name; /* "CN": as profiles and RFC 4514 texts write it */
	const char *oid;
	size_t maximum; /* characters (RFC 5280 appendix A upper bounds) */
};
const struct ch_subject_attribute *ch_subject_attribute_find(const char *name); /* NULL: unknown */
const struct ch_subject_attribute *ch_subject_attribute_at(size_t index);       /* NULL past the end */

/* Takes the next attribute off `name` (the content of an RDNSequence, or what is left of it). *attribute is
 * NULL for a type that is not in the table; oid_text then names it (the caller frees it). value: text octets
 * in UTF-8 or ASCII. CH_INVALID: malformed, a string type other than UTF8String, PrintableString and
 * IA5String (RFC 5280 §4.1.2.4), an empty or overlong value, a control character. */
struct ch_subject_item {
	const struct ch_subject_attribute *attribute;
	char *oid_text;
	struct ch_view value;
};
CH_MUST_USE bool ch_subject_next(struct ch_view *rdn_sequence, struct ch_view *rdn,
				 struct ch_subject_item *item, struct ch_error *err);
void ch_subject_item_free(struct ch_subject_item *item);
CH_DEFINE_AUTO_VALUE(ch_subject_item, struct ch_subject_item, ch_subject_item_free)

/* The CA's name with its common name replaced by "<common name> <suffix>": what the suite's own signers are
 * called. */
CH_MUST_USE bool ch_subject_with_suffix(struct ch_view ca_subject_der, const char *suffix,
					struct ch_bytes *der, struct ch_error *err);

/* --- certificate profiles (profile.c)
 * -------------------------------------------------------------------------------- */
enum ch_profile_kind { CH_KIND_END_ENTITY, CH_KIND_OCSP_RESPONDER, CH_KIND_TSA };

struct ch_profile_validity {
	int64_t default_us;
	int64_t maximum_us;
	int64_t backdate_us;
};
struct ch_profile_subject {
	struct ch_conf_strings allowed;
	struct ch_conf_strings required;
};
struct ch_profile_sans {
	struct ch_conf_strings allowed;
	int64_t minimum;
	int64_t maximum;
	struct ch_conf_strings dns_suffixes;
};
struct ch_profile {
	/* as the document says */
	char *name;
	char *kind_name;
	struct ch_profile_validity validity;
	struct ch_conf_strings keys;
	struct ch_conf_strings key_usage_names;
	struct ch_conf_strings extended_key_usage;
	struct ch_profile_subject subject;
	struct ch_profile_sans subject_alt_names;
	struct ch_conf_strings policies;
	struct ch_conf_strings cas;
	/* derived */
	enum ch_profile_kind kind;
	unsigned key_usage;                /* KU_ bits of <openssl/x509v3.h> */
	const char *extended_key_oids[16]; /* dotted; static or into extended_key_usage */
	/* from its row */
	int32_t version;
	int references; /* atomic; see cache.c */
};
extern const struct ch_conf_schema ch_profile_schema;
#define CH_PROFILE_NAME_MAX 63

/* Reads and checks a profile document. CH_INVALID names the key or the contradiction at fault. */
CH_MUST_USE bool ch_profile_read(struct ch_view document, struct ch_profile *profile, struct ch_error *err);
void ch_profile_free(struct ch_profile *profile); /* what it holds, not itself */
CH_DEFINE_AUTO_VALUE(ch_profile, struct ch_profile, ch_profile_free)

/* [a-z0-9][a-z0-9-]{0,62}: names of CAs and profiles. CH_INVALID "<what> 'x y': …". */
CH_MUST_USE bool ch_check_name(const char *what, const char *name, struct ch_error *err);
/* CH_INVALID where the text is no dotted OID. */
CH_MUST_USE bool ch_check_oid(const char *what, const char *dotted, struct ch_error *err);
bool ch_strings_contain(const struct ch_conf_strings *strings, const char *item);
char *ch_strings_join(const struct ch_conf_strings *strings); /* "a, b"; the caller frees it */

/* --- CA documents (ca_document.c)
 * ------------------------------------------------------------------------------------ */
struct ch_ca_urls {
	char *ocsp;
	char *crl;
	char *ca_issuers;
};
struct ch_ca_crl {
	int64_t interval_us;
	int64_t validity_us;
};
struct ch_ca_signer { /* of the CA's own OCSP responder or TSA; key NULL: there is none */
	char *key;
	int64_t validity_us;
	struct ch_conf_strings policies; /* TSA: what TSTInfo may name */
};
struct ch_ca_document {
	char *name;
	char *parent; /* NULL: a root */
	char *subject;
	char *key;
	int64_t validity_us;
	int64_t path_length; /* -1: no limit */
	struct ch_conf_strings policies;
	struct ch_ca_urls urls;
	struct ch_ca_crl crl;
	struct ch_ca_signer ocsp_responder;
	struct ch_ca_signer timestamp_authority;
};
extern const struct ch_conf_schema ch_ca_document_schema;

extern const struct ch_conf_schema ch_ca_urls_schema;
/* What no schema can say: names, algorithms, URLs, OIDs. CH_INVALID names the key at fault.
 * ch_ca_document_read does it. */
CH_MUST_USE bool ch_ca_document_check(const struct ch_ca_document *ca, struct ch_error *err);
CH_MUST_USE bool ch_ca_urls_check(const struct ch_ca_urls *urls, struct ch_error *err);
CH_MUST_USE bool ch_ca_document_read(struct ch_view document, struct ch_ca_document *ca,
				     struct ch_error *err);
void ch_ca_document_free(struct ch_ca_document *ca);
CH_DEFINE_AUTO_VALUE(ch_ca_document, struct ch_ca_document, ch_ca_document_free)

/* --- a CA as the database knows it
 * ----------------------------------------------------------------------------------- */
struct ch_ca {
	int64_t id;
	int64_t parent_id; /* 0: a root */
	char *state;       /* "pending", "active", "retired" */
	struct ch_ca_document document;
	struct ch_bytes subject_der;
	char *subject;
	char *key_id;
	const struct ch_algorithm *algorithm;
	struct ch_bytes public_key_info;
	struct ch_bytes key_identifier;
	struct ch_bytes tbs_certificate;
	struct ch_bytes certificate_der;
	int64_t not_before_us;
	int64_t not_after_us;
	uint8_t serial_tag_key[32];
};
void ch_ca_free(struct ch_ca *ca);
CH_DEFINE_AUTO_VALUE(ch_ca, struct ch_ca, ch_ca_free)

/* --- policy (policy.c)
 * ----------------------------------------------------------------------------------------------- */
struct ch_policy_request {
	const struct ch_csr *csr;   /* signature already verified by ch_csr_read */
	int64_t validity_seconds;   /* 0: the profile's default */
	const struct ch_sans *sans; /* instead of the CSR's; count 0: those of the CSR */
};
/* What was decided: everything in it is borrowed from the request. */
struct ch_order {
	struct ch_view subject_der;
	struct ch_view public_key_info;
	const struct ch_algorithm *key_algorithm;
	const struct ch_sans *sans;
	int64_t not_before_us;
	int64_t not_after_us;
};
/*
 * Decides whether the profile and the CA allow the request at `now_us` and what the certificate will say.
 * Errors  CH_INVALID names the attribute, name, key or time at fault and what is allowed.
 * Source  RFC 5280 §4.1.2, §4.2.1.6; RFC 2986 §4
 */
CH_MUST_USE bool ch_policy_check(const struct ch_profile *profile, const struct ch_ca *ca,
				 const struct ch_policy_request *request, int64_t now_us,
				 struct ch_order *order, struct ch_error *err);
/* From `now_us` (backdated by the profile, but not before the CA) for `validity_us`; 0: the profile's
 * default, shortened to the CA's end where it is longer. A validity that was asked for is refused where it
 * does not fit. */
CH_MUST_USE bool ch_policy_validity(const struct ch_profile *profile, const struct ch_ca *ca,
				    int64_t validity_us, int64_t now_us, struct ch_order *order,
				    struct ch_error *err);

/* --- template (template.c)
 * ------------------------------------------------------------------------------------------- */
/* Who signs: a CA, or for a root the CA that is being made. Everything borrowed. */
struct ch_template_signer {
	struct ch_view subject_der;
	const struct ch_algorithm *algorithm;
	struct ch_view key_identifier;
	const struct ch_ca_urls *urls; /* NULL: no AIA and CDP (a root's own certificate) */
};
struct ch_template_signer ch_template_signer_of(const struct ch_ca *ca);

/* The TBSCertificate (RFC 5280 §4.1) of an end entity, an OCSP responder (RFC 6960 §4.2.2.2) or a TSA (RFC
 * 3161 §2.3). */
CH_MUST_USE bool ch_template_certificate(const struct ch_profile *profile,
					 const struct ch_template_signer *signer,
					 const struct ch_order *order, struct ch_view serial,
					 struct ch_bytes *tbs, struct ch_error *err);
/* The TBSCertificate of a CA. */
CH_MUST_USE bool ch_template_ca(const struct ch_ca_document *document,
				const struct ch_template_signer *signer, const struct ch_order *order,
				struct ch_view serial, struct ch_bytes *tbs, struct ch_error *err);

/* --- lint (lint.c)
 * --------------------------------------------------------------------------------------------------- */
struct ch_lint_context {
	const struct ch_template_signer *signer;
	enum ch_profile_kind kind;
	bool ca;
};
/* Proof that these very bytes were linted: only signing takes it, once. */
struct ch_lint_token {
	uint8_t tbs_sha256[32];
	bool valid;
};
/* Runs every check of the table over the bytes. CH_INTERNAL "lint e_serial_length: … (RFC 5280 §4.1.2.2)":
 * what our own template built must pass, so a failure is our fault and nothing is signed. */
CH_MUST_USE bool ch_lint_tbs(struct ch_view tbs, const struct ch_lint_context *context,
			     struct ch_lint_token *token, struct ch_error *err);
/* Spends the token on `tbs`; CH_INTERNAL where it is for other bytes or was spent. */
CH_MUST_USE bool ch_lint_spend(struct ch_lint_token *token, struct ch_view tbs, struct ch_error *err);

#endif
