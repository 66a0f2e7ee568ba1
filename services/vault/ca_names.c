/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ca_names.c: the names of a tenant's CA keys, as relying parties compare names, so that no end entity gets
 * one. Read again when they are older than VAULT_KEY_AGE_US: a CA key that another vault made just now is
 * known within that time. Rows are read with their seals: one that was edited frees no name. sign_allow.c is
 * the caller.
 */
#include "policy.h"
#include "vault.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct tenant {
	char name[64];
	X509_NAME **names;
	size_t count;
	int64_t read_us;
	UT_hash_handle hh;
};

struct vault_ca_names {
	struct vault *vault;
	pthread_mutex_t lock;
	struct tenant *tenants; /* guarded by lock; X509_NAME_cmp only reads names that were decoded whole */
};

struct vault_ca_names *vault_ca_names_new(struct vault *vault)
{
	struct vault_ca_names *names = ch_alloc(sizeof(*names));

	names->vault = vault;
	pthread_mutex_init(&names->lock, NULL);
	return names;
}

static void empty(struct tenant *tenant)
{
	for (size_t i = 0; i < tenant->count; i++)
		X509_NAME_free(tenant->names[i]);
	free(tenant->names);
	tenant->names = NULL;
	tenant->count = 0;
}

void vault_ca_names_free(struct vault_ca_names *names)
{
	struct tenant *tenant = NULL, *next = NULL;

	if (!names)
		return;
	HASH_ITER(hh, names->tenants, tenant, next)
	{
		HASH_DEL(names->tenants, tenant);
		empty(tenant);
		free(tenant);
	}
	pthread_mutex_destroy(&names->lock);
	free(names);
}

struct reading {
	struct vault *vault;
	struct tenant *tenant;
	bool failed;
	struct ch_error why; /* of the first that could not be read */
};

/* A row that somebody else edited may hold any name, or none: what it was is not known, so nothing is. */
static void add(void *context, const struct vault_key *key)
{
	struct reading *reading = context;
	struct tenant *tenant = reading->tenant;
	X509_NAME *name;

	if (reading->failed)
		return;
	reading->failed = !vault_key_check_seal(reading->vault, key, &reading->why);
	if (reading->failed || !key->subject_der.size)
		return;
	reading->failed = !ch_name_read(ch_view_of(&key->subject_der), &name, &reading->why);
	if (reading->failed)
		return;
	tenant->names = ch_realloc(tenant->names, (tenant->count + 1) * sizeof(X509_NAME *));
	tenant->names[tenant->count++] = name;
}

/* With the lock held. */
static struct tenant *find(struct vault_ca_names *names, const char *name)
{
	struct tenant *tenant;

	HASH_FIND_STR(names->tenants, name, tenant);
	if (tenant)
		return tenant;
	tenant = ch_alloc(sizeof(*tenant));
	memcpy(tenant->name, name, strnlen(name, sizeof(tenant->name) - 1));
	tenant->read_us = INT64_MIN / 2;
	HASH_ADD_STR(names->tenants, name, tenant);
	return tenant;
}

/* With the lock held: others that ask for it meanwhile would read the same. */
static bool refresh(struct vault_ca_names *names, struct tenant *tenant, struct ch_error *err)
{
	struct reading reading = { .vault = names->vault, .tenant = tenant };
	int64_t now_us = ch_monotonic_us();

	if (now_us - tenant->read_us <= VAULT_KEY_AGE_US)
		return true;
	empty(tenant);
	tenant->read_us = INT64_MIN / 2;
	if (!store_list_keys(names->vault->db, tenant->name, add, &reading, err))
		return false;
	if (reading.failed) {
		empty(tenant);
		*err = reading.why;
		err->code = CH_UNAVAILABLE;
		err->retryable = true;
		return ch_fail_in(err, "the names of tenant '%s''s CAs", tenant->name);
	}
	tenant->read_us = now_us;
	return true;
}

bool vault_ca_names_has(struct vault_ca_names *names, const char *tenant_name, struct ch_view subject,
			bool *has, struct ch_error *err)
{
	CH_AUTO(X509_NAME) name = NULL;
	struct tenant *tenant;
	bool known;

	*has = false;
	if (!ch_name_read(subject, &name, err))
		return false;
	pthread_mutex_lock(&names->lock);
	tenant = find(names, tenant_name);
	known = refresh(names, tenant, err);
	for (size_t i = 0; known && i < tenant->count && !*has; i++)
		*has = X509_NAME_cmp(tenant->names[i], name) == 0;
	pthread_mutex_unlock(&names->lock);
	return known;
}
