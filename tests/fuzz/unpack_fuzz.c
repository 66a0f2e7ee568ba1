/* SPDX-License-Identifier: Apache-2.0 */
/* unpack_fuzz.c: octets as each kind of message that is unpacked from outside, within the budget. */
#include "unpack/unpack.h"

#include "audit.pb-c.h"
#include "crl.pb-c.h"
#include "envelope.pb-c.h"
#include "hsm.pb-c.h"
#include "issuer.pb-c.h"
#include "vault.pb-c.h"

#include <stdlib.h>

static const ProtobufCMessageDescriptor *const kinds[] = {
	&chancery__envelope__descriptor,
	&chancery__body__descriptor,
	&chancery__error_reply__descriptor,
	&chancery__sign_request__descriptor,
	&chancery__generate_key_request__descriptor,
	&chancery__seal_request__descriptor,
	&chancery__change_quorum_request__descriptor,
	&chancery__issue_certificate_request__descriptor,
	&chancery__generate_crl_request__descriptor,
	&chancery__append_events_request__descriptor,
	&chancery__event__descriptor,
	&chancery__hsm_request__descriptor,
	&chancery__hsm_reply__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ProtobufCMessage *message;
	struct ch_error err = { 0 };

	if (size < 1)
		return 0;
	message = ch_unpack(kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))], ch_view(data + 1, size - 1));
	if (!message)
		return 0;
	if (!ch_unpack_check_counts(message, 64, &err) && err.code != CH_TOO_LARGE && err.code != CH_INVALID)
		abort();
	protobuf_c_message_free_unpacked(message, NULL);
	return 0;
}
