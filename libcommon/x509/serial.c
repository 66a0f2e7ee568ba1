/* SPDX-License-Identifier: Apache-2.0 */
/* serial.c: makes and checks serial numbers; serial.h has the format. */
#include "x509/serial.h"

#include "clock/clock.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TAGGED_SIZE 12
#define TAG_SIZE    (CH_SERIAL_SIZE - TAGGED_SIZE)
#define LAST_PERIOD 0x7fff /* the first bit of a positive INTEGER is 0 */

static void tag_of(struct ch_view tag_key, const uint8_t *tagged, uint8_t tag[TAG_SIZE])
{
	uint8_t mac[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (!HMAC(EVP_sha256(), tag_key.data, (int)tag_key.size, tagged, TAGGED_SIZE, mac, &size)) {
		fprintf(stderr, "HMAC-SHA-256 failed\n");
		abort();
	}
	memcpy(tag, mac, TAG_SIZE);
}

void ch_serial_make(struct ch_view tag_key, int64_t not_after_us, uint8_t serial[CH_SERIAL_SIZE])
{
	int period = ch_expiry_period(not_after_us);
	serial[0] = (uint8_t)(period >> 8);
	serial[1] = (uint8_t)period;
	ch_random(serial + 2, TAGGED_SIZE - 2);
	tag_of(tag_key, serial, serial + TAGGED_SIZE);
}

bool ch_serial_check(struct ch_view tag_key, struct ch_view serial)
{
	uint8_t tag[TAG_SIZE];
	if (serial.size != CH_SERIAL_SIZE)
		return false;
	tag_of(tag_key, serial.data, tag);
	return ch_view_equal_secret(ch_view(tag, TAG_SIZE), ch_view(serial.data + TAGGED_SIZE, TAG_SIZE));
}

int ch_serial_period(struct ch_view serial)
{
	return serial.size == CH_SERIAL_SIZE ? serial.data[0] << 8 | serial.data[1] : -1;
}

int ch_expiry_period(int64_t time_us)
{
	struct tm fields;
	time_t seconds = (time_t)(time_us / CH_SECOND);
	if (time_us < 0)
		return 0;
	if (!gmtime_r(&seconds, &fields))
		return LAST_PERIOD;
	int64_t period = ((int64_t)fields.tm_year - 70) * 12 + fields.tm_mon;
	return period > LAST_PERIOD ? LAST_PERIOD : (int)period;
}
