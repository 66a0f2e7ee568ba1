/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c: the command table. A new command is a row here and a function in the file of its noun; help,
 * completion and parsing follow from the row. */
#include "cli.h"

static const struct cli_option connect_options[] = {
	{ "url", "URL", "the suite's HTTPS base", "CHANCERY_URL", NULL, CLI_VALUES_NONE },
	{ "ca-file", "FILE", "PEM that the suite's HTTPS certificate is verified against", "CHANCERY_CA_FILE",
	  NULL, CLI_VALUES_FILE },
	{ "cert", "FILE", "PEM client certificate of the operator who asks", "CHANCERY_CERT", NULL,
	  CLI_VALUES_FILE },
	{ "key", "FILE", "PEM private key of that certificate", "CHANCERY_KEY", NULL, CLI_VALUES_FILE },
};
const struct cli_options cli_connect_options = CLI_OPTIONS(connect_options);

static const struct cli_option vault_options[] = {
	{ "vault", "HOST:PORT", "a vault's bus address; may be repeated", "CHANCERY_VAULT", NULL,
	  CLI_VALUES_NONE },
	{ "identity", "DIR", "certificate.pem and key.pem of an identity of service operator",
	  "CHANCERY_IDENTITY", NULL, CLI_VALUES_DIRECTORY },
	{ "system-ca", "FILE", "certificate of the daemons' system CA, PEM", "CHANCERY_SYSTEM_CA", NULL,
	  CLI_VALUES_FILE },
	{ "tenant", "TENANT", "whose keys, default 'default'", "CHANCERY_TENANT", NULL, CLI_VALUES_NONE },
};
const struct cli_options cli_vault_options = CLI_OPTIONS(vault_options);

static const struct cli_option json_options[] = {
	{ "json", NULL, "print JSON instead of a table", NULL, NULL, CLI_VALUES_NONE },
};
const struct cli_options cli_json_options = CLI_OPTIONS(json_options);

/* Options that several commands have. */
#define OPTION(name, value, help)                                    \
	{                                                            \
		(name), (value), (help), NULL, NULL, CLI_VALUES_NONE \
	}
#define OPTION_CHOICE(name, value, help, choices)                         \
	{                                                                 \
		(name), (value), (help), NULL, (choices), CLI_VALUES_NONE \
	}
#define OPTION_FILE(name, value, help)                               \
	{                                                            \
		(name), (value), (help), NULL, NULL, CLI_VALUES_FILE \
	}
#define OPTION_PLACE(name, value, help)                                   \
	{                                                                 \
		(name), (value), (help), NULL, NULL, CLI_VALUES_DIRECTORY \
	}
#define OPTION_VARIABLE(name, value, help, variable)                       \
	{                                                                  \
		(name), (value), (help), (variable), NULL, CLI_VALUES_NONE \
	}
#define OPTION_DIRECTORY OPTION_PLACE("directory", "DIR", "where the CA's certificate and key are")
#define OPTION_OPERATIONS                                                                             \
	OPTION_VARIABLE("operations", "LIST", "daemons' operations ports: 'ocsp-1=127.0.0.1:9101 …'", \
			"CHANCERY_OPERATIONS")

#define REASONS                                                                                      \
	"unspecified|keyCompromise|cACompromise|affiliationChanged|superseded|cessationOfOperation|" \
	"privilegeWithdrawn|"                                                                        \
	"aACompromise"

#define OPTIONS_OFFICER                                                                                 \
	OPTION_FILE("officer-cert", "FILE", "PEM certificate to approve with, default that of --cert"), \
		OPTION_FILE("officer-key", "KEY", "its key: PEM file or PKCS#11 URI, default that of --key")

static const struct cli_option ca_create_options[] = {
	OPTIONS_OFFICER,
	OPTION("check", NULL, "prepare and check, but do not approve"),
	OPTION("wait", NULL, "wait for the other officers' approvals"),
	OPTION("yes", NULL, "approve what is shown without a question: for scripts"),
};
static const struct cli_option ca_suspend_options[] = {
	OPTION("reason", "TEXT", "why, for the audit log and `ca list`"),
};
static const struct cli_option ca_change_options[] = {
	OPTIONS_OFFICER,
	OPTION("reason", "TEXT", "why, for the audit log"),
	OPTION("yes", NULL, "approve what is shown without a question: for scripts"),
	OPTION("check", NULL, "propose, but do not approve"),
	OPTION("wait", NULL, "wait for the other officers' approvals"),
};
static const struct cli_option ca_revoke_options[] = {
	OPTIONS_OFFICER,
	OPTION_CHOICE("reason", "REASON", "RFC 5280 §5.3.1, default unspecified", REASONS),
	OPTION("invalidity-date", "TIME", "since when the key is thought to be compromised"),
	OPTION("yes", NULL, "approve what is shown without a question: for scripts"),
	OPTION("check", NULL, "propose, but do not approve"),
	OPTION("wait", NULL, "wait for the other officers' approvals"),
};
static const struct cli_option key_options[] = {
	OPTION("comment", "TEXT", "how it is known, for the audit log"),
};
static const struct cli_option approve_options[] = {
	OPTIONS_OFFICER,
	OPTION("check", NULL, "show what would be signed, but do not sign"),
	OPTION("yes", NULL, "approve what is shown without a question: for scripts"),
};
static const struct cli_option ceremony_run_options[] = {
	OPTION_FILE("officer-cert", "FILE", "PEM certificate of an officer who is there; may be repeated"),
	OPTION_FILE("officer-key", "KEY",
		    "that officer's key: PEM file or PKCS#11 URI; one for each --officer-cert"),
	OPTION_PLACE("out", "DIR", "folder of the ceremony; that of an interrupted one goes on"),
	OPTION("sha256", "HEX", "digest of the document that was reviewed; another is refused"),
	OPTION("yes", NULL, "approve what is shown without a question: for scripts"),
};
static const struct cli_option vault_approve_options[] = {
	OPTION_FILE("officer-cert", "FILE", "PEM certificate to approve with"),
	OPTION_FILE("officer-key", "KEY", "its key: PEM file or PKCS#11 URI"),
	OPTION("yes", NULL, "approve what is shown without a question: for scripts"),
};
static const struct cli_option ceremony_sign_options[] = {
	OPTION_FILE("officer-cert", "FILE", "PEM certificate of an officer; may be repeated"),
	OPTION_FILE("officer-key", "KEY",
		    "that officer's key: PEM file or PKCS#11 URI; one for each --officer-cert"),
};
static const struct cli_option action_list_options[] = {
	OPTION_CHOICE("state", "STATE", "only these", "open|approved|used"),
};
static const struct cli_option quorum_change_options[] = {
	OPTION("check", NULL, "show what would be proposed, but do not"),
};
static const struct cli_option issue_options[] = {
	OPTION_FILE("csr", "FILE", "PKCS#10 request, PEM"),
	OPTION("profile", "NAME", "certificate profile"),
	OPTION("ca", "NAME", "issuing CA; default: the only one that the profile may use"),
	OPTION("validity", "DURATION", "such as 30d; default: the profile's"),
	OPTION("san", "TYPE:VALUE",
	       "subject alternative name (dns, ip, email, uri) instead of the request's; may be repeated"),
	OPTION("idempotency-key", "KEY", "the same key again gives the same certificate"),
	OPTION_FILE("out", "FILE", "write the certificate and its chain there, PEM"),
};
static const struct cli_option show_options[] = {
	OPTION_FILE("out", "FILE", "write the certificate and its chain there, PEM"),
};
static const struct cli_option list_options[] = {
	OPTION_CHOICE("status", "STATUS", "only these", "issued|suspended|revoked|pending|cancelled"),
	OPTION("subject", "TEXT", "only where the subject holds it"),
	OPTION("san", "TEXT", "only where a subject alternative name holds it"),
	OPTION("profile", "NAME", "only of this profile"),
	OPTION("ca", "NAME", "only of this CA"),
	OPTION("expires-before", "TIME", "only those that end before: 2027-01-01T00:00:00Z"),
	OPTION("limit", "N", "at most so many, default 100"),
	OPTION("cursor", "TEXT", "go on where an earlier list ended"),
};
static const struct cli_option revoke_options[] = {
	OPTION_CHOICE("reason", "REASON", "RFC 5280 §5.3.1, default unspecified", REASONS),
	OPTION("invalidity-date", "TIME", "since when the key is thought to be compromised"),
	OPTION("ca", "NAME", "the CA whose serials they are, also ones that the suite does not know"),
};
static const struct cli_option audit_list_options[] = {
	OPTION("type", "TYPE", "only of this type, such as certificate.issued"),
	OPTION("actor", "NAME", "only by this client or service"),
	OPTION("subject", "TEXT", "only about this serial, key or CA"),
	OPTION("since", "TIME", "only from this time on: 2026-11-21T00:00:00Z"),
	OPTION("after", "N", "only after this sequence number"),
	OPTION("limit", "N", "at most so many, default 100"),
};
static const struct cli_option audit_content_options[] = {
	OPTION_FILE("out", "FILE", "where to write the octets"),
};
static const struct cli_option audit_quarantine_options[] = {
	OPTION("after", "ID", "only after this one"),
	OPTION("limit", "N", "at most so many, default 50, at most 100"),
};
static const struct cli_option audit_verify_options[] = {
	OPTION_VARIABLE("database", "URL", "libpq connection string of a role that may read the log",
			"CHANCERY_DATABASE"),
	OPTION_VARIABLE("system-ca", "FILE", "certificate of the daemons' system CA, PEM",
			"CHANCERY_SYSTEM_CA"),
	OPTION_PLACE("state-directory", "DIR",
		     "of an audit daemon, or a copy; may be repeated, default $CHANCERY_AUDIT_STATE"),
	OPTION_FILE("checkpoint-key", "FILE", "public key of the checkpoints, DER or PEM"),
	OPTION_FILE("checkpoint", "FILE", "a checkpoint kept elsewhere"),
};
static const struct cli_option key_state_options[] = {
	OPTION("reason", "TEXT", "why, for the audit log"),
};
static const struct cli_option key_policy_options[] = {
	OPTION("callers", "LIST", "only these of the services that may ask, 'issuer,crl'; '-': all of them"),
	OPTION("signature-algorithms", "LIST", "only these, 'ecdsa-with-SHA256'; '-': the key's own"),
	OPTION("max-validity", "SECONDS", "of what it signs; of a CA key: of certificates; 0: no limit"),
	OPTION("quota-burst", "N", "signatures at once; 0: no quota"),
	OPTION("quota-per-hour", "N", "signatures an hour after that"),
	OPTION("approvals-required", "N", "officers, where more than the quorum's number"),
	OPTION_CHOICE("audit", "MODE", "an event for each signature, or one a minute",
		      "each|summary|purpose"),
	OPTION("extra-extensions", "LIST",
	       "OIDs that what it signs may carry beyond the vault's own; '-': none"),
	OPTION_CHOICE("verify-signatures", "WHETHER", "before they leave the vault", "yes|no"),
};
static const struct cli_option key_export_options[] = {
	OPTION_FILE("out", "FILE", "a new file for the wrapped key"),
};
static const struct cli_option operations_options[] = { OPTION_OPERATIONS };
static const struct cli_option migrate_options[] = {
	OPTION_VARIABLE("database", "URL", "libpq connection string, as the database's owner",
			"CHANCERY_DATABASE_OWNER"),
	OPTION_PLACE("schema", "DIR", "directory of the numbered migrations"),
};
static const struct cli_option file_ca_init_options[] = {
	OPTION_DIRECTORY,
	OPTION("days", "N", "validity, default 3650"),
};
static const struct cli_option system_ca_issue_options[] = {
	OPTION_DIRECTORY,
	OPTION_CHOICE("service", "NAME", "the daemon's service",
		      "gateway|issuer|ocsp|tsa|crl|audit|vault|operator"),
	OPTION("instance", "NAME", "the daemon's instance, such as ocsp-1"),
	OPTION("dns", "NAME", "one more DNS name that its TLS may want; may be repeated"),
	OPTION("ip", "ADDRESS", "an address that its TLS may want; may be repeated"),
	OPTION("days", "N", "validity, default 825"),
	OPTION_PLACE("out", "DIR", "for certificate.pem and key.pem"),
};
static const struct cli_option system_ca_renew_options[] = {
	OPTION_DIRECTORY,
	OPTION("days", "N", "validity, default 825"),
	OPTION_PLACE("out", "DIR", "of the identity: its certificate.pem and key.pem are replaced"),
};
#define OPTION_REFUSAL_REASON                                                                         \
	OPTION_CHOICE("reason", "REASON", "why (RFC 5280 §5.3.1), default keyCompromise",             \
		      "unspecified|keyCompromise|affiliationChanged|superseded|cessationOfOperation|" \
		      "privilegeWithdrawn")
static const struct cli_option system_ca_revoke_options[] = {
	OPTION_DIRECTORY,
	OPTION("instance", "NAME", "all identities of an instance, such as ocsp-1 or ocsp/ocsp-1"),
	OPTION_FILE("certificate", "FILE", "the identity with this certificate, PEM"),
	OPTION("serial", "HEX", "the identity with this serial number"),
	OPTION_REFUSAL_REASON,
};
static const struct cli_option system_ca_publish_options[] = {
	OPTION_DIRECTORY,
};
static const struct cli_option system_ca_roll_options[] = {
	OPTION_DIRECTORY,
	OPTION("days", "N", "validity of the new CA, default 3650"),
	OPTION("finish", NULL, "every identity is renewed: take the CA before out of the trust"),
	OPTION("force", NULL, "finish although identities were not renewed"),
};
static const struct cli_option public_ca_issue_options[] = {
	OPTION_DIRECTORY,
	OPTION("dns", "NAME", "a DNS name of the gateway; may be repeated"),
	OPTION("ip", "ADDRESS", "an address of the gateway; may be repeated"),
	OPTION("days", "N", "validity, default 825"),
	OPTION_PLACE("out", "DIR", "for https-certificate.pem and https-key.pem"),
};
static const struct cli_option operator_issue_options[] = {
	OPTION_DIRECTORY,
	OPTION("name", "NAME", "the operator's name"),
	OPTION_CHOICE("role", "ROLE", "what the operator may do; may be repeated",
		      "requester|officer|auditor"),
	OPTION("tenant", "TENANT", "the operator's tenant, default 'default'"),
	OPTION("days", "N", "validity, default 365"),
	OPTION_FILE("out", "PREFIX", "write PREFIX.pem and PREFIX.key"),
};

static const struct cli_option operator_revoke_options[] = {
	OPTION_DIRECTORY,
	OPTION("name", "NAME", "all certificates of an operator, such as alice or default/officer/alice"),
	OPTION_FILE("certificate", "FILE", "this certificate, PEM"),
	OPTION("serial", "HEX", "the certificate with this serial number"),
	OPTION_REFUSAL_REASON,
};

#define NO_OPTIONS      \
	{               \
		NULL, 0 \
	}
#define NO_ARGUMENTS .max_arguments = 0
#define ONE_ARGUMENT .min_arguments = 1, .max_arguments = 1
#define ARGUMENTS    .min_arguments = 1, .max_arguments = CLI_ANY_NUMBER
#define FILES        .argument_values = CLI_VALUES_FILE

const struct cli_command cli_commands[] = {
	{ "ca", "create", "FILE", "Make the CA that a document describes; checks and approves as the officer",
	  CLI_OPTIONS(ca_create_options), .connects = true, ONE_ARGUMENT, FILES, .run = cli_ca_create },
	{ "ca", "list", "", "List the CAs", NO_OPTIONS, .connects = true, NO_ARGUMENTS, .run = cli_ca_list },
	{ "ca", "show", "NAME", "Show a CA and its certificate", NO_OPTIONS, .connects = true, ONE_ARGUMENT,
	  .run = cli_ca_show },
	{ "ca", "suspend", "NAME", "Stop a CA at once: it issues nothing, its CRLs and OCSP go on",
	  CLI_OPTIONS(ca_suspend_options), .connects = true, ONE_ARGUMENT, .run = cli_ca_suspend },
	{ "ca", "activate", "NAME", "Start a stopped CA again (officers)", CLI_OPTIONS(ca_change_options),
	  .connects = true, ONE_ARGUMENT, .run = cli_ca_activate },
	{ "ca", "retire", "NAME", "End a CA's issuing for good; its CRLs go on (officers)",
	  CLI_OPTIONS(ca_change_options), .connects = true, ONE_ARGUMENT, .run = cli_ca_retire },
	{ "ca", "revoke", "NAME", "Revoke a CA's certificate and end its issuing for good (officers)",
	  CLI_OPTIONS(ca_revoke_options), .connects = true, ONE_ARGUMENT, .run = cli_ca_revoke },
	{ "key", "block", "FILE", "Never certify a key again: of a certificate, request or public key",
	  CLI_OPTIONS(key_options), .connects = true, ONE_ARGUMENT, FILES, .run = cli_key_block },
	{ "key", "report", "FILE", "Report a key as compromised with a request that its holder signed",
	  CLI_OPTIONS(key_options), .connects = true, ONE_ARGUMENT, FILES, .run = cli_key_report },
	{ "ceremony", "check", "FILE", "Show all that a key ceremony would make; makes and asks nothing",
	  NO_OPTIONS, ONE_ARGUMENT, FILES, .run = cli_ceremony_check },
	{ "ceremony", "run", "FILE", "Make the CAs of a key ceremony with the officers who are there",
	  CLI_OPTIONS(ceremony_run_options), .vault = true, ONE_ARGUMENT, FILES, .run = cli_ceremony_run },
	{ "ceremony", "sign", "DIR", "Add officers' signatures to a ceremony's transcript",
	  CLI_OPTIONS(ceremony_sign_options), ONE_ARGUMENT, .argument_values = CLI_VALUES_DIRECTORY,
	  .run = cli_ceremony_sign },
	{ "approve", "", "[ACTION...]", "Approve actions as an officer; without any, list those that wait",
	  CLI_OPTIONS(approve_options), .connects = true, .max_arguments = CLI_ANY_NUMBER,
	  .run = cli_approve },
	{ "action", "list", "", "List the actions that officers approve", CLI_OPTIONS(action_list_options),
	  .connects = true, NO_ARGUMENTS, .run = cli_action_list },
	{ "action", "show", "ACTION", "Show an action and its document", NO_OPTIONS, .connects = true,
	  ONE_ARGUMENT, .run = cli_action_show },
	{ "quorum", "show", "", "Show which officers approve, and how many must", NO_OPTIONS, .vault = true,
	  NO_ARGUMENTS, .run = cli_quorum_show },
	{ "quorum", "change", "FILE", "Propose another quorum; approved by the old one, put it in force",
	  CLI_OPTIONS(quorum_change_options), .vault = true, ONE_ARGUMENT, FILES, .run = cli_quorum_change },
	{ "profile", "apply", "FILE...", "Load certificate profiles from documents", NO_OPTIONS,
	  .connects = true, ARGUMENTS, FILES, .run = cli_profile_apply },
	{ "profile", "list", "", "List the certificate profiles", NO_OPTIONS, .connects = true, NO_ARGUMENTS,
	  .run = cli_profile_list },
	{ "profile", "show", "NAME", "Show a certificate profile", NO_OPTIONS, .connects = true, ONE_ARGUMENT,
	  .run = cli_profile_show },
	{ "certificate", "issue", "", "Issue a certificate from a CSR", CLI_OPTIONS(issue_options),
	  .connects = true, NO_ARGUMENTS, .run = cli_certificate_issue },
	{ "certificate", "show", "SERIAL", "Show a certificate", CLI_OPTIONS(show_options), .connects = true,
	  ONE_ARGUMENT, .run = cli_certificate_show },
	{ "certificate", "list", "", "List certificates", CLI_OPTIONS(list_options), .connects = true,
	  NO_ARGUMENTS, .run = cli_certificate_list },
	{ "certificate", "revoke", "SERIAL...", "Revoke certificates", CLI_OPTIONS(revoke_options),
	  .connects = true, ARGUMENTS, .run = cli_certificate_revoke },
	{ "certificate", "suspend", "SERIAL...", "Put certificates on hold", NO_OPTIONS, .connects = true,
	  ARGUMENTS, .run = cli_certificate_suspend },
	{ "certificate", "reinstate", "SERIAL...", "Take certificates off hold", NO_OPTIONS, .connects = true,
	  ARGUMENTS, .run = cli_certificate_reinstate },
	{ "crl", "generate", "CA", "Make a new CRL now", NO_OPTIONS, .connects = true, ONE_ARGUMENT,
	  .run = cli_crl_generate },
	{ "crl", "show", "CA", "Show the newest CRL's number and times", NO_OPTIONS, .connects = true,
	  ONE_ARGUMENT, .run = cli_crl_show },
	{ "audit", "list", "", "List audit events", CLI_OPTIONS(audit_list_options), .connects = true,
	  NO_ARGUMENTS, .run = cli_audit_list },
	{ "audit", "content", "SEQUENCE", "Write the octets that an event keeps, as a signed certificate's",
	  CLI_OPTIONS(audit_content_options), .connects = true, ONE_ARGUMENT, .run = cli_audit_content },
	{ "audit", "quarantine", "", "List events that are not genuine, kept apart from the log",
	  CLI_OPTIONS(audit_quarantine_options), .connects = true, NO_ARGUMENTS,
	  .run = cli_audit_quarantine },
	{ "audit", "verify", "", "Verify the whole audit log from the database",
	  CLI_OPTIONS(audit_verify_options), .json = true, NO_ARGUMENTS, .run = cli_audit_verify },
	{ "vault", "status", "", "Show each vault's HSMs", CLI_OPTIONS(operations_options), .json = true,
	  NO_ARGUMENTS, .run = cli_vault_status },
	{ "vault", "approve", "[ACTION...]", "As `approve`, asking the vaults directly: no gateway is needed",
	  CLI_OPTIONS(vault_approve_options), .vault = true, .max_arguments = CLI_ANY_NUMBER,
	  .run = cli_vault_approve },
	{ "vault", "hsm status", "", "Show the HSMs of each vault and what they hold", NO_OPTIONS,
	  .vault = true, NO_ARGUMENTS, .run = cli_hsm_status },
	{ "vault", "hsm replace", "HSM", "Bring a wiped or new HSM to hold all keys (officers)", NO_OPTIONS,
	  .vault = true, ONE_ARGUMENT, .run = cli_hsm_replace },
	{ "vault", "hsm add", "HSM", "The same for an HSM that is new in the configuration (officers)",
	  NO_OPTIONS, .vault = true, ONE_ARGUMENT, .run = cli_hsm_replace },
	{ "vault", "hsm disable", "HSM", "Shut an HSM out for maintenance", NO_OPTIONS, .vault = true,
	  ONE_ARGUMENT, .run = cli_hsm_disable },
	{ "vault", "hsm enable", "HSM", "Let an HSM in again", NO_OPTIONS, .vault = true, ONE_ARGUMENT,
	  .run = cli_hsm_enable },
	{ "vault", "key list", "", "List the tenant's keys", NO_OPTIONS, .vault = true, NO_ARGUMENTS,
	  .run = cli_vault_key_list },
	{ "vault", "key show", "KEY", "Show a key and its policy", NO_OPTIONS, .vault = true, ONE_ARGUMENT,
	  .run = cli_vault_key_show },
	{ "vault", "key activate", "KEY", "Make a pre-active or suspended key active (officers)",
	  CLI_OPTIONS(key_state_options), .vault = true, ONE_ARGUMENT, .run = cli_vault_key_activate },
	{ "vault", "key suspend", "KEY", "Stop a key from signing for now", CLI_OPTIONS(key_state_options),
	  .vault = true, ONE_ARGUMENT, .run = cli_vault_key_suspend },
	{ "vault", "key retire", "KEY", "Let a key sign no more but CRLs (officers)",
	  CLI_OPTIONS(key_state_options), .vault = true, ONE_ARGUMENT, .run = cli_vault_key_retire },
	{ "vault", "key compromise", "KEY", "Mark a key as compromised: it signs nothing more",
	  CLI_OPTIONS(key_state_options), .vault = true, ONE_ARGUMENT, .run = cli_vault_key_compromise },
	{ "vault", "key destroy", "KEY", "Remove a retired or compromised key from all HSMs (officers)",
	  CLI_OPTIONS(key_state_options), .vault = true, ONE_ARGUMENT, .run = cli_vault_key_destroy },
	{ "vault", "key set-policy", "KEY", "Change what limits a key (officers)",
	  CLI_OPTIONS(key_policy_options), .vault = true, ONE_ARGUMENT, .run = cli_vault_key_set_policy },
	{ "vault", "key export", "KEY", "Write a key, wrapped for HSMs of the same domain (officers)",
	  CLI_OPTIONS(key_export_options), .vault = true, ONE_ARGUMENT, .run = cli_vault_key_export },
	{ "status", "", "", "Show whether the suite answers and each daemon is ready",
	  CLI_OPTIONS(operations_options), .connects = true, NO_ARGUMENTS, .run = cli_status },
	{ "db", "migrate", "", "Bring the database's schema up to date", CLI_OPTIONS(migrate_options),
	  NO_ARGUMENTS, .run = cli_db_migrate },
	{ "system-ca", "init", "", "Make the CA of the daemons' identities",
	  CLI_OPTIONS(file_ca_init_options), NO_ARGUMENTS, .run = cli_system_ca_init },
	{ "system-ca", "issue", "", "Issue a daemon instance's identity",
	  CLI_OPTIONS(system_ca_issue_options), NO_ARGUMENTS, .run = cli_system_ca_issue },
	{ "system-ca", "renew", "",
	  "Replace an identity by one with a new key, the same names and a later end",
	  CLI_OPTIONS(system_ca_renew_options), NO_ARGUMENTS, .run = cli_system_ca_renew },
	{ "system-ca", "revoke", "", "Have every daemon refuse identities from now on",
	  CLI_OPTIONS(system_ca_revoke_options), .vault = true, NO_ARGUMENTS, .run = cli_system_ca_revoke },
	{ "system-ca", "publish", "", "Bring the lists of refused identities to the vaults",
	  CLI_OPTIONS(system_ca_publish_options), .vault = true, NO_ARGUMENTS, .run = cli_system_ca_publish },
	{ "system-ca", "roll", "", "Make a new system CA beside the present one, later take that away",
	  CLI_OPTIONS(system_ca_roll_options), NO_ARGUMENTS, .run = cli_system_ca_roll },
	{ "public-ca", "init", "", "Make the CA of the gateway's HTTPS certificate, which clients trust",
	  CLI_OPTIONS(file_ca_init_options), NO_ARGUMENTS, .run = cli_public_ca_init },
	{ "public-ca", "issue", "", "Issue the gateway's HTTPS certificate",
	  CLI_OPTIONS(public_ca_issue_options), NO_ARGUMENTS, .run = cli_public_ca_issue },
	{ "operator", "init", "", "Make the CA of operators' client certificates",
	  CLI_OPTIONS(file_ca_init_options), NO_ARGUMENTS, .run = cli_operator_init },
	{ "operator", "issue", "", "Issue an operator's client certificate",
	  CLI_OPTIONS(operator_issue_options), NO_ARGUMENTS, .run = cli_operator_issue },
	{ "operator", "revoke", "",
	  "Have every gateway and vault refuse an operator's certificates from now on",
	  CLI_OPTIONS(operator_revoke_options), .vault = true, NO_ARGUMENTS, .run = cli_operator_revoke },
	{ "completion", "bash", "", "Print the completion script for bash", NO_OPTIONS, NO_ARGUMENTS,
	  .run = cli_completion_bash },
};
const size_t cli_command_count = CH_COUNT(cli_commands);
