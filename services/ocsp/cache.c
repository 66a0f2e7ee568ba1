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
#include <time.h>
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
	int64_t last_drop; /* sequence of the newest log entry that concerned this shard */
};

struct ocsp_cache {
	struct shard shards[SHARDS];
	int64_t shard_octets;
	struct ch_metric *entries;
	struct ch_metric *octets;
	struct ch_metric *dropped;
	struct ch_metric *evicted;
};

static void http_date(int64_t time_us, char text[OCSP_HTTP_DATE_SIZE])
{
	time_t seconds = (time_t)(time_us / CH_SECOND);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	strftime(text, OCSP_HTTP_DATE_SIZE, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

struct ocsp_answer *ocsp_answer_new(struct ch_bytes response, enum ocsp_status status, int64_t this_update_us,
				    int64_t next_update_us)
{
	struct ocsp_answer *answer = ch_alloc(sizeof(*answer));
	struct ch_error err = CH_NONE;
	uint8_t hash[64] = { 0 };
	size_t size = 0;

	answer->response = response;
	answer->status = status;
	answer->this_update_us = this_update_us;
	answer->next_update_us = next_update_us;
	atomic_init(&answer->renew_at_us, this_update_us + (next_update_us - this_update_us) / 2);
	atomic_init(&answer->users, 1);
	/* The first half of the digest tells versions apart as well as the whole. */
	if (ch_digest("sha256", ch_view_of(&response), hash, &size, &err)) {
		answer->etag[0] = '"';
		for (size_t i = 0; i < 16; i++)
			snprintf(answer->etag + 1 + 2 * i, 3, "%02x", hash[i]);
		memcpy(answer->etag + 33, "\"", 2);
	}
	http_date(this_update_us, answer->last_modified);
	http_date(next_update_us, answer->expires);
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
	cache->dropped =
		ch_metrics_counter(metrics, "chancery_ocsp_cache_dropped_total",
				   "Answers dropped because their certificate's status changed.", "");
	cache->evicted = ch_metrics_counter(metrics, "chancery_ocsp_cache_evicted_total",
					    "Answers that made room for others.", "");
	return cache;
}

static int64_t weight(const struct entry *entry)
{
	return (int64_t)(entry->answer->response.size + ENTRY_OVERHEAD);
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

static bool is_cacheable(const struct ocsp_cert_id *cert_id)
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

struct ocsp_answer *ocsp_cache_find(struct ocsp_cache *cache, const struct ocsp_cert_id *cert_id,
				    int64_t now_us)
{
	struct shard *shard = shard_of(cache, cert_id->serial);
	struct ocsp_answer *answer = NULL;
	struct entry *entry = NULL;

	if (!is_cacheable(cert_id))
		return NULL;
	pthread_mutex_lock(&shard->lock);
	HASH_FIND(hh, shard->by_cert_id, cert_id->whole.data, cert_id->whole.size, entry);
	if (entry && entry->answer->next_update_us <= now_us) {
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
		      const struct ocsp_cert_id *cert_id, struct ocsp_answer *answer)
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

void ocsp_cache_keep(struct ocsp_cache *cache, int64_t ca_id, const struct ocsp_cert_id *cert_id,
		     struct ocsp_answer *answer, int64_t log_sequence)
{
	struct shard *shard = shard_of(cache, cert_id->serial);
	struct entry *old = NULL;

	if (!is_cacheable(cert_id))
		return;
	pthread_mutex_lock(&shard->lock);
	if (log_sequence >= shard->last_drop) {
		HASH_FIND(hh, shard->by_cert_id, cert_id->whole.data, cert_id->whole.size, old);
		if (old)
			remove_entry(cache, shard, old);
		add_entry(cache, shard, ca_id, cert_id, answer);
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
