/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm.h: the HSMs as the vault uses them: each behind a worker process that may crash, hang or lose its login
 * at any moment. A pool keeps the workers running, spreads work over them by least in flight, and gives what
 * was in flight on a lost worker to another, so that the caller sees no error.
 */
#ifndef VAULT_HSM_H
#define VAULT_HSM_H

#include "clock/clock.h"
#include "conf/conf.h"
#include "hsm.pb-c.h"
#include "hsm_breaker.h"
#include "hsm_lanes.h"
#include "metrics/metrics.h"

#include <sys/types.h>

#define HSM_MAX       8
#define HSM_PORTS_MAX 16 /* of one HSM's network_ports */

/* One item of the configuration's list `hsms`. */
struct hsm_config {
	char *name;
	char *module;
	struct ch_conf_strings environment; /* "NAME=value": the worker's whole environment */
	char *token_label;
	char *pin_file;
	char *so_pin_file; /* only --init-hsms reads it */
	int64_t sessions;
	struct ch_conf_strings paths;         /* what the module reads and writes */
	bool network;                         /* the module may make IP sockets */
	struct ch_conf_strings network_ports; /* TCP ports that it may connect to; none: all */
	bool unix_sockets;                    /* the module may connect to Unix sockets */
	char *listener; /* socket of who starts the workers, as `user`; NULL: the vault does, as itself */
	char *user;     /* with `listener`: whose the token is */
};

/*
 * What the tables cannot say: ports are numbers, and no HSM's `paths` hold the vault's own key or another
 * HSM's PIN or paths. CH_INVALID. (hsm_config.c)
 */
CH_MUST_USE bool hsm_config_check(const struct hsm_config *hsms, size_t count, const char *identity_key,
				  struct ch_error *err);

struct hsm_pool;

enum hsm_change {
	HSM_CAME_UP,
	HSM_WENT_DOWN,
	HSM_PIN_REFUSED, /* not tried again by itself */
	HSM_WAS_DISABLED,
	HSM_WAS_ENABLED,
	HSM_SIGNED_WRONG, /* it gets no more to sign for a while */
};

struct hsm_pool_options {
	const struct hsm_config *hsms; /* borrowed, outlives the pool */
	size_t count;                  /* 1 to HSM_MAX */
	const char *program; /* what is executed with --hsm-worker NAME: normally this very program */
	bool sandbox;
	int64_t hang_us; /* a worker that does not answer for this long is killed; 0: 2 s */
	int64_t late_us; /* an item that waits so long for no good reason goes to another HSM too; 0: 150 ms
			  */
	uint32_t weights[HSM_LANES]; /* of the lanes at each HSM; 0: 1 */
	int64_t keep_alive_us;       /* a session that was idle for so long is checked; 0: never */
	/* Told what becomes of an HSM, and how many are up then; from the pool's threads; may be NULL. */
	void (*event)(void *state, const char *hsm, enum hsm_change change, const char *why, size_t up_count);
	void *event_state;
	struct ch_metrics *metrics; /* may be NULL */
};

/* Starts a worker for each HSM and returns; they come up by and by. */
CH_MUST_USE bool hsm_pool_start(const struct hsm_pool_options *options, struct hsm_pool **pool,
				struct ch_error *err);
/* Ends the workers. Nobody may be inside hsm_run. NULL is fine. */
void hsm_pool_stop(struct hsm_pool *pool);

size_t hsm_pool_count(const struct hsm_pool *pool);
const char *hsm_pool_name(const struct hsm_pool *pool, size_t index);
/* Bits of the HSMs that are up. */
unsigned hsm_pool_up(struct hsm_pool *pool);
/* Of those, the ones whose breaker is closed and that were not found wrong; where there is none, all that are
 * up and were not. */
unsigned hsm_pool_believed(struct hsm_pool *pool);
/* What this HSM answered was found wrong by the caller (`why` names the HSM): as for a wrong signature. */
void hsm_pool_wrong(struct hsm_pool *pool, size_t index, const char *why);
/* Waits until all bits of `mask` are up, or none can be any more. False at the timeout. */
CH_MUST_USE bool hsm_pool_wait_up(struct hsm_pool *pool, unsigned mask, int64_t timeout_us);

/*
 * Shuts an HSM out for maintenance: it gets no more work, what is in flight is finished or goes to another,
 * then its worker ends and this returns: the token may be taken out. Enabling starts the worker again, with
 * one try of the PIN, also where the PIN was refused before. It lasts as long as the pool. CH_CONFLICT  no
 * other HSM is enabled, or the others that are enabled are not up while this one is
 */
CH_MUST_USE bool hsm_pool_set_enabled(struct hsm_pool *pool, size_t index, bool enabled,
				      struct ch_error *err);
/* The HSM has this key now (it was copied there): it is asked again at once. */
void hsm_pool_key_present(struct hsm_pool *pool, size_t index, const char *key_id);

#define HSM_FLAPS   3               /* so many losses of a worker */
#define HSM_FLAP_US (5 * CH_MINUTE) /* within so long: what is up now was not for long, and will not be */

enum hsm_state { HSM_STARTING, HSM_UP, HSM_RESTARTING, HSM_DOWN, HSM_DISABLED };
const char *hsm_state_name(enum hsm_state state);
struct hsm_status {
	const char *name;
	enum hsm_state state;
	bool enabled;
	enum hsm_breaker_state breaker;
	uint64_t signatures;
	uint32_t in_flight;
	uint32_t waiting[HSM_LANES]; /* for their turn */
	uint32_t restarts;
	bool flapping;
	uint32_t sessions; /* of the worker that is or was up */
	pid_t pid;
	char last_error[256];
};
void hsm_pool_status(struct hsm_pool *pool, size_t index, struct hsm_status *status);

/* One sending of an item to one HSM. */
struct hsm_trip {
	struct hsm *hsm;       /* NULL: not under way */
	struct hsm_item *item; /* NULL: nobody waits for the reply any more; such a trip is on the heap */
	uint64_t id;
	int64_t sent_us;
	int64_t limit_us; /* the item's */
	uint64_t replies_at_send;
	uint32_t ahead_at_send;
	struct hsm_trip *prev, *next;
};

/* One piece of work. The caller fills the first part; the pool the second. */
struct hsm_item {
	Chancery__HsmRequest *request; /* borrowed; its id is the pool's to set */
	unsigned allowed;              /* bits of the HSMs that can do it (a key's residency) */
	bool once;                     /* not to be repeated when its worker is lost (key generation) */
	int64_t limit_us;              /* how long it may take on one HSM; 0: the pool's hang_us */
	int64_t deadline_us;           /* ch_monotonic_us */
	enum hsm_lane lane;
	/* Is the reply right? Asked by the thread that waits in hsm_run, without any lock, before the item is
	 * done; where it says no, another HSM does the item again. NULL: it is taken as it is. */
	bool (*verify)(void *state, const Chancery__HsmReply *reply, struct ch_error *err);
	void *verify_state;

	Chancery__HsmReply *reply; /* NULL: see err. Free with chancery__hsm_reply__free_unpacked */
	size_t served_by;          /* which HSM replied */
	struct ch_error err;       /* of an HSM: CH_NOT_FOUND, CH_UNSUPPORTED, else CH_UNAVAILABLE */
	uint32_t hsm_code; /* what each HSM that was asked answered, as it says; CH_UNAVAILABLE where they
			    * differ */

	/* The pool's own. */
	struct hsm_trip trips[2]; /* a second one where the first is late */
	unsigned refused_by;      /* HSMs that answered with an error that another may not give */
	uint32_t lost;            /* workers that were lost with it */
	struct hsm *queued_at;    /* in whose lanes it waits; NULL: in none */
	int64_t queued_us;
	struct hsm_batch *batch;
	struct hsm *check_of; /* a status request of the pool itself, which no caller waits for */
	struct hsm_item *prev, *next;
};

/* Runs all items at once and returns when each has a reply or an error. Thread-safe. */
void hsm_run(struct hsm_pool *pool, struct hsm_item *items, size_t count);

#endif
