/* SPDX-License-Identifier: Apache-2.0 */
/* assemble.c: puts a signature to the bytes it was made over. The issuer, crl and ocsp end with it. */
#include "x509/x509.h"

struct ch_bytes ch_signed_assemble(struct ch_view to_be_signed, const struct ch_algorithm *algorithm,
				   struct ch_view signature)
{
	CH_AUTO(ch_der_writer) writer = CH_NONE;
	ch_der_begin(&writer, CH_DER_SEQUENCE); /* RFC 5280 §4.1, §5.1; RFC 6960 §4.2.1 */
	ch_der_put_raw(&writer, to_be_signed);
	ch_der_put_raw(&writer, algorithm->signature_identifier);
	ch_der_put_bit_string(&writer, signature);
	ch_der_finish(&writer);
	return ch_der_done(&writer);
}
