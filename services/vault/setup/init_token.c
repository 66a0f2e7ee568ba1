/* SPDX-License-Identifier: Apache-2.0 */
/* init_token.c: makes a token and puts the domain's keys into it. Called by init_hsms.c. */
#include "init_token.h"

#include "hsm_user.h"
#include "worker_pkcs11.h"
#include "worker_sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIN_CAP    256
#define SLOTS_CAP  64
#define LABEL_SIZE 32

struct setup {
	const struct hsm_config *config;
	CK_FUNCTION_LIST *f;
	CK_SLOT_ID slot;
	bool found, user_pin_set;
};

static bool fail_rv(CK_RV rv, const char *call, struct ch_error *err)
{
	return ch_fail(err, rv == CKR_PIN_INCORRECT ? CH_DENIED : CH_UNAVAILABLE, "%s answered 0x%lx", call,
		       rv);
}

static void pad_label(const char *label, uint8_t padded[LABEL_SIZE])
{
	for (size_t i = 0; i < LABEL_SIZE; i++)
		padded[i] = *label ? (uint8_t)*label++ : ' ';
}

/* The slot of the labelled token, else the first whose token is not initialised. */
static bool find_slot(struct setup *setup, struct ch_error *err)
{
	CK_SLOT_ID slots[SLOTS_CAP];
	CK_ULONG count = SLOTS_CAP;
	uint8_t label[LABEL_SIZE];
	bool blank = false;
	CK_RV rv = setup->f->C_GetSlotList(CK_TRUE, slots, &count);

	if (rv != CKR_OK)
		return fail_rv(rv, "C_GetSlotList", err);
	pad_label(setup->config->token_label, label);
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;

		if (setup->f->C_GetTokenInfo(slots[i], &info) != CKR_OK)
			continue;
		if ((info.flags & CKF_TOKEN_INITIALIZED) && memcmp(info.label, label, LABEL_SIZE) == 0) {
			setup->slot = slots[i];
			setup->found = true;
			setup->user_pin_set = info.flags & CKF_USER_PIN_INITIALIZED;
			return true;
		}
		if (!(info.flags & CKF_TOKEN_INITIALIZED) && !blank) {
			setup->slot = slots[i];
			blank = true;
		}
	}
	return blank || ch_fail(err, CH_UNAVAILABLE, "neither a token '%s' nor an empty slot in %lu slots",
				setup->config->token_label, count);
}

static bool log_in(struct setup *setup, CK_USER_TYPE user, const struct ch_secret *pin,
		   struct token_session *session, struct ch_error *err)
{
	struct token *token = token_of_slot(setup->f, setup->slot, setup->config->token_label);
	CK_RV rv;

	if (!token_session_open(token, session, err))
		return false;
	rv = setup->f->C_Login(session->handle, user, pin->data, pin->size);
	return rv == CKR_OK ||
	       fail_rv(rv, user == CKU_SO ? "C_Login of the security officer" : "C_Login", err);
}

static bool make_token(struct setup *setup, const struct ch_secret *so_pin, struct ch_error *err)
{
	uint8_t label[LABEL_SIZE];
	CK_RV rv;

	pad_label(setup->config->token_label, label);
	rv = setup->f->C_InitToken(setup->slot, so_pin->data, so_pin->size, label);
	if (rv != CKR_OK)
		return fail_rv(rv, "C_InitToken", err);
	if (!find_slot(setup, err)) /* SoftHSM numbers a slot anew when its token is made */
		return false;
	return setup->found || ch_fail(err, CH_INTERNAL, "the token just made is not there");
}

static bool set_user_pin(struct setup *setup, const struct ch_secret *so_pin, const struct ch_secret *pin,
			 struct ch_error *err)
{
	struct token_session session;
	CK_RV rv;

	if (!log_in(setup, CKU_SO, so_pin, &session, err))
		return false;
	rv = setup->f->C_InitPIN(session.handle, pin->data, pin->size);
	setup->f->C_Logout(session.handle);
	setup->f->C_CloseSession(session.handle);
	return rv == CKR_OK || fail_rv(rv, "C_InitPIN", err);
}

static bool count_private_keys(struct token_session *session, uint32_t *count, struct ch_error *err)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = { CKA_CLASS, &class, sizeof(class) };
	CK_OBJECT_HANDLE found[100];
	CK_ULONG number = 0;
	CK_RV rv = session->f->C_FindObjectsInit(session->handle, &template, 1);

	if (rv == CKR_OK)
		rv = session->f->C_FindObjects(session->handle, found, CH_COUNT(found), &number);
	session->f->C_FindObjectsFinal(session->handle);
	*count = (uint32_t)number;
	return rv == CKR_OK || token_fail(session, rv, "C_FindObjects", err);
}

static bool find_domain_key(struct token_session *session, const char *label, CK_OBJECT_HANDLE *handle,
			    bool *found, struct ch_error *err)
{
	struct ch_error why = CH_NONE;

	*found = token_find_domain_key(session, label, handle, &why);
	if (*found || why.code == CH_NOT_FOUND)
		return true;
	*err = why;
	return false;
}

static bool look(struct token_session *session, struct token_state *state, struct ch_error *err)
{
	static const char *const labels[] = { HSM_KEK_LABEL, HSM_SEAL_LABEL, HSM_DATA_LABEL };
	CK_ATTRIBUTE check = { CKA_CHECK_VALUE, state->domain_check, sizeof(state->domain_check) };
	size_t count = 0;

	state->initialised = true;
	for (size_t i = 0; i < CH_COUNT(labels); i++) {
		CK_OBJECT_HANDLE handle;
		bool found;

		if (!find_domain_key(session, labels[i], &handle, &found, err))
			return false;
		if (found && i == 0 &&
		    session->f->C_GetAttributeValue(session->handle, handle, &check, 1) != CKR_OK)
			return ch_fail(err, CH_UNSUPPORTED,
				       "the token gives no check value of its key-encryption key");
		count += found;
	}
	state->has_domain = count == CH_COUNT(labels);
	state->has_partial = count > 0 && !state->has_domain;
	return count_private_keys(session, &state->private_keys, err);
}

static bool remove_domain(struct token_session *session, struct ch_error *err)
{
	static const char *const labels[] = { HSM_KEK_LABEL, HSM_SEAL_LABEL, HSM_DATA_LABEL };

	for (size_t i = 0; i < CH_COUNT(labels); i++) {
		CK_OBJECT_HANDLE handle;
		bool found;

		if (!find_domain_key(session, labels[i], &handle, &found, err))
			return false;
		if (found)
			session->f->C_DestroyObject(session->handle, handle);
	}
	return true;
}

static bool put_domain(struct token_session *session, struct token_state *state, struct ch_view root,
		       struct ch_error *err)
{
	if ((state->has_domain || state->has_partial) && state->private_keys)
		return ch_fail(err, CH_CONFLICT,
			       "the token holds %u keys under the domain's keys that it has",
			       state->private_keys);
	return remove_domain(session, err) && token_create_domain(session, root, err) &&
	       look(session, state, err);
}

static bool enter_sandbox(const struct hsm_config *config, struct ch_error *err)
{
	uint32_t ports[HSM_PORTS_MAX];
	Chancery__HsmOpen open;

	hsm_open_of(config, ports, &open);
	return worker_sandbox_enter(&open, err);
}

static bool set_up(const struct token_order *order, struct token_state *state, struct ch_error *err)
{
	const struct hsm_config *config = order->config;
	struct setup setup = { .config = config };
	struct ch_view root = order->root;
	CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
	CH_AUTO(ch_secret) pin = CH_NONE;
	CH_AUTO(ch_secret) so_pin = CH_NONE;
	struct token_session session;
	CK_RV rv;

	/* What is secret is read before the vendor's code runs, which then reaches nothing else. As the HSM's
	 * user already: root would follow a link to what that user may not read. */
	if ((config->listener && !hsm_user_become(config->user, err)) ||
	    !ch_secret_read_file(config->pin_file, PIN_CAP, &pin, err) ||
	    (root.size && !ch_secret_read_file(order->so_pin_file, PIN_CAP, &so_pin, err)) ||
	    (order->sandbox && !enter_sandbox(config, err)) ||
	    !token_load_module(config->module, &setup.f, err))
		return false;
	rv = setup.f->C_Initialize(&arguments);
	if (rv != CKR_OK)
		return token_fail_initialise(config->module, rv, config->environment.items,
					     config->environment.count, err);
	if (!find_slot(&setup, err))
		return false;
	if (!root.size && (!setup.found || !setup.user_pin_set))
		return true; /* only looking: there is nothing yet */
	if (root.size && (!setup.found || !setup.user_pin_set)) {
		if ((!setup.found && !make_token(&setup, &so_pin, err)) ||
		    !set_user_pin(&setup, &so_pin, &pin, err))
			return false;
	}
	if (!log_in(&setup, CKU_USER, &pin, &session, err) || !look(&session, state, err))
		return false;
	return !root.size || put_domain(&session, state, root, err);
}

static void use_environment(const struct hsm_config *config)
{
	clearenv();
	for (size_t i = 0; i < config->environment.count; i++)
		putenv(config->environment.items[i]);
}

bool token_set_up(const struct token_order *order, struct token_state *state, struct ch_error *err)
{
	int ends[2];
	ssize_t got;
	pid_t pid;

	*state = (struct token_state)CH_NONE;
	if (pipe(ends) != 0)
		return ch_fail_errno(err, CH_INTERNAL, errno, "pipe");
	pid = fork();
	if (pid == 0) {
		use_environment(order->config);
		state->failed = !set_up(order, state, &state->err);
		_exit(write(ends[1], state, sizeof(*state)) == (ssize_t)sizeof(*state) ? 0 : 1);
	}
	close(ends[1]);
	got = pid > 0 ? read(ends[0], state, sizeof(*state)) : -1;
	close(ends[0]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	if (got != (ssize_t)sizeof(*state))
		return ch_fail(err, CH_INTERNAL, "HSM '%s': the process that sets it up ended early",
			       order->config->name);
	if (!state->failed)
		return true;
	*err = state->err;
	return ch_fail_in(err, "HSM '%s'", order->config->name);
}
