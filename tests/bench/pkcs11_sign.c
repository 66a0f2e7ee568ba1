/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pkcs11_sign.c: raw C_Sign per second of one token from a bare program: what every signing path is measured
 * against. Run by tests/bench/run as `pkcs11_sign MODULE TOKEN_LABEL PIN_FILE ALGORITHM THREADS SECONDS
 * [KEY]`: with the private key of the token whose CKA_ID is KEY (hexadecimal), else with a session key pair,
 * which leaves nothing in the token. Prints one JSON object.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct bench {
	CK_FUNCTION_LIST *p11;
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE
	session; /* owns the key: session objects are seen by every session of the application */
	CK_OBJECT_HANDLE key;
	CK_MECHANISM_TYPE mechanism;
	size_t data_size;
	double seconds;
};

struct worker {
	struct bench *bench;
	unsigned long signatures;
	pthread_t thread;
};

static void check(CK_RV rv, const char *what)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "pkcs11_sign: %s: CKR 0x%lx\n", what, rv);
	exit(1);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static CK_SLOT_ID find_slot(CK_FUNCTION_LIST *p11, const char *label)
{
	CK_SLOT_ID slots[64];
	CK_ULONG count = 64;

	check(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;

		check(p11->C_GetTokenInfo(slots[i], &info), "C_GetTokenInfo");
		if (strncmp((const char *)info.label, label, strlen(label)) == 0)
			return slots[i];
	}
	fprintf(stderr, "pkcs11_sign: no token with label '%s'\n", label);
	exit(1);
}

static void log_in(struct bench *bench, const char *pin_file)
{
	char pin[256] = "";
	FILE *file = fopen(pin_file, "r");

	if (!file || !fgets(pin, sizeof(pin), file)) {
		fprintf(stderr, "pkcs11_sign: cannot read '%s'\n", pin_file);
		exit(1);
	}
	fclose(file);
	pin[strcspn(pin, "\n")] = 0;
	check(bench->p11->C_OpenSession(bench->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
					&bench->session),
	      "C_OpenSession");
	check(bench->p11->C_Login(bench->session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)), "C_Login");
}

static void make_key(struct bench *bench, const char *algorithm)
{
	static CK_BYTE p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
	static CK_BYTE exponent[] = { 1, 0, 1 };
	CK_BBOOL yes = CK_TRUE;
	CK_BBOOL no = CK_FALSE;
	CK_ULONG bits = 2048;
	int rsa = strcmp(algorithm, "rsa-2048") == 0;
	CK_ATTRIBUTE rsa_public[] = { { CKA_MODULUS_BITS, &bits, sizeof(bits) },
				      { CKA_PUBLIC_EXPONENT, exponent, sizeof(exponent) } };
	CK_ATTRIBUTE ec_public[] = { { CKA_EC_PARAMS, p256, sizeof(p256) } };
	CK_ATTRIBUTE private_key[] = { { CKA_TOKEN, &no, sizeof(no) },
				       { CKA_SENSITIVE, &yes, sizeof(yes) },
				       { CKA_SIGN, &yes, sizeof(yes) } };
	CK_MECHANISM generate = { rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0 };
	CK_OBJECT_HANDLE public_key;

	check(bench->p11->C_GenerateKeyPair(bench->session, &generate, rsa ? rsa_public : ec_public,
					    rsa ? 2 : 1, private_key, 3, &public_key, &bench->key),
	      "C_GenerateKeyPair");
	bench->mechanism = rsa ? CKM_RSA_PKCS : CKM_ECDSA;
	bench->data_size = rsa ? 51 : 32; /* DigestInfo of SHA-256, or the digest itself */
}

/* The token's own key: what a daemon signs with. */
static void find_key(struct bench *bench, const char *algorithm, const char *id)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_BYTE octets[64];
	CK_ATTRIBUTE template[] = { { CKA_CLASS, &class, sizeof(class) },
				    { CKA_ID, octets, strlen(id) / 2 } };
	CK_ULONG found = 0;
	int rsa = strcmp(algorithm, "rsa-2048") == 0;

	for (size_t i = 0; i < sizeof(octets) && i < strlen(id) / 2; i++) {
		char pair[3] = { id[2 * i], id[2 * i + 1], 0 };

		octets[i] = (CK_BYTE)strtoul(pair, NULL, 16);
	}
	check(bench->p11->C_FindObjectsInit(bench->session, template, 2), "C_FindObjectsInit");
	check(bench->p11->C_FindObjects(bench->session, &bench->key, 1, &found), "C_FindObjects");
	check(bench->p11->C_FindObjectsFinal(bench->session), "C_FindObjectsFinal");
	if (found != 1) {
		fprintf(stderr, "pkcs11_sign: no key '%s'\n", id);
		exit(1);
	}
	bench->mechanism = rsa ? CKM_RSA_PKCS : CKM_ECDSA;
	bench->data_size = rsa ? 51 : 32;
}

static void *sign_until_time(void *argument)
{
	struct worker *worker = argument;
	struct bench *bench = worker->bench;
	CK_MECHANISM mechanism = { bench->mechanism, NULL, 0 };
	CK_BYTE data[64] = { 1 };
	CK_SESSION_HANDLE session;
	double end = now() + bench->seconds;

	check(bench->p11->C_OpenSession(bench->slot, CKF_SERIAL_SESSION, NULL, NULL, &session),
	      "C_OpenSession");
	while (now() < end) {
		CK_BYTE signature[512];
		CK_ULONG size = sizeof(signature);

		data[1]++;
		check(bench->p11->C_SignInit(session, &mechanism, bench->key), "C_SignInit");
		check(bench->p11->C_Sign(session, data, bench->data_size, signature, &size), "C_Sign");
		worker->signatures++;
	}
	check(bench->p11->C_CloseSession(session), "C_CloseSession");
	return NULL;
}

int main(int argc, char **argv)
{
	struct bench bench = { 0 };
	CK_C_INITIALIZE_ARGS arguments = { .flags = CKF_OS_LOCKING_OK };
	CK_RV (*get_functions)(CK_FUNCTION_LIST **) = NULL;
	struct worker workers[64] = { 0 };
	unsigned long signatures = 0;
	int threads;
	void *module;
	double start;
	double cpu;

	if (argc != 7 && argc != 8) {
		fprintf(stderr, "usage: pkcs11_sign MODULE TOKEN_LABEL PIN_FILE ecdsa-p256|rsa-2048 THREADS "
				"SECONDS [KEY]\n");
		return 2;
	}
	threads = (int)strtol(argv[5], NULL, 10);
	bench.seconds = strtod(argv[6], NULL);
	if (threads < 1 || threads > 64)
		return 2;
	module = dlopen(argv[1], RTLD_NOW);
	if (module)
		*(void **)&get_functions = dlsym(module, "C_GetFunctionList");
	if (!get_functions) {
		fprintf(stderr, "pkcs11_sign: %s\n", dlerror());
		return 1;
	}
	check(get_functions(&bench.p11), "C_GetFunctionList");
	check(bench.p11->C_Initialize(&arguments), "C_Initialize");
	bench.slot = find_slot(bench.p11, argv[2]);
	log_in(&bench, argv[3]);
	if (argc == 8)
		find_key(&bench, argv[4], argv[7]);
	else
		make_key(&bench, argv[4]);

	start = now();
	for (int i = 0; i < threads; i++) {
		workers[i].bench = &bench;
		pthread_create(&workers[i].thread, NULL, sign_until_time, &workers[i]);
	}
	for (int i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		signatures += workers[i].signatures;
	}
	cpu = (double)clock() / CLOCKS_PER_SEC;
	printf("{\"signatures\":%lu,\"seconds\":%.3f,\"per_second\":%.1f,\"cpu_us\":%.2f}\n", signatures,
	       now() - start, (double)signatures / (now() - start),
	       signatures ? cpu * 1e6 / (double)signatures : 0);
	bench.p11->C_Finalize(NULL);
	return 0;
}
