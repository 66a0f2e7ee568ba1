/* SPDX-License-Identifier: Apache-2.0 */
/* envelope_fuzz.c: what a peer sends is opened; and, so that the search gets past the signature, the same
 * octets are taken as a body and as the payload of each type. */
#include "audit.pb-c.h"
#include "crl.pb-c.h"
#include "envelope/envelope.h"
#include "issuer.pb-c.h"
#include "vault.pb-c.h"
#include "../unit/system_ca.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ch_identity *identity(void)
{
	static struct ch_identity *loaded;
	struct system_ca ca;
	struct ch_identity_config files;

	if (loaded)
		return loaded;
	system_ca_make(&ca);
	system_ca_issue(&ca, "vault", "vault-1", -60, 86400, &files);
	if (!ch_identity_load(&files, NULL, NULL, &loaded, NULL))
		abort();
	system_ca_forget(&files);
	system_ca_remove(&ca);
	return loaded;
}

static void decode(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size)
{
	ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, size, data);

	if (!message)
		return;
	(void)!ch_proto_check_text(message, NULL);
	protobuf_c_message_free_unpacked(message, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&chancery__body__descriptor,
		&chancery__error_reply__descriptor,
		&chancery__sign_request__descriptor,
		&chancery__generate_key_request__descriptor,
		&chancery__issue_certificate_request__descriptor,
		&chancery__change_status_request__descriptor,
		&chancery__approve_ca_request__descriptor,
		&chancery__apply_profile_request__descriptor,
		&chancery__generate_crl_request__descriptor,
		&chancery__append_events_request__descriptor,
		&chancery__event__descriptor,
		&chancery__list_events_request__descriptor,
	};
	CH_AUTO(ch_message) message = CH_NONE;
	struct ch_error err;

	(void)!ch_envelope_open(identity(), ch_clock_system(), NULL, ch_view(data, size), &message, &err);
	for (size_t i = 0; i < CH_COUNT(types); i++)
		decode(types[i], data, size);
	return 0;
}
