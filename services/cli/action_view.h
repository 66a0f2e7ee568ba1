/* SPDX-License-Identifier: Apache-2.0 */
/* action_view.h: an action before an officer's eyes, from the very octets that are signed, and the question
 * whether to sign. `approve`, `vault approve`, `ca create` and the key ceremony show and ask the same. */
#ifndef CHANCERY_CLI_ACTION_VIEW_H
#define CHANCERY_CLI_ACTION_VIEW_H

#include "cli.h"

#include <stdio.h>

/*
 * What approving does, who proposed it, from where and when, each field and what the vault tells of it; where
 * the document names the digest of something to be signed, that too, decoded. All of it escaped.
 * document  what officers sign
 * content   what its tbs-sha256 is the digest of; size 0: there is none
 * Errors    CH_INVALID the document or the content does not read; CH_DENIED the content is missing, or is not
 *           what the document names: then nothing is to be signed
 */
CH_MUST_USE bool action_view_show(FILE *out, struct ch_view document, struct ch_view content,
				  struct ch_error *err);

/* "y" on the terminal, or --yes on the command line. CH_DENIED: neither; the message says which is missing.
 */
CH_MUST_USE bool action_view_confirm(struct cli *cli, const char *officer, struct ch_error *err);

#endif
