/* SPDX-License-Identifier: Apache-2.0 */
/*
 * action.h: the document of an action that officers approve. The vault writes it, people read it, officers
 *sign its very octets, and the vault reads it again before it acts. One form for one content: what reads also
 *formats to the same octets.
 *
 *	Chancery action v2
 *	action: ca-certificate
 *	id: 5f0c0c1a77b84a2c9d3c8e0b7d1f2a34
 *	tenant: default
 *	created: 2026-11-21T04:30:00Z
 *	expires: 2026-11-22T04:30:00Z
 *	proposed-by: alice
 *	proposed-through: issuer/issuer-1
 *	proposed-from: 192.0.2.7
 *	key: 9a1f0c…
 *	tbs-sha256: 6b86b2…
 *	subject: CN=Example Root CA,O=Example
 *	not-after: 2046-11-21T04:30:00Z
 *	about-key-label: Example Root CA
 *	about-key-state: active
 *
 * Lines end with one LF, the last one too. After the nine fixed lines come exactly the fields of the action's
 *kind in their order; then what the vault tells the officers of it ("about-…"), which asks for nothing.
 */
#ifndef CH_ACTION_H
#define CH_ACTION_H

#include "mem/mem.h"
#include "vault.pb-c.h"

#define CH_ACTION_CAP        16384 /* octets of a document */
#define CH_ACTION_FIELDS_CAP 16
#define CH_ACTION_FACTS_CAP  16
#define CH_ACTION_FACT       "about-" /* begins the name of each */
#define CH_ACTION_VALUE_CAP \
	2048 /* octets of a value: visible characters (text/text.h), not empty ("-" says: none) */
#define CH_ACTION_ID_SIZE 33 /* 32 hex digits and a zero */

struct ch_action_field {
	char *name;
	char *value;
};

/* A field that borrows its texts, for those who only read it. */
static inline struct ch_action_field ch_action_field(const char *name, const char *value)
{
	return (struct ch_action_field){ (char *)(uintptr_t)name, (char *)(uintptr_t)value };
}

struct ch_action {
	Chancery__ActionKind kind;
	char id[CH_ACTION_ID_SIZE];
	char tenant[64];
	int64_t created_us, expires_us; /* whole seconds */
	/* Who asked ("-": nobody said), by which service and instance, from which address. */
	char *proposed_by, *proposed_through, *proposed_from;
	struct ch_action_field fields[CH_ACTION_FIELDS_CAP];
	size_t field_count;
	struct ch_action_field facts[CH_ACTION_FACTS_CAP];
	size_t fact_count;
};
void ch_action_free(struct ch_action *action); /* what it holds */

/* What is asked for. */
struct ch_action_ask {
	Chancery__ActionKind kind;
	const struct ch_action_field *fields;
	size_t count;
	struct ch_view
		content; /* what tbs-sha256 is the digest of: shown to officers; size 0: the kind has none */
	const char *proposed_by,
		*proposed_from; /* a person and an address, where a daemon asks for one; or NULL */
};
/* The value of a field; NULL: there is none of that name. */
const char *ch_action_value(const struct ch_action *action, const char *name);
/* Appends a fact: name without "about-". Not where there are as many already as may be. */
void ch_action_add_fact(struct ch_action *action, const char *name, const char *value);

/*
 * What each kind names, in this order:
 *   generate-key       label, algorithm, purposes ("a,b,c" by number), subject (RFC 4514 or "-")
 *   ca-certificate     key, tbs-sha256, subject, not-after
 *   ca-csr             key, tbs-sha256, subject
 *   service-identity   key, tbs-sha256, identity ("service/instance"), not-after
 *   crl                key, tbs-sha256, crl-number (hex), next-update
 *   export-key         key
 *   change-key-state   key, policy-version, from, to
 *   change-key-policy  key, policy-version, callers, signature-algorithms, max-validity-seconds, quota-burst,
 * quota-per-hour, approvals-required, audit-mode, extra-extensions, verify-signatures replace-hsm        hsm
 * change-quorum      version, required, officers ("name=hex SHA-256 of the SubjectPublicKeyInfo,…")
 */
/*   change-ca-state    ca, to, key, policy-version ("-" for a revocation), certificate (serial or "-"),
 * reason
 * ("-": none) */
const char *ch_action_kind_name(Chancery__ActionKind kind); /* NULL: no such kind */
Chancery__ActionKind ch_action_kind_find(const char *name); /* ACTION_NONE: no such kind */

/* CH_INVALID names the field that is missing, out of order or holds what no line can. The caller frees
 * *document. */
CH_MUST_USE bool ch_action_format(const struct ch_action *action, struct ch_bytes *document,
				  struct ch_error *err);
/* Strict: CH_TOO_LARGE over the cap, CH_INVALID where formatting again would give other octets. */
CH_MUST_USE bool ch_action_read(struct ch_view document, struct ch_action *action, struct ch_error *err);
/* The action is of this kind and has exactly these values. CH_DENIED names the first that differs, with both.
 */
CH_MUST_USE bool ch_action_matches(const struct ch_action *action, Chancery__ActionKind kind,
				   const struct ch_action_field *expected, size_t count,
				   struct ch_error *err);

CH_DEFINE_AUTO_VALUE(ch_action, struct ch_action, ch_action_free)

#endif
