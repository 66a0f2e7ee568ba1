/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c: allocation, bytes, buffers. Secrets are in secret.c, files in file.c. */
#include "mem/mem.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static void *or_abort(void *memory)
{
	if (!memory) {
		static const char text[] = "{\"level\":\"fatal\",\"msg\":\"out of memory\"}\n";
		ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
		(void)ignored;
		abort();
	}
	return memory;
}

void *ch_alloc(size_t size)
{
	return or_abort(calloc(1, size ? size : 1));
}

void *ch_alloc_pointers(size_t count)
{
	return or_abort(calloc(count ? count : 1, sizeof(void *)));
}

void *ch_realloc(void *memory, size_t size)
{
	return or_abort(realloc(memory, size ? size : 1));
}

char *ch_strdup(const char *text)
{
	return or_abort(strdup(text));
}

char *ch_strndup(const char *text, size_t size)
{
	return or_abort(strndup(text, size));
}

char *ch_format(const char *format, ...)
{
	char *text = NULL;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vasprintf(&text, format, arguments);
	va_end(arguments);
	return or_abort(size < 0 ? NULL : text);
}

void ch_bytes_free(struct ch_bytes *bytes)
{
	if (!bytes)
		return;
	free(bytes->data);
	bytes->data = NULL;
	bytes->size = 0;
}

struct ch_bytes ch_bytes_copy(struct ch_view view)
{
	struct ch_bytes bytes = { ch_alloc(view.size), view.size };

	if (view.size)
		memcpy(bytes.data, view.data, view.size);
	return bytes;
}

struct ch_view ch_view_text(const char *text)
{
	return ch_view(text, text ? strlen(text) : 0);
}

bool ch_view_equal(struct ch_view a, struct ch_view b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool ch_view_equal_secret(struct ch_view a, struct ch_view b)
{
	return a.size == b.size && (a.size == 0 || CRYPTO_memcmp(a.data, b.data, a.size) == 0);
}

bool ch_view_starts_with(struct ch_view view, const char *prefix)
{
	size_t size = strlen(prefix);

	return view.size >= size && ch_view_equal(ch_view(view.data, size), ch_view(prefix, size));
}

bool ch_view_has_only(struct ch_view view, const char *characters)
{
	for (size_t i = 0; i < view.size; i++)
		if (!view.data[i] || !strchr(characters, view.data[i]))
			return false;
	return true;
}

char *ch_hex(struct ch_view view)
{
	static const char digits[] = "0123456789abcdef";
	char *text = ch_alloc(view.size * 2 + 1);

	for (size_t i = 0; i < view.size; i++) {
		text[2 * i] = digits[view.data[i] >> 4];
		text[2 * i + 1] = digits[view.data[i] & 15];
	}
	return text;
}

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool ch_unhex(const char *text, struct ch_bytes *out, struct ch_error *err)
{
	size_t length = strlen(text);
	CH_AUTO(ch_bytes) bytes = CH_NONE;

	if (length % 2)
		return ch_fail(err, CH_INVALID, "hexadecimal text has an odd number of digits (%zu)", length);
	bytes = (struct ch_bytes){ ch_alloc(length / 2), length / 2 };
	for (size_t i = 0; i < bytes.size; i++) {
		int high = nibble(text[2 * i]);
		int low = nibble(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return ch_fail(err, CH_INVALID, "'%.64s' is not hexadecimal", text);
		bytes.data[i] = (uint8_t)(high << 4 | low);
	}
	*out = CH_STEAL(bytes);
	return true;
}

uint8_t *ch_buffer_reserve(struct ch_buffer *buffer, size_t size)
{
	size_t need = buffer->used + size;

	if (need > buffer->room) {
		size_t room = buffer->room ? buffer->room : 256;

		while (room < need)
			room *= 2;
		buffer->data = ch_realloc(buffer->data, room);
		buffer->room = room;
	}
	return buffer->data + buffer->used;
}

void ch_buffer_add(struct ch_buffer *buffer, const void *data, size_t size)
{
	if (!size)
		return;
	memcpy(ch_buffer_reserve(buffer, size), data, size);
	buffer->used += size;
}

void ch_buffer_add_view(struct ch_buffer *buffer, struct ch_view view)
{
	ch_buffer_add(buffer, view.data, view.size);
}

void ch_buffer_printf(struct ch_buffer *buffer, const char *format, ...)
{
	va_list arguments;
	va_list again;
	int size;

	va_start(arguments, format);
	va_copy(again, arguments);
	size = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (size > 0) {
		vsnprintf((char *)ch_buffer_reserve(buffer, (size_t)size + 1), (size_t)size + 1, format,
			  again);
		buffer->used += (size_t)size;
	}
	va_end(again);
}

struct ch_view ch_buffer_view(const struct ch_buffer *buffer)
{
	return ch_view(buffer->data, buffer->used);
}

struct ch_bytes ch_buffer_steal(struct ch_buffer *buffer)
{
	struct ch_bytes bytes = { buffer->data, buffer->used };

	*buffer = (struct ch_buffer)CH_NONE;
	return bytes;
}

char *ch_buffer_steal_text(struct ch_buffer *buffer)
{
	char *text;

	*ch_buffer_reserve(buffer, 1) = 0;
	text = (char *)buffer->data;
	*buffer = (struct ch_buffer)CH_NONE;
	return text;
}

void ch_buffer_free(struct ch_buffer *buffer)
{
	if (!buffer)
		return;
	free(buffer->data);
	*buffer = (struct ch_buffer)CH_NONE;
}

void ch_random(void *memory, size_t size)
{
	uint8_t *at = memory;

	while (size) {
		ssize_t got = getrandom(at, size, 0);

		if (got <= 0)
			abort();
		at += got;
		size -= (size_t)got;
	}
}

void ch_cleanup_ch_string(char **variable)
{
	free(*variable);
}

void ch_cleanup_ch_fd(int *variable)
{
	if (*variable >= 0)
		close(*variable);
}
