/* SPDX-License-Identifier: Apache-2.0 */
/* crl.c: `chancery crl`: makes a CRL now, and shows the newest. */
#include "client.h"
#include "output.h"

#include <stdio.h>

static const struct cli_column details[] = {
	{ "CA", "ca" },
	{ "CRL number", "crl_number" },
	{ "this update", "this_update" },
	{ "next update", "next_update" },
	{ "entries", "entries" },
	{ "made by", "made_by" },
};

static char *crl_path(const struct cli *cli)
{
	CH_AUTO(ch_string) encoded = cli_url_encode(cli->arguments[0]);

	return ch_format("/v1/crls/%s", encoded);
}

bool cli_crl_generate(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_string) path = crl_path(cli);
	CH_AUTO(cJSON) crl = NULL;

	if (!cli_post(cli, path, NULL, &crl, err))
		return false;
	cli_print_object(cli, crl, details, CH_COUNT(details));
	return true;
}

bool cli_crl_show(struct cli *cli, struct ch_error *err)
{
	CH_AUTO(ch_string) path = crl_path(cli);
	CH_AUTO(cJSON) crl = NULL;

	if (!cli_get(cli, path, &crl, err))
		return false;
	cli_print_object(cli, crl, details, CH_COUNT(details));
	return true;
}
