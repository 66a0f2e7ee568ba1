/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem.h: scope cleanup, owned and borrowed bytes, a growing buffer, and memory for secrets.
 *
 *   CH_AUTO(ch_bytes) tbs = CH_NONE;          freed when the scope ends, however it ends
 *   CH_AUTO(X509) certificate = NULL;         pointer types: declared with CH_DEFINE_AUTO_POINTER
 *   *result = CH_STEAL(tbs);                  hands over; the variable is empty afterwards
 */
#ifndef CH_MEM_H
#define CH_MEM_H

#include "err/err.h"

#include <stddef.h>
#include <stdint.h>

#define CH_NONE   \
	{         \
		0 \
	}
#define CH_AUTO(name) __attribute__((cleanup(ch_cleanup_##name), unused)) ch_auto_##name
#define CH_STEAL(variable)                                    \
	__extension__({                                       \
		__typeof__(variable) ch_stolen_ = (variable); \
		__typeof__(variable) ch_empty_ = { 0 };       \
		(variable) = ch_empty_;                       \
		ch_stolen_;                                   \
	})
#define CH_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* For a type held by pointer: CH_DEFINE_AUTO_POINTER(X509, X509, X509_free) lets `CH_AUTO(X509) c` be an
 * `X509 *`. */
#define CH_DEFINE_AUTO_POINTER(name, type, free_function)     \
	typedef type *ch_auto_##name;                         \
	static inline void ch_cleanup_##name(type **variable) \
	{                                                     \
		if (*variable)                                \
			free_function(*variable);             \
	}

/* For a struct held by value, whose free function takes its address. */
#define CH_DEFINE_AUTO_VALUE(name, type, free_function)      \
	typedef type ch_auto_##name;                         \
	static inline void ch_cleanup_##name(type *variable) \
	{                                                    \
		free_function(variable);                     \
	}

/* Owned bytes, from malloc. {NULL, 0} is empty. */
struct ch_bytes {
	uint8_t *data;
	size_t size;
};

/* Borrowed bytes: never freed, valid as long as their owner. */
struct ch_view {
	const uint8_t *data;
	size_t size;
};

/* Aborts the process when memory runs out: a daemon that cannot allocate 100 bytes cannot serve; supervision
 * restarts it. */
void *ch_alloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zeroed */
/* Room for `count` pointers, all NULL: what a message's repeated field points to. */
void *ch_alloc_pointers(size_t count) __attribute__((malloc, returns_nonnull));
void *ch_realloc(void *memory, size_t size) __attribute__((returns_nonnull));
char *ch_strdup(const char *text) __attribute__((returns_nonnull));
char *ch_strndup(const char *text, size_t size) __attribute__((returns_nonnull));
char *ch_format(const char *format, ...) CH_PRINTF(1, 2)
	__attribute__((returns_nonnull)); /* the caller frees it */

void ch_bytes_free(struct ch_bytes *bytes);
struct ch_bytes ch_bytes_copy(struct ch_view view);

static inline struct ch_view ch_view(const void *data, size_t size)
{
	return (struct ch_view){ (const uint8_t *)data, size };
}
static inline struct ch_view ch_view_of(const struct ch_bytes *bytes)
{
	return (struct ch_view){ bytes->data, bytes->size };
}
struct ch_view ch_view_text(const char *text); /* without the terminating zero */
bool ch_view_equal(struct ch_view a, struct ch_view b);
bool ch_view_equal_secret(struct ch_view a,
			  struct ch_view b); /* constant time in the content, not in the length */

bool ch_view_starts_with(struct ch_view view, const char *prefix);
bool ch_view_has_only(struct ch_view view, const char *characters); /* also where it is empty */

/* Lower-case hexadecimal. ch_hex: the caller frees it. ch_unhex: CH_INVALID on an odd length or another
 * character. */
char *ch_hex(struct ch_view view) __attribute__((returns_nonnull));
CH_MUST_USE bool ch_unhex(const char *text, struct ch_bytes *out, struct ch_error *err);

/* A growing buffer. Zero-initialised is empty. `used` bytes of `data` are filled. */
struct ch_buffer {
	uint8_t *data;
	size_t used;
	size_t room;
};
void ch_buffer_add(struct ch_buffer *buffer, const void *data, size_t size);
void ch_buffer_add_view(struct ch_buffer *buffer, struct ch_view view);
void ch_buffer_printf(struct ch_buffer *buffer, const char *format, ...)
	CH_PRINTF(2, 3); /* no terminating zero counted */
uint8_t *ch_buffer_reserve(struct ch_buffer *buffer,
			   size_t size); /* room for size more bytes; caller raises used */
struct ch_view ch_buffer_view(const struct ch_buffer *buffer);
struct ch_bytes ch_buffer_steal(struct ch_buffer *buffer);
char *ch_buffer_steal_text(struct ch_buffer *buffer); /* zero-terminated; the caller frees it */
void ch_buffer_free(struct ch_buffer *buffer);

/* Secrets: pages locked in memory and left out of core dumps, wiped on free. Never logged. */
struct ch_secret {
	uint8_t *data;
	size_t size;
	size_t mapped;
};
CH_MUST_USE bool ch_secret_new(size_t size, struct ch_secret *secret, struct ch_error *err);
/* Reads a whole file of at most `cap` bytes; a trailing newline is dropped. Refuses a file that its group
 * or others may read (CH_DENIED). */
CH_MUST_USE bool ch_secret_read_file(const char *path, size_t cap, struct ch_secret *secret,
				     struct ch_error *err);
void ch_secret_free(struct ch_secret *secret);
/*
 * For a process that works with secrets: no core dump of it, and none of its pages in swap, also not what
 * libraries copy. The latter needs RLIMIT_MEMLOCK without limit, or root; false where it is not so: then only
 * what is a ch_secret is locked.
 */
bool ch_guard_memory(void);
void ch_wipe(void *memory, size_t size);

/* Cryptographically strong random bytes from the operating system; aborts if it has none. */
void ch_random(void *memory, size_t size);

/* Reads a whole file of at most `cap` bytes. CH_NOT_FOUND, CH_TOO_LARGE, CH_DENIED name the path. */
CH_MUST_USE bool ch_read_file(const char *path, size_t cap, struct ch_bytes *out, struct ch_error *err);
/* Writes, fsyncs and renames over `path`, so that a reader sees the old or the new content and a crash loses
 * neither. */
CH_MUST_USE bool ch_write_file(const char *path, struct ch_view content, unsigned mode, struct ch_error *err);

CH_DEFINE_AUTO_VALUE(ch_bytes, struct ch_bytes, ch_bytes_free)
CH_DEFINE_AUTO_VALUE(ch_buffer, struct ch_buffer, ch_buffer_free)
CH_DEFINE_AUTO_VALUE(ch_secret, struct ch_secret, ch_secret_free)

typedef char *ch_auto_ch_string;
void ch_cleanup_ch_string(char **variable);
typedef int ch_auto_ch_fd;
void ch_cleanup_ch_fd(int *variable); /* closes when >= 0: initialise with -1 */

#endif
