/* SPDX-License-Identifier: Apache-2.0 */
/* rogue_worker.c: see rogue_worker.h. */
#include "rogue_worker.h"

#include "hsm_channel.h"
#include "hsm_fixture.h"
#include "unpack/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t own_octets[32] = { 0x5a };

static void send_reply(const Chancery__HsmReply *reply)
{
	struct ch_error err;

	if (!hsm_frame_write(HSM_WORKER_FD, &reply->base, &err))
		_exit(0);
}

/* how: "marks=NAME=HEX". */
static void answer_marks(const Chancery__HsmMarks *ask, const char *how, Chancery__HsmReply *reply)
{
	Chancery__HsmMark mark = CHANCERY__HSM_MARK__INIT, *list[] = { &mark };
	uint8_t value[64];
	char name[128];
	size_t size = 0;
	const char *hex;

	snprintf(name, sizeof(name), "%s", how + strlen("marks="));
	name[strcspn(name, "=")] = 0;
	for (hex = strrchr(how, '=') + 1; hex[0] && hex[1] && size < sizeof(value); hex += 2, size++) {
		const char octet[] = { hex[0], hex[1], 0 };

		value[size] = (uint8_t)strtoul(octet, NULL, 16);
	}
	mark.name = name;
	mark.value = (ProtobufCBinaryData){ .len = size, .data = value };
	if (ask->list) {
		reply->marks = list;
		reply->n_marks = 1;
	}
	if (strcmp(ask->read, name) == 0)
		reply->data = mark.value;
	send_reply(reply);
	reply->marks = NULL; /* they end here */
	reply->n_marks = 0;
	reply->data = (ProtobufCBinaryData){ 0 };
}

static void answer(const Chancery__HsmRequest *request, const char *how)
{
	Chancery__HsmReply reply = CHANCERY__HSM_REPLY__INIT;

	reply.id = request->id;
	if (request->open) {
		reply.sessions = strcmp(how, "sessions") == 0 ? UINT32_MAX / 2 : 4;
		send_reply(&reply);
		if (strcmp(how, "up-again") == 0)
			send_reply(&reply);
		return;
	}
	if (request->marks && strncmp(how, "marks=", 6) == 0) {
		answer_marks(request->marks, how, &reply);
		return;
	}
	if (strcmp(how, "mac") == 0) {
		reply.data = (ProtobufCBinaryData){ .len = sizeof(own_octets), .data = own_octets };
	} else if (!request->status || strncmp(how, "marks=", 6) != 0) {
		reply.code = strcmp(how, "code") == 0 ? 0x7fffffff : CH_DENIED;
		reply.message = (char *)(uintptr_t) "no";
	}
	send_reply(&reply);
}

int rogue_worker_main(const char *how)
{
	CH_AUTO(hsm_reader) reader = CH_NONE;
	struct ch_view frame;
	struct ch_error err;
	bool present;

	for (;;) {
		Chancery__HsmRequest *request;

		if (!hsm_reader_next(&reader, &present, &frame, &err))
			return 1;
		if (!present) {
			if (hsm_reader_fill(&reader, HSM_WORKER_FD) == HSM_READ_CLOSED)
				return 0;
			continue;
		}
		request = (Chancery__HsmRequest *)ch_unpack(&chancery__hsm_request__descriptor, frame);
		if (!request)
			return 1;
		answer(request, how);
		chancery__hsm_request__free_unpacked(request, NULL);
	}
}

int set_up_rogue(void **state, const char *how)
{
	struct fixture *fixture;

	set_up_tokens(state);
	fixture = *state;
	free(fixture->environments[0][1]);
	fixture->environments[0][1] = ch_format(ROGUE "=%s", how);
	fixture->hang_us = fixture->late_us = 20 * CH_SECOND; /* a busy machine is no fault of an HSM's */
	start_pool(fixture);
	assert_true(hsm_pool_wait_up(fixture->pool, ONLY_B, UP_LIMIT));
	return 0;
}
