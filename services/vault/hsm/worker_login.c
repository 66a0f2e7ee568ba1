/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_login.c: logs in to the token without ever bringing it nearer to its lock than one refused try,
 * keeps to the sessions that the token announces, and finds sessions that went bad while nobody used them.
 * Called by worker_pkcs11.c's token_open and by worker.c's session threads.
 */
#include "worker_login.h"

#include "log/log.h"

#define PIN_CAP      256
#define WARNED_FLAGS (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED)

/* --- the PIN --- */

bool token_may_try_pin(const char *label, CK_FLAGS flags, struct ch_error *err)
{
	if (flags & CKF_USER_PIN_LOCKED)
		return ch_fail(err, CH_DENIED, "token '%s': its PIN is locked: the PIN was not tried", label);
	if (flags & CKF_USER_PIN_FINAL_TRY)
		return ch_fail(err, CH_DENIED,
			       "token '%s' allows one more try of its PIN (CKF_USER_PIN_FINAL_TRY): a person "
			       "must make it",
			       label);
	return true;
}

static bool is_pin_refusal(CK_RV rv)
{
	return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_LOCKED || rv == CKR_PIN_LEN_RANGE ||
	       rv == CKR_PIN_INVALID || rv == CKR_PIN_EXPIRED;
}

bool token_pin_was_refused(CK_RV rv, CK_FLAGS before, CK_FLAGS after)
{
	/* No PIN to hold it against: so answers a token that is being made, and SoftHSM2 counts that too. */
	if (rv == CKR_USER_PIN_NOT_INITIALIZED)
		return after & (CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
	return rv != CKR_OK &&
	       (is_pin_refusal(rv) || (after & WARNED_FLAGS & ~before)); /* the token counted a failed try */
}

/* Zero where the token does not tell: then nothing speaks against a try. */
static CK_FLAGS flags_of(const struct token_session *session)
{
	CK_TOKEN_INFO info = { .flags = 0 };

	return session->f->C_GetTokenInfo(token_slot(session->token), &info) == CKR_OK ? info.flags : 0;
}

bool token_read_pin(const char *pin_file, struct ch_secret *pin, struct ch_error *err)
{
	if (ch_secret_read_file(pin_file, PIN_CAP, pin, err))
		return true;
	err->code = CH_UNAVAILABLE;
	return false;
}

bool token_log_in(struct token_session *session, const struct ch_secret *pin, const char *pin_file,
		  struct ch_error *err)
{
	const char *label = token_label(session->token);
	CK_FLAGS before = flags_of(session);
	CK_RV rv;

	if (!token_may_try_pin(label, before, err))
		return false;
	if (before & CKF_USER_PIN_COUNT_LOW)
		ch_log_warn("token '%s': a wrong PIN was tried since the last log-in", label);
	rv = session->f->C_Login(session->handle, CKU_USER, pin->data, pin->size);
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		return true;
	token_fail(session, rv, "C_Login", err);
	if (!token_pin_was_refused(rv, before, flags_of(session)))
		return false;
	err->code = CH_DENIED;
	err->retryable = false;
	return ch_fail_in(err, "the PIN in '%s' was refused and is not tried again", pin_file);
}

/* --- sessions --- */

/* What one of the two maxima leaves; `wanted` where it says nothing. */
static uint32_t within(CK_ULONG maximum, uint32_t wanted)
{
	if (maximum == CK_EFFECTIVELY_INFINITE || maximum == CK_UNAVAILABLE_INFORMATION || maximum >= wanted)
		return wanted;
	return (uint32_t)maximum;
}

uint32_t token_sessions_within(const CK_TOKEN_INFO *info, uint32_t wanted)
{
	return within(info->ulMaxRwSessionCount, within(info->ulMaxSessionCount, wanted));
}

uint32_t token_session_limit(const struct token_session *session, uint32_t wanted)
{
	CK_TOKEN_INFO info;

	return session->f->C_GetTokenInfo(token_slot(session->token), &info) == CKR_OK
		       ? token_sessions_within(&info, wanted)
		       : wanted;
}

/* Many libraries answer C_GetSessionInfo from memory: the token and an object in it tell whether the device
 * is still there. */
bool token_session_check(struct token_session *session, struct ch_error *err)
{
	CK_SESSION_INFO info;
	CK_TOKEN_INFO token_info;
	CK_OBJECT_HANDLE kek;
	CK_RV rv = session->f->C_GetSessionInfo(session->handle, &info);

	if (rv != CKR_OK)
		return token_fail(session, rv, "C_GetSessionInfo", err);
	if (info.state != CKS_RW_USER_FUNCTIONS && info.state != CKS_RO_USER_FUNCTIONS)
		return token_fail(session, CKR_USER_NOT_LOGGED_IN, "C_GetSessionInfo", err);
	rv = session->f->C_GetTokenInfo(token_slot(session->token), &token_info);
	if (rv != CKR_OK)
		return token_fail(session, rv, "C_GetTokenInfo", err);
	if (token_find_kek(session, &kek, err) || err->code != CH_NOT_FOUND)
		return !session->sick;
	return !token_lost_kek(session, err);
}
