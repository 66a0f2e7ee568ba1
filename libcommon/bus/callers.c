/* SPDX-License-Identifier: Apache-2.0 */
/*
 * callers.c: the connections to a server: those that have ended without nng's noticing
 * (docs/decisions/0036), and those over which no whole message has come for long, are closed, so that neither
 * keeps memory and a descriptor for ever. When one comes is when there could be too many: then is looked.
 * Called from server.c.
 */
#include "bus/internal.h"

#include <stdlib.h>
#include <uthash.h>

#define BETWEEN_LOOKS CH_SECOND

struct caller {
	uint32_t pipe;
	int64_t heard_us; /* monotonic: when it came, or its last message */
	UT_hash_handle hh;
};

struct ch_bus_callers {
	int64_t idle_us;
	pthread_mutex_t lock;                  /* guards what follows */
	struct ch_metric *dropped, *connected; /* NULL: not counted */
	struct caller *all;
	int64_t looked_us;
};

struct ch_bus_callers *ch_bus_callers_new(int64_t idle_us, struct ch_metrics *metrics)
{
	struct ch_bus_callers *callers = ch_alloc(sizeof(*callers));

	callers->idle_us = idle_us;
	if (metrics) {
		callers->dropped = ch_metrics_counter(
			metrics, "chancery_bus_callers_dropped_total",
			"Callers' connections closed because they had ended or sent nothing whole.", "");
		callers->connected = ch_metrics_gauge(metrics, "chancery_bus_callers",
						      "Connections of callers to this daemon's bus.", "");
	}
	pthread_mutex_init(&callers->lock, NULL);
	return callers;
}

void ch_bus_callers_free(struct ch_bus_callers *callers)
{
	struct caller *each, *next;

	if (!callers)
		return;
	HASH_ITER(hh, callers->all, each, next)
	{
		HASH_DEL(callers->all, each);
		free(each);
	}
	pthread_mutex_destroy(&callers->lock);
	free(callers);
}

void ch_bus_callers_leave(struct ch_bus_callers *callers)
{
	pthread_mutex_lock(&callers->lock);
	callers->dropped = callers->connected = NULL;
	pthread_mutex_unlock(&callers->lock);
}

static struct caller *find(struct ch_bus_callers *callers, nng_pipe pipe)
{
	struct caller *found = NULL;

	HASH_FIND(hh, callers->all, &pipe.id, sizeof(pipe.id), found);
	return found;
}

static void forget(struct ch_bus_callers *callers, struct caller *caller)
{
	HASH_DEL(callers->all, caller);
	free(caller);
	if (callers->connected)
		ch_metric_change(callers->connected, -1);
}

/* Its end may never be told: where nng's reaper hangs (docs/decisions/0013) it reports none any more. */
static void drop(struct ch_bus_callers *callers, struct caller *caller, bool ended)
{
	nng_pipe pipe = { caller->pipe };

	if (callers->dropped)
		ch_metric_add(callers->dropped, 1);
	ch_log_info("bus: a caller's connection is closed: %s",
		    ended ? "it has ended" : "no whole message came for long");
	forget(callers, caller);
	nng_pipe_close(pipe);
}

static bool is_idle(const struct ch_bus_callers *callers, const struct caller *caller, int64_t now_us)
{
	return now_us - caller->heard_us >= callers->idle_us;
}

static void look(struct ch_bus_callers *callers)
{
	int64_t now_us = ch_monotonic_us();
	struct caller *each, *next;

	if (now_us - callers->looked_us < BETWEEN_LOOKS && now_us - callers->looked_us < callers->idle_us)
		return;
	callers->looked_us = now_us;
	HASH_ITER(hh, callers->all, each, next)
	{
		bool ended = ch_bus_has_ended((nng_pipe){ each->pipe });

		if (ended || is_idle(callers, each, now_us))
			drop(callers, each, ended);
	}
}

void ch_bus_callers_event(nng_pipe pipe, nng_pipe_ev event, void *context)
{
	struct ch_bus_callers *callers = context;
	struct caller *caller;

	pthread_mutex_lock(&callers->lock);
	caller = find(callers, pipe);
	if (event == NNG_PIPE_EV_ADD_POST && !caller) {
		look(callers);
		caller = ch_alloc(sizeof(*caller));
		*caller = (struct caller){ .pipe = pipe.id, .heard_us = ch_monotonic_us() };
		HASH_ADD(hh, callers->all, pipe, sizeof(caller->pipe), caller);
		if (callers->connected)
			ch_metric_change(callers->connected, 1);
	} else if (event == NNG_PIPE_EV_REM_POST && caller) {
		forget(callers, caller);
	}
	pthread_mutex_unlock(&callers->lock);
}

void ch_bus_callers_heard(struct ch_bus_callers *callers, nng_pipe pipe)
{
	struct caller *caller;

	pthread_mutex_lock(&callers->lock);
	caller = find(callers, pipe);
	if (caller)
		caller->heard_us = ch_monotonic_us();
	pthread_mutex_unlock(&callers->lock);
}
