/* SPDX-License-Identifier: Apache-2.0 */
/* judge.c: whose clock is wrong. Called by clockwatch.c. */
#include "clockwatch/clockwatch.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

/*
 * The median of all clocks, this one with its own offset of 0 among them: half of them may be wrong in any
 * way, and it is still between two that are right. Of an even number there are two; the one nearer to this
 * clock counts, because two that disagree cannot know which of them is wrong.
 */
int64_t ch_clockwatch_judge(int64_t *offsets, size_t count)
{
	size_t own = 0;
	int64_t low, high, middle;

	qsort(offsets, count, sizeof(*offsets), compare);
	while (own < count && offsets[own] < 0)
		own++; /* where this clock's 0 would stand among them */
#define CLOCK_AT(i) ((i) < own ? offsets[i] : (i) == own ? 0 : offsets[(i)-1])
	low = CLOCK_AT(count / 2);
	high = CLOCK_AT((count + 1) / 2);
#undef CLOCK_AT
	middle = llabs(low) < llabs(high) ? low : high;
	return llabs(middle) > CH_CLOCK_LIMIT ? middle : 0;
}
