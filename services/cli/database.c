/* SPDX-License-Identifier: Apache-2.0 */
/* database.c: `chancery db migrate`: brings the schema up to date as the database's owner. */
#include "cli.h"

#include "db/db.h"

#include <stdio.h>

struct told {
	size_t count;
};

static void tell(void *context, const char *file)
{
	struct told *told = context;

	told->count++;
	printf("applied %s\n", file);
}

bool cli_db_migrate(struct cli *cli, struct ch_error *err)
{
	struct told told = CH_NONE;
	const char *url, *directory;

	if (!cli_require(cli, "database", &url, err) || !cli_require(cli, "schema", &directory, err) ||
	    !ch_db_migrate(url, directory, tell, &told, err))
		return false;
	if (told.count == 0)
		puts("the schema is up to date");
	return true;
}
