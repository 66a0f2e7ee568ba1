/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the issuer's configuration file. `chancery-issuer --help-config` prints this table. */
#include "issuer.h"

static const struct ch_conf_field fields[] = {
	/* Of the peers, those in peers.c are called; the other names may stand there as ever. */
	CH_DAEMON_COMMON_FIELDS(struct issuer_config, "vault|issuer|crl|audit"),
	CH_CONF_NAMED("sign_timeout", struct issuer_config, sign_timeout_us, CH_CONF_DURATION,
		      .default_text = "5s", .min = 100 * CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "how long a request waits for the vault, unless its caller gives up earlier"),
	CH_CONF_NAMED("takeover", struct issuer_config, takeover_us, CH_CONF_DURATION, .default_text = "2s",
		      .min = 10 * CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "a repeated request waits this long for the first one's signature, then asks "
			      "for it itself"),
	CH_CONF_NAMED("recovery_interval", struct issuer_config, recovery_interval_us, CH_CONF_DURATION,
		      .default_text = "10s", .min = 100 * CH_MILLISECOND, .max = CH_HOUR,
		      .help = "how often certificates left pending by a crash or an outage are looked for"),
	CH_CONF_NAMED("recovery_age", struct issuer_config, recovery_age_us, CH_CONF_DURATION,
		      .default_text = "60s", .min = CH_SECOND, .max = CH_DAY,
		      .help = "pending this long, a certificate is finished by whichever issuer finds it; "
			      "its own at start"),
	CH_CONF_NAMED("recovery_give_up", struct issuer_config, recovery_give_up_us, CH_CONF_DURATION,
		      .default_text = "24h", .min = CH_MINUTE, .max = 365 * CH_DAY,
		      .help = "pending this long, a certificate is revoked: the vault may have signed it"),
	CH_CONF_NAMED("renewal_interval", struct issuer_config, renewal_interval_us, CH_CONF_DURATION,
		      .default_text = "60s", .min = CH_SECOND, .max = CH_DAY,
		      .help = "how often the suite's OCSP responder and TSA certificates are looked after"),
	CH_CONF_NAMED("partitions_ahead", struct issuer_config, partitions_ahead, CH_CONF_INTEGER,
		      .default_text = "36", .min = 1, .max = 600,
		      .help = "months of expiry that partitions exist for, at the least; more where profiles "
			      "need it"),
	CH_CONF_NAMED("outbox_interval", struct issuer_config, outbox_interval_us, CH_CONF_DURATION,
		      .default_text = "200ms", .min = 10 * CH_MILLISECOND, .max = CH_MINUTE,
		      .help = "how often audit events are taken from the database to the audit daemon"),
};
const struct ch_conf_schema issuer_config_schema = { "issuer", fields, CH_COUNT(fields) };
