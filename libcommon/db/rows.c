/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.c: typed reading of binary results. Asking for a type that the column does not have is a programming
 * error: it aborts, naming the statement. Called by store.c files.
 */
#include "db/db_internal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define POSTGRES_EPOCH INT64_C(946684800000000)

enum {
	OID_BOOL = 16,
	OID_BYTEA = 17,
	OID_NAME = 19,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_TEXT = 25,
	OID_JSON = 114,
	OID_UNKNOWN = 705,
	OID_INT4_ARRAY = 1007,
	OID_TEXT_ARRAY = 1009,
	OID_BPCHAR = 1042,
	OID_VARCHAR = 1043,
	OID_TIMESTAMPTZ = 1184,
	OID_JSONB = 3802
};

size_t ch_rows_count(const struct ch_rows *rows)
{
	return (size_t)PQntuples(rows->result);
}

uint64_t ch_rows_affected(const struct ch_rows *rows)
{
	return strtoull(PQcmdTuples(rows->result), NULL, 10);
}

bool ch_rows_null(const struct ch_rows *rows, size_t row, int column)
{
	return PQgetisnull(rows->result, (int)row, column);
}

static _Noreturn void misuse(const struct ch_rows *rows, size_t row, int column, const char *wanted)
{
	ch_log_error("statement '%s': row %zu column %d is not %s (type oid %u, %d rows of %d columns)",
		     rows->statement, row, column, wanted, PQftype(rows->result, column),
		     PQntuples(rows->result), PQnfields(rows->result));
	(void)ch_log_flush(CH_SECOND);
	abort();
}

/* The column's type, after checking that the field exists. */
static Oid type_of(const struct ch_rows *rows, size_t row, int column, const char *wanted)
{
	if (row >= ch_rows_count(rows) || column < 0 || column >= PQnfields(rows->result))
		misuse(rows, row, column, wanted);
	return PQftype(rows->result, column);
}

static struct ch_view raw(const struct ch_rows *rows, size_t row, int column)
{
	return ch_view(PQgetvalue(rows->result, (int)row, column),
		       (size_t)PQgetlength(rows->result, (int)row, column));
}

const char *ch_rows_text(const struct ch_rows *rows, size_t row, int column)
{
	const char *value;

	switch (type_of(rows, row, column, "text")) {
	case OID_TEXT:
	case OID_VARCHAR:
	case OID_BPCHAR:
	case OID_NAME:
	case OID_JSON:
	case OID_UNKNOWN:
		return PQgetvalue(rows->result, (int)row, column); /* libpq puts a zero after each value */
	case OID_JSONB:                                            /* one octet of version before the text */
		value = PQgetvalue(rows->result, (int)row, column);
		return *value ? value + 1 : value;
	default:
		misuse(rows, row, column, "text");
	}
}

struct ch_view ch_rows_bytes(const struct ch_rows *rows, size_t row, int column)
{
	Oid type = type_of(rows, row, column, "bytea");

	if (ch_rows_null(rows, row, column))
		return ch_view(NULL, 0);
	if (type == OID_BYTEA || type == OID_TEXT || type == OID_VARCHAR)
		return raw(rows, row, column);
	misuse(rows, row, column, "bytea");
}

static int64_t read_int64(const uint8_t *octets)
{
	uint64_t wire;

	memcpy(&wire, octets, sizeof(wire));
	return (int64_t)be64toh(wire);
}

static int32_t read_int32(const uint8_t *octets)
{
	uint32_t wire;

	memcpy(&wire, octets, sizeof(wire));
	return (int32_t)be32toh(wire);
}

int64_t ch_rows_int64(const struct ch_rows *rows, size_t row, int column)
{
	Oid type = type_of(rows, row, column, "an integer");
	struct ch_view value = raw(rows, row, column);

	if (type != OID_INT8 && type != OID_INT4 && type != OID_INT2)
		misuse(rows, row, column, "an integer");
	if (ch_rows_null(rows, row, column))
		return 0;
	if (type == OID_INT8)
		return read_int64(value.data);
	if (type == OID_INT4)
		return read_int32(value.data);
	return (int16_t)((value.data[0] << 8) | value.data[1]);
}

bool ch_rows_bool(const struct ch_rows *rows, size_t row, int column)
{
	if (type_of(rows, row, column, "boolean") != OID_BOOL)
		misuse(rows, row, column, "boolean");
	return !ch_rows_null(rows, row, column) && raw(rows, row, column).data[0];
}

int64_t ch_rows_time(const struct ch_rows *rows, size_t row, int column)
{
	int64_t value;

	if (type_of(rows, row, column, "timestamptz") != OID_TIMESTAMPTZ)
		misuse(rows, row, column, "timestamptz");
	if (ch_rows_null(rows, row, column))
		return 0;
	value = read_int64(raw(rows, row, column).data);
	return value > INT64_MAX - POSTGRES_EPOCH ? INT64_MAX
						  : value + POSTGRES_EPOCH; /* 'infinity' stays the end */
}

/* The elements of a one-dimensional array: sets *count and returns where they begin. */
static const uint8_t *open_array(const struct ch_rows *rows, size_t row, int column, Oid type, size_t *count)
{
	struct ch_view value;

	if (type_of(rows, row, column, "an array") != type)
		misuse(rows, row, column, "an array of that type");
	*count = 0;
	value = raw(rows, row, column);
	if (ch_rows_null(rows, row, column) || read_int32(value.data) == 0)
		return NULL;
	if (read_int32(value.data) != 1)
		misuse(rows, row, column, "an array of one dimension");
	*count = (size_t)read_int32(value.data + 12);
	return value.data + 20;
}

size_t ch_rows_text_array(const struct ch_rows *rows, size_t row, int column, char ***items)
{
	size_t count;
	const uint8_t *at = open_array(rows, row, column, OID_TEXT_ARRAY, &count);

	*items = ch_alloc((count + 1) * sizeof(char *));
	for (size_t i = 0; i < count; i++) {
		int32_t size = read_int32(at);

		at += 4;
		(*items)[i] = ch_strndup((const char *)at, size > 0 ? (size_t)size : 0);
		at += size > 0 ? size : 0;
	}
	return count;
}

size_t ch_rows_int32_array(const struct ch_rows *rows, size_t row, int column, int32_t **items)
{
	size_t count;
	const uint8_t *at = open_array(rows, row, column, OID_INT4_ARRAY, &count);

	*items = ch_alloc((count + 1) * sizeof(int32_t));
	for (size_t i = 0; i < count; i++) {
		int32_t size = read_int32(at);

		at += 4;
		(*items)[i] = size > 0 ? read_int32(at) : 0;
		at += size > 0 ? size : 0;
	}
	return count;
}

void ch_rows_free(struct ch_rows *rows)
{
	if (!rows)
		return;
	PQclear(rows->result);
	free(rows->statement);
	free(rows);
}
