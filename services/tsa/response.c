/* SPDX-License-Identifier: Apache-2.0 */
/* response.c: TimeStampResp (RFC 3161 §2.4.2), with a token or with the reason why there is none. */
#include "tsa.h"

#include <string.h>

#define STATUS_GRANTED   0
#define STATUS_REJECTION 2

static const struct {
	enum tsa_failure failure;
	const char *name;
} failures[] = {
	{ TSA_BAD_ALG, "badAlg" },
	{ TSA_BAD_REQUEST, "badRequest" },
	{ TSA_BAD_DATA_FORMAT, "badDataFormat" },
	{ TSA_TIME_NOT_AVAILABLE, "timeNotAvailable" },
	{ TSA_UNACCEPTED_POLICY, "unacceptedPolicy" },
	{ TSA_UNACCEPTED_EXTENSION, "unacceptedExtension" },
	{ TSA_SYSTEM_FAILURE, "systemFailure" },
};

const char *tsa_failure_name(enum tsa_failure failure)
{
	for (size_t i = 0; i < CH_COUNT(failures); i++)
		if (failures[i].failure == failure)
			return failures[i].name;
	return "unknown";
}

struct ch_bytes tsa_response_granted(struct ch_view token)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE); /* PKIStatusInfo */
	ch_der_put_uint64(&writer, CH_DER_INTEGER, STATUS_GRANTED);
	ch_der_finish(&writer);
	ch_der_put_raw(&writer, token);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}

/* PKIFailureInfo: a named bit list with one bit, so its trailing zero bits go (X.690 §11.2.2). */
static void put_failure(struct ch_der_writer *writer, enum tsa_failure failure)
{
	uint8_t content[1 + (TSA_FAILURE_BITS + 7) / 8] = { 0 };
	size_t octet = (size_t)failure / 8;
	content[0] = (uint8_t)(7 - failure % 8);
	content[1 + octet] = (uint8_t)(0x80 >> failure % 8);
	ch_der_put(writer, CH_DER_BIT_STRING, ch_view(content, octet + 2));
}

struct ch_bytes tsa_response_rejected(enum tsa_failure failure, const char *text)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_begin(&writer, CH_DER_SEQUENCE);
	ch_der_put_uint64(&writer, CH_DER_INTEGER, STATUS_REJECTION);
	if (text && *text) {
		ch_der_begin(&writer, CH_DER_SEQUENCE); /* PKIFreeText */
		ch_der_put(&writer, CH_DER_UTF8_STRING, ch_view_text(text));
		ch_der_finish(&writer);
	}
	put_failure(&writer, failure);
	ch_der_finish(&writer);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}
