/* SPDX-License-Identifier: Apache-2.0 */
/* client.c: HTTPS requests with libcurl. Called by the nouns that ask the gateway. */
#include "client.h"

#include "clock/clock.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ANSWER_CAP    (64 * 1024 * 1024)
#define RETRY_FOR_US  (8 * CH_SECOND)
#define FIRST_WAIT_MS 100

CH_DEFINE_AUTO_POINTER(CURL, CURL, curl_easy_cleanup)
typedef struct curl_slist cli_headers;
CH_DEFINE_AUTO_POINTER(cli_headers, cli_headers, curl_slist_free_all)

struct attempt {
	long status;
	bool retry;
	bool too_large;
	struct ch_buffer body;
	char curl_error[CURL_ERROR_SIZE];
};

static size_t on_data(char *data, size_t size, size_t count, void *context)
{
	struct attempt *attempt = context;

	if (attempt->body.used + size * count > ANSWER_CAP) {
		attempt->too_large = true;
		return 0;
	}
	ch_buffer_add(&attempt->body, data, size * count);
	return size * count;
}

/* An empty value takes away the header that libcurl would add by itself. */
static void add_header(cli_headers **headers, const char *name, const char *value)
{
	CH_AUTO(ch_string) line = ch_format("%s:%s%s", name, value[0] ? " " : "", value);
	cli_headers *longer = curl_slist_append(*headers, line);

	if (longer)
		*headers = longer;
}

static cli_headers *make_headers(const struct cli_request *request)
{
	cli_headers *headers = NULL;

	add_header(&headers, "Accept", request->accept ? request->accept : "application/json");
	add_header(&headers, "Expect", "");
	add_header(&headers, "Content-Type", request->content_type ? request->content_type : "");
	if (request->idempotency_key)
		add_header(&headers, "Idempotency-Key", request->idempotency_key);
	return headers;
}

static bool set_up(struct cli *cli, CURL *curl, const struct cli_request *request, cli_headers *headers,
		   struct attempt *attempt, struct ch_error *err)
{
	const char *base, *ca_file, *certificate, *key;
	CH_AUTO(ch_string) url = NULL;

	if (!cli_require(cli, "url", &base, err) || !cli_require(cli, "ca-file", &ca_file, err) ||
	    !cli_require(cli, "cert", &certificate, err) || !cli_require(cli, "key", &key, err))
		return false;
	if (strncasecmp(base, "https://", 8) != 0)
		return ch_fail(err, CH_INVALID, "--url '%s' does not begin with https://", base);
	url = ch_format("%.*s%s", (int)(strlen(base) - (base[strlen(base) - 1] == '/')), base, request->path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_SSLCERT, certificate);
	curl_easy_setopt(curl, CURLOPT_SSLKEY, key);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 60000L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
	if (request->body.size || strcmp(request->method, "GET") != 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
				 request->body.data ? (const char *)request->body.data : "");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
	}
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, attempt);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, attempt->curl_error);
	return true;
}

static const char *text_of(const cJSON *object, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static enum ch_code code_of(const cJSON *problem, long status)
{
	const char *name = text_of(problem, "code");

	for (int code = CH_INVALID; name && code <= CH_UNSUPPORTED; code++)
		if (strcmp(ch_code_name((enum ch_code)code), name) == 0)
			return (enum ch_code)code;
	for (int code = CH_INVALID; code <= CH_UNSUPPORTED; code++)
		if (ch_code_http_status((enum ch_code)code) == status)
			return (enum ch_code)code;
	return status < 500 ? CH_INVALID : CH_INTERNAL;
}

/* RFC 9457: what the suite says about a refusal. */
static bool fail_as_told(const struct attempt *attempt, struct ch_error *err)
{
	CH_AUTO(cJSON) problem = cJSON_ParseWithLength((const char *)attempt->body.data, attempt->body.used);
	const char *detail = text_of(problem, "detail");
	const char *trace_id = text_of(problem, "trace_id");
	enum ch_code code = code_of(problem, attempt->status);

	if (!detail)
		detail = text_of(problem, "title");
	if (!detail)
		return ch_fail(err, code, "the suite answered HTTP status %ld", attempt->status);
	return ch_fail(err, code, "%s (%s%s%s)", detail, ch_code_name(code), trace_id ? ", trace id " : "",
		       trace_id ? trace_id : "");
}

static bool try_once(struct cli *cli, const struct cli_request *request, struct attempt *attempt,
		     struct ch_error *err)
{
	CH_AUTO(CURL) curl = curl_easy_init();
	CH_AUTO(cli_headers) headers = make_headers(request);
	CURLcode code;

	if (!curl)
		return ch_fail(err, CH_INTERNAL, "libcurl cannot start");
	if (!set_up(cli, curl, request, headers, attempt, err))
		return false;
	code = curl_easy_perform(curl);
	if (attempt->too_large)
		return ch_fail(err, CH_TOO_LARGE, "the answer is over %d bytes", ANSWER_CAP);
	if (code != CURLE_OK) {
		attempt->retry = code == CURLE_COULDNT_CONNECT || code == CURLE_GOT_NOTHING ||
				 code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR ||
				 code == CURLE_SSL_CONNECT_ERROR || code == CURLE_PARTIAL_FILE;
		return ch_fail(err, CH_UNAVAILABLE, "%s: %s", cli_value(cli, "url"),
			       attempt->curl_error[0] ? attempt->curl_error : curl_easy_strerror(code));
	}
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &attempt->status);
	if (attempt->status >= 200 && attempt->status < 300)
		return true;
	attempt->retry = attempt->status == 429 || attempt->status == 503 || attempt->status == 504;
	return fail_as_told(attempt, err);
}

static void wait_ms(int64_t milliseconds)
{
	struct timespec pause = { .tv_sec = milliseconds / 1000, .tv_nsec = (milliseconds % 1000) * 1000000 };

	nanosleep(&pause, NULL);
}

bool cli_send(struct cli *cli, const struct cli_request *request, struct ch_bytes *body, struct ch_error *err)
{
	int64_t end = ch_monotonic_us() + RETRY_FOR_US;

	for (int64_t pause = FIRST_WAIT_MS;; pause *= 2) {
		struct attempt attempt = CH_NONE;
		bool done = try_once(cli, request, &attempt, err);

		if (done)
			*body = ch_buffer_steal(&attempt.body);
		ch_buffer_free(&attempt.body);
		if (done || !attempt.retry || ch_monotonic_us() + pause * CH_MILLISECOND > end)
			return done;
		wait_ms(pause);
	}
}

bool cli_send_json(struct cli *cli, const struct cli_request *request, cJSON **answer, struct ch_error *err)
{
	CH_AUTO(ch_bytes) body = CH_NONE;

	if (!cli_send(cli, request, &body, err))
		return false;
	*answer = cJSON_ParseWithLength((const char *)body.data, body.size);
	if (!*answer)
		return ch_fail(err, CH_INTERNAL, "the answer to %s %s is not JSON", request->method,
			       request->path);
	return true;
}

bool cli_get(struct cli *cli, const char *path, cJSON **answer, struct ch_error *err)
{
	return cli_send_json(cli, &(struct cli_request){ .method = "GET", .path = path }, answer, err);
}

bool cli_post(struct cli *cli, const char *path, const cJSON *body, cJSON **answer, struct ch_error *err)
{
	CH_AUTO(ch_string) text = body ? cJSON_PrintUnformatted(body) : NULL;
	struct cli_request request = { .method = "POST", .path = path };

	if (text) {
		request.content_type = "application/json";
		request.body = ch_view_text(text);
	}
	return cli_send_json(cli, &request, answer, err);
}

char *cli_url_encode(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	CH_AUTO(ch_buffer) out = CH_NONE;

	for (const char *at = text; *at; at++) {
		if (strchr(plain, *at))
			ch_buffer_add(&out, at, 1);
		else
			ch_buffer_printf(&out, "%%%02X", (unsigned)(unsigned char)*at);
	}
	return ch_buffer_steal_text(&out);
}
