/* SPDX-License-Identifier: Apache-2.0 */
/* output.h: tables for people, JSON for scripts, both from the same JSON values. */
#ifndef CHANCERY_CLI_OUTPUT_H
#define CHANCERY_CLI_OUTPUT_H

#include "cli.h"

#include <cjson/cJSON.h>
#include <stdio.h>

struct cli_column {
	const char *title;
	const char *field; /* of each row's object */
};

/* A line of titles and a line for each row; with --json the array as it is. */
void cli_print_table(const struct cli *cli, const cJSON *rows, const struct cli_column *columns,
		     size_t count);
/* "title  value" lines, leaving out what is absent or empty; with --json the object as it is. */
void cli_print_object(const struct cli *cli, const cJSON *object, const struct cli_column *columns,
		      size_t count);
void cli_print_json(const cJSON *value);
/* A text of many lines from elsewhere (a document, PEM), escaped; NULL prints nothing. */
void cli_print_lines(FILE *out, const char *text);
/* A value for people: texts as they are, lists joined by ", ", {"type","value"} as type:value. The caller
 * frees it. */
char *cli_text(const cJSON *value);

#endif
