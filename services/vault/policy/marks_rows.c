/* SPDX-License-Identifier: Apache-2.0 */
/* marks_rows.c: the sealed row that a mark is of: what one HSM says of it is believed that far. marks_sync.c
 * asks here. */
#include "marks_internal.h"

#include "approval.h"
#include "policy.h"
#include "secrets/data_key_store.h"
#include "vault.h"

#include <string.h>

static const char *after(const char *name, const char *kind)
{
	return strncmp(name, kind, strlen(kind)) == 0 ? name + strlen(kind) : NULL;
}

bool vault_mark_of_row(struct vault *vault, const char *name, struct hsm_mark *mark, struct ch_error *err)
{
	uint64_t version = 0;
	uint32_t newest = 0;
	const char *of;

	*mark = (struct hsm_mark)CH_NONE;
	if ((of = after(name, VAULT_MARK_NUMBER)))
		return vault_number_sealed(vault, of, mark, err);
	if ((of = after(name, VAULT_MARK_KEY))) {
		if (!vault_key_sealed_version(vault, of, &version, err))
			return false;
	} else if ((of = after(name, VAULT_MARK_QUORUM))) {
		if (!vault_quorum_sealed_version(vault, of, &version, err))
			return false;
	} else if ((of = after(name, VAULT_MARK_DATA_KEY))) {
		if (!store_newest_data_key(vault->db, of, &newest, err))
			return false;
		version = newest;
	}
	if (version)
		hsm_mark_of_number(mark, version);
	return true;
}
