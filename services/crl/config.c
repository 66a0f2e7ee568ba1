/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the configuration file of chancery-crl. Read by libcommon/daemon for main.c. */
#include "crl.h"

static const struct ch_conf_field fields[] = {
	/* Of the peers, those in peers.c are called; the other names may stand there as ever. */
	CH_DAEMON_COMMON_FIELDS(struct crl_config, "vault|issuer|crl|audit"),
	CH_CONF_SUB(struct crl_config, http, &ch_http_schema),
	CH_CONF_NAMED("follow_interval", struct crl_config, follow_interval_us, CH_CONF_DURATION,
		      .default_text = "200ms", .min = 10 * CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "how often the database is asked for newer CRLs, made by any instance"),
	CH_CONF_NAMED(
		"lease", struct crl_config, lease_us, CH_CONF_DURATION, .default_text = "20s",
		.min = CH_SECOND, .max = 10 * CH_MINUTE,
		.help = "an instance that makes a CRL and is not heard of for this long is taken for dead"),
};
const struct ch_conf_schema crl_config_schema = { "crl", fields, CH_COUNT(fields) };
