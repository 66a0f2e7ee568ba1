/* SPDX-License-Identifier: Apache-2.0 */
/* mac.c: MACs by several HSMs, held against each other; mac.h has the idea. */
#include "mac.h"

#include "policy.h"
#include "vault.h"

#include <string.h>

#define LIMIT_US (4 * CH_SECOND) /* a caller waits 5 s for its signature */

/* One HSM's part. */
struct part {
	Chancery__HsmRequest request;
	size_t hsm;
	bool made;
	uint8_t mac[VAULT_MAC_SIZE];
};

static void take(struct vault *vault, struct hsm_item *item, struct part *part)
{
	part->made = item->reply && item->reply->data.len == VAULT_MAC_SIZE;
	if (item->reply && !part->made)
		ch_fail(&item->err, CH_UNAVAILABLE, "HSM '%s' made a seal of %zu octets",
			hsm_pool_name(vault->hsms, part->hsm), item->reply->data.len);
	if (part->made)
		memcpy(part->mac, item->reply->data.data, VAULT_MAC_SIZE);
	if (item->reply)
		chancery__hsm_reply__free_unpacked(item->reply, NULL);
	item->reply = NULL;
}

/* All at once; an HSM that is lost meanwhile is not waited for. Returns how many were asked. */
static size_t ask_each(struct vault *vault, unsigned hsms, struct ch_view data, struct part parts[HSM_MAX],
		       struct ch_error *err)
{
	Chancery__HsmMac ask = CHANCERY__HSM_MAC__INIT;
	struct hsm_item items[HSM_MAX];
	size_t count = 0;

	ask.data = (ProtobufCBinaryData){ .len = data.size, .data = (uint8_t *)(uintptr_t)data.data };
	for (size_t i = 0; i < hsm_pool_count(vault->hsms); i++) {
		if (!(hsms & 1u << i))
			continue;
		parts[count] = (struct part){ .hsm = i };
		chancery__hsm_request__init(&parts[count].request);
		parts[count].request.mac = &ask;
		items[count] = (struct hsm_item){ .request = &parts[count].request,
						  .allowed = 1u << i,
						  .once = true,
						  .deadline_us = ch_monotonic_us() + LIMIT_US };
		count++;
	}
	if (count)
		hsm_run(vault->hsms, items, count);
	for (size_t i = 0; i < count; i++) {
		take(vault, &items[i], &parts[i]);
		if (!parts[i].made)
			*err = items[i].err;
	}
	return count;
}

/* --- making --- */

/* Told once an hour for the same HSMs. */
static bool refuse_different(struct vault *vault, const struct part *parts, size_t count,
			     struct ch_error *err)
{
	CH_AUTO(ch_buffer) names = CH_NONE;
	CH_AUTO(ch_string) text = NULL, content = NULL;

	for (size_t i = 0; i < count; i++)
		if (parts[i].made)
			ch_buffer_printf(&names, "%s'%s'", names.used ? ", " : "",
					 hsm_pool_name(vault->hsms, parts[i].hsm));
	text = ch_buffer_steal_text(&names);
	ch_fail(err, CH_UNAVAILABLE,
		"HSMs %s seal the same row differently, so one of them is wrong: nothing is written until it "
		"is "
		"disabled",
		text);
	err->retryable = true;
	content = ch_format("seal-differs/%s/%lld", text, (long long)(ch_monotonic_us() / CH_HOUR));
	if (vault_seal_first_sight(vault, ch_view_text(content)))
		vault_note_alert(vault, NULL, text, "seal-differs", err->message);
	return false;
}

bool vault_mac_make(struct vault *vault, struct ch_view data, uint8_t made[VAULT_MAC_SIZE],
		    struct ch_error *err)
{
	struct part parts[HSM_MAX];
	const struct part *first = NULL;
	size_t count;

	ch_fail(err, CH_UNAVAILABLE, "no HSM is up");
	err->retryable = true;
	count = ask_each(vault, hsm_pool_believed(vault->hsms), data, parts, err);
	for (size_t i = 0; i < count; i++) {
		if (!parts[i].made)
			continue;
		first = first ? first : &parts[i];
		if (memcmp(first->mac, parts[i].mac, VAULT_MAC_SIZE) != 0)
			return refuse_different(vault, parts, count, err);
	}
	if (!first)
		return ch_fail_in(err, "a seal");
	memcpy(made, first->mac, VAULT_MAC_SIZE);
	return true;
}

/* --- checking --- */

/* By whichever HSM the pool takes, so that a late one delays nobody. */
static bool ask_any(struct vault *vault, struct ch_view data, struct part *part, struct ch_error *err)
{
	Chancery__HsmMac ask = CHANCERY__HSM_MAC__INIT;
	struct hsm_item item = { .request = &part->request,
				 .allowed = (1u << hsm_pool_count(vault->hsms)) - 1,
				 .deadline_us = ch_monotonic_us() + LIMIT_US };

	chancery__hsm_request__init(&part->request);
	ask.data = (ProtobufCBinaryData){ .len = data.size, .data = (uint8_t *)(uintptr_t)data.data };
	part->request.mac = &ask;
	hsm_run(vault->hsms, &item, 1);
	part->hsm = item.served_by;
	take(vault, &item, part);
	if (part->made)
		return true;
	*err = item.err;
	return ch_fail_in(err, "a seal");
}

static void shut_out(struct vault *vault, const struct part *liar)
{
	CH_AUTO(ch_string)
	why = ch_format("HSM '%s' called a row changed outside the vault whose seal another HSM knows",
			hsm_pool_name(vault->hsms, liar->hsm));

	hsm_pool_wrong(vault->hsms, liar->hsm, why);
}

bool vault_mac_check(struct vault *vault, struct ch_view data, struct ch_view told, struct ch_error *err)
{
	struct part first, others[HSM_MAX];
	size_t count, made = 0;

	if (!ask_any(vault, data, &first, err))
		return false;
	if (ch_view_equal_secret(ch_view(first.mac, VAULT_MAC_SIZE), told))
		return true;
	count = ask_each(vault, hsm_pool_up(vault->hsms) & ~(1u << first.hsm), data, others, err);
	for (size_t i = 0; i < count; i++) {
		made += others[i].made;
		if (!others[i].made || !ch_view_equal_secret(ch_view(others[i].mac, VAULT_MAC_SIZE), told))
			continue;
		shut_out(vault, &first);
		return true;
	}
	if (made < count)
		return ch_fail_in(err, "a seal that HSM '%s' does not know",
				  hsm_pool_name(vault->hsms, first.hsm));
	return ch_fail(err, CH_DENIED, "it was changed outside the vault");
}
