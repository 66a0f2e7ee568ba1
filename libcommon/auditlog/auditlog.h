/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auditlog.h: what the audit log's rows and checkpoints are made of, and the verifier of the whole log. The
 * audit daemon appends with it, `chancery audit verify` checks with it.
 */
#ifndef CH_AUDITLOG_H
#define CH_AUDITLOG_H

#include "audit.pb-c.h"
#include "db/db.h"
#include "envelope/envelope.h"

#define CH_AUDIT_HASH_SIZE       32
#define CH_AUDIT_CHECKPOINT_FILE "checkpoint"         /* in the audit daemon's state directory */
#define CH_AUDIT_CHECKPOINT_KEY  "checkpoint-key.der" /* there too: SubjectPublicKeyInfo */
#define CH_AUDIT_HEAD_FILE \
	"head" /* there too: what this instance appended last; unsigned, catches a cut-off tail */
#define CH_AUDIT_CHECKPOINT_CAP 4096

/* hash = SHA-256("chancery/log/v1\0" || previous || sequence, 8 octets big endian || signed_event) */
CH_MUST_USE bool ch_audit_hash(const uint8_t previous[CH_AUDIT_HASH_SIZE], uint64_t sequence,
			       struct ch_view signed_event, uint8_t hash[CH_AUDIT_HASH_SIZE],
			       struct ch_error *err);

/* Where certificates of system CAs that were rolled over are, as `chancery system-ca roll` leaves them:
 * beside the system CA's. The caller frees it; the file need not be there. */
char *ch_audit_retired_cas(const char *system_ca_path);

#define CH_AUDIT_TEXT_CAP 1024 /* octets of each text of an Event that becomes a column of the log */

/* Decodes a stored or received SignedEvent and the Event in it, and verifies its signature, that the
 * certificate chains to the system CA at the event's time, and that service and instance are the
 * certificate's. CH_INVALID, CH_UNAUTHENTICATED, CH_DENIED (another's name): it is not genuine and never will
 * be, but where `retryable` is set: no CA that issued its certificate is known (yet). The caller frees
 * *event. */
CH_MUST_USE bool ch_audit_event_open(struct ch_trust *trust, const Chancery__SignedEvent *signed_event,
				     Chancery__Event **event, struct ch_error *err);

/* A checkpoint: "<origin>\n<log size>\n<base64 of the log's last hash>\n", signed through the vault. */
struct ch_audit_checkpoint {
	char *origin; /* owned */
	uint64_t log_size;
	uint8_t hash[CH_AUDIT_HASH_SIZE];
};
char *ch_audit_checkpoint_text(const struct ch_audit_checkpoint *checkpoint); /* the caller frees it */
CH_MUST_USE bool ch_audit_checkpoint_read(const char *text, struct ch_audit_checkpoint *checkpoint,
					  struct ch_error *err);
void ch_audit_checkpoint_free(struct ch_audit_checkpoint *checkpoint);
CH_DEFINE_AUTO_VALUE(ch_audit_checkpoint, struct ch_audit_checkpoint, ch_audit_checkpoint_free)
/* The file form: the text, an empty line, the key id, the base64 of the signature. */
struct ch_bytes ch_audit_checkpoint_file(const char *text, const char *key_id, struct ch_view signature);
CH_MUST_USE bool ch_audit_checkpoint_file_read(const char *path, char **text, struct ch_bytes *signature,
					       struct ch_error *err);
/* Verifies a checkpoint's signature with the key, whose algorithm is the key's own. CH_UNAUTHENTICATED. */
CH_MUST_USE bool ch_audit_checkpoint_verify(struct ch_view public_key_info, const char *text,
					    struct ch_view signature, struct ch_error *err);

/* CH_AUDIT_HEAD_FILE holds "<log size, 20 digits> <hash, 64 hex digits>\n". */
#define CH_AUDIT_HEAD_SIZE (20 + 1 + 2 * CH_AUDIT_HASH_SIZE + 1)

/* One thing wrong with the log. `sequence` is the row it is about; 0: not about a row (a checkpoint, the
 * file). */
struct ch_audit_finding {
	uint64_t sequence;
	const char *kind; /* "altered", "missing", "reordered", "checkpoint", "truncated" */
	const char *text; /* names what and how */
};
typedef void (*ch_audit_report)(void *context, const struct ch_audit_finding *finding);

struct ch_audit_verify_options {
	struct ch_db *db;      /* of a role that may read audit_log and audit_checkpoints: chancery_auditor,
				  chancery_audit */
	const char *keeper;    /* the service that appends to the log: its alerts excuse gaps that it saw */
	const char *system_ca; /* path, PEM */
	const char *retired_system_cas; /* path, PEM: those that were rolled over; NULL: none */
	/* State directories of the audit daemons (or copies kept elsewhere): their CH_AUDIT_CHECKPOINT_KEY,
	 * CH_AUDIT_CHECKPOINT_FILE and CH_AUDIT_HEAD_FILE are held against the table; a file that is not
	 * there is passed over. */
	const char *const *state_directories;
	size_t state_directory_count;
	/* SubjectPublicKeyInfo DER or PEM of the key that signs checkpoints; NULL: the first
	 * CH_AUDIT_CHECKPOINT_KEY. */
	const char *checkpoint_key_file;
	const char *checkpoint_file; /* one more copy of a CH_AUDIT_CHECKPOINT_FILE; may be NULL */
	ch_audit_report report;      /* may be NULL */
	void *report_context;
};
struct ch_audit_summary {
	uint64_t events; /* rows seen */
	uint64_t last_sequence;
	uint64_t checkpoints;
	uint64_t covered; /* the newest checkpoint that verifies is of this size */
	uint64_t findings;
	uint8_t hash[CH_AUDIT_HASH_SIZE]; /* of the last row */
};
/*
 * Walks the whole log in one snapshot. Each altered, missing or reordered row is reported; rows after one are
 * still checked for themselves. True: the walk was made; summary->findings says what came of it. False: it
 * could not be (CH_UNAVAILABLE database, CH_NOT_FOUND file, CH_INVALID key).
 */
CH_MUST_USE bool ch_audit_verify(const struct ch_audit_verify_options *options,
				 struct ch_audit_summary *summary, struct ch_error *err);

#endif
