/* SPDX-License-Identifier: Apache-2.0 */
/* init_options.c: reads the command lines of setting up. init_hsms.c calls it. */
#include "init_options.h"

#include "err/err.h"

#include <stdlib.h>
#include <string.h>

#define SHARES_DEFAULT    3
#define THRESHOLD_DEFAULT 2

static bool take_number(const char *option, const char *text, uint8_t *number, struct ch_error *err)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || end == text || value < 1 || value > SHARES_MAX)
		return ch_fail(err, CH_INVALID, "%s '%s': 1 to %d is possible", option, text, SHARES_MAX);
	*number = (uint8_t)value;
	return true;
}

static bool take_one_more(const char *option, const char *text, const char **list, size_t *count,
			  struct ch_error *err)
{
	if (*count == SHARES_MAX)
		return ch_fail(err, CH_INVALID, "%s is given more than %d times", option, SHARES_MAX);
	list[(*count)++] = text;
	return true;
}

static bool take(const char *option, const char *value, struct init_options *options, struct ch_error *err)
{
	if (strcmp(option, "--threshold") == 0)
		return take_number(option, value, &options->threshold, err);
	if (strcmp(option, "--shares") == 0)
		return take_number(option, value, &options->count, err);
	if (strcmp(option, "--custodian") == 0)
		return take_one_more(option, value, options->custodians, &options->custodian_count, err);
	if (strcmp(option, "--share") == 0)
		return take_one_more(option, value, options->shares, &options->share_count, err);
	if (strcmp(option, "--config") == 0)
		options->config = value;
	else if (strcmp(option, "--init-hsm") == 0)
		options->hsm = value;
	else if (strcmp(option, "--share-directory") == 0)
		options->share_directory = value;
	else
		return ch_fail(err, CH_INVALID, "option '%.40s' is not known", option);
	return true;
}

static bool check(struct init_options *options, struct ch_error *err)
{
	if (!options->config)
		return ch_fail(err, CH_INVALID, "--config is missing");
	if (options->hsm)
		return options->share_count ||
		       ch_fail(err, CH_INVALID, "--init-hsm needs custodians' shares: --share");
	if (options->share_count)
		return ch_fail(err, CH_INVALID, "--share belongs to --init-hsm");
	if (options->custodian_count && options->count && options->count != options->custodian_count)
		return ch_fail(err, CH_INVALID, "%zu custodians for %u shares", options->custodian_count,
			       options->count);
	if (options->custodian_count)
		options->count = (uint8_t)options->custodian_count;
	if (!options->count)
		options->count = SHARES_DEFAULT;
	if (!options->threshold)
		options->threshold = options->count < THRESHOLD_DEFAULT ? options->count : THRESHOLD_DEFAULT;
	return options->threshold <= options->count ||
	       ch_fail(err, CH_INVALID, "--threshold %u of %u shares", options->threshold, options->count);
}

bool init_options_read(int argc, char **argv, struct init_options *options, struct ch_error *err)
{
	*options = (struct init_options){ 0 };
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--init-hsms") == 0)
			continue;
		if (i + 1 == argc)
			return ch_fail(err, CH_INVALID, "what is %s?", argv[i]);
		if (!take(argv[i], argv[i + 1], options, err))
			return false;
		i++;
	}
	return check(options, err);
}
