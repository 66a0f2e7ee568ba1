/* SPDX-License-Identifier: Apache-2.0 */
/*
 * issuer_world.h: an issuer without its daemon, on a real PostgreSQL (postgres.h), for the unit tests of its
 * files: one active CA whose key the test holds, one profile, an audit client that nobody listens to. Where
 * the vault stands there is a stand-in that signs with the CA's key, or does not do as it should: link with
 * -Wl,--wrap=ch_vault_sign.
 */
#ifndef ISSUER_WORLD_H
#define ISSUER_WORLD_H

#include "issuer_fixture.h"
#include "stopping.h"
#include "system_ca.h"

enum vault_mood {
	VAULT_SIGNS,
	VAULT_SIGNS_OTHER_BYTES,
	VAULT_SIGNS_WITH_ANOTHER_KEY,
	VAULT_REFUSES, /* this item */
	VAULT_IS_AWAY,
};

struct world {
	struct fixture made; /* the CA's key */
	struct system_ca system;
	struct ch_identity_config files;
	struct issuer_config config;
	struct issuer issuer;
	int64_t now_us;
	struct ch_clock clock; /* tells now_us */
	enum vault_mood vault;
	EVP_PKEY *key; /* of who requests */
	struct ch_bytes csr;
};

/* A test's setup and teardown; a database of the program's own is there. Each world has a CA of its own. */
int world_begin(void **state);
int world_end(void **state);
/* The world's CA as the issuer knows it; give the set back with catalog_release. */
const struct ch_ca *world_ca(struct world *world, struct ca_set **set);

/* A pending row, as issue.c reserves it at now_us. */
struct ordered {
	struct world *world;
	struct ca_set *set;
	struct ch_profile profile;
	struct ch_csr csr;
	struct candidate candidate;
	struct pending pending; /* of it, with its lint passed */
};
void world_order(struct world *world, struct ordered *ordered);
void ordered_free(struct ordered *ordered);
CH_DEFINE_AUTO_VALUE(ordered, struct ordered, ordered_free)
/* Its row now. */
void world_row(struct world *world, const struct ordered *ordered, struct certificate_row *row);
void assert_status(struct world *world, const struct ordered *ordered, const char *status);
/* How many certificates had that outcome. */
uint64_t world_count(const struct world *world, const char *outcome);

/* What the bus would hand a handler. */
struct ch_bus_request world_request(const Chancery__Body *body, const ProtobufCMessage *payload);
#define WORLD_TENANT "default"

#endif
