/* SPDX-License-Identifier: Apache-2.0 */
/* entry.c: what one row is made of: the chained hash, and the signed event in it. */
#include "auditlog/auditlog.h"
#include "auditlog/internal.h"
#include "unpack/unpack.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

CH_DEFINE_AUTO_POINTER(digest_context, EVP_MD_CTX, EVP_MD_CTX_free)

bool ch_audit_hash(const uint8_t previous[CH_AUDIT_HASH_SIZE], uint64_t sequence, struct ch_view signed_event,
		   uint8_t hash[CH_AUDIT_HASH_SIZE], struct ch_error *err)
{
	static const char domain[] = "chancery/log/v1"; /* with its terminating zero */
	CH_AUTO(digest_context) context = EVP_MD_CTX_new();
	uint8_t number[8];

	for (int i = 0; i < 8; i++)
		number[i] = (uint8_t)(sequence >> (56 - 8 * i));
	if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
	    EVP_DigestUpdate(context, domain, sizeof(domain)) != 1 ||
	    EVP_DigestUpdate(context, previous, CH_AUDIT_HASH_SIZE) != 1 ||
	    EVP_DigestUpdate(context, number, sizeof(number)) != 1 ||
	    EVP_DigestUpdate(context, signed_event.data, signed_event.size) != 1 ||
	    EVP_DigestFinal_ex(context, hash, NULL) != 1)
		return ch_fail_openssl(err, CH_INTERNAL, "SHA-256 of an audit event failed");
	return true;
}

void ch_audit_free_event(Chancery__Event *event)
{
	chancery__event__free_unpacked(event, NULL);
}

void ch_audit_free_signed(Chancery__SignedEvent *event)
{
	chancery__signed_event__free_unpacked(event, NULL);
}

char *ch_audit_retired_cas(const char *system_ca_path)
{
	const char *slash = strrchr(system_ca_path, '/');

	return ch_format("%.*s" CH_RETIRED_SYSTEM_CAS, slash ? (int)(slash - system_ca_path + 1) : 0,
			 system_ca_path);
}

/* What the log's columns and their indexes hold: one that they do not take would stop all that come with it.
 */
static bool check_sizes(const Chancery__Event *event, struct ch_error *err)
{
	const struct {
		const char *name, *text;
	} columns[] = {
		{ "service", event->service }, { "instance", event->instance }, { "tenant", event->tenant },
		{ "type", event->type },       { "outcome", event->outcome },   { "actor", event->actor },
		{ "subject", event->subject },
	};

	for (size_t i = 0; i < CH_COUNT(columns); i++)
		if (strlen(columns[i].text) > CH_AUDIT_TEXT_CAP)
			return ch_fail(err, CH_INVALID, "audit event's %s has %zu octets, at most %d",
				       columns[i].name, strlen(columns[i].text), CH_AUDIT_TEXT_CAP);
	return event->sequence <= INT64_MAX ||
	       ch_fail(err, CH_INVALID, "audit event's sequence %" PRIu64 " is out of range",
		       event->sequence);
}

static bool check_members(const Chancery__Event *event, struct ch_error *err)
{
	if (event->event_id.len != 16)
		return ch_fail(err, CH_INVALID, "audit event's event_id has %zu octets, needs 16",
			       event->event_id.len);
	if (event->time_us <= 0 || event->time_us >= LATEST_TIME)
		return ch_fail(err, CH_INVALID, "audit event's time %lld is out of range",
			       (long long)event->time_us);
	if (!event->type[0] || !event->outcome[0])
		return ch_fail(err, CH_INVALID, "audit event has no type or no outcome");
	return check_sizes(event, err) && ch_proto_check_text(&event->base, err);
}

bool ch_audit_event_open(struct ch_trust *trust, const Chancery__SignedEvent *signed_event,
			 Chancery__Event **event, struct ch_error *err)
{
	struct ch_view encoded = ch_view(signed_event->event.data, signed_event->event.len);
	CH_AUTO(event) decoded = (Chancery__Event *)ch_unpack(&chancery__event__descriptor, encoded);
	struct ch_peer signer;

	if (!decoded)
		return ch_fail(err, CH_INVALID, "audit event does not decode");
	if (!check_members(decoded, err))
		return false;
	if (!ch_trust_verify(trust, "chancery/event/v1",
			     ch_view(signed_event->certificate.data, signed_event->certificate.len), encoded,
			     ch_view(signed_event->signature.data, signed_event->signature.len),
			     decoded->time_us, &signer, err))
		return ch_fail_in(err, "audit event %.64s", decoded->type);
	if (strcmp(signer.service, decoded->service) != 0 || strcmp(signer.instance, decoded->instance) != 0)
		return ch_fail(err, CH_DENIED, "audit event of %.32s/%.64s is signed by %s/%s",
			       decoded->service, decoded->instance, signer.service, signer.instance);
	*event = CH_STEAL(decoded);
	return true;
}
