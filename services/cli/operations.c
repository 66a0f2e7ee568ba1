/* SPDX-License-Identifier: Apache-2.0 */
/* operations.c: asks daemons' operations ports. */
#include "operations.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_CAP (4 * 1024 * 1024)

CH_DEFINE_AUTO_POINTER(CURL, CURL, curl_easy_cleanup)

void operations_ports_free(struct operations_ports *ports)
{
	for (size_t i = 0; i < ports->count; i++) {
		free(ports->items[i].instance);
		free(ports->items[i].address);
	}
	free(ports->items);
	*ports = (struct operations_ports)CH_NONE;
}

bool operations_read(const char *text, struct operations_ports *ports, struct ch_error *err)
{
	CH_AUTO(operations_ports) read = CH_NONE;

	while (*(text += strspn(text, " "))) {
		size_t size = strcspn(text, " ");
		const char *equals = memchr(text, '=', size);
		struct operations_port *port;

		if (!equals || equals == text || equals + 1 == text + size)
			return ch_fail(err, CH_INVALID, "--operations: '%.*s' is not INSTANCE=ADDRESS:PORT",
				       (int)size, text);
		read.items = ch_realloc(read.items, (read.count + 1) * sizeof(*read.items));
		port = &read.items[read.count++];
		port->instance = ch_strndup(text, (size_t)(equals - text));
		port->address = ch_strndup(equals + 1, (size_t)(text + size - equals - 1));
		text += size;
	}
	*ports = CH_STEAL(read);
	return true;
}

static size_t on_data(char *data, size_t size, size_t count, void *context)
{
	struct ch_buffer *body = context;

	if (body->used + size * count > ANSWER_CAP)
		return 0;
	ch_buffer_add(body, data, size * count);
	return size * count;
}

bool operations_get(const struct operations_port *port, const char *path, long *status, struct ch_bytes *body,
		    struct ch_error *err)
{
	CH_AUTO(CURL) curl = curl_easy_init();
	CH_AUTO(ch_string) url = ch_format("http://%s%s", port->address, path);
	CH_AUTO(ch_buffer) answer = CH_NONE;
	CURLcode code;

	if (!curl)
		return ch_fail(err, CH_INTERNAL, "libcurl cannot start");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	code = curl_easy_perform(curl);
	if (code != CURLE_OK)
		return ch_fail(err, CH_UNAVAILABLE, "%s: %s", port->address, curl_easy_strerror(code));
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, status);
	*body = ch_buffer_steal(&answer);
	return true;
}
