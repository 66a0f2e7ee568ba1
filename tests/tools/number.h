/* SPDX-License-Identifier: Apache-2.0 */
/* number.h: numbers on the command lines of the programs here. What is none ends the program with code 2. */
#ifndef TESTS_TOOLS_NUMBER_H
#define TESTS_TOOLS_NUMBER_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static inline int64_t number_of(const char *text, int64_t lowest, int64_t highest)
{
	char *end;
	long long number;

	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno || end == text || *end || number < lowest || number > highest) {
		fprintf(stderr, "'%s' is not a number from %lld to %lld\n", text, (long long)lowest,
			(long long)highest);
		exit(2);
	}
	return number;
}

#endif
