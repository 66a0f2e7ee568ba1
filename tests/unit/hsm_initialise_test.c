/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_initialise_test.c: a module that does not start for its own configuration says where to look. */
#include "worker_pkcs11.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MODULE  "/usr/lib/softhsm/libsofthsm2.so"
#define MISSING "/nowhere/softhsm2.conf"

/* As a worker does, which ends with it: in a process of its own. What it says goes to the pipe. */
static void open_and_say(int out)
{
	Chancery__HsmOpen open = CHANCERY__HSM_OPEN__INIT;
	struct ch_secret pin = CH_NONE;
	struct token *token = NULL;
	struct ch_error err = CH_NONE;
	bool opened;

	open.module = (char *)(uintptr_t)MODULE;
	open.token_label = (char *)(uintptr_t) "any";
	opened = clearenv() != 0 || setenv("SOFTHSM2_CONF", MISSING, 1) != 0 ||
		 token_open(&open, &pin, &token, &err);
	dprintf(out, "%s", opened ? "opened" : err.message);
	_exit(0);
}

static void a_wrong_configuration_is_named(void **state)
{
	char said[1024] = "";
	int ends[2], status;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0)
		open_and_say(ends[1]);
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(ends[0], said, sizeof(said) - 1) > 0);
	close(ends[0]);
	close(ends[1]);
	if (!strstr(said, "PKCS#11 module '" MODULE "': C_Initialize answered 0x") ||
	    !strstr(said, "SOFTHSM2_CONF=" MISSING) || !strstr(said, "no more than the HSM's 'paths'"))
		fail_msg("said: %s", said);
}

/* Some modules take a PIN from their environment. */
static void only_paths_of_the_environment_are_told(void **state)
{
	char *environment[] = { (char *)(uintptr_t) "TOKEN_PIN=123456",
				(char *)(uintptr_t) "CONF=/etc/vendor" };
	struct ch_error err = CH_NONE;

	assert_false(token_fail_initialise("/m.so", 0x30, environment, 2, &err));
	assert_string_equal(
		err.message,
		"PKCS#11 module '/m.so': C_Initialize answered 0x30: look at its own "
		"configuration (environment: CONF=/etc/vendor); the sandbox lets it reach no more "
		"than the HSM's 'paths'");
	assert_false(token_fail_initialise("/m.so", 0x30, environment, 1, &err));
	assert_non_null(strstr(err.message, "(environment: names no file)"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wrong_configuration_is_named),
		cmocka_unit_test(only_paths_of_the_environment_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
