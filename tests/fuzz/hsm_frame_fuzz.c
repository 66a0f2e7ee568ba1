/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_frame_fuzz.c: hostile octets on the channel between the vault and an HSM worker, both directions. */
#include "hsm_channel.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CH_AUTO(hsm_reader) reader = CH_NONE;
	struct ch_view frame;
	struct ch_error err;
	bool present = true;

	ch_buffer_add(&reader.buffer, data, size);
	while (present && hsm_reader_next(&reader, &present, &frame, &err) && present) {
		Chancery__HsmRequest *request = chancery__hsm_request__unpack(NULL, frame.size, frame.data);
		Chancery__HsmReply *reply = chancery__hsm_reply__unpack(NULL, frame.size, frame.data);

		if (request)
			chancery__hsm_request__free_unpacked(request, NULL);
		if (reply)
			chancery__hsm_reply__free_unpacked(reply, NULL);
	}
	return 0;
}
