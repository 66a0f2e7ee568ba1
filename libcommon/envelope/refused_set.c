/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refused_set.c: the lists of refused identities that a trust holds, the newest of each system CA. trust.c
 * calls it, with its lock held.
 */
#include "envelope/internal.h"

#include <string.h>

static size_t count_new(const struct ch_refused_list *list, const struct ch_refused_list *before)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += !before || !ch_refused_list_find(before, list->entries[i].serial);
	return count;
}

bool ch_refused_set_take(struct ch_refused_set *set, struct ch_refused_list **list,
			 struct ch_refused_news *news, struct ch_error *err)
{
	struct ch_refused_list *fresh = *list, *before;
	size_t at = 0;
	int order;

	while (at < set->count && memcmp(set->lists[at]->issuer, fresh->issuer, 32) != 0)
		at++;
	if (at == CH_TRUST_CAS_CAP)
		return ch_fail(err, CH_EXHAUSTED, "lists of refused identities of %d CAs are held already",
			       CH_TRUST_CAS_CAP);
	before = at < set->count ? set->lists[at] : NULL;
	order = before ? memcmp(fresh->number, before->number, sizeof(fresh->number)) : 1;
	if (order == 0 && ch_view_equal(ch_view_of(&fresh->der), ch_view_of(&before->der)))
		return true;
	if (order <= 0)
		return ch_fail(err, CH_CONFLICT,
			       order < 0
				       ? "list of refused identities has number %s, number %s is held"
				       : "list of refused identities has number %s, as the one that is held "
					 "(%s), and other content",
			       fresh->number_text, before->number_text);
	news->taken = true;
	news->new_count = count_new(fresh, before);
	set->lists[at] = fresh;
	set->count += !before;
	*list = before;
	return true;
}

static bool has_key(X509_STORE *store, const uint8_t issuer[32])
{
	STACK_OF(X509) *cas = X509_STORE_get1_all_certs(store);
	bool found = false;
	uint8_t digest[32];

	for (int i = 0; !found && i < sk_X509_num(cas); i++)
		found = ch_spki_sha256(sk_X509_value(cas, i), digest) && memcmp(digest, issuer, 32) == 0;
	sk_X509_pop_free(cas, X509_free);
	return found;
}

void ch_refused_set_keep(struct ch_refused_set *set, X509_STORE *store)
{
	size_t kept = 0;

	for (size_t i = 0; i < set->count; i++)
		if (!set->lists[i]->of_system_ca || has_key(store, set->lists[i]->issuer))
			set->lists[kept++] = set->lists[i];
		else
			ch_refused_list_free(set->lists[i]);
	set->count = kept;
}

const struct ch_refused_entry *ch_refused_set_find(const struct ch_refused_set *set, const uint8_t issuer[32],
						   const uint8_t serial[CH_SERIAL_ROOM])
{
	for (size_t i = 0; i < set->count; i++)
		if (memcmp(set->lists[i]->issuer, issuer, 32) == 0)
			return ch_refused_list_find(set->lists[i], serial);
	return NULL;
}

void ch_refused_set_free(struct ch_refused_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		ch_refused_list_free(set->lists[i]);
	set->count = 0;
}
