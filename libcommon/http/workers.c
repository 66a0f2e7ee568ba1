/* SPDX-License-Identifier: Apache-2.0 */
/* workers.c: threads for slow handlers, behind a bounded queue. request.c suspends a connection and puts its
 * request here; a worker runs the handler and resumes it. */
#include "http/internal.h"

#include <stdlib.h>

static struct ch_http_request *next_request(struct http_workers *workers)
{
	struct ch_http_request *request;

	pthread_mutex_lock(&workers->lock);
	while (!workers->first && !workers->stopping)
		pthread_cond_wait(&workers->wake, &workers->lock);
	request = workers->first;
	if (request) {
		workers->first = request->queue_next;
		if (!workers->first)
			workers->last = NULL;
		workers->waiting--;
	}
	pthread_mutex_unlock(&workers->lock);
	return request;
}

static void *work(void *context)
{
	struct http_workers *workers = context;
	struct ch_http_request *request;

	while ((request = next_request(workers))) {
		struct MHD_Connection *mhd = request->mhd;

		request->route->slow(request->server->state, request, &request->response);
		request->stage = STAGE_ANSWERED;
		MHD_resume_connection(mhd); /* the request may be gone from here on */
	}
	return NULL;
}

bool http_workers_start(struct http_workers *workers, size_t threads, size_t capacity, struct ch_error *err)
{
	workers->capacity = capacity;
	workers->threads = ch_alloc(threads * sizeof(*workers->threads));
	for (size_t i = 0; i < threads; i++) {
		int number = pthread_create(&workers->threads[i], NULL, work, workers);

		if (number)
			return ch_fail_errno(err, CH_INTERNAL, number, "cannot start worker thread %zu", i);
		workers->thread_count++;
	}
	return true;
}

bool http_workers_take(struct http_workers *workers, struct ch_http_request *request)
{
	bool room;

	pthread_mutex_lock(&workers->lock);
	room = workers->waiting < workers->capacity && !workers->stopping;
	if (room) {
		request->stage = STAGE_WAITING;
		MHD_suspend_connection(request->mhd); /* before a worker can resume it */
		request->queue_next = NULL;
		if (workers->last)
			workers->last->queue_next = request;
		else
			workers->first = request;
		workers->last = request;
		workers->waiting++;
		pthread_cond_signal(&workers->wake);
	}
	pthread_mutex_unlock(&workers->lock);
	return room;
}

/* What still waits is worked off: ch_http_stop has waited for it within the drain time, so this is what a
 * stuck handler left behind. */
void http_workers_stop(struct http_workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_cond_broadcast(&workers->wake);
	pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->thread_count; i++)
		pthread_join(workers->threads[i], NULL);
	free(workers->threads);
	workers->threads = NULL;
	workers->thread_count = 0;
}
