/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c: the HSM worker process: opens its token, gives up what it does not need, then answers requests
 * from as many session threads as configured. Started by hsm_spawn.c for the vault or an HSM's listener; dies
 * with it.
 */
#include "worker.h"

#include "clock/clock.h"
#include "hsm_channel.h"
#include "log/log.h"
#include "worker_login.h"
#include "worker_queue.h"
#include "unpack/unpack.h"
#include "worker_sandbox.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSIONS_CAP 64

struct worker {
	const char *name;
	struct token *token;
	struct worker_queue *queue;
	int64_t keep_alive_us; /* 0: idle sessions are left alone */
	uint32_t sessions;
	pthread_mutex_t write_lock; /* guards writing to HSM_WORKER_FD */
};

struct session_thread {
	struct worker *worker;
	struct token_session session;
	struct ch_buffer out; /* replies that go in one write */
};

/* --- answering --- */

static void send_reply(struct worker *worker, const Chancery__HsmReply *reply)
{
	struct ch_error err;
	bool sent;

	pthread_mutex_lock(&worker->write_lock);
	sent = hsm_frame_write(HSM_WORKER_FD, &reply->base, &err);
	pthread_mutex_unlock(&worker->write_lock);
	if (!sent)
		_exit(0); /* the vault is gone */
}

/* What a request asked for, and what it gave. */
struct outcome {
	struct ch_bytes signature, public_key_info, wrapped, data;
	char **key_ids;
	size_t key_id_count;
	struct hsm_mark_list marks;
};

static void free_outcome(struct outcome *outcome)
{
	for (size_t i = 0; i < outcome->key_id_count; i++)
		free(outcome->key_ids[i]);
	free(outcome->key_ids);
	hsm_mark_list_free(&outcome->marks);
	ch_wipe(outcome->data.data, outcome->data.size);
	ch_bytes_free(&outcome->data);
	ch_bytes_free(&outcome->signature);
	ch_bytes_free(&outcome->public_key_info);
	ch_bytes_free(&outcome->wrapped);
}
CH_DEFINE_AUTO_VALUE(outcome, struct outcome, free_outcome)

static bool check_status(struct token_session *session, struct ch_error *err)
{
	CK_OBJECT_HANDLE kek;

	return token_find_kek(session, &kek, err);
}

static bool execute(struct token_session *session, const Chancery__HsmRequest *request,
		    struct outcome *outcome, struct ch_error *err)
{
	if (request->sign)
		return token_sign(session, request->sign, &outcome->signature, err);
	if (request->generate)
		return token_generate(session, request->generate, &outcome->public_key_info, err);
	if (request->wrap)
		return token_wrap(session, request->wrap, &outcome->wrapped, err);
	if (request->unwrap)
		return token_unwrap(session, request->unwrap, err);
	if (request->lock)
		return token_lock(session, request->lock->key_id, err);
	if (request->destroy)
		return token_destroy(session, request->destroy->key_id, err);
	if (request->drop_copies)
		return token_drop_copies(session, request->drop_copies->key_id, err);
	if (request->status)
		return check_status(session, err);
	if (request->mac)
		return token_mac(session, ch_view(request->mac->data.data, request->mac->data.len),
				 &outcome->data, err);
	if (request->encrypt)
		return token_encrypt(session, request->encrypt, &outcome->data, err);
	if (request->decrypt)
		return token_decrypt(session, request->decrypt, &outcome->data, err);
	if (request->random)
		return token_random(session, request->random->size, &outcome->data, err);
	if (request->list_keys)
		return token_list_keys(session, &outcome->key_ids, &outcome->key_id_count, err);
	if (request->marks)
		return token_marks(session, request->marks, &outcome->data, &outcome->marks, err);
	return ch_fail(err, CH_UNSUPPORTED, "HSM request of an unknown kind");
}

static ProtobufCBinaryData as_binary(const struct ch_bytes *bytes)
{
	return (ProtobufCBinaryData){ .len = bytes->size, .data = bytes->data };
}

/* All replies of one go in one write. */
static void send_replies(struct session_thread *thread)
{
	struct worker *worker = thread->worker;
	struct ch_error err;
	bool sent;

	pthread_mutex_lock(&worker->write_lock);
	sent = hsm_octets_write(HSM_WORKER_FD, ch_buffer_view(&thread->out), &err);
	pthread_mutex_unlock(&worker->write_lock);
	if (!sent)
		_exit(0); /* the vault is gone */
	thread->out.used = 0;
}

static void append_reply(struct session_thread *thread, Chancery__HsmReply *reply,
			 const struct hsm_mark_list *marks)
{
	Chancery__HsmMark *messages = ch_alloc((marks->count + 1) * sizeof(*messages));
	Chancery__HsmMark **list = ch_alloc((marks->count + 1) * sizeof(Chancery__HsmMark *));

	for (size_t i = 0; i < marks->count; i++) {
		chancery__hsm_mark__init(&messages[i]);
		messages[i].name = marks->items[i].name;
		messages[i].value = (ProtobufCBinaryData){ .len = marks->items[i].mark.size,
							   .data = marks->items[i].mark.value };
		list[i] = &messages[i];
	}
	reply->marks = list;
	reply->n_marks = marks->count;
	hsm_frame_append(&thread->out, &reply->base);
	free(messages);
	free(list);
}

static void answer(struct session_thread *thread, const Chancery__HsmRequest *request)
{
	Chancery__HsmReply reply = CHANCERY__HSM_REPLY__INIT;
	CH_AUTO(outcome) outcome = CH_NONE;
	struct ch_error err = CH_NONE;

	reply.id = request->id;
	if (!execute(&thread->session, request, &outcome, &err)) {
		reply.code = err.code;
		reply.message = err.message;
		reply.retryable = err.retryable;
		reply.restart = thread->session.sick;
	}
	reply.signature = as_binary(&outcome.signature);
	reply.public_key_info = as_binary(&outcome.public_key_info);
	reply.wrapped = as_binary(&outcome.wrapped);
	reply.data = as_binary(&outcome.data);
	reply.key_ids = outcome.key_ids;
	reply.n_key_ids = outcome.key_id_count;
	append_reply(thread, &reply, &outcome.marks);
}

/* An idle session that went bad is told of unasked, so that no caller's request finds out. */
static void check_idle(struct session_thread *thread)
{
	Chancery__HsmReply reply = CHANCERY__HSM_REPLY__INIT;
	struct ch_error err = CH_NONE;

	if (token_session_check(&thread->session, &err))
		return;
	reply.id = HSM_UNASKED_ID;
	reply.code = err.code;
	reply.message = err.message;
	reply.restart = true;
	send_reply(thread->worker, &reply);
}

static void *serve_session(void *state)
{
	struct session_thread *thread = state;
	struct worker *worker = thread->worker;
	Chancery__HsmRequest *requests[WORKER_AT_ONCE];

	for (;;) {
		size_t count = worker_queue_take(worker->queue, worker->keep_alive_us, requests);

		if (!count) {
			check_idle(thread);
			continue;
		}
		for (size_t i = 0; i < count; i++) {
			answer(thread, requests[i]);
			chancery__hsm_request__free_unpacked(requests[i], NULL);
		}
		send_replies(thread);
	}
	return NULL;
}

/* --- starting --- */

static bool start_thread(struct worker *worker, struct ch_error *err)
{
	struct session_thread *thread = ch_alloc(sizeof(*thread)); /* as long as the process */
	pthread_t id;

	thread->worker = worker;
	if (!token_session_open(worker->token, &thread->session, err)) {
		free(thread);
		return false;
	}
	if (pthread_create(&id, NULL, serve_session, thread) != 0)
		return ch_fail(err, CH_INTERNAL, "cannot start session thread %u", worker->sessions);
	pthread_detach(id);
	worker->sessions++;
	return true;
}

/* As many as asked for; fewer where the token announces or then has fewer. */
static bool start_threads(struct worker *worker, uint32_t wanted, struct ch_error *err)
{
	uint32_t allowed = token_sessions(worker->token);

	while (worker->sessions < allowed)
		if (!start_thread(worker, err)) {
			if (worker->sessions == 0 || err->code != CH_EXHAUSTED)
				return false;
			break; /* other processes hold the rest */
		}
	if (worker->sessions < wanted)
		ch_log_warn("%u sessions instead of %u: the token does not allow more", worker->sessions,
			    wanted);
	return true;
}

/*
 * Reads the PIN, closes the system to this process, and only then loads the vendor's library, whose code runs
 * from there on; closes what only loading needed, then starts a thread for each session.
 */
static bool start(struct worker *worker, const Chancery__HsmOpen *open, struct ch_error *err)
{
	CH_AUTO(ch_secret) pin = CH_NONE;

	if (open->sessions < 1 || open->sessions > SESSIONS_CAP)
		return ch_fail(err, CH_INVALID, "%u sessions, 1 to %d allowed", open->sessions, SESSIONS_CAP);
	worker->keep_alive_us = open->keep_alive_ms * CH_MILLISECOND;
	if (!token_read_pin(open->pin_file, &pin, err) || (open->sandbox && !worker_sandbox_enter(open, err)))
		return false;
	return token_open(open, &pin, &worker->token, err) &&
	       (!open->sandbox || worker_sandbox_narrow(open, err)) && ch_log_start(err) &&
	       start_threads(worker, open->sessions, err);
}

/* The first request opens; its reply says whether this worker can serve. */
static bool handle_open(struct worker *worker, const Chancery__HsmRequest *request)
{
	Chancery__HsmReply reply = CHANCERY__HSM_REPLY__INIT;
	struct ch_error err = CH_NONE;
	bool opened = request->open ? start(worker, request->open, &err)
				    : ch_fail(&err, CH_INVALID, "the first HSM request must be open");

	reply.id = request->id;
	if (!opened) {
		reply.code = err.code;
		reply.message = err.message;
		reply.pin_refused = err.code == CH_DENIED;
	} else {
		reply.sessions = worker->sessions;
		reply.token_label = request->open->token_label;
	}
	send_reply(worker, &reply);
	return opened;
}

static Chancery__HsmRequest *next_request(struct hsm_reader *reader, int fd)
{
	Chancery__HsmRequest *request;
	struct ch_view frame;
	struct ch_error err;
	bool present;

	for (;;) {
		if (!hsm_reader_next(reader, &present, &frame, &err))
			return NULL;
		if (present)
			break;
		if (hsm_reader_fill(reader, fd) == HSM_READ_CLOSED)
			return NULL;
	}
	request = (Chancery__HsmRequest *)ch_unpack(&chancery__hsm_request__descriptor, frame);
	if (!request)
		ch_log_error("HSM request does not decode");
	return request;
}

/* The vault may say how often idle sessions are checked, and nothing else: module, PIN and sandbox are the
 * HSM's owner's. */
static Chancery__HsmRequest *open_of_listener(Chancery__HsmRequest *asked)
{
	CH_AUTO(hsm_reader) reader = CH_NONE;
	Chancery__HsmRequest *own = next_request(&reader, HSM_OPEN_FD);

	close(HSM_OPEN_FD);
	if (!own || !own->open || !asked->open) {
		ch_log_error("neither the listener nor the vault said what to open");
		_exit(1);
	}
	own->id = asked->id;
	own->open->keep_alive_ms = asked->open->keep_alive_ms;
	chancery__hsm_request__free_unpacked(asked, NULL);
	return own;
}

/* The listener may have ended before this process asked to be ended with it: the one that made HSM_OPEN_FD.
 */
static void check_listener(void)
{
	struct ucred listener;
	socklen_t size = sizeof(listener);

	if (getsockopt(HSM_OPEN_FD, SOL_SOCKET, SO_PEERCRED, &listener, &size) != 0 ||
	    listener.pid != getppid())
		_exit(1);
}

bool hsm_worker_asked(int argc, char **argv)
{
	return argc >= 3 && strcmp(argv[1], HSM_WORKER_OPTION) == 0 &&
	       (argc == 3 || (argc == 4 && strcmp(argv[3], HSM_FROM_LISTENER_OPTION) == 0));
}

int hsm_worker_main(int argc, char **argv)
{
	struct worker worker = { .name = argv[2], .write_lock = PTHREAD_MUTEX_INITIALIZER };
	bool from_listener = argc == 4, opened;
	CH_AUTO(hsm_reader) reader = CH_NONE;
	Chancery__HsmRequest *request;
	struct ch_error err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGPIPE, SIG_IGN);
	ch_log_open("vault", worker.name);
	if (from_listener)
		check_listener();
	ch_guard_memory(); /* the vault says it where it cannot be */
	request = next_request(&reader, HSM_WORKER_FD);
	if (!request)
		_exit(1);
	if (from_listener)
		request = open_of_listener(request);
	if (!worker_queue_open(&reader, &worker.queue, &err)) {
		ch_log_error("%s", err.message);
		_exit(1);
	}
	opened = handle_open(&worker, request);
	chancery__hsm_request__free_unpacked(request, NULL);
	/* Threads may be inside the module: leave at once, no destructors (a vendor's may hang). */
	if (!opened) {
		(void)ch_log_flush(CH_SECOND);
		_exit(1);
	}
	/* Until a session thread sees that the vault is gone. */
	for (;;)
		pause();
}
