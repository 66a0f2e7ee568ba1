/* SPDX-License-Identifier: Apache-2.0 */
/* country.c: the countries that the subject of a request may be of. issuance/policy.c calls it. */
#include "x509/name.h"

#include <string.h>

/* ISO 3166-1 alpha-2, officially assigned, and XX, which stands for none of them (CA/Browser Forum Baseline
 * Requirements §7.1.2.7). In order. */
static const char codes[] =
	"ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCR"
	"CUCV"
	"CWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIE"
	"ILIM"
	"INIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMU"
	"MVMW"
	"MXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSO"
	"SRSS"
	"STSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXXYEYTZAZMZW";

bool ch_country_is_known(struct ch_view code)
{
	for (size_t i = 0; code.size == 2 && i + 1 < sizeof(codes); i += 2)
		if (memcmp(codes + i, code.data, 2) == 0)
			return true;
	return false;
}
