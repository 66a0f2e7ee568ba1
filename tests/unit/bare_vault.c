/* SPDX-License-Identifier: Apache-2.0 */
/* bare_vault.c: see bare_vault.h. */
#include "bare_vault.h"
#include "policy.h"
#include "rogue_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

void set_up_both(void **state, const char *how)
{
	set_up_rogue(state, how);
	assert_true(hsm_pool_wait_up(((struct fixture *)*state)->pool, BOTH, UP_LIMIT));
}

void open_bare(struct bare *bare, struct fixture *fixture)
{
	*bare = (struct bare){ .config.common.instance = (char *)(uintptr_t) "vault-1" };
	bare->vault.config = &bare->config;
	bare->vault.metrics = ch_metrics_new();
	bare->vault.hsms = fixture->pool;
	bare->vault.seals = vault_seals_new();
}

void close_bare(struct bare *bare)
{
	vault_seals_free(bare->vault.seals);
	ch_metrics_free(bare->vault.metrics);
}

uint64_t alerts_of(const struct bare *bare, const char *reason)
{
	CH_AUTO(ch_string) labels = ch_format("reason=\"%s\"", reason);

	return ch_metric_value(
		ch_metrics_counter(bare->vault.metrics, "chancery_vault_alerts_total", "", labels));
}
