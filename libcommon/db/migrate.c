/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate.c: applies numbered SQL files once, in order, each in its own transaction, which locks the table of
 * those that were applied, so that two who start at once do not meet. Not an advisory lock: any role may hold
 * one, and would keep the schema as it is. `chancery db migrate` calls it. Blocking libpq: no daemon waits
 * on this.
 */
#include "db/db_internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIGRATION_CAP (4 * 1024 * 1024)

struct migration {
	int version;
	char *file; /* "0001_initial.sql" */
};
struct migrations {
	struct migration *items;
	size_t count;
};

static void migrations_free(struct migrations *migrations)
{
	for (size_t i = 0; i < migrations->count; i++)
		free(migrations->items[i].file);
	free(migrations->items);
}
CH_DEFINE_AUTO_VALUE(migrations, struct migrations, migrations_free)

static void close_directory(DIR *directory)
{
	closedir(directory);
}
CH_DEFINE_AUTO_POINTER(DIR, DIR, close_directory)

/* "0001_initial.sql" -> 1; -1 for a file that is no migration. */
static int version_of(const char *file)
{
	size_t size = strlen(file);
	int version = 0;

	if (size < 10 || strcmp(file + size - 4, ".sql") != 0 || file[4] != '_')
		return -1;
	for (int i = 0; i < 4; i++) {
		if (!isdigit((unsigned char)file[i]))
			return -1;
		version = version * 10 + file[i] - '0';
	}
	return version;
}

static int by_version(const void *a, const void *b)
{
	const struct migration *one = a, *other = b;

	return one->version - other->version;
}

static bool find_files(const char *path, struct migrations *found, struct ch_error *err)
{
	CH_AUTO(DIR) directory = opendir(path);
	const struct dirent *entry;

	if (!directory)
		return ch_fail_errno(err, CH_NOT_FOUND, errno, "migrations directory '%s'", path);
	while ((entry = readdir(directory))) {
		int version = version_of(entry->d_name);

		if (version < 0)
			continue;
		found->items = ch_realloc(found->items, (found->count + 1) * sizeof(found->items[0]));
		found->items[found->count++] = (struct migration){ version, ch_strdup(entry->d_name) };
	}
	if (!found->count)
		return ch_fail(err, CH_NOT_FOUND, "no NNNN_*.sql in '%s'", path);
	qsort(found->items, found->count, sizeof(found->items[0]), by_version);
	for (size_t i = 1; i < found->count; i++)
		if (found->items[i].version == found->items[i - 1].version)
			return ch_fail(err, CH_INVALID, "two migrations with one number: %s and %s",
				       found->items[i - 1].file, found->items[i].file);
	return true;
}

/* Line of the server's error position (in characters, from 1) in the text. */
static int line_of(const char *text, const char *position)
{
	int line = 1;

	for (long left = position ? strtol(position, NULL, 10) - 1 : 0; left > 0 && *text; text++) {
		left -= ((unsigned char)*text & 0xc0) != 0x80; /* count characters, not octets */
		line += *text == '\n';
	}
	return line;
}

static bool execute(PGconn *pg, const char *what, const char *sql, struct ch_error *err)
{
	CH_AUTO(PGresult) result = PQexec(pg, sql);
	ExecStatusType status = PQresultStatus(result);
	const char *position;

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
		return true;
	db_fail_result(err, what, result);
	position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
	return position ? ch_fail_in(err, "line %d", line_of(sql, position)) : false;
}

/* Is it recorded as applied? CH_CONFLICT where its content was another one then. */
static bool is_applied(PGconn *pg, const struct migration *migration, const char *sha256, bool *applied,
		       struct ch_error *err)
{
	CH_AUTO(ch_string) version = ch_format("%d", migration->version);
	const char *values[] = { version };
	CH_AUTO(PGresult) result = PQexecParams(
		pg, "SELECT file, encode(sha256, 'hex') FROM public.schema_migrations WHERE version = $1", 1,
		NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return db_fail_result(err, "schema_migrations", result);
	*applied = PQntuples(result) == 1;
	if (*applied && strcmp(PQgetvalue(result, 0, 1), sha256) != 0)
		return ch_fail(
			err, CH_CONFLICT,
			"migration %s has changed since it was applied as %s: write a new migration instead",
			migration->file, PQgetvalue(result, 0, 0));
	return true;
}

static bool record(PGconn *pg, const struct migration *migration, const char *sha256, struct ch_error *err)
{
	CH_AUTO(ch_string) version = ch_format("%d", migration->version);
	const char *values[] = { version, migration->file, sha256 };
	CH_AUTO(PGresult) result = PQexecParams(pg,
						"INSERT INTO public.schema_migrations (version, file, "
						"sha256) VALUES ($1, $2, decode($3, 'hex'))",
						3, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return db_fail_result(err, "schema_migrations", result);
	return true;
}

static bool apply(PGconn *pg, const struct migration *migration, const char *sql, const char *sha256,
		  struct ch_error *err)
{
	return (execute(pg, migration->file, sql, err) && record(pg, migration, sha256, err)) ||
	       ch_fail_in(err, "migration %s", migration->file);
}

static bool read_migration(const char *directory, const char *file, char **sql, char **sha256,
			   struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/%s", directory, file);
	CH_AUTO(ch_bytes) content = CH_NONE;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned size;

	if (!ch_read_file(path, MIGRATION_CAP, &content, err))
		return false;
	if (EVP_Digest(content.data, content.size, digest, &size, EVP_sha256(), NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "SHA-256 of %s", path);
	*sql = ch_strndup((const char *)content.data, content.size);
	*sha256 = ch_hex(ch_view(digest, size));
	return true;
}

/* In a transaction of its own. */
static bool apply_once(PGconn *pg, const struct migration *migration, const char *sql, const char *sha256,
		       bool *applied_now, struct ch_error *err)
{
	bool applied = false;

	if (!execute(pg, "lock", "LOCK TABLE public.schema_migrations IN SHARE ROW EXCLUSIVE MODE", err) ||
	    !is_applied(pg, migration, sha256, &applied, err) ||
	    (!applied && !apply(pg, migration, sql, sha256, err)))
		return false;
	*applied_now = !applied;
	return true;
}

static bool migrate_one(PGconn *pg, const char *directory, const struct migration *migration,
			bool *applied_now, struct ch_error *err)
{
	CH_AUTO(ch_string) sql = NULL, sha256 = NULL;

	if (!read_migration(directory, migration->file, &sql, &sha256, err))
		return false;
	if (execute(pg, "begin", "BEGIN", err) && apply_once(pg, migration, sql, sha256, applied_now, err) &&
	    execute(pg, "commit", "COMMIT", err))
		return true;
	PQclear(PQexec(pg, "ROLLBACK"));
	return false;
}

/* Two who make it at the same moment: the second finds it at its second try. */
static bool make_table(PGconn *pg, struct ch_error *err)
{
	static const char table[] =
		"CREATE TABLE IF NOT EXISTS public.schema_migrations (version int PRIMARY "
		"KEY, file text NOT NULL, sha256 bytea NOT NULL, applied_at timestamptz "
		"NOT NULL DEFAULT now())";

	return execute(pg, "schema_migrations", table, NULL) || execute(pg, "schema_migrations", table, err);
}

bool ch_db_migrate(const char *url, const char *directory, void (*told)(void *context, const char *file),
		   void *context, struct ch_error *err)
{
	const char *keys[] = { "connect_timeout", "dbname", "application_name", "client_encoding", NULL };
	const char *values[] = { "10", url, "chancery-migrate", "UTF8", NULL };
	CH_AUTO(migrations) migrations = CH_NONE;
	CH_AUTO(PGconn) pg = NULL;

	if (!find_files(directory, &migrations, err))
		return false;
	pg = PQconnectdbParams(keys, values, 1);
	if (PQstatus(pg) != CONNECTION_OK)
		return ch_fail(err, CH_UNAVAILABLE, "database: %s", PQerrorMessage(pg));
	if (!execute(pg, "settings", "SET client_min_messages = warning", err) || !make_table(pg, err))
		return false;
	for (size_t i = 0; i < migrations.count; i++) {
		bool applied_now = false;

		if (!migrate_one(pg, directory, &migrations.items[i], &applied_now, err))
			return false;
		if (applied_now && told)
			told(context, migrations.items[i].file);
	}
	return true;
}
