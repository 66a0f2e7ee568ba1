/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_lanes_test.c: whose turn it is at an HSM: each lane has its share, whatever the other does. */
#include "hsm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEMS 3000

static void put(struct hsm_lanes *lanes, struct hsm_item *items, size_t count, enum hsm_lane lane)
{
	for (size_t i = 0; i < count; i++) {
		items[i].lane = lane;
		hsm_lanes_put(lanes, &items[i]);
	}
}

/* How many of `count` that are taken belong to the CA. */
static size_t take(struct hsm_lanes *lanes, size_t count)
{
	size_t ca = 0;

	for (size_t i = 0; i < count; i++)
		ca += hsm_lanes_take(lanes)->lane == HSM_LANE_CA;
	return ca;
}

static void one_lane_is_first_come_first_served(void **state)
{
	struct hsm_item *items = calloc(ITEMS, sizeof(*items));
	struct hsm_lanes lanes = { 0 };

	(void)state;
	put(&lanes, items, ITEMS, HSM_LANE_RELYING);
	for (size_t i = 0; i < ITEMS; i++)
		assert_ptr_equal(hsm_lanes_take(&lanes), &items[i]);
	assert_null(hsm_lanes_take(&lanes));
	assert_int_equal(lanes.depth, 0);
	free(items);
}

/* Both always have something: each gets what its weight says, to an item. */
static void two_full_lanes_share_by_weight(void **state)
{
	static const struct {
		uint32_t ca, relying;
		size_t of_ca; /* of 1200 */
	} cases[] = { { 0, 0, 600 }, { 1, 1, 600 },  { 1, 2, 400 },
		      { 1, 3, 300 }, { 5, 1, 1000 }, { 1, 99, 12 } };
	struct hsm_item *items = calloc(2 * ITEMS, sizeof(*items));

	(void)state;
	for (size_t i = 0; i < CH_COUNT(cases); i++) {
		struct hsm_lanes lanes = { 0 };
		size_t of_ca;

		lanes.lane[HSM_LANE_CA].weight = cases[i].ca;
		lanes.lane[HSM_LANE_RELYING].weight = cases[i].relying;
		put(&lanes, items, ITEMS, HSM_LANE_RELYING);
		put(&lanes, items + ITEMS, ITEMS, HSM_LANE_CA);
		of_ca = take(&lanes, 1200);
		assert_in_range(of_ca, cases[i].of_ca - 1, cases[i].of_ca + 1);
	}
	free(items);
}

/* The CA's one certificate behind thousands of OCSP answers: it is the next but one, however long they have
 * had the HSM for themselves, and however many came while it was away. */
static void a_flood_delays_the_other_lane_by_one_item(void **state)
{
	struct hsm_item *flood = calloc(ITEMS, sizeof(*flood)), ca[20] = { 0 };
	struct hsm_lanes lanes = { 0 };
	size_t left = ITEMS;

	(void)state;
	put(&lanes, flood, ITEMS, HSM_LANE_RELYING);
	for (size_t i = 0; i < CH_COUNT(ca); i++) {
		size_t before = 0;

		assert_int_equal(take(&lanes, 100), 0);
		put(&lanes, &ca[i], 1, HSM_LANE_CA);
		while (hsm_lanes_take(&lanes) != &ca[i])
			before++;
		assert_true(before <= 1);
		left -= 100 + before;
	}
	assert_int_equal(lanes.lane[HSM_LANE_RELYING].depth, left);
	free(flood);
}

/* A lane that was idle has saved up nothing: it does not shut the other out when it comes back. */
static void an_idle_lane_saves_nothing_up(void **state)
{
	struct hsm_item *items = calloc(2 * ITEMS, sizeof(*items));
	struct hsm_lanes lanes = { 0 };
	size_t of_ca;

	(void)state;
	put(&lanes, items, ITEMS, HSM_LANE_RELYING);
	assert_int_equal(take(&lanes, 2000), 0);
	put(&lanes, items + ITEMS, ITEMS, HSM_LANE_CA);
	of_ca = take(&lanes, 200);
	assert_in_range(of_ca, 99, 101);
	free(items);
}

static void what_waits_no_more_leaves_its_lane(void **state)
{
	struct hsm_item items[3] = { 0 };
	struct hsm_lanes lanes = { 0 };

	(void)state;
	put(&lanes, items, 3, HSM_LANE_CA);
	hsm_lanes_remove(&lanes, &items[1]);
	assert_int_equal(lanes.depth, 2);
	assert_ptr_equal(hsm_lanes_take(&lanes), &items[0]);
	assert_ptr_equal(hsm_lanes_take(&lanes), &items[2]);
	assert_null(hsm_lanes_take(&lanes));
}

static void lanes_have_names(void **state)
{
	(void)state;
	assert_string_equal(hsm_lane_name(HSM_LANE_CA), "ca");
	assert_string_equal(hsm_lane_name(HSM_LANE_RELYING), "relying-parties");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_lane_is_first_come_first_served),
		cmocka_unit_test(two_full_lanes_share_by_weight),
		cmocka_unit_test(a_flood_delays_the_other_lane_by_one_item),
		cmocka_unit_test(an_idle_lane_saves_nothing_up),
		cmocka_unit_test(what_waits_no_more_leaves_its_lane),
		cmocka_unit_test(lanes_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
