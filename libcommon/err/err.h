/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h: the one error convention. A function that can fail returns bool (or a pointer, NULL on failure),
 * takes `struct ch_error *err` last and is CH_MUST_USE. The same codes cross the bus and are mapped once to
 * HTTP.
 */
#ifndef CH_ERR_H
#define CH_ERR_H

#include <stdbool.h>
#include <stdint.h>

#define CH_MUST_USE                             __attribute__((warn_unused_result))
#define CH_PRINTF(format_index, first_argument) __attribute__((format(printf, format_index, first_argument)))

/* The numbers cross the bus (proto/envelope.proto, ErrorReply.code): add at the end, never renumber. */
enum ch_code {
	CH_OK = 0,
	CH_INVALID = 1,         /* the request breaks a rule; the message says which */
	CH_DENIED = 2,          /* who asks may not do this */
	CH_UNAUTHENTICATED = 3, /* who asks is not known, or the signature is wrong */
	CH_NOT_FOUND = 4,
	CH_CONFLICT = 5,  /* collides with what exists (same name, same request id with other content, wrong
			     state) */
	CH_TOO_LARGE = 6, /* over a cap */
	CH_EXHAUSTED = 7, /* a quota or a connection limit; retry_after_ms says when */
	CH_EXPIRED = 8,   /* outside the clock window, or its deadline has passed */
	CH_REPLAYED = 9,  /* this very message was seen before */
	CH_UNAVAILABLE = 10, /* a peer, the database or an HSM did not answer in time; retry with the same
				request id */
	CH_INTERNAL = 11,    /* our own fault */
	CH_UNSUPPORTED = 12, /* well formed, but this build or configuration does not do it */
};

/*
 * Who refused: what may be tried elsewhere, and what is final, follows from it. The numbers cross the bus
 * (ErrorReply.origin): add at the end, never renumber.
 */
enum ch_origin {
	CH_ORIGIN_LOCAL = 0, /* this process itself; in a message: a peer of an older version, which does not
				say */
	CH_ORIGIN_TRANSPORT = 1, /* the way between two processes: no connection, a reply that cannot be
				    trusted, a message that the other end's bus refused before any handler */
	CH_ORIGIN_HANDLER = 2,   /* the service that was asked, as a whole: it may have done its work */
	CH_ORIGIN_ITEM = 3,      /* its verdict on this very item of a batch, which was not done and will not
				    be: nothing else is final */
};

struct ch_error {
	enum ch_code code;
	enum ch_origin origin;
	bool retryable;          /* the same request may succeed later, unchanged */
	uint32_t retry_after_ms; /* 0: not said */
	char message[480];       /* names the thing and the value at fault; never a secret */
};

/*
 * Each sets *err (which may be NULL) and has the value false, so that `return ch_fail(err, …)` ends a
 * function. Macros, so that compilers and analysers see the false.
 *
 * ch_fail          (err, code, format, …)
 * ch_fail_in       (err, context_format, …): puts "<context>: " before the message
 * ch_fail_openssl  (err, code, format, …): appends the newest OpenSSL error's reason and empties OpenSSL's
 * error queue ch_fail_errno    (err, code, number, format, …): appends strerror(number)
 */
#define CH_FALSE_AFTER(call) \
	__extension__({      \
		call;        \
		(bool)false; \
	})
#define ch_fail(...)         CH_FALSE_AFTER(ch_error_set(__VA_ARGS__))
#define ch_fail_in(...)      CH_FALSE_AFTER(ch_error_wrap(__VA_ARGS__))
#define ch_fail_openssl(...) CH_FALSE_AFTER(ch_error_set_openssl(__VA_ARGS__))
#define ch_fail_errno(...)   CH_FALSE_AFTER(ch_error_set_errno(__VA_ARGS__))

void ch_error_set(struct ch_error *err, enum ch_code code, const char *format, ...) CH_PRINTF(3, 4);
void ch_error_wrap(struct ch_error *err, const char *context_format, ...) CH_PRINTF(2, 3);
void ch_error_set_openssl(struct ch_error *err, enum ch_code code, const char *format, ...) CH_PRINTF(3, 4);
void ch_error_set_errno(struct ch_error *err, enum ch_code code, int number, const char *format, ...)
	CH_PRINTF(4, 5);

/*
 * What a caller further out is told of it. That this process is not reached or not believed by one behind it
 * is no fault of that caller: where the transport refused, "unauthenticated", "denied", "expired" and
 * "replayed" become CH_UNAVAILABLE, retryable. Everything else is as it was.
 */
struct ch_error ch_error_outward(const struct ch_error *err);

/* "invalid", "denied", …: for logs, metrics labels and problem documents. Never NULL. */
const char *ch_code_name(enum ch_code code);

/* The HTTP status that a code maps to (RFC 9110), 500 for an unknown one. */
int ch_code_http_status(enum ch_code code);

#endif
