/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_pkcs11.h: one token of one PKCS#11 module, as an HSM worker sees it. libp11 loads the module, finds
 * the token and logs in; what libp11 0.4.12 has no call for goes to the same module's function list.
 * worker_pkcs11.c opens and finds, worker_login.c logs in and checks, worker_sign.c signs, worker_keys.c
 * makes, copies and removes keys, worker_domain.c makes and uses the domain's own keys.
 */
#ifndef VAULT_WORKER_PKCS11_H
#define VAULT_WORKER_PKCS11_H

#include "hsm.pb-c.h"
#include "hsm_mark.h"
#include "mem/mem.h"

#include <p11-kit/pkcs11.h>

/* The keys of the HSMs' domain: the same in each, derived from one root secret (setup/domain_keys.h). */
#define HSM_KEK_LABEL  "chancery-kek"  /* AES-256: wraps and unwraps keys */
#define HSM_SEAL_LABEL "chancery-seal" /* HMAC-SHA-256: seals rows of the database */
#define HSM_DATA_LABEL "chancery-data" /* AES-256-GCM: wraps data keys */

/* A logged-in token. Thread-safe after opening: each thread brings its own session. */
struct token;

/* One thread's session. `sick` is set when the module lost its session, login or device: only a fresh process
 * with a fresh C_Initialize helps. */
struct token_session {
	struct token *token;
	CK_FUNCTION_LIST *f;
	CK_SESSION_HANDLE handle;
	bool sick;
	struct signing_key *keys; /* what this session signs with (worker_sign.c) */
	unsigned keys_of;         /* token_generation when they were found */
};

/*
 * Loads the module, finds the token by label and logs in once, with the PIN that token_read_pin gave.
 * Errors  CH_DENIED       the PIN is wrong or locked: never try again by itself, each try counts towards the
 * lock CH_UNAVAILABLE  no such module or token now; a later try may succeed
 */
CH_MUST_USE bool token_open(const Chancery__HsmOpen *open, const struct ch_secret *pin, struct token **token,
			    struct ch_error *err);
CK_SLOT_ID token_slot(const struct token *token);
const char *token_label(const struct token *token);
/* How many sessions the token lets this process have; at most as many as were asked for. */
uint32_t token_sessions(const struct token *token);
/* CH_EXHAUSTED where others hold the token's sessions. */
CH_MUST_USE bool token_session_open(struct token *token, struct token_session *session, struct ch_error *err);

/* Sets *err for a CKR_… code and marks the session where it is a sign of a lost session, login or device. */
void token_error_set(struct token_session *session, CK_RV rv, const char *call, struct ch_error *err);
/* Does so, and has the value false as ch_fail has. */
#define token_fail(...) CH_FALSE_AFTER(token_error_set(__VA_ARGS__))
/* A remembered handle may have gone stale: the token's objects were changed by another process. */
bool token_is_stale(CK_RV rv);

/* The token's private key whose CKA_ID is the octets of key_id; CH_NOT_FOUND. */
CH_MUST_USE bool token_find_key(struct token_session *session, const char *key_id, CK_OBJECT_HANDLE *handle,
				struct ch_error *err);
/* A key (or one of the domain's, by label) was changed or removed: what sessions remember of keys is read
 * again. */
void token_forget_key(struct token *token, const char *key_id);
/* Handles of objects that are used again and again, by label. Thread-safe. */
bool token_cached(struct token *token, const char *label, CK_OBJECT_HANDLE *handle);
void token_remember(struct token *token, const char *label, CK_OBJECT_HANDLE handle);
void token_uncache(struct token *token, const char *label);
/* How often token_forget_key was called. */
unsigned token_generation(const struct token *token);
CH_MUST_USE bool token_find_kek(struct token_session *session, CK_OBJECT_HANDLE *handle,
				struct ch_error *err);
/* One of the domain's keys by its label; CH_NOT_FOUND. The handle is not remembered. */
CH_MUST_USE bool token_find_domain_key(struct token_session *session, const char *label,
				       CK_OBJECT_HANDLE *handle, struct ch_error *err);
/* The same, remembered until token_forget_key with the label. */
CH_MUST_USE bool token_domain_key(struct token_session *session, const char *label, CK_OBJECT_HANDLE *handle,
				  struct ch_error *err);
/* The key-encryption key was not found. True, and the session is sick, where this process saw it before: the
 * token was taken away under us. */
bool token_lost_kek(struct token_session *session, struct ch_error *err);

/* A row for each algorithm name of libcommon/x509/algorithm.c. */
struct token_algorithm {
	const char *name;
	CK_KEY_TYPE key_type;
	CK_MECHANISM_TYPE sign;
	CK_MECHANISM_TYPE generate;
	CK_ULONG bits;            /* RSA */
	const char *curve;        /* EC: dotted OID of the curve */
	struct ch_view curve_der; /* CKA_EC_PARAMS */
};
CH_MUST_USE bool token_find_algorithm(const char *name, const struct token_algorithm **algorithm,
				      struct ch_error *err);

CH_MUST_USE bool token_sign(struct token_session *session, const Chancery__HsmSign *ask,
			    struct ch_bytes *signature, struct ch_error *err);
CH_MUST_USE bool token_generate(struct token_session *session, const Chancery__HsmGenerate *ask,
				struct ch_bytes *public_key_info, struct ch_error *err);
CH_MUST_USE bool token_wrap(struct token_session *session, const Chancery__HsmWrap *ask,
			    struct ch_bytes *wrapped, struct ch_error *err);
CH_MUST_USE bool token_unwrap(struct token_session *session, const Chancery__HsmUnwrap *ask,
			      struct ch_error *err);
CH_MUST_USE bool token_lock(struct token_session *session, const char *key_id, struct ch_error *err);
/* Of all sessions; done also where there are none. */
CH_MUST_USE bool token_drop_copies(struct token_session *session, const char *key_id, struct ch_error *err);
CH_MUST_USE bool token_destroy(struct token_session *session, const char *key_id, struct ch_error *err);
/* Key ids of all private keys with a CKA_ID of ours. The caller frees the texts and the list. */
CH_MUST_USE bool token_list_keys(struct token_session *session, char ***key_ids, size_t *count,
				 struct ch_error *err);

/* --- with the domain's keys (worker_domain.c); the caller frees what they give --- */
CH_MUST_USE bool token_mac(struct token_session *session, struct ch_view data, struct ch_bytes *mac,
			   struct ch_error *err);
CH_MUST_USE bool token_encrypt(struct token_session *session, const Chancery__HsmEncrypt *ask,
			       struct ch_bytes *ciphertext, struct ch_error *err);
CH_MUST_USE bool token_decrypt(struct token_session *session, const Chancery__HsmDecrypt *ask,
			       struct ch_bytes *plaintext, struct ch_error *err);
CH_MUST_USE bool token_random(struct token_session *session, uint32_t size, struct ch_bytes *random,
			      struct ch_error *err);

/* --- high-water marks (worker_marks.c) --- */
/* In this order: raises, removes, lists (into *list), reads (into *value; empty: there is none). The caller
 * frees both. */
CH_MUST_USE bool token_marks(struct token_session *session, const Chancery__HsmMarks *ask,
			     struct ch_bytes *value, struct hsm_mark_list *list, struct ch_error *err);

/* --- setting up, in a process of its own (init_token.c) --- */

CH_MUST_USE bool token_load_module(const char *module, CK_FUNCTION_LIST **f, struct ch_error *err);
/* CH_UNAVAILABLE: what C_Initialize answered, and where to look: at the files that its environment names, and
 * at what the sandbox lets it reach. Values that are no paths are not told. */
bool token_fail_initialise(const char *module, CK_RV rv, char *const *environment, size_t count,
			   struct ch_error *err);
/* A token that is not logged in, for functions that take a session. */
struct token *token_of_slot(CK_FUNCTION_LIST *f, CK_SLOT_ID slot, const char *label);
/* Puts the domain's three keys into the token, derived from the root secret. (worker_domain.c) */
CH_MUST_USE bool token_create_domain(struct token_session *session, struct ch_view root,
				     struct ch_error *err);

#endif
