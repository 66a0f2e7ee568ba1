/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c: an allocator for protobuf-c that counts, and a walk that counts elements. Called wherever octets
 * become a message. */
#include "unpack/unpack.h"

#include <stdlib.h>

#define OVERHEAD  16 /* of a block of malloc's */
#define DEPTH_CAP 16

struct budget {
	size_t left;
};

static void *take(void *context, size_t size)
{
	struct budget *budget = context;

	if (size > budget->left || budget->left - size < OVERHEAD)
		return NULL;
	budget->left -= size + OVERHEAD;
	return malloc(size);
}

static void give(void *context, void *pointer)
{
	(void)context; /* what was taken stays taken: nothing that is unpacked is freed before its end */
	free(pointer);
}

size_t ch_unpack_budget(size_t size)
{
	size_t small, large;

	if (__builtin_mul_overflow(size, 16, &small) || __builtin_add_overflow(small, 64 * 1024, &small))
		small = SIZE_MAX;
	if (__builtin_mul_overflow(size, 2, &large) || __builtin_add_overflow(large, 4 * 1024 * 1024, &large))
		large = SIZE_MAX;
	return small < large ? small : large;
}

ProtobufCMessage *ch_unpack(const ProtobufCMessageDescriptor *descriptor, struct ch_view octets)
{
	struct budget budget = { ch_unpack_budget(octets.size) };
	ProtobufCAllocator allocator = { take, give, &budget };

	return protobuf_c_message_unpack(descriptor, &allocator, octets.size, octets.data);
}

static bool check(const ProtobufCMessage *message, size_t most, int depth, struct ch_error *err);

static bool check_inside(const ProtobufCFieldDescriptor *field, const char *member, size_t count, size_t most,
			 int depth, struct ch_error *err)
{
	for (size_t i = 0; i < count; i++) {
		const ProtobufCMessage *inner =
			*(const ProtobufCMessage *const *)(const void *)(member + i * sizeof(void *));

		if (inner && !check(inner, most, depth + 1, err))
			return ch_fail_in(err, "%s", field->name);
	}
	return true;
}

static bool check(const ProtobufCMessage *message, size_t most, int depth, struct ch_error *err)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	if (depth > DEPTH_CAP)
		return ch_fail(err, CH_INVALID, "message is nested over %d deep", DEPTH_CAP);
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		const char *member = (const char *)message + field->offset;
		size_t count = 1;

		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			count = *(const size_t *)(const void *)((const char *)message +
								field->quantifier_offset);
			member = *(const char *const *)(const void *)member;
			if (count > most)
				return ch_fail(err, CH_TOO_LARGE, "field '%s' has %zu elements, at most %zu",
					       field->name, count, most);
		}
		if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
		    !check_inside(field, member, count, most, depth, err))
			return false;
	}
	return true;
}

bool ch_unpack_check_counts(const ProtobufCMessage *message, size_t most, struct ch_error *err)
{
	return check(message, most, 0, err);
}
