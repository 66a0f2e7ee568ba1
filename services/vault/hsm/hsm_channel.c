/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_channel.c: frames on the socket between the vault and an HSM worker. */
#include "hsm_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_SIZE 4
#define READ_SIZE   (64 * 1024)

void hsm_frame_append(struct ch_buffer *out, const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *at = ch_buffer_reserve(out, HEADER_SIZE + size);

	at[0] = (uint8_t)(size >> 24);
	at[1] = (uint8_t)(size >> 16);
	at[2] = (uint8_t)(size >> 8);
	at[3] = (uint8_t)size;
	protobuf_c_message_pack(message, at + HEADER_SIZE);
	out->used += HEADER_SIZE + size;
}

bool hsm_octets_write(int fd, struct ch_view octets, struct ch_error *err)
{
	size_t done = 0;

	while (done < octets.size) {
		ssize_t sent = send(fd, octets.data + done, octets.size - done, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return ch_fail_errno(err, CH_UNAVAILABLE, errno, "HSM channel");
		done += (size_t)sent;
	}
	return true;
}

bool hsm_frame_write(int fd, const ProtobufCMessage *message, struct ch_error *err)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	hsm_frame_append(&out, message);
	return hsm_octets_write(fd, ch_buffer_view(&out), err);
}

void hsm_reader_free(struct hsm_reader *reader)
{
	ch_buffer_free(&reader->buffer);
	reader->taken = 0;
}

/* Moves what is left to the front, so that the buffer does not grow with the life of the channel. */
static void drop_taken(struct hsm_reader *reader)
{
	size_t left = reader->buffer.used - reader->taken;

	if (reader->taken == 0)
		return;
	if (left)
		memmove(reader->buffer.data, reader->buffer.data + reader->taken, left);
	reader->buffer.used = left;
	reader->taken = 0;
}

static enum hsm_read note_got(struct hsm_reader *reader, ssize_t got)
{
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return HSM_READ_NOTHING;
	if (got <= 0)
		return HSM_READ_CLOSED;
	reader->buffer.used += (size_t)got;
	return HSM_READ_SOME;
}

enum hsm_read hsm_reader_fill(struct hsm_reader *reader, int fd)
{
	ssize_t got;

	drop_taken(reader);
	do
		got = recv(fd, ch_buffer_reserve(&reader->buffer, READ_SIZE), READ_SIZE, 0);
	while (got < 0 && errno == EINTR);
	return note_got(reader, got);
}

enum hsm_read hsm_reader_fill_from(struct hsm_reader *reader, int fd, struct ucred *sender)
{
	union {
		struct cmsghdr aligned;
		uint8_t room[CMSG_SPACE(sizeof(struct ucred))];
	} control = CH_NONE;
	struct iovec into = { .iov_len = READ_SIZE };
	struct msghdr message = {
		.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	const struct cmsghdr *said;
	ssize_t got;

	*sender = (struct ucred)CH_NONE;
	drop_taken(reader);
	into.iov_base = ch_buffer_reserve(&reader->buffer, READ_SIZE);
	do
		got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	said = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
	if (said && said->cmsg_level == SOL_SOCKET && said->cmsg_type == SCM_CREDENTIALS)
		memcpy(sender, CMSG_DATA(said), sizeof(*sender));
	return note_got(reader, got);
}

bool hsm_reader_next(struct hsm_reader *reader, bool *present, struct ch_view *frame, struct ch_error *err)
{
	size_t left = reader->buffer.used - reader->taken;
	const uint8_t *at;
	size_t size;

	*present = false;
	if (left < HEADER_SIZE)
		return true;
	at = reader->buffer.data + reader->taken;
	size = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
	if (size > HSM_FRAME_CAP)
		return ch_fail(err, CH_TOO_LARGE, "HSM frame of %zu octets, at most %d allowed", size,
			       HSM_FRAME_CAP);
	if (left < HEADER_SIZE + size)
		return true;
	*frame = ch_view(at + HEADER_SIZE, size);
	*present = true;
	reader->taken += HEADER_SIZE + size;
	return true;
}
