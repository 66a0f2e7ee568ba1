/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_fixture.h: two SoftHSM2 tokens in scratch directories and a pool of workers (the test program itself,
 * re-executed), for the tests of the HSM pool and of its workers. Whatever fails here fails the test.
 */
#ifndef HSM_FIXTURE_H
#define HSM_FIXTURE_H

#include "hsm.h"

#include <pthread.h>
#include <stdatomic.h>

#define MODULE        "/usr/lib/softhsm/libsofthsm2.so"
#define BOTH          3u
#define ONLY_A        1u
#define ONLY_B        2u
#define UP_LIMIT      (20 * CH_SECOND)
#define HANG_US       (500 * CH_MILLISECOND)
#define LATE_US       (100 * CH_MILLISECOND)
#define CALLERS       4
#define KEEP_ALIVE_US (200 * CH_MILLISECOND)

struct event_log {
	atomic_int of[HSM_SIGNED_WRONG + 1]; /* by enum hsm_change */
};

struct fixture {
	char directory[64];
	struct hsm_config configs[2];
	char *environments[2][2];
	char *paths[2];
	int64_t hang_us; /* 0: HANG_US */
	int64_t late_us; /* 0: LATE_US */
	struct hsm_pool *pool;
	struct event_log events;
};

int set_up_tokens(void **state);
/* The same with a pool whose HSMs are both up. */
int set_up(void **state);
int tear_down(void **state);
void start_pool(struct fixture *fixture);
void write_text(const char *path, const char *text);

/* --- asking --- */

struct test_key {
	char id[33];
	const char *algorithm;
	struct ch_bytes public_key_info;
};

/* Faults of HSM a where its module is FAULTY_MODULE (tests/tools/faulty_pkcs11.c). */
void set_fault(struct fixture *fixture, const char *function, const char *what);
void clear_fault(struct fixture *fixture, const char *function);
int64_t calls_of(struct fixture *fixture, const char *function);

bool run(struct hsm_pool *pool, unsigned allowed, Chancery__HsmRequest *request, Chancery__HsmReply **reply,
	 struct ch_error *err);
void generate(struct hsm_pool *pool, unsigned on, const char *algorithm, struct test_key *key);
bool wrap(struct hsm_pool *pool, unsigned on, struct test_key *key, struct ch_bytes *wrapped,
	  struct ch_error *err);
bool unwrap(struct hsm_pool *pool, unsigned on, struct test_key *key, const struct ch_bytes *wrapped,
	    struct ch_error *err);
bool lock(struct hsm_pool *pool, unsigned on, struct test_key *key, struct ch_error *err);
/* Signs a fresh message and verifies it with the public key. */
bool sign(struct hsm_pool *pool, unsigned allowed, const struct test_key *key, struct ch_error *err);
void make_on_both(struct hsm_pool *pool, const char *algorithm, struct test_key *key);

/* --- callers that sign while something happens to an HSM --- */

struct load {
	struct fixture *fixture;
	const struct test_key *key;
	atomic_bool stop;
	atomic_int signatures, errors;
	atomic_llong longest_us; /* that a signature took */
	pthread_t threads[CALLERS];
	pthread_mutex_t lock;
	char first_error[480]; /* guarded by lock */
};

void start_load(struct load *load, struct fixture *fixture, const struct test_key *key);
/* Waits until so many more signatures were made. */
void wait_signatures(struct load *load, int more);
/* Fails where a caller saw an error. */
void stop_load(struct load *load);

pid_t worker_pid(struct fixture *fixture, size_t i);
/* SIGSTOP, and waits until it has stopped: on a busy machine its threads go on for a while. */
void stop_worker(pid_t pid);
void wait_state(struct fixture *fixture, size_t i, enum hsm_state wanted);

#endif
