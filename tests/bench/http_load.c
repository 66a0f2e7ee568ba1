/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_load.c: bounded HTTP(S) POST load with client certificates, which wrk has not. Run by tests/bench/run:
 *   http_load URL BODY_FILE CONTENT_TYPE CONCURRENCY COUNT [CA CERT KEY]
 * Each request carries its own Idempotency-Key. Prints one JSON object with latencies in microseconds.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BODY_CAP        (1 << 20)
#define MAX_CONCURRENCY 256

struct slot {
	CURL *easy;
	struct curl_slist *headers;
	double started;
};

struct load {
	const char *url;
	const char *content_type;
	char body[BODY_CAP];
	size_t body_size;
	char **tls; /* CA, certificate, key; NULL: plain */
	long count;
	long started;
	long done;
	long failed;
	double *latencies;
};

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static size_t discard(char *data, size_t size, size_t count, void *context)
{
	(void)data;
	(void)context;
	return size * count;
}

static void begin_request(struct load *load, CURLM *multi, struct slot *slot)
{
	char key[96];
	char type[128];

	snprintf(key, sizeof(key), "Idempotency-Key: load-%ld-%ld-%ld", (long)getpid(), (long)time(NULL),
		 load->started++);
	snprintf(type, sizeof(type), "Content-Type: %s", load->content_type);
	curl_slist_free_all(slot->headers);
	slot->headers = curl_slist_append(NULL, key);
	slot->headers = curl_slist_append(slot->headers, type);
	slot->headers = curl_slist_append(slot->headers, "Expect:");
	curl_easy_setopt(slot->easy, CURLOPT_HTTPHEADER, slot->headers);
	slot->started = now();
	curl_multi_add_handle(multi, slot->easy);
}

static void open_slot(struct load *load, struct slot *slot)
{
	slot->easy = curl_easy_init();
	curl_easy_setopt(slot->easy, CURLOPT_URL, load->url);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, load->body);
	curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE, (long)load->body_size);
	curl_easy_setopt(slot->easy, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(slot->easy, CURLOPT_PRIVATE, slot);
	curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT, 30L);
	if (load->tls) {
		curl_easy_setopt(slot->easy, CURLOPT_CAINFO, load->tls[0]);
		curl_easy_setopt(slot->easy, CURLOPT_SSLCERT, load->tls[1]);
		curl_easy_setopt(slot->easy, CURLOPT_SSLKEY, load->tls[2]);
	}
}

static void take_finished(struct load *load, CURLM *multi)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left))) {
		struct slot *slot;
		long status = 0;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&slot);
		curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
		load->latencies[load->done++] = (now() - slot->started) * 1e6;
		if (message->data.result != CURLE_OK || status < 200 || status > 299)
			load->failed++;
		curl_multi_remove_handle(multi, slot->easy);
		if (load->started < load->count)
			begin_request(load, multi, slot);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static int read_body(struct load *load, const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file)
		return -1;
	load->body_size = fread(load->body, 1, BODY_CAP, file);
	fclose(file);
	return 0;
}

int main(int argc, char **argv)
{
	static struct load only_load; /* large, and as long-lived as the program */
	struct load *load = &only_load;
	struct slot slots[MAX_CONCURRENCY] = { 0 };
	int concurrency;
	int running = 0;
	double start;
	double seconds;
	CURLM *multi;

	if (argc != 6 && argc != 9) {
		fprintf(stderr,
			"usage: http_load URL BODY_FILE CONTENT_TYPE CONCURRENCY COUNT [CA CERT KEY]\n");
		return 2;
	}
	load->url = argv[1];
	load->content_type = argv[3];
	concurrency = (int)strtol(argv[4], NULL, 10);
	load->count = strtol(argv[5], NULL, 10);
	load->tls = argc == 9 ? &argv[6] : NULL;
	if (concurrency < 1 || concurrency > MAX_CONCURRENCY || load->count < 1 || load->count > 10000000 ||
	    read_body(load, argv[2]) != 0) {
		fprintf(stderr, "http_load: bad argument or unreadable '%s'\n", argv[2]);
		return 2;
	}
	load->latencies = calloc((size_t)load->count, sizeof(double));
	if (!load->latencies)
		return 1;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	start = now();
	for (int i = 0; i < concurrency && load->started < load->count; i++) {
		open_slot(load, &slots[i]);
		begin_request(load, multi, &slots[i]);
	}
	while (load->done < load->count) {
		curl_multi_perform(multi, &running);
		take_finished(load, multi);
		if (load->done < load->count)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	seconds = now() - start;
	qsort(load->latencies, (size_t)load->done, sizeof(double), by_value);
	printf("{\"requests\":%ld,\"failed\":%ld,\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%.0f,\"p99_"
	       "us\":%.0f}\n",
	       load->done, load->failed, seconds, (double)load->done / seconds,
	       load->latencies[load->done / 2], load->latencies[load->done * 99 / 100]);
	return load->failed ? 1 : 0;
}
