/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_pkcs11.c: opens the token of an HSM worker, tells which PKCS#11 errors mean that the worker must be
 * restarted, and finds keys in it.
 */
#include "worker_pkcs11.h"

#include "der/der.h"
#include "worker_login.h"

#include <dlfcn.h>
#include <libp11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#define KEY_ID_DIGITS 32

struct cached_handle {
	char label[HSM_MARK_NAME_CAP + 32]; /* a key id, or the label of another object */
	CK_OBJECT_HANDLE handle;
	UT_hash_handle hh;
};

struct token {
	CK_FUNCTION_LIST *f;
	CK_SLOT_ID slot;
	char *label;
	PKCS11_CTX *context;        /* holds the module's C_Initialize */
	struct token_session first; /* logged in through it; the first session thread gets it */
	uint32_t session_limit;
	atomic_bool has_kek; /* seen by this process */
	pthread_rwlock_t lock;
	struct cached_handle *handles; /* guarded by lock: of the domain's keys */
	atomic_uint generation;
};

#define OID_DER(...)                                                                       \
	{                                                                                  \
		(const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }) \
	}

static const struct token_algorithm algorithms[] = {
	{ "rsa-2048", CKK_RSA, CKM_RSA_PKCS, CKM_RSA_PKCS_KEY_PAIR_GEN, 2048, NULL, CH_NONE },
	{ "rsa-3072", CKK_RSA, CKM_RSA_PKCS, CKM_RSA_PKCS_KEY_PAIR_GEN, 3072, NULL, CH_NONE },
	{ "rsa-4096", CKK_RSA, CKM_RSA_PKCS, CKM_RSA_PKCS_KEY_PAIR_GEN, 4096, NULL, CH_NONE },
	{ "ecdsa-p256", CKK_EC, CKM_ECDSA, CKM_EC_KEY_PAIR_GEN, 0, "1.2.840.10045.3.1.7",
	  OID_DER(0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07) },
	{ "ecdsa-p384", CKK_EC, CKM_ECDSA, CKM_EC_KEY_PAIR_GEN, 0, "1.3.132.0.34",
	  OID_DER(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22) },
	{ "ecdsa-p521", CKK_EC, CKM_ECDSA, CKM_EC_KEY_PAIR_GEN, 0, "1.3.132.0.35",
	  OID_DER(0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23) },
	/* PKCS#11 3.0 §2.3.5: the curve by name, as a PrintableString */
	{ "ed25519", CKK_EC_EDWARDS, CKM_EDDSA, CKM_EC_EDWARDS_KEY_PAIR_GEN, 0, NULL,
	  OID_DER(0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9') },
};

bool token_find_algorithm(const char *name, const struct token_algorithm **algorithm, struct ch_error *err)
{
	for (size_t i = 0; i < CH_COUNT(algorithms); i++)
		if (strcmp(algorithms[i].name, name) == 0) {
			*algorithm = &algorithms[i];
			return true;
		}
	return ch_fail(err, CH_UNSUPPORTED, "algorithm '%.32s' is not one of the vault's", name);
}

/* --- errors --- */

static bool is_sick(CK_RV rv)
{
	static const CK_RV signs[] = {
		CKR_SESSION_HANDLE_INVALID, CKR_SESSION_CLOSED,       CKR_USER_NOT_LOGGED_IN,
		CKR_DEVICE_ERROR,           CKR_DEVICE_REMOVED,       CKR_DEVICE_MEMORY,
		CKR_TOKEN_NOT_PRESENT,      CKR_TOKEN_NOT_RECOGNIZED, CKR_CRYPTOKI_NOT_INITIALIZED,
		CKR_GENERAL_ERROR,          CKR_FUNCTION_FAILED,      CKR_HOST_MEMORY,
		CKR_SLOT_ID_INVALID,        CKR_OPERATION_ACTIVE,     CKR_OPERATION_NOT_INITIALIZED,
	};

	for (size_t i = 0; i < CH_COUNT(signs); i++)
		if (signs[i] == rv)
			return true;
	return false;
}

bool token_is_stale(CK_RV rv)
{
	return rv == CKR_KEY_HANDLE_INVALID || rv == CKR_OBJECT_HANDLE_INVALID;
}

static bool is_unsupported(CK_RV rv)
{
	return rv == CKR_MECHANISM_INVALID || rv == CKR_KEY_NOT_WRAPPABLE || rv == CKR_FUNCTION_NOT_SUPPORTED;
}

static const char *rv_name(CK_RV rv)
{
	static const struct {
		CK_RV rv;
		const char *name;
	} names[] = {
		{ CKR_SESSION_HANDLE_INVALID, "CKR_SESSION_HANDLE_INVALID" },
		{ CKR_USER_NOT_LOGGED_IN, "CKR_USER_NOT_LOGGED_IN" },
		{ CKR_DEVICE_ERROR, "CKR_DEVICE_ERROR" },
		{ CKR_CRYPTOKI_NOT_INITIALIZED, "CKR_CRYPTOKI_NOT_INITIALIZED" },
		{ CKR_HOST_MEMORY, "CKR_HOST_MEMORY" },
		{ CKR_DEVICE_MEMORY, "CKR_DEVICE_MEMORY" },
		{ CKR_OPERATION_ACTIVE, "CKR_OPERATION_ACTIVE" },
		{ CKR_TOKEN_NOT_RECOGNIZED, "CKR_TOKEN_NOT_RECOGNIZED" },
		{ CKR_SESSION_CLOSED, "CKR_SESSION_CLOSED" },
		{ CKR_SESSION_COUNT, "CKR_SESSION_COUNT" },
		{ CKR_DEVICE_REMOVED, "CKR_DEVICE_REMOVED" },
		{ CKR_TOKEN_NOT_PRESENT, "CKR_TOKEN_NOT_PRESENT" },
		{ CKR_GENERAL_ERROR, "CKR_GENERAL_ERROR" },
		{ CKR_FUNCTION_FAILED, "CKR_FUNCTION_FAILED" },
		{ CKR_KEY_NOT_WRAPPABLE, "CKR_KEY_NOT_WRAPPABLE" },
		{ CKR_KEY_UNEXTRACTABLE, "CKR_KEY_UNEXTRACTABLE" },
		{ CKR_MECHANISM_INVALID, "CKR_MECHANISM_INVALID" },
		{ CKR_PIN_INCORRECT, "CKR_PIN_INCORRECT" },
		{ CKR_PIN_LOCKED, "CKR_PIN_LOCKED" },
		{ CKR_USER_PIN_NOT_INITIALIZED, "CKR_USER_PIN_NOT_INITIALIZED" },
		{ CKR_WRAPPED_KEY_INVALID, "CKR_WRAPPED_KEY_INVALID" },
		{ CKR_OBJECT_HANDLE_INVALID, "CKR_OBJECT_HANDLE_INVALID" },
		{ CKR_KEY_HANDLE_INVALID, "CKR_KEY_HANDLE_INVALID" },
	};

	for (size_t i = 0; i < CH_COUNT(names); i++)
		if (names[i].rv == rv)
			return names[i].name;
	return "CKR";
}

void token_error_set(struct token_session *session, CK_RV rv, const char *call, struct ch_error *err)
{
	enum ch_code code = is_sick(rv)               ? CH_UNAVAILABLE
			    : is_unsupported(rv)      ? CH_UNSUPPORTED
			    : rv == CKR_SESSION_COUNT ? CH_EXHAUSTED
						      : CH_INTERNAL;

	if (is_sick(rv))
		session->sick = true;
	ch_fail(err, code, "token '%s': %s answered %s (0x%lx)", session->token->label, call, rv_name(rv),
		rv);
	if (err)
		err->retryable = true; /* on the other HSM */
}

/* --- opening --- */

bool token_load_module(const char *module, CK_FUNCTION_LIST **f, struct ch_error *err)
{
	void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get = NULL;

	if (!library)
		return ch_fail(err, CH_UNAVAILABLE, "PKCS#11 module '%s' cannot be loaded: %s", module,
			       dlerror());
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (!get || get(f) != CKR_OK)
		return ch_fail(err, CH_UNAVAILABLE, "'%s' is no PKCS#11 module", module);
	return true;
}

bool token_fail_initialise(const char *module, CK_RV rv, char *const *environment, size_t count,
			   struct ch_error *err)
{
	CH_AUTO(ch_buffer) files = CH_NONE;
	CH_AUTO(ch_string) text = NULL;

	for (size_t i = 0; i < count; i++)
		if (strstr(environment[i], "=/"))
			ch_buffer_printf(&files, "%s%s", files.used ? ", " : "", environment[i]);
	text = ch_buffer_steal_text(&files);
	return ch_fail(err, CH_UNAVAILABLE,
		       "PKCS#11 module '%.100s': C_Initialize answered 0x%lx: look at its own configuration "
		       "(environment: %.160s); the sandbox lets it reach no more than the HSM's 'paths'",
		       module, rv, *text ? text : "names no file");
}

/* Of a worker: what is configured is the whole of it. */
static bool fail_initialise(const char *module, CK_RV rv, struct ch_error *err)
{
	size_t count = 0;

	while (environ[count])
		count++;
	return token_fail_initialise(module, rv, environ, count, err);
}

/* Newest libp11 error as a CKR_… code; 0 where it gave none. */
static CK_RV libp11_code(void)
{
	CK_RV rv = (CK_RV)ERR_get_CKR_code();

	ERR_clear_error();
	return rv;
}

static PKCS11_SLOT *find_slot(PKCS11_CTX *context, const char *label, struct ch_error *err)
{
	PKCS11_SLOT *slots = NULL;
	unsigned count = 0;

	if (PKCS11_enumerate_slots(context, &slots, &count) != 0) {
		ch_fail(err, CH_UNAVAILABLE, "C_GetSlotList answered 0x%lx", libp11_code());
		return NULL;
	}
	for (unsigned i = 0; i < count; i++)
		if (slots[i].token && slots[i].token->initialized && slots[i].token->label &&
		    strcmp(slots[i].token->label, label) == 0)
			return &slots[i];
	ch_fail(err, CH_UNAVAILABLE, "no token labelled '%s' in %u slots", label, count);
	return NULL;
}

static bool open_session(struct token *token, struct token_session *session, struct ch_error *err)
{
	CK_RV rv;

	*session = (struct token_session){ .token = token, .f = token->f };
	rv = token->f->C_OpenSession(token->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
				     &session->handle);
	return rv == CKR_OK || token_fail(session, rv, "C_OpenSession", err);
}

/* p11-kit's client gives each caller an instance of its own, which libp11's C_Initialize does not reach. */
static bool initialise(const char *module, CK_FUNCTION_LIST *f, struct ch_error *err)
{
	CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
	CK_RV rv = f->C_Initialize(&arguments);

	return rv == CKR_OK || rv == CKR_CRYPTOKI_ALREADY_INITIALIZED || fail_initialise(module, rv, err);
}

/* The PIN must go to no other token than the one that libp11 found. */
static bool has_label(const struct token *token, struct ch_error *err)
{
	size_t size = strlen(token->label);
	CK_TOKEN_INFO info;
	CK_RV rv = token->f->C_GetTokenInfo(token->slot, &info);

	if (rv != CKR_OK)
		return ch_fail(err, CH_UNAVAILABLE, "C_GetTokenInfo answered 0x%lx", rv);
	return (size <= sizeof(info.label) && memcmp(info.label, token->label, size) == 0) ||
	       ch_fail(err, CH_UNAVAILABLE, "slot 0x%lx holds another token than '%s'", token->slot,
		       token->label);
}

bool token_open(const Chancery__HsmOpen *open, const struct ch_secret *pin, struct token **token,
		struct ch_error *err)
{
	CK_FUNCTION_LIST *f;
	PKCS11_CTX *context;
	PKCS11_SLOT *slot;

	/* libp11 loads the same library, and most have but one instance, which libp11 initialises. */
	if (!token_load_module(open->module, &f, err))
		return false;
	context = PKCS11_CTX_new();
	if (!context || PKCS11_CTX_load(context, open->module) != 0)
		return fail_initialise(open->module, libp11_code(), err);
	if (!initialise(open->module, f, err))
		return false;
	slot = find_slot(context, open->token_label, err);
	if (!slot)
		return false; /* the worker process ends now: nothing is freed */
	*token = token_of_slot(f, PKCS11_get_slotid_from_slot(slot), open->token_label);
	(*token)->context = context;
	if (!has_label(*token, err) || !open_session(*token, &(*token)->first, err) ||
	    !token_log_in(&(*token)->first, pin, open->pin_file, err))
		return false;
	(*token)->session_limit = token_session_limit(&(*token)->first, open->sessions);
	return true;
}

CK_SLOT_ID token_slot(const struct token *token)
{
	return token->slot;
}

const char *token_label(const struct token *token)
{
	return token->label;
}

uint32_t token_sessions(const struct token *token)
{
	return token->session_limit;
}

struct token *token_of_slot(CK_FUNCTION_LIST *f, CK_SLOT_ID slot, const char *label)
{
	struct token *token = ch_alloc(sizeof(*token));

	token->f = f;
	token->slot = slot;
	token->label = ch_strdup(label);
	pthread_rwlock_init(&token->lock, NULL);
	return token;
}

bool token_session_open(struct token *token, struct token_session *session, struct ch_error *err)
{
	if (!token->first.handle)
		return open_session(token, session, err);
	*session = token->first; /* the log-in's session counts towards the token's limit: it is used too */
	token->first.handle = 0;
	return true;
}

/* --- finding --- */

static bool find_one(struct token_session *session, CK_ATTRIBUTE *template, CK_ULONG count, const char *what,
		     CK_OBJECT_HANDLE *handle, struct ch_error *err)
{
	CK_ULONG found = 0;
	CK_RV rv = session->f->C_FindObjectsInit(session->handle, template, count);

	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjectsInit", err);
	rv = session->f->C_FindObjects(session->handle, handle, 1, &found);
	session->f->C_FindObjectsFinal(session->handle);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_FindObjects", err);
	if (found == 1)
		return true;
	ch_fail(err, CH_NOT_FOUND, "token '%s' has no %s", session->token->label, what);
	if (err)
		err->retryable = true;
	return false;
}

bool token_find_domain_key(struct token_session *session, const char *label, CK_OBJECT_HANDLE *handle,
			   struct ch_error *err)
{
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_LABEL, (void *)(uintptr_t)label, strlen(label) },
	};

	return find_one(session, template, CH_COUNT(template), label, handle, err);
}

bool token_find_kek(struct token_session *session, CK_OBJECT_HANDLE *handle, struct ch_error *err)
{
	if (!token_find_domain_key(session, HSM_KEK_LABEL, handle, err))
		return false;
	atomic_store(&session->token->has_kek, true);
	return true;
}

bool token_lost_kek(struct token_session *session, struct ch_error *err)
{
	if (!atomic_load(&session->token->has_kek))
		return false; /* a token that waits to be filled */
	session->sick = true;
	ch_error_set(err, CH_UNAVAILABLE, "token '%s': its key-encryption key is gone",
		     session->token->label);
	return true;
}

bool token_cached(struct token *token, const char *label, CK_OBJECT_HANDLE *handle)
{
	struct cached_handle *entry;

	pthread_rwlock_rdlock(&token->lock);
	HASH_FIND_STR(token->handles, label, entry);
	if (entry)
		*handle = entry->handle;
	pthread_rwlock_unlock(&token->lock);
	return entry != NULL;
}

void token_remember(struct token *token, const char *label, CK_OBJECT_HANDLE handle)
{
	struct cached_handle *entry;

	pthread_rwlock_wrlock(&token->lock);
	HASH_FIND_STR(token->handles, label, entry);
	if (!entry) {
		entry = ch_alloc(sizeof(*entry));
		snprintf(entry->label, sizeof(entry->label), "%s", label);
		HASH_ADD_STR(token->handles, label, entry);
	}
	entry->handle = handle;
	pthread_rwlock_unlock(&token->lock);
}

void token_uncache(struct token *token, const char *label)
{
	struct cached_handle *entry;

	pthread_rwlock_wrlock(&token->lock);
	HASH_FIND_STR(token->handles, label, entry);
	if (entry)
		HASH_DEL(token->handles, entry);
	pthread_rwlock_unlock(&token->lock);
	free(entry);
}

void token_forget_key(struct token *token, const char *key_id)
{
	token_uncache(token, key_id);
	atomic_fetch_add(&token->generation, 1);
}

unsigned token_generation(const struct token *token)
{
	return atomic_load(&token->generation);
}

bool token_domain_key(struct token_session *session, const char *label, CK_OBJECT_HANDLE *handle,
		      struct ch_error *err)
{
	if (token_cached(session->token, label, handle))
		return true;
	if (!token_find_domain_key(session, label, handle, err))
		return false;
	token_remember(session->token, label, *handle);
	return true;
}

/*
 * A key that should be there and is not: where the key-encryption key is gone too, the token was taken away
 * under us (its directory moved, the device swapped), and only a restart finds out.
 */
static bool missing_key(struct token_session *session, struct ch_error *err)
{
	CK_OBJECT_HANDLE kek;

	if (err && err->code == CH_NOT_FOUND && !token_find_kek(session, &kek, NULL))
		token_lost_kek(session, err);
	return false;
}

bool token_find_key(struct token_session *session, const char *key_id, CK_OBJECT_HANDLE *handle,
		    struct ch_error *err)
{
	CH_AUTO(ch_bytes) id = CH_NONE;
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_BBOOL in_token = CK_TRUE; /* not a session's copy: those of all sessions are found too */
	CK_ATTRIBUTE template[] = {
		{ CKA_CLASS, &class, sizeof(class) },
		{ CKA_ID, NULL, 0 },
		{ CKA_TOKEN, &in_token, sizeof(in_token) },
	};

	if (strlen(key_id) != KEY_ID_DIGITS)
		return ch_fail(err, CH_INVALID, "key id '%.40s' is not %d hexadecimal digits", key_id,
			       KEY_ID_DIGITS);
	if (!ch_unhex(key_id, &id, err))
		return false;
	template[1].pValue = id.data;
	template[1].ulValueLen = id.size;
	return find_one(session, template, CH_COUNT(template), "private key with this CKA_ID", handle, err) ||
	       missing_key(session, err);
}
