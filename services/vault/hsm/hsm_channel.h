/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hsm_channel.h: frames between the vault and its HSM workers over a Unix socket: 4 octets length (big
 * endian), then a message of proto/hsm.proto. The supervisor (hsm.c) and the worker (worker.c) use it.
 */
#ifndef VAULT_HSM_CHANNEL_H
#define VAULT_HSM_CHANNEL_H

#include "hsm.pb-c.h"
#include "mem/mem.h"

/* Ed25519 takes the message itself, so a frame can be as large as the largest CRL on the bus. */
#define HSM_FRAME_CAP (34 * 1024 * 1024)

/* The descriptor that a worker finds its socket at. */
#define HSM_WORKER_FD 3

/* And where a listener started it: what says what to open, and comes from nobody else. */
#define HSM_OPEN_FD 4

/* A reply's id where the worker was not asked: an idle session went bad. */
#define HSM_UNASKED_ID UINT64_MAX

void hsm_frame_append(struct ch_buffer *out, const ProtobufCMessage *message);

/* Blocks until the whole frame is written. CH_UNAVAILABLE where the other end is gone. */
/* Frames that were appended before; waits for room. */
CH_MUST_USE bool hsm_octets_write(int fd, struct ch_view octets, struct ch_error *err);
CH_MUST_USE bool hsm_frame_write(int fd, const ProtobufCMessage *message, struct ch_error *err);

/* What was received and not yet taken. Zero-initialised is empty. */
struct hsm_reader {
	struct ch_buffer buffer;
	size_t taken;
};
void hsm_reader_free(struct hsm_reader *reader);

enum hsm_read { HSM_READ_SOME, HSM_READ_NOTHING, HSM_READ_CLOSED };
/* One read(2); NOTHING where a non-blocking socket has none. */
enum hsm_read hsm_reader_fill(struct hsm_reader *reader, int fd);
/* The same, and who sent it, as the kernel says where the socket has SO_PASSCRED; all zero where not. */
struct ucred;
enum hsm_read hsm_reader_fill_from(struct hsm_reader *reader, int fd, struct ucred *sender);

/*
 * Takes the next whole frame. *present is false where more octets are needed; *frame is borrowed until the
 * next fill. CH_TOO_LARGE for a length over HSM_FRAME_CAP: the channel cannot be used any more. Memory grows
 * with what arrived, not with the announced length.
 */
CH_MUST_USE bool hsm_reader_next(struct hsm_reader *reader, bool *present, struct ch_view *frame,
				 struct ch_error *err);

CH_DEFINE_AUTO_VALUE(hsm_reader, struct hsm_reader, hsm_reader_free)

#endif
