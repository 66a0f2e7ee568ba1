/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the audit daemon's configuration file. */
#include "audit.h"

static const struct ch_conf_field fields[] = {
	/* Of the peers, those in peers.c are called; the other names may stand there as ever. */
	CH_DAEMON_COMMON_FIELDS(struct audit_config, "vault|issuer|crl|audit"),
	CH_CONF_NAMED("checkpoint_interval", struct audit_config, checkpoint_interval_us, CH_CONF_DURATION,
		      .default_text = "1m", .min = CH_SECOND, .max = CH_DAY,
		      .help = "how often a log that grew is signed through the vault"),
	CH_CONF_FIELD(struct audit_config, origin, CH_CONF_STRING, .default_text = "chancery",
		      .help = "names the log in its checkpoints; one checkpoint key for each origin"),
};
const struct ch_conf_schema audit_config_schema = { "audit", fields, CH_COUNT(fields) };
