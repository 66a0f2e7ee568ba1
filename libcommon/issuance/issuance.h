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

/* --- names of the suite's own signers (subject.c)
 * -------------------------------------------------------------------- */
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
	char *caps; /* "none", "browsers" */
};
struct ch_profile_subject {
	struct ch_conf_strings allowed;
	struct ch_conf_strings required;
	char *common_name; /* "auto", "any", "san" */
};
struct ch_profile_sans {
	struct ch_conf_strings allowed;
	int64_t minimum;
	int64_t maximum;
	struct ch_conf_strings dns_suffixes;
	struct ch_conf_strings ip_ranges;
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
	struct ch_conf_strings requesters;
	char *requested_extensions; /* "ignore", "refuse" */
	/* derived */
	enum ch_profile_kind kind;
	bool common_name_from_san; /* CN, where there is one, is one of the subject alternative names */
	unsigned key_usage;        /* KU_ bits of <openssl/x509v3.h> */
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

/* keyUsage without what a key of this algorithm cannot do (template.c). */
unsigned ch_key_usage_for(unsigned wanted, const struct ch_algorithm *key);
/* "serverAuth" for its dotted OID; one without a name is returned as it is. */
const char *ch_extended_key_usage_name(const char *oid);
/* "192.0.2.0/24", "2001:db8::/32": is the address in it? *valid false: it is no range (name_rules.c). */
bool ch_ip_range_contains(const char *range, const char *address, bool *valid);

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
	bool is_default;                 /* TSA: stamps for who names no policy */
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
	int64_t parent_id;        /* 0: a root */
	char *state;              /* its own: "pending", "active", "suspended", "retired", "revoked" */
	char *state_reason;       /* an officer's words, or the CRLReason's name; NULL or "": none */
	char *key_state;          /* of its key in the vault; NULL: not asked */
	bool key_was_compromised; /* whatever became of the key since: it is destroyed some day */
	char *certificate_status; /* of its own certificate, "issued", "revoked", …; NULL: not asked, or none
				   */
	int64_t key_version;      /* of its key's row, which officers' approvals name */
	bool timestamp_default;   /* its TSA answers who names none; an upgrade may have stated it beyond the
				     document */
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

/* What its state comes to (ca_state.c). */
struct ch_ca_effect {
	const char *state; /* "pending", "active", "suspended", "revoked", "retired", "expired" */
	char why[256];     /* "CA 'root' above it: its certificate is revoked (cACompromise)"; active: "" */
};
/*
 * A CA is what it and all CAs above it are at `now_us`: one that is not active makes those below it the same.
 * The function ca_obstacle of proto/schema/0010_ca_obstacle.sql decides the same for those who ask the
 * database.
 * cas  all of the tenant, among them `ca` and those above it
 */
void ch_ca_effect_of(const struct ch_ca *cas, size_t count, const struct ch_ca *ca, int64_t now_us,
		     struct ch_ca_effect *effect);
/* CH_CONFLICT "CA 'x' is suspended and issues nothing: it is stopped" */
CH_MUST_USE bool ch_ca_issues(const struct ch_ca *cas, size_t count, const struct ch_ca *ca, int64_t now_us,
			      struct ch_error *err);

/* --- policy (policy.c)
 * ----------------------------------------------------------------------------------------------- */
struct ch_policy_request {
	struct ch_csr *csr;         /* signature already verified by ch_csr_read; ch_names_follow_sans */
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
/* Host names are the same in either case (RFC 4343), and alternative names are written in small letters: a CN
 * that is one of them is written as it, in place. (name_rules.c) */
void ch_names_follow_sans(struct ch_bytes *subject_der, const struct ch_sans *sans);
/*
 * May this certificate say these names? CN is one of the alternative names where the profile wants that;
 * dns_suffixes and ip_ranges bind hosts wherever they stand: alternative names, CN, e-mail domains, URIs.
 * CH_INVALID names the name and what is allowed. (name_rules.c)
 */
CH_MUST_USE bool ch_names_check(const struct ch_profile *profile, struct ch_view subject_der,
				const struct ch_sans *sans, struct ch_error *err);

/* What a CSR asks for and the certificate does not get, as texts: "keyUsage keyEncipherment". (unmet.c) */
struct ch_unmet {
	char **items;
	size_t count;
};
#define CH_UNMET_MAX 64 /* texts; more are told as one */
/* `sans`: of the certificate; `key`: of its key. CH_INVALID: an extension of the CSR does not decode. */
CH_MUST_USE bool ch_unmet_find(const struct ch_profile *profile, const struct ch_csr *csr,
			       const struct ch_sans *sans, struct ch_unmet *unmet, struct ch_error *err);
void ch_unmet_free(struct ch_unmet *unmet);
CH_DEFINE_AUTO_VALUE(ch_unmet, struct ch_unmet, ch_unmet_free)

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
	bool common_name_from_san; /* as the profile says */
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
