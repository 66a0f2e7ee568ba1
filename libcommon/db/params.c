/* SPDX-License-Identifier: Apache-2.0 */
/*
 * params.c: parameters in PostgreSQL's binary form, each with its type, so that the server never has to guess
 * what
 * "$1" is. Called by query.c and by whoever builds a parameter list.
 */
#include "db/db_internal.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Microseconds from 1970 to 2000, where PostgreSQL's time begins. */
#define POSTGRES_EPOCH INT64_C(946684800000000)

/* pg_type.dat of PostgreSQL: these never change. */
enum {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_INT8 = 20,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_INT4_ARRAY = 1007,
	OID_TEXT_ARRAY = 1009,
	OID_TIMESTAMPTZ = 1184
};

struct kind_row {
	enum ch_param_kind kind;
	Oid type;
	char letter; /* in the key of a prepared statement */
};
static const struct kind_row kinds[] = {
	{ CH_PARAM_NULL, 0, 'n' },
	{ CH_PARAM_TEXT, OID_TEXT, 't' },
	{ CH_PARAM_BYTES, OID_BYTEA, 'b' },
	{ CH_PARAM_INT64, OID_INT8, 'l' },
	{ CH_PARAM_INT32, OID_INT4, 'i' },
	{ CH_PARAM_BOOL, OID_BOOL, 'f' },
	{ CH_PARAM_TIME, OID_TIMESTAMPTZ, 'c' },
	{ CH_PARAM_TEXT_ARRAY, OID_TEXT_ARRAY, 'T' },
	{ CH_PARAM_INT32_ARRAY, OID_INT4_ARRAY, 'I' },
};

struct ch_param ch_param_null(void)
{
	return (struct ch_param){ .kind = CH_PARAM_NULL };
}

struct ch_param ch_param_text(const char *text)
{
	return (struct ch_param){ .kind = CH_PARAM_TEXT, .data = text, .size = text ? strlen(text) : 0 };
}

struct ch_param ch_param_bytes(struct ch_view view)
{
	return (struct ch_param){ .kind = CH_PARAM_BYTES, .data = view.data, .size = view.size };
}

struct ch_param ch_param_int64(int64_t number)
{
	return (struct ch_param){ .kind = CH_PARAM_INT64, .number = number };
}

struct ch_param ch_param_int32(int32_t number)
{
	return (struct ch_param){ .kind = CH_PARAM_INT32, .number = number };
}

struct ch_param ch_param_bool(bool value)
{
	return (struct ch_param){ .kind = CH_PARAM_BOOL, .number = value };
}

struct ch_param ch_param_time(int64_t time_us)
{
	return (struct ch_param){ .kind = CH_PARAM_TIME, .number = time_us };
}

struct ch_param ch_param_text_array(const char *const *items, size_t count)
{
	return (struct ch_param){ .kind = CH_PARAM_TEXT_ARRAY, .data = items, .size = count };
}

struct ch_param ch_param_int32_array(const int32_t *items, size_t count)
{
	return (struct ch_param){ .kind = CH_PARAM_INT32_ARRAY, .data = items, .size = count };
}

static void add_int32(struct ch_buffer *buffer, int32_t number)
{
	uint32_t wire = htobe32((uint32_t)number);

	ch_buffer_add(buffer, &wire, sizeof(wire));
}

/* One dimension that counts from 1, no NULLs; no dimension at all where it is empty. */
static void encode_array(const struct ch_param *parameter, struct ch_buffer *out)
{
	const char *const *texts = parameter->data;
	const int32_t *numbers = parameter->data;
	bool text = parameter->kind == CH_PARAM_TEXT_ARRAY;

	add_int32(out, parameter->size ? 1 : 0);
	add_int32(out, 0);
	add_int32(out, text ? OID_TEXT : OID_INT4);
	if (parameter->size) {
		add_int32(out, (int32_t)parameter->size);
		add_int32(out, 1);
	}
	for (size_t i = 0; i < parameter->size; i++) {
		size_t size = text ? strlen(texts[i]) : sizeof(int32_t);

		add_int32(out, (int32_t)size);
		if (text)
			ch_buffer_add(out, texts[i], size);
		else
			add_int32(out, numbers[i]);
	}
}

static void encode_number(const struct ch_param *parameter, uint8_t octets[8], int *size)
{
	uint64_t wide;
	uint32_t narrow;

	switch (parameter->kind) {
	case CH_PARAM_BOOL:
		octets[0] = parameter->number != 0;
		*size = 1;
		break;
	case CH_PARAM_INT32:
		narrow = htobe32((uint32_t)(int32_t)parameter->number);
		memcpy(octets, &narrow, sizeof(narrow));
		*size = sizeof(narrow);
		break;
	default:
		wide = htobe64((uint64_t)(parameter->kind == CH_PARAM_TIME
						  ? parameter->number - POSTGRES_EPOCH
						  : parameter->number));
		memcpy(octets, &wide, sizeof(wide));
		*size = sizeof(wide);
	}
}

static void encode_one(const struct ch_param *parameter, struct db_encoded *encoded, int at)
{
	struct ch_buffer array = CH_NONE;

	switch (parameter->kind) {
	case CH_PARAM_NULL:
		break;
	case CH_PARAM_TEXT:
	case CH_PARAM_BYTES:
		encoded->values[at] = parameter->data;
		encoded->lengths[at] = (int)parameter->size;
		break;
	case CH_PARAM_TEXT_ARRAY:
	case CH_PARAM_INT32_ARRAY:
		encode_array(parameter, &array);
		encoded->lengths[at] = (int)array.used;
		encoded->arrays[at] = ch_buffer_steal(&array).data;
		encoded->values[at] = (const char *)encoded->arrays[at];
		break;
	case CH_PARAM_TIME:
		if (parameter->number == 0)
			break;
		/* fall through */
	default:
		encode_number(parameter, encoded->numbers[at], &encoded->lengths[at]);
		encoded->values[at] = (const char *)encoded->numbers[at];
	}
}

bool db_encode(const struct ch_param *parameters, size_t count, struct db_encoded *encoded,
	       struct ch_error *err)
{
	if (count > DB_PARAMETERS_MAX)
		return ch_fail(err, CH_INTERNAL, "%zu parameters, at most %d", count, DB_PARAMETERS_MAX);
	for (size_t i = 0; i < count; i++) {
		if (parameters[i].size > INT_MAX / 2)
			return ch_fail(err, CH_TOO_LARGE, "parameter %zu has %zu octets", i + 1,
				       parameters[i].size);
		encoded->types[i] = kinds[parameters[i].kind].type;
		encoded->signature[i] = kinds[parameters[i].kind].letter;
		encoded->formats[i] = 1;
		encode_one(&parameters[i], encoded, (int)i);
	}
	encoded->count = (int)count;
	return true;
}

void db_encoded_free(struct db_encoded *encoded)
{
	for (int i = 0; i < encoded->count; i++)
		free(encoded->arrays[i]);
}
