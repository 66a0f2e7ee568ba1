/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres.h: a private PostgreSQL with Chancery's schema for one test program
 * (tests/tools/private_postgres.sh). Include after <cmocka.h>; run in tests/unit.
 */
#ifndef TEST_POSTGRES_H
#define TEST_POSTGRES_H

#include "db/db.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define POSTGRES_TOOL   "../tools/private_postgres.sh"
#define POSTGRES_SCHEMA "../../proto/schema"

/* Weak: one for all files of a test program. */
__attribute__((weak)) char postgres_scratch[] = "/tmp/chancery-test-XXXXXX";

__attribute__((format(printf, 1, 2))) static inline void postgres_shell(const char *format, ...)
{
	char command[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static inline void postgres_url(const char *role, char url[512])
{
	snprintf(url, 512, "host=%s/run dbname=chancery user=%s", postgres_scratch, role);
}

/* As the superuser `owner`. */
__attribute__((format(printf, 1, 2))) static inline void postgres_does(const char *format, ...)
{
	char url[512], sql[4096];
	va_list arguments;
	PGresult *result;
	PGconn *pg;

	va_start(arguments, format);
	vsnprintf(sql, sizeof(sql), format, arguments);
	va_end(arguments);
	postgres_url("owner", url);
	pg = PQconnectdb(url);
	result = PQexec(pg, sql);
	if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(pg));
	PQclear(result);
	PQfinish(pg);
}

/* Stops the server when this program ends, however it does: killed at its time limit, it calls no teardown.
 * The watcher reads from a pipe that this program alone writes to, and is a child of nobody, so that who
 * kills the program and its children does not kill it. */
static inline void postgres_watch(void)
{
	static const char watcher[] = "cat; [ ! -d \"$1\" ] || { \"$0\" stop \"$1\"; rm -rf \"$1\"; }";
	int ends[2], null;
	pid_t child = -1;

	if (pipe(ends) != 0 || fcntl(ends[1], F_SETFD, FD_CLOEXEC) != 0 || (child = fork()) < 0)
		fail_msg("no watcher");
	if (child == 0) {
		null = open("/dev/null", O_RDWR);
		if (fork() != 0 || setsid() < 0 || dup2(ends[0], 0) < 0 || dup2(null, 1) < 0 ||
		    dup2(null, 2) < 0)
			_exit(0);
		execl("/bin/sh", "sh", "-c", watcher, POSTGRES_TOOL, postgres_scratch, (char *)NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	close(ends[0]);
}

/* A group's setup. The schema's owner is no superuser, as in a real suite: superusers see through row-level
 * security. */
static inline int postgres_start(void **state)
{
	char url[512];
	struct ch_error err;

	if (!mkdtemp(postgres_scratch))
		return -1;
	postgres_watch();
	postgres_shell("%s start %s >/dev/null", POSTGRES_TOOL, postgres_scratch);
	postgres_does("CREATE ROLE schema_owner LOGIN CREATEROLE");
	postgres_does("ALTER DATABASE chancery OWNER TO schema_owner");
	postgres_url("schema_owner", url);
	if (ch_db_migrate(url, POSTGRES_SCHEMA, NULL, NULL, &err))
		return 0;
	fprintf(stderr, "%s\n", err.message);
	return -1;
}

static inline int postgres_stop(void **state)
{
	postgres_shell("%s stop %s && rm -rf %s", POSTGRES_TOOL, postgres_scratch, postgres_scratch);
	return 0;
}

static inline struct ch_db *postgres_open(const char *role, int64_t pool_size)
{
	char url[512];
	struct ch_database_config config = { url, pool_size };
	struct ch_error err;
	struct ch_db *db = NULL;

	postgres_url(role, url);
	if (!ch_db_open(&config, "test", NULL, &db, &err))
		fail_msg("%s", err.message);
	return db;
}

#endif
