/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purposes.h: what the vault signs. Each purpose reads the bytes that are to be signed with the bounded DER
 * reader, holds them against the key's policy and the time, and says what must be recorded before a signature
 * may leave. Pure: no database, no HSM. sign_allow.c is the caller; docs/threat-model.md says what each check
 * stops.
 */
#ifndef VAULT_PURPOSES_H
#define VAULT_PURPOSES_H

#include "approval.h"
#include "x509/public_key.h"
#include "x509/verifier.h"
#include "vault.pb-c.h"

/* A row of the table `keys`: what the key may be used for. */
struct vault_key {
	char key_id[33];
	char tenant[64];
	char *label;
	const struct ch_algorithm *algorithm;
	unsigned purposes;           /* bits: 1 << enum Purpose */
	struct ch_bytes subject_der; /* CA keys: the name that they issue under */
	struct ch_bytes public_key_info;
	uint8_t key_hash[20];             /* SHA-1 of the public key bits: OCSP byKey */
	struct ch_verify_key *verify_key; /* decoded; NULL where keys.c did not read the row */
	char **residency;                 /* names of the HSMs that hold it */
	size_t residency_count;
	bool single_copy_accepted;
	char state[16];
	int64_t ca_not_before_us; /* limits of its CA certificate; ca_not_after_us 0: it has none yet */
	int64_t ca_not_after_us;
	int32_t ca_path_length; /* -1: no limit */
	char **timestamp_policies;
	size_t timestamp_policy_count;
	char *checkpoint_origin;
	int64_t max_validity_us; /* 0: the vault's default */
	int64_t created_at_us;

	/* What limits it further (KeyPolicy of vault.proto), and how the row is sealed (policy.h). */
	uint64_t policy_version;
	char **callers; /* services; none: each purpose's own */
	size_t caller_count;
	char **signature_algorithms; /* "ecdsa-with-SHA256"; none: the one of the key's algorithm */
	size_t signature_algorithm_count;
	int64_t max_certificate_validity_us;  /* of certificates but its own self-signed one; 0: no limit */
	uint32_t quota_burst, quota_per_hour; /* 0: no quota */
	uint32_t approvals_required;          /* more than the quorum's; 0: the quorum's */
	char audit_mode[8];                   /* "each", "summary"; "": the purpose's own */
	char **extra_extensions;              /* OIDs that the table of extensions does not have */
	size_t extra_extension_count;
	bool signatures_unverified;  /* they leave without being held against the public key */
	int64_t state_changed_at_us; /* 0: never */
	struct ch_bytes request_id;  /* message id that asked for it */
	uint8_t public_key_sha256[32];
	struct ch_bytes seal;
	const char *damaged; /* a column that holds what the vault never writes; NULL: none */
};
void vault_key_free(struct vault_key *key); /* what it holds, not itself */

/* Limits that the configuration sets, and who operators are. */
struct vault_policy {
	int64_t clock_tolerance_us;
	int64_t timestamp_tolerance_us;
	int64_t crl_max_validity_us;
	int64_t ocsp_max_validity_us;
	struct vault_operators operators;
};

#define VAULT_NUMBER_CAP 20 /* octets of a CRL number (RFC 5280 §5.2.3) */

/* What a check is given, and what it found. */
struct vault_check {
	const struct vault_key *key;
	const struct vault_policy *policy;
	bool status_alone; /* the key's state lets it tell status (key_states.h) and issue nothing else */
	int64_t now_us;
	const char *tenant;
	const char *sender_service, *sender_instance; /* who asks, from a verified identity */
	const uint8_t *sender_names_sha256;           /* 32 octets: of that identity's subjectAltName */
	struct ch_view to_be_signed;
	struct ch_view content;
	const struct vault_action *action; /* that was named, and the tenant's quorum; NULL: none was */
	const struct vault_quorum *quorum;
	/* The key of this vault that a SubjectPublicKeyInfo belongs to; CH_NOT_FOUND. Borrowed for the check.
	 */
	const struct vault_key *(*find_subject)(void *state, struct ch_view public_key_info,
						struct ch_error *err);
	/* Is this the name of a CA key of the key's tenant, as relying parties compare names? False: it could
	 * not be told. */
	bool (*is_ca_name)(void *state, struct ch_view name, bool *is, struct ch_error *err);
	void *find_state; /* of both */

	const char *reason; /* of a refusal, for metrics: "issuer", "validity", …; "malformed" until a check
			       says more */
	struct ch_view
		number; /* CRL number or tree size, big endian, unsigned: never goes back; size 0: none */
	uint8_t number_room[8];
	uint32_t number_step_cap; /* the number is at most so far above the last; 0: any */
	bool sets_ca_limits;      /* the key `subject_key_id` becomes a CA within these limits */
	char subject_key_id[33];
	int64_t ca_not_before_us, ca_not_after_us;
	int32_t ca_path_length;
	char *subject;       /* for the audit event: serial, CRL number; owned by the check */
	char *approvers;     /* names of the officers; owned by the check */
	bool uses_action;    /* which must be marked as used before the signature is made */
	int64_t proposed_us; /* when that action was proposed, by its document; 0: none was checked */
};
void vault_check_free(struct vault_check *check);

struct vault_purpose {
	Chancery__Purpose number;
	const char *name;
	const char *callers[3]; /* services that may ask; none: any, and `check` looks at who it is */
	bool each_audited;      /* an event for each signature; else summed up per minute */
	bool keeps_octets; /* in that event: what was signed can be found and revoked, whoever hides it */
	bool for_relying_parties; /* anybody outside can ask for as many as he likes: the other lane at the
				     HSMs */
	bool (*check)(struct vault_check *check, struct ch_error *err);
};
/* NULL: no such purpose. */
const struct vault_purpose *vault_purpose_find(Chancery__Purpose number);
const struct vault_purpose *vault_purpose_at(size_t index);

bool purpose_end_entity(struct vault_check *check, struct ch_error *err);
bool purpose_ca_certificate(struct vault_check *check, struct ch_error *err);
bool purpose_crl(struct vault_check *check, struct ch_error *err);
bool purpose_ocsp(struct vault_check *check, struct ch_error *err);
bool purpose_timestamp(struct vault_check *check, struct ch_error *err);
bool purpose_checkpoint(struct vault_check *check, struct ch_error *err);
bool purpose_csr(struct vault_check *check, struct ch_error *err);
bool purpose_service_identity(struct vault_check *check, struct ch_error *err);
/* The bit that a key's purposes must have: a certification request is made with any key that certifies CAs.
 */
unsigned vault_purpose_of_key(const struct vault_purpose *purpose);
/* This service may ask for this purpose. */
bool vault_purpose_allows(const struct vault_purpose *purpose, const char *service);

/* `return vault_refuse(check, "issuer", err, "…");` CH_DENIED. */
bool vault_refuse(struct vault_check *check, const char *reason, struct ch_error *err, const char *format,
		  ...) CH_PRINTF(4, 5);

/*
 * The action that was named is approved for these very bytes: its fields are the key, SHA-256 of the bytes,
 * and `more`. Sets check->approvers and check->uses_action. (approval.c)
 */
CH_MUST_USE bool vault_check_approvals(struct vault_check *check, Chancery__ActionKind kind,
				       const struct ch_action_field *more, size_t more_count,
				       struct ch_error *err);

/* --- what several purposes share (tbs_certificate.c, extensions.c, extension_table.c) --- */

struct vault_extension {
	struct ch_view oid; /* content octets */
	bool critical;
	struct ch_view value; /* inside the OCTET STRING: one whole DER element */
};
#define VAULT_EXTENSIONS_CAP 64
struct vault_extensions {
	struct vault_extension items[VAULT_EXTENSIONS_CAP];
	size_t count;
};
/* `in` stands at SEQUENCE OF Extension. Refuses duplicates (RFC 5280 §4.2), empty values and more than the
 * cap. */
CH_MUST_USE bool vault_read_extensions(struct ch_view *in, struct vault_extensions *extensions,
				       struct ch_error *err);
/* The same where the SEQUENCE's tag is an implicit one: `list` is its content. */
CH_MUST_USE bool vault_read_extension_list(struct ch_view list, struct vault_extensions *extensions,
					   struct ch_error *err);
/* Where an extension stands. */
enum vault_place {
	VAULT_IN_END_ENTITY,
	VAULT_IN_CA_CERTIFICATE,
	VAULT_IN_SERVICE_IDENTITY,
	VAULT_IN_CA_CSR,
	VAULT_IN_CRL,
	VAULT_IN_CRL_ENTRY,
	VAULT_IN_OCSP_RESPONSE,
	VAULT_IN_SINGLE_RESPONSE,
	VAULT_IN_TST_INFO,
};
/* Each is one of those that may stand there, or named by the key's policy. CH_DENIED names the first that is
 * not.
 */
CH_MUST_USE bool vault_check_extensions(struct vault_check *check, const struct vault_extensions *extensions,
					enum vault_place place, struct ch_error *err);
/* No key's policy may name it (content octets of an OID). */
bool vault_extension_is_never_signed(struct ch_view oid);
/* NULL where it is absent. `last` is the arc after id-ce (2.5.29). */
const struct vault_extension *vault_find_extension(const struct vault_extensions *extensions, uint8_t last);
#define VAULT_CE_KEY_USAGE                  15
#define VAULT_CE_SUBJECT_ALT_NAME           17
#define VAULT_CE_EXTENDED_KEY_USAGE         37
#define VAULT_CE_BASIC_CONSTRAINTS          19
#define VAULT_CE_CRL_NUMBER                 20
#define VAULT_CE_DELTA_CRL_INDICATOR        27
#define VAULT_CE_ISSUING_DISTRIBUTION_POINT 28

/* --- tbs_certificate.c --- */

struct tbs_certificate {
	struct ch_view serial;              /* INTEGER octets */
	struct ch_view signature_algorithm; /* AlgorithmIdentifier DER */
	struct ch_view issuer, subject;     /* Name DER */
	int64_t not_before_us, not_after_us;
	struct ch_view public_key_info;
	struct ch_spki subject_key; /* of it */
	bool has_basic_constraints, basic_constraints_critical, is_ca;
	int32_t path_length; /* -1: absent */
	bool has_key_usage, may_sign_certificates, may_sign_crls;
	bool may_sign_ocsp;                /* extendedKeyUsage: id-kp-OCSPSigning */
	bool may_stamp;                    /* extendedKeyUsage: id-kp-timeStamping */
	bool any_usage;                    /* extendedKeyUsage: anyExtendedKeyUsage */
	uint8_t key_usage;                 /* first octet of the BIT STRING; 0: absent */
	struct ch_view subject_alt_name;   /* GeneralNames DER; empty: absent */
	struct ch_view extended_key_usage; /* SEQUENCE OF KeyPurposeId DER; empty: absent */
	struct vault_extensions extensions;
};
/* RFC 5280 §4.1. CH_INVALID where it is not well formed DER of version 3; CH_TOO_LARGE over
 * CH_CERTIFICATE_CAP. */
CH_MUST_USE bool tbs_certificate_read(struct ch_view der, struct tbs_certificate *tbs, struct ch_error *err);
/* What holds for every certificate: serial, algorithm, issuer, validity in itself and against the clock. */
CH_MUST_USE bool tbs_certificate_check(struct vault_check *check, const struct tbs_certificate *tbs,
				       struct ch_error *err);
#define VAULT_BACKDATING_CAP (48 * CH_HOUR)
/* notBefore is at most VAULT_BACKDATING_CAP before `from_us`: now, or when officers were asked. */
CH_MUST_USE bool tbs_certificate_check_backdating(struct vault_check *check,
						  const struct tbs_certificate *tbs, int64_t from_us,
						  struct ch_error *err);
/* The subject is not the issuer's name nor that of another CA key of the tenant: who looks for a CRL's or a
 * certificate's issuer by its name must not find it (RFC 5280 §6.3.3 (f)). */
CH_MUST_USE bool tbs_certificate_check_subject(struct vault_check *check, const struct tbs_certificate *tbs,
					       struct ch_error *err);
/* Within the validity of the CA certificate that the key has, and no longer than the key's policy allows. */
CH_MUST_USE bool tbs_certificate_check_within_ca(struct vault_check *check, const struct tbs_certificate *tbs,
						 struct ch_error *err);

CH_DEFINE_AUTO_VALUE(vault_key, struct vault_key, vault_key_free)
CH_DEFINE_AUTO_VALUE(vault_check, struct vault_check, vault_check_free)

#endif
