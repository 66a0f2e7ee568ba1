/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.c: signed answers by CertID, bounded in octets, the least recently used going first. Event threads
 * look up, workers keep, the follower drops. Split into shards by serial, each with its own lock, held for a
 * few instructions.
 */
#include "ocsp.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#define SHARDS 16
/* What an entry takes besides its answer's octets, roughly. */
#define ENTRY_OVERHEAD (sizeof(struct entry) + sizeof(struct ocsp_answer) + 64)

struct certificate_key {
	int64_t ca_id;
	uint8_t serial[OCSP_SERIAL_MAX + 4];
};

struct entry {
	uint8_t cert_id[OCSP_CERT_ID_MAX];
	size_t cert_id_size;
	struct certificate_key certificate;
	struct ocsp_answer *answer;
	struct ocsp_answer *coming;              /* not to be given out yet; NULL: there is none */
	UT_hash_handle hh;                       /* by cert_id */
	struct entry *previous, *next;           /* of the shard, most recently used first */
	struct entry *same_previous, *same_next; /* of the same certificate: CertIDs with other hashes */
};

/* All entries of one certificate. */
struct certificate {
	struct certificate_key key;
	struct entry *entries;
	UT_hash_handle hh;
};

struct shard {
	pthread_mutex_t lock; /* guards all of the shard */
	struct entry *by_cert_id;
	struct entry *recent;
	struct certificate *certificates;
	int64_t octets;
	int64_t last_drop;       /* sequence of the newest log entry that concerned this shard */
	int64_t signers_version; /* what other signers signed was dropped up to here */
};

struct ocsp_cache {
	struct shard shards[SHARDS];
	int64_t shard_octets;
	struct ch_metric *entries;
	struct ch_metric *octets;
	struct ch_metric *dropped;
	struct ch_metric *evicted;
};

struct ocsp_answer *ocsp_answer_new(struct ch_bytes response, const struct ocsp_single_response *single)
{
	struct ocsp_answer *answer = ch_alloc(sizeof(*answer));
	CH_AUTO(ch_bytes) said = ocsp_single_response_der(single);
	struct ch_error err = CH_NONE;
	uint8_t hash[64] = { 0 };
	size_t size = 0;

	answer->response = response;
	answer->status = single->status.status;
	answer->window = single->window;
	atomic_init(&answer->renew_at_us, single->window.renew_at_us);
	atomic_init(&answer->renewal_failed, false);
	atomic_init(&answer->users, 1);
	/* Of what it says, not of its octets, so that every responder gives the same. The first half of the
	 * digest tells versions apart as well as the whole. */
	if (ch_digest("sha256", ch_view_of(&said), hash, &size, &err)) {
		CH_AUTO(ch_string) hex = ch_hex(ch_view(hash, 16));
		snprintf(answer->etag, sizeof(answer->etag), "W/\"%s\"", hex);
	}
	ch_http_date(single->window.this_update_us, answer->last_modified);
	ch_http_date(single->window.next_update_us, answer->expires);
	return answer;
}

void ocsp_answer_release(struct ocsp_answer *answer)
{
	if (!answer || atomic_fetch_sub(&answer->users, 1) != 1)
		return;
	ch_bytes_free(&answer->response);
	free(answer);
}

struct ocsp_cache *ocsp_cache_new(int64_t octets, struct ch_metrics *metrics)
{
	struct ocsp_cache *cache = ch_alloc(sizeof(*cache));

	for (size_t i = 0; i < SHARDS; i++)
		pthread_mutex_init(&cache->shards[i].lock, NULL);
	cache->shard_octets = octets / SHARDS;
	cache->entries = ch_metrics_gauge(metrics, "chancery_ocsp_cache_entries", "Answers kept.", "");
	cache->octets =
		ch_metrics_gauge(metrics, "chancery_ocsp_cache_bytes", "Octets of the answers kept.", "");
	cache->dropped = ch_metrics_counter(
		metrics, "chancery_ocsp_cache_dropped_total",
		"Answers dropped because their certificate's status changed, or who signed "
		"them is not to be believed any more.",
		"");
	cache->evicted = ch_metrics_counter(metrics, "chancery_ocsp_cache_evicted_total",
					    "Answers that made room for others.", "");
	return cache;
}

static int64_t weight(const struct entry *entry)
{
	size_t coming = entry->coming ? entry->coming->response.size + sizeof(*entry->coming) : 0;

	return (int64_t)(entry->answer->response.size + ENTRY_OVERHEAD + coming);
}

/* Puts `answer` (taken) and `coming` (taken) in place of what the entry has. */
static void set_answers(struct ocsp_cache *cache, struct shard *shard, struct entry *entry,
			struct ocsp_answer *answer, struct ocsp_answer *coming)
{
	int64_t before = weight(entry);

	entry->answer = answer;
	entry->coming = coming;
	shard->octets += weight(entry) - before;
	ch_metric_change(cache->octets, weight(entry) - before);
}

static void remove_entry(struct ocsp_cache *cache, struct shard *shard, struct entry *entry)
{
	struct certificate *certificate = NULL;

	HASH_FIND(hh, shard->certificates, &entry->certificate, sizeof(entry->certificate), certificate);
	if (certificate) {
		DL_DELETE2(certificate->entries, entry, same_previous, same_next);
		if (!certificate->entries) {
			HASH_DEL(shard->certificates, certificate);
			free(certificate);
		}
	}
	HASH_DEL(shard->by_cert_id, entry);
	DL_DELETE2(shard->recent, entry, previous, next);
	shard->octets -= weight(entry);
	ch_metric_change(cache->entries, -1);
	ch_metric_change(cache->octets, -weight(entry));
	ocsp_answer_release(entry->answer);
	ocsp_answer_release(entry->coming);
	free(entry);
}

static void empty_shard(struct ocsp_cache *cache, struct shard *shard)
{
	while (shard->recent)
		remove_entry(cache, shard, shard->recent);
}

void ocsp_cache_free(struct ocsp_cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < SHARDS; i++) {
		empty_shard(cache, &cache->shards[i]);
		pthread_mutex_destroy(&cache->shards[i].lock);
	}
	free(cache);
}

/* The last octets of our serials are a keyed tag: as good as random. */
static struct shard *shard_of(struct ocsp_cache *cache, struct ch_view serial)
{
	return &cache->shards[serial.size ? serial.data[serial.size - 1] % SHARDS : 0];
}

static bool is_cacheable(const struct ch_cert_id *cert_id)
{
	return cert_id->whole.size <= OCSP_CERT_ID_MAX && cert_id->serial.size <= OCSP_SERIAL_MAX;
}

static struct certificate_key certificate_key(int64_t ca_id, struct ch_view serial)
{
	struct certificate_key key;

	memset(&key, 0, sizeof(key));
	key.ca_id = ca_id;
	key.serial[0] = (uint8_t)serial.size;
	memcpy(key.serial + 1, serial.data, serial.size);
	return key;
}

struct ocsp_answer *ocsp_cache_find(struct ocsp_cache *cache, const struct ch_cert_id *cert_id,
				    int64_t now_us)
{
	struct shard *shard = shard_of(cache, cert_id->serial);
	struct ocsp_answer *answer = NULL;
	struct entry *entry = NULL;

	if (!is_cacheable(cert_id))
		return NULL;
	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->by_cert_id, cert_id->whole.data, cert_id->whole.size, entry);
	if (entry && entry->coming && entry->coming->window.from_us <= now_us) {
		answer = entry->answer;
		set_answers(cache, shard, entry, entry->coming, NULL);
		ocsp_answer_release(answer);
		answer = NULL;
	}
	if (entry && entry->answer->window.next_update_us <= now_us) {
		remove_entry(cache, shard, entry);
	} else if (entry) {
		DL_DELETE2(shard->recent, entry, previous, next);
		DL_PREPEND2(shard->recent, entry, previous, next);
		answer = entry->answer;
		atomic_fetch_add(&answer->users, 1);
	}
	pthread_mutex_unlock(&shard->lock);
	return answer;
}

static void add_entry(struct ocsp_cache *cache, struct shard *shard, int64_t ca_id,
		      const struct ch_cert_id *cert_id, struct ocsp_answer *answer)
{
	struct entry *entry = ch_alloc(sizeof(*entry));
	struct certificate *certificate = NULL;

	memcpy(entry->cert_id, cert_id->whole.data, cert_id->whole.size);
	entry->cert_id_size = cert_id->whole.size;
	entry->certificate = certificate_key(ca_id, cert_id->serial);
	entry->answer = answer;
	atomic_fetch_add(&answer->users, 1);
	HASH_ADD_KEYPTR(hh, shard->by_cert_id, entry->cert_id, entry->cert_id_size, entry);
	DL_PREPEND2(shard->recent, entry, previous, next);
	HASH_FIND(hh, shard->certificates, &entry->certificate, sizeof(entry->certificate), certificate);
	if (!certificate) {
		certificate = ch_alloc(sizeof(*certificate));
		certificate->key = entry->certificate;
		HASH_ADD(hh, shard->certificates, key, sizeof(certificate->key), certificate);
	}
	DL_APPEND2(certificate->entries, entry, same_previous, same_next);
	shard->octets += weight(entry);
	ch_metric_change(cache->entries, 1);
	ch_metric_change(cache->octets, weight(entry));
}

static void keep_ahead(struct ocsp_cache *cache, struct shard *shard, struct entry *entry,
		       struct ocsp_answer *answer)
{
	struct ocsp_answer *before;

	/* Another status: the follower is about to drop what is there, and this with it. */
	if (!entry || entry->answer->status != answer->status)
		return;
	before = entry->coming;
	atomic_fetch_add(&answer->users, 1);
	set_answers(cache, shard, entry, entry->answer, answer);
	ocsp_answer_release(before);
}

void ocsp_cache_keep(struct ocsp_cache *cache, int64_t ca_id, const struct ch_cert_id *cert_id,
		     struct ocsp_answer *answer, int64_t log_sequence, int64_t now_us)
{
	struct shard *shard = shard_of(cache, cert_id->serial);
	struct entry *old = NULL;

	if (!is_cacheable(cert_id))
		return;
	pthread_mutex_lock(&shard->lock);
	if (log_sequence >= shard->last_drop && answer->signers_version >= shard->signers_version) {
		HASH_FIND(hh, shard->by_cert_id, cert_id->whole.data, cert_id->whole.size, old);
		if (answer->window.from_us > now_us) {
			keep_ahead(cache, shard, old, answer);
		} else {
			if (old)
				remove_entry(cache, shard, old);
			add_entry(cache, shard, ca_id, cert_id, answer);
		}
		while (shard->octets > cache->shard_octets && shard->recent) {
			remove_entry(cache, shard,
				     shard->recent->previous); /* utlist: the head's previous is the tail */
			ch_metric_add(cache->evicted, 1);
		}
	}
	pthread_mutex_unlock(&shard->lock);
}

void ocsp_cache_drop(struct ocsp_cache *cache, int64_t sequence, int64_t ca_id, struct ch_view serial)
{
	struct shard *shard = shard_of(cache, serial);
	struct certificate_key key;
	struct certificate *certificate = NULL;

	if (serial.size > OCSP_SERIAL_MAX)
		return;
	key = certificate_key(ca_id, serial);
	pthread_mutex_lock(&shard->lock);
	shard->last_drop = sequence;
	HASH_FIND(hh, shard->certificates, &key, sizeof(key), certificate);
	if (certificate) {
		struct entry *entry = certificate->entries;

		while (entry) { /* the certificate is freed with its last entry */
			struct entry *next = entry->same_next;

			remove_entry(cache, shard, entry);
			ch_metric_add(cache->dropped, 1);
			entry = next;
		}
	}
	pthread_mutex_unlock(&shard->lock);
}

void ocsp_cache_drop_all(struct ocsp_cache *cache, int64_t sequence)
{
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &cache->shards[i];

		pthread_mutex_lock(&shard->lock);
		shard->last_drop = sequence;
		empty_shard(cache, shard);
		pthread_mutex_unlock(&shard->lock);
	}
}

static bool is_signed_by(const struct ocsp_answer *answer, const uint8_t *signer)
{
	return answer && memcmp(answer->signer, signer, sizeof(answer->signer)) == 0;
}

void ocsp_cache_drop_signed(struct ocsp_cache *cache, int64_t version, int64_t ca_id, const uint8_t *signer)
{
	for (size_t i = 0; i < SHARDS; i++) {
		struct shard *shard = &cache->shards[i];
		struct entry *entry, *next;

		pthread_mutex_lock(&shard->lock);
		shard->signers_version = version;
		for (entry = shard->recent; entry; entry = next) {
			next = entry->next;
			if (entry->certificate.ca_id != ca_id ||
			    (signer && !is_signed_by(entry->answer, signer) &&
			     !is_signed_by(entry->coming, signer)))
				continue;
			remove_entry(cache, shard, entry);
			ch_metric_add(cache->dropped, 1);
		}
		pthread_mutex_unlock(&shard->lock);
	}
}
