/* SPDX-License-Identifier: Apache-2.0 */
/* text.c: walks a decoded protobuf message and checks its strings, which go into logs, JSON and the database.
 */
#include "envelope/envelope.h"
#include "text/text.h"

#include <string.h>

#define DEPTH_CAP 16

static bool is_utf8(const char *text)
{
	struct ch_view left = ch_view_text(text);

	while (left.size) {
		uint32_t point;
		size_t length = ch_text_take(left, &point);

		if (!length)
			return false;
		left = ch_view(left.data + length, left.size - length);
	}
	return true;
}

static bool check_message(const ProtobufCMessage *message, int depth, struct ch_error *err);

static bool check_value(const ProtobufCFieldDescriptor *field, const void *value, int depth,
			struct ch_error *err)
{
	const void *pointer = *(const void *const *)value;

	if (!pointer)
		return true;
	if (field->type == PROTOBUF_C_TYPE_STRING && !is_utf8(pointer))
		return ch_fail(err, CH_INVALID, "field '%s' is not UTF-8 text", field->name);
	return field->type != PROTOBUF_C_TYPE_MESSAGE || check_message(pointer, depth + 1, err);
}

static bool check_message(const ProtobufCMessage *message, int depth, struct ch_error *err)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	if (depth > DEPTH_CAP)
		return ch_fail(err, CH_INVALID, "message is nested over %d deep", DEPTH_CAP);
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];
		const char *member = (const char *)message + field->offset;
		size_t count = 1;

		if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			count = *(const size_t *)((const char *)message + field->quantifier_offset);
			member = *(const char *const *)member;
		}
		for (size_t j = 0; j < count; j++)
			if (!check_value(field, member + j * sizeof(void *), depth, err))
				return false;
	}
	return true;
}

bool ch_proto_check_text(const ProtobufCMessage *message, struct ch_error *err)
{
	return check_message(message, 0, err);
}
