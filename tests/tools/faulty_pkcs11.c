/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faulty_pkcs11.c: a PKCS#11 module that is SoftHSM2 with faults at the moment a test asks for them. Loaded
 * by HSM workers of the tests; controlled through files in the directory FAULTY_PKCS11_DIRECTORY:
 *
 *   <function>        what it does instead: "0x30" (answers that), "crash", "hang"; gone: as SoftHSM2 does
 *   <function>.calls  an octet for each call
 *   wrong-signature   "last": the last octet of what C_Sign gives is another; "first": the first octet;
 * "last-of-signatures": as "last", of what is longer than a MAC (HMAC-SHA-256: 32 octets) sessions how many
 * sessions the token announces and gives attribute-size    the length that C_GetAttributeValue says its first
 * attribute has flags             added to CK_TOKEN_INFO.flags
 */
#include <p11-kit/pkcs11.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAC_SIZE    32
#define REAL_MODULE "/usr/lib/softhsm/libsofthsm2.so"

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST faulty;
static atomic_ulong open_sessions;

/* --- the control files --- */

static bool read_control(const char *name, char *text, size_t size)
{
	const char *directory = getenv("FAULTY_PKCS11_DIRECTORY");
	char path[256];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory ? directory : ".", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, text, size - 1);
	close(fd);
	text[got > 0 ? got : 0] = 0;
	return true;
}

static unsigned long read_number(const char *name, unsigned long otherwise)
{
	char text[64];

	return read_control(name, text, sizeof(text)) ? strtoul(text, NULL, 0) : otherwise;
}

static void count_call(const char *function)
{
	const char *directory = getenv("FAULTY_PKCS11_DIRECTORY");
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s.calls", directory ? directory : ".", function);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, ".", 1) != 1)
		abort();
	close(fd);
}

/* CKR_OK: nothing is asked for. */
static CK_RV fault_of(const char *function)
{
	char text[64];

	count_call(function);
	if (!read_control(function, text, sizeof(text)))
		return CKR_OK;
	if (strncmp(text, "crash", 5) == 0)
		_exit(99);
	while (strncmp(text, "hang", 4) == 0)
		pause();
	return strtoul(text, NULL, 0);
}

/* --- the functions --- */

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	unsigned long sessions = read_number("sessions", 0);

	if (rv != CKR_OK)
		return rv;
	info->flags |= read_number("flags", 0);
	if (sessions)
		info->ulMaxSessionCount = info->ulMaxRwSessionCount = sessions;
	return rv;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
			  CK_SESSION_HANDLE *session)
{
	unsigned long sessions = read_number("sessions", 0);
	CK_RV rv = fault_of("C_OpenSession");

	if (rv != CKR_OK)
		return rv;
	if (sessions && atomic_load(&open_sessions) >= sessions)
		return CKR_SESSION_COUNT;
	rv = real->C_OpenSession(slot, flags, application, notify, session);
	if (rv == CKR_OK)
		atomic_fetch_add(&open_sessions, 1);
	return rv;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
	CK_RV rv = real->C_CloseSession(session);

	if (rv == CKR_OK)
		atomic_fetch_sub(&open_sessions, 1);
	return rv;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, unsigned long size)
{
	CK_RV rv = fault_of("C_Login");

	return rv != CKR_OK ? rv : real->C_Login(session, user, pin, size);
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	CK_RV rv = fault_of("C_GetSessionInfo");

	return rv != CKR_OK ? rv : real->C_GetSessionInfo(session, info);
}

static CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = fault_of("C_FindObjectsInit");

	return rv != CKR_OK ? rv : real->C_FindObjectsInit(session, template, count);
}

static CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
				 CK_ULONG count)
{
	CK_RV rv = real->C_GetAttributeValue(session, object, template, count);

	template->ulValueLen = read_number("attribute-size", template->ulValueLen);
	return rv;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CK_RV rv = fault_of("C_SignInit");

	return rv != CKR_OK ? rv : real->C_SignInit(session, mechanism, key);
}

/* As a fault in the middle of the computation makes it (of RSA with CRT it gives the key away). */
static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG size, unsigned char *signature,
		  CK_ULONG *signature_size)
{
	CK_RV rv = real->C_Sign(session, data, size, signature, signature_size);
	char text[64];

	if (rv != CKR_OK || !signature || !*signature_size ||
	    !read_control("wrong-signature", text, sizeof(text)) ||
	    (strcmp(text, "last-of-signatures") == 0 && *signature_size <= MAC_SIZE))
		return rv;
	signature[strncmp(text, "first", 5) == 0 ? 0 : *signature_size - 1] ^= 0x01;
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	CK_C_GetFunctionList get = NULL;
	void *library;

	if (!real) {
		library = dlopen(REAL_MODULE, RTLD_NOW | RTLD_LOCAL);
		if (!library)
			return CKR_GENERAL_ERROR;
		*(void **)&get = dlsym(library, "C_GetFunctionList");
		if (!get || get(&real) != CKR_OK)
			return CKR_GENERAL_ERROR;
		faulty = *real;
		faulty.C_GetFunctionList = C_GetFunctionList;
		faulty.C_GetTokenInfo = get_token_info;
		faulty.C_OpenSession = open_session;
		faulty.C_CloseSession = close_session;
		faulty.C_Login = log_in;
		faulty.C_GetSessionInfo = get_session_info;
		faulty.C_FindObjectsInit = find_objects_init;
		faulty.C_GetAttributeValue = get_attribute_value;
		faulty.C_SignInit = sign_init;
		faulty.C_Sign = sign;
	}
	*list = &faulty;
	return CKR_OK;
}
