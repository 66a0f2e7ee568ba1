/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_pool.h: inside of the pool, shared by hsm_pool.c (the pool), hsm.c (items), hsm_process.c (workers) and
 * the files beside them. Nobody else includes it. */
#ifndef VAULT_HSM_POOL_H
#define VAULT_HSM_POOL_H

#include "hsm.h"
#include "hsm_absent.h"
#include "hsm_channel.h"

#include <pthread.h>

/* One HSM and its worker. The pool's lock guards all but what is said. */
struct hsm {
	struct hsm_pool *pool;
	size_t index;
	const struct hsm_config *config;
	pthread_t thread;         /* starts, reads and ends the worker */
	int wake_fd;              /* eventfd: look at `out` and `stopping` */
	struct hsm_reader reader; /* the thread's own */

	enum hsm_state state;
	bool halted;   /* the PIN was refused: never tried again */
	bool disabled; /* shut out; state is HSM_DISABLED when its worker has ended */
	int64_t drain_until_us;
	struct hsm_breaker breaker;
	struct hsm_item check; /* the pool's own status request, while `checking` */
	Chancery__HsmRequest check_request;
	Chancery__HsmStatusQuery check_query;
	bool checking;
	int64_t checked_at_us;
	int64_t watched_at_us;
	bool told_down;      /* the event was given */
	pid_t pid;           /* 0: none, or a listener's that has not answered yet */
	int fd;              /* -1: none */
	bool unknown_sender; /* a listener's worker has not answered yet. The thread's own */
	int ending_fd;       /* of a listener's worker that is told to end; -1: none. The thread's own */
	struct ch_buffer out;
	size_t out_sent;
	struct hsm_trip *in_flight; /* in the order of sending */
	uint32_t in_flight_count;
	struct hsm_lanes lanes; /* what waits to be sent */
	uint64_t replies;
	int64_t last_reply_us;
	int64_t up_since_us;
	int64_t open_deadline_us;
	int64_t restart_at_us;
	uint32_t failures; /* in a row */
	uint32_t restarts;
	int64_t lost_at_us[HSM_FLAPS]; /* monotonic: when it was lost, newest first */
	uint32_t sessions;             /* of the worker; the token may allow fewer than configured */
	uint64_t signatures;
	char last_error[256];

	struct ch_metric *up_metric, *restarts_metric, *signatures_metric, *in_flight_metric;
	struct ch_metric *pin_refused_metric, *sessions_metric, *breaker_metric, *hedged_metric;
	struct ch_metric *enabled_metric, *wrong_metric;
	struct ch_metric *lane_depth_metrics[HSM_LANES], *lane_items_metrics[HSM_LANES],
		*lane_wait_metrics[HSM_LANES];
};

struct hsm_batch {
	pthread_cond_t changed; /* something is answered, or all is done */
	size_t left;
	struct hsm_item *answered; /* to be verified by the thread that waits */
	bool sleeping;             /* that thread */
};

struct hsm_pool {
	struct hsm_pool_options options;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* an HSM's state */
	bool stopping;
	struct hsm_item *waiting; /* for an HSM to come up */
	uint64_t last_id;
	struct hsm_absent *absent;
	uint64_t dice; /* whose turn it is among equally busy HSMs */
	size_t count, started;
	struct hsm hsms[HSM_MAX];
};

/* All with the lock held. */

/* --- hsm_pool.c --- */
bool hsm_is_flapping(const struct hsm *hsm);

/* --- hsm.c --- */
void hsm_assign(struct hsm_pool *pool, struct hsm_item *item);
void hsm_assign_waiting(struct hsm_pool *pool);
/* The least busy of those that are up, and closed before the others; only_closed: none else. NULL: none. */
struct hsm *hsm_choose(struct hsm_pool *pool, unsigned allowed, bool only_closed);
/* Whether any of them is up, or may be again. */
bool hsm_may_come_up(const struct hsm_pool *pool, unsigned allowed);
/* The item has its reply or its error. */
void hsm_finish(struct hsm_item *item);
void hsm_send(struct hsm *hsm, struct hsm_item *item);
size_t hsm_trips_under_way(const struct hsm_item *item);
void hsm_flush(struct hsm *hsm);
void hsm_flush_all(struct hsm_pool *pool);
void hsm_reply(struct hsm *hsm, struct hsm_trip *trip, Chancery__HsmReply *reply);
/* Gives what is in flight on a lost worker to others. */
void hsm_reassign(struct hsm *hsm);
void hsm_expire_item(struct hsm_item *item, const char *where);
void hsm_expire(struct hsm_pool *pool, int64_t now_us);
/* Why the worker must be taken for hung; NULL: it is not. */
const char *hsm_hung(const struct hsm *hsm, int64_t now_us);

/* --- hsm_queue.c --- */
/* What it has in hand and what waits for it. */
uint32_t hsm_load(const struct hsm *hsm);
/* Sends it where there is room, else it waits for its turn. */
void hsm_enqueue(struct hsm *hsm, struct hsm_item *item);
/* It waits no more, and is done by the caller. */
void hsm_dequeue(struct hsm_item *item);
/* Where there is room by now. */
void hsm_send_queued(struct hsm *hsm);
/* Assigns anew what waits for an HSM that is lost, shut out, or not to be trusted for now. */
void hsm_requeue(struct hsm *hsm);
void hsm_expire_queued(struct hsm *hsm, int64_t now_us);
void hsm_make_lane_metrics(struct hsm *hsm, struct ch_metrics *metrics);

/* --- hsm_verify.c --- */
/* By the thread that waits for the batch; gives the lock away while it verifies. */
void hsm_verify_answered(struct hsm_pool *pool, struct hsm_batch *batch);

/* --- hsm_late.c --- */
enum hsm_wait { HSM_WAIT_FINE, HSM_WAIT_SILENT, HSM_WAIT_OVERTAKEN };
enum hsm_wait hsm_wait_of(const struct hsm *hsm, const struct hsm_trip *trip, int64_t limit_us,
			  int64_t now_us);
void hsm_watch(struct hsm *hsm, int64_t now_us);
void hsm_check_done(struct hsm_item *item);
void hsm_breaker_changed(struct hsm *hsm);

/* --- hsm_process.c, hsm_maintenance.c --- */
/* Kills the worker; `how` it ended. One of a listener is only told to end: hsm_await_end must follow. */
void hsm_end_process(struct hsm *hsm, char how[64]);

/* All without the lock. */
void hsm_tell(struct hsm *hsm, enum hsm_change change, const char *why);
/* Until the worker has ended that a listener was told to end, for a while at the most. */
void hsm_await_end(struct hsm *hsm);
/* Ends the worker of an HSM that is shut out and has nothing left to do. */
void hsm_retire_if_drained(struct hsm *hsm, int64_t now_us);

/* The thread of one HSM; `state` is the struct hsm. */
void *hsm_serve(void *state);
void hsm_wake(struct hsm *hsm);

#endif
