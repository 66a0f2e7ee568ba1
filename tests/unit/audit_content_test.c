/* SPDX-License-Identifier: Apache-2.0 */
/* audit_content_test.c: what an event keeps comes back as it was, whatever it is, and never as more than it
 * may be (libcommon/auditclient/content.c). */
#include "audit_fixture.h"
#include "unpack/unpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

static struct ch_bytes repeated(uint8_t octet, size_t size)
{
	struct ch_bytes bytes = { ch_alloc(size + 1), size };

	memset(bytes.data, octet, size);
	return bytes;
}

static struct ch_bytes random_octets(size_t size)
{
	struct ch_bytes bytes = { ch_alloc(size + 1), size };

	ch_random(bytes.data, size);
	return bytes;
}

static void assert_comes_back(struct ch_view octets)
{
	CH_AUTO(ch_bytes) packed = CH_NONE, back = CH_NONE;
	struct ch_error err;

	if (!ch_audit_content_pack(octets, &packed, &err) ||
	    !ch_audit_content_unpack(ch_view_of(&packed), &back, &err))
		fail_msg("%zu octets: %s", octets.size, err.message);
	assert_true(ch_view_equal(octets, ch_view_of(&back)));
}

static void what_is_kept_comes_back(void **state)
{
	static const size_t sizes[] = { 1, 2, 700, 4096, CH_AUDIT_CONTENT_CAP - 1, CH_AUDIT_CONTENT_CAP };

	for (size_t i = 0; i < CH_COUNT(sizes); i++) {
		CH_AUTO(ch_bytes) zeros = repeated(0, sizes[i]), noise = random_octets(sizes[i]);

		assert_comes_back(ch_view_of(&zeros));
		assert_comes_back(ch_view_of(&noise));
	}
	assert_comes_back(ch_view("", 0));
}

static void more_than_the_cap_is_not_kept(void **state)
{
	CH_AUTO(ch_bytes) octets = repeated(0, CH_AUDIT_CONTENT_CAP + 1);
	CH_AUTO(ch_bytes) packed = CH_NONE;
	struct ch_error err;

	assert_false(ch_audit_content_pack(ch_view_of(&octets), &packed, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_non_null(strstr(err.message, "262145 octets"));
}

/* What a daemon that was taken over puts into an event of its own is read by those who look into it. */
static void a_stream_of_more_than_the_cap_is_not_unpacked(void **state)
{
	CH_AUTO(ch_bytes) octets = repeated(0, 4 * CH_AUDIT_CONTENT_CAP);
	uint8_t packed[8192];
	uLongf size = sizeof(packed);
	struct ch_bytes back = CH_NONE;
	struct ch_error err;

	assert_int_equal(compress(packed, &size, octets.data, octets.size), Z_OK);
	assert_false(ch_audit_content_unpack(ch_view(packed, size), &back, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_null(back.data);
}

static void what_is_no_stream_is_refused(void **state)
{
	CH_AUTO(ch_bytes) packed = CH_NONE;
	struct ch_bytes back = CH_NONE;
	struct ch_error err;

	assert_true(ch_audit_content_pack(ch_view_text("a certificate"), &packed, &err));
	for (size_t size = 0; size < packed.size; size++) {
		assert_false(ch_audit_content_unpack(ch_view(packed.data, size), &back, &err));
		assert_int_equal(err.code, CH_INVALID);
	}
	for (size_t i = 0; i < 8 * packed.size; i++) { /* some bits fill up the last octet */
		CH_AUTO(ch_bytes) other = CH_NONE;

		packed.data[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_true(!ch_audit_content_unpack(ch_view_of(&packed), &other, &err) ||
			    ch_view_equal(ch_view_of(&other), ch_view_text("a certificate")));
		packed.data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	packed.data = ch_realloc(packed.data, packed.size + 1);
	packed.data[packed.size++] = 0; /* after its end */
	assert_false(ch_audit_content_unpack(ch_view_of(&packed), &back, &err));
}

static bool seal(struct fixture *f, struct ch_view content, struct ch_bytes *sealed, struct ch_error *err)
{
	const struct ch_audit_event event = { .type = "vault.signed",
					      .outcome = "success",
					      .content = content };

	return ch_audit_seal(f->client, &event, sealed, err);
}

static void an_event_keeps_it_compressed(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) octets = repeated('x', 20000), sealed = CH_NONE, back = CH_NONE;
	Chancery__SignedEvent *outer;
	Chancery__Event *event;
	struct ch_error err;

	audit_open(f);
	assert_true(seal(f, ch_view_of(&octets), &sealed, &err));
	outer = (Chancery__SignedEvent *)ch_unpack(&chancery__signed_event__descriptor, ch_view_of(&sealed));
	event = (Chancery__Event *)ch_unpack(&chancery__event__descriptor,
					     ch_view(outer->event.data, outer->event.len));
	assert_true(event->content.len < 200);
	assert_true(ch_audit_content_unpack(ch_view(event->content.data, event->content.len), &back, &err));
	assert_true(ch_view_equal(ch_view_of(&octets), ch_view_of(&back)));
	chancery__event__free_unpacked(event, NULL);
	chancery__signed_event__free_unpacked(outer, NULL);
	audit_close(f, 0);
}

/* Not without what it should keep: who asked is told no. */
static void an_event_that_cannot_keep_it_is_not_made(void **state)
{
	struct fixture *f = *state;
	CH_AUTO(ch_bytes) noise = random_octets(100000), zeros = repeated(0, CH_AUDIT_CONTENT_CAP + 1);
	const struct ch_audit_event event = { .type = "vault.signed",
					      .outcome = "success",
					      .content = ch_view_of(&noise) };
	CH_AUTO(ch_bytes) sealed = CH_NONE;
	struct ch_error err;

	audit_open(f);
	assert_false(seal(f, ch_view_of(&noise), &sealed, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_false(seal(f, ch_view_of(&zeros), &sealed, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_false(ch_audit_record(f->client, &event, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
	assert_recorded(f, 1); /* without a gap in the numbers */
	audit_close(f, CH_SECOND);
	assert_collected(f, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_comes_back),
		cmocka_unit_test(more_than_the_cap_is_not_kept),
		cmocka_unit_test(a_stream_of_more_than_the_cap_is_not_unpacked),
		cmocka_unit_test(what_is_no_stream_is_refused),
		cmocka_unit_test_setup_teardown(an_event_keeps_it_compressed, audit_set_up, audit_tear_down),
		cmocka_unit_test_setup_teardown(an_event_that_cannot_keep_it_is_not_made, audit_set_up,
						audit_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
