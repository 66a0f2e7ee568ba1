/* SPDX-License-Identifier: Apache-2.0 */
/* sp_frames.h: nng's protocol over OpenSSL, spoken by hand: for tests of ends that nng would never make. */
#ifndef TEST_SP_FRAMES_H
#define TEST_SP_FRAMES_H

#include "mem/mem.h"

#include <openssl/ssl.h>

enum sp_end { SP_REQ = 0x30, SP_REP = 0x31 };

/* Both greetings. False: the other end has gone, as everywhere here. */
bool sp_greet(SSL *ssl, enum sp_end self);
/* A request or reply: its id, and the rest in `body`, of which *size is the room and then the size. */
bool sp_read(SSL *ssl, uint8_t id[4], uint8_t *body, size_t *size);
/* `said`: the length that is announced; at least that of id and body. */
bool sp_write(SSL *ssl, const uint8_t id[4], struct ch_view body, size_t said);

#endif
