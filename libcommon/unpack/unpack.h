/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.h: protobuf messages are unpacked within a budget. An empty item of a repeated field is two octets
 * on the wire and a struct of a hundred in memory, so what comes from outside says little about what it
 * costs.
 */
#ifndef CH_UNPACK_H
#define CH_UNPACK_H

#include "err/err.h"
#include "mem/mem.h"

#include <protobuf-c/protobuf-c.h>

/*
 * Octets that a message of `size` may take while it is unpacked: 16 times its size and 64 KiB (a list of
 * short texts takes ten times its size), or twice its size and 4 MiB where that is less.
 */
size_t ch_unpack_budget(size_t size);

/*
 * Like protobuf_c_message_unpack: the message, to be freed with protobuf_c_message_free_unpacked(message,
 * NULL). NULL: does not decode, or over its budget.
 */
CH_MUST_USE ProtobufCMessage *ch_unpack(const ProtobufCMessageDescriptor *descriptor, struct ch_view octets);

/* No repeated field in the message, or in those inside it, has more than `most` elements. CH_TOO_LARGE names
 * the field. */
CH_MUST_USE bool ch_unpack_check_counts(const ProtobufCMessage *message, size_t most, struct ch_error *err);

#endif
