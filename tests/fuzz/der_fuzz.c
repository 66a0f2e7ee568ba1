/* SPDX-License-Identifier: Apache-2.0 */
/* der_fuzz.c: reads any bytes as nested DER with every typed reader. What was read, written again, is the
 * same. */
#include "der/der.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH_MAX 12 /* under the writer's 16 */

/* A failed read must leave the cursor alone. */
static void require(bool condition)
{
	if (!condition)
		abort();
}

static void try_typed(struct ch_view in)
{
	struct ch_view at = in, view;
	struct ch_error err;
	uint64_t number;
	int64_t time_us;
	bool flag;
	require(ch_der_read_integer(&at, "x", &view, &err) || at.data == in.data);
	at = in;
	require(ch_der_read_uint64(&at, "x", &number, &err) || at.data == in.data);
	at = in;
	require(ch_der_read_boolean(&at, "x", &flag, &err) || at.data == in.data);
	at = in;
	require(ch_der_read_bit_string(&at, "x", &view, &err) || at.data == in.data);
	at = in;
	require(ch_der_read_time(&at, "x", false, &time_us, &err) || at.data == in.data);
	at = in;
	require(ch_der_read_time(&at, "x", true, &time_us, &err) || at.data == in.data);
	at = in;
	if (ch_der_read_oid(&at, "x", &view, &err)) {
		CH_AUTO(ch_string) text = ch_der_oid_text(view);
		CH_AUTO(ch_der_writer) writer = CH_NONE;
		require(text && ch_der_put_oid(&writer, text, &err));
		require(ch_view_equal(ch_buffer_view(&writer.buffer),
				      ch_view(in.data, (size_t)(at.data - in.data))));
	}
}

static void walk(struct ch_view in, struct ch_der_writer *writer, int depth)
{
	while (in.size > 0) {
		unsigned tag;
		struct ch_view content, whole, before = in;
		struct ch_error err;
		try_typed(in);
		if (!ch_der_read_any(&in, "x", &tag, &content, &whole, &err)) {
			require(in.data == before.data && in.size == before.size);
			ch_der_put_raw(writer, in);
			return;
		}
		require(whole.data == before.data && whole.size + in.size == before.size);
		if ((tag & 0x20) && depth < DEPTH_MAX) {
			ch_der_begin(writer, tag);
			walk(content, writer, depth + 1);
			ch_der_finish(writer);
		} else {
			ch_der_put(writer, tag, content);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	walk(ch_view(data, size), &writer, 0);
	CH_AUTO(ch_bytes) again = ch_der_done(&writer);
	require(again.size == size && (size == 0 || !memcmp(again.data, data, size)));
	return 0;
}
