/* SPDX-License-Identifier: Apache-2.0 */
/* worker_login.h: the log-in, the session limit and the health of sessions; used by the HSM worker alone. */
#ifndef VAULT_WORKER_LOGIN_H
#define VAULT_WORKER_LOGIN_H

#include "worker_pkcs11.h"

/* Before any code of the vendor's runs. CH_UNAVAILABLE: nothing was tried, a later start may find it. The
 * caller frees *pin. */
CH_MUST_USE bool token_read_pin(const char *pin_file, struct ch_secret *pin, struct ch_error *err);

/*
 * One try with the PIN; `pin_file` names it in errors. The log-in is the process's, not the session's.
 * CH_DENIED: the PIN was refused, or is locked, or the token allows only one more try, which is a person's to
 * make. The supervisor never comes back by itself after that: tries are what locks a token.
 */
CH_MUST_USE bool token_log_in(struct token_session *session, const struct ch_secret *pin,
			      const char *pin_file, struct ch_error *err);

/* Whether a try could lock the token (PKCS#11 2.40 §3.2, flags of CK_TOKEN_INFO). */
CH_MUST_USE bool token_may_try_pin(const char *label, CK_FLAGS flags, struct ch_error *err);
/*
 * By C_Login's answer, or, where a library answers something vague, by the try that the token counted. That a
 * token has no PIN yet is no refusal until one more try could lock it.
 */
bool token_pin_was_refused(CK_RV rv, CK_FLAGS before, CK_FLAGS after);

/* How many of `wanted` read-write sessions the token allows (ulMaxSessionCount, ulMaxRwSessionCount). */
uint32_t token_session_limit(const struct token_session *session, uint32_t wanted);
uint32_t token_sessions_within(const CK_TOKEN_INFO *info, uint32_t wanted);

/* Keeps an idle session alive and finds out whether it still is; *err tells why not. */
CH_MUST_USE bool token_session_check(struct token_session *session, struct ch_error *err);

#endif
