/* SPDX-License-Identifier: Apache-2.0 */
/* pem.c: textual encoding (RFC 7468). Written for answers and files, read from CSRs and configured
 * certificates. */
#include "x509/x509.h"

#include <openssl/pem.h>
#include <string.h>

#define OCTETS_PER_LINE 48 /* 64 characters, RFC 7468 §2 */

void ch_pem_add(struct ch_buffer *buffer, const char *label, struct ch_view der)
{
	ch_buffer_printf(buffer, "-----BEGIN %s-----\n", label);
	for (size_t at = 0; at < der.size; at += OCTETS_PER_LINE) {
		size_t size = der.size - at < OCTETS_PER_LINE ? der.size - at : OCTETS_PER_LINE;
		uint8_t *line = ch_buffer_reserve(buffer, OCTETS_PER_LINE / 3 * 4 + 2);
		int written = EVP_EncodeBlock(line, der.data + at, (int)size);
		line[written] = '\n';
		buffer->used += (size_t)written + 1;
	}
	ch_buffer_printf(buffer, "-----END %s-----\n", label);
}

/* One block as OpenSSL hands it out; all three are its allocations. */
struct block {
	char *name, *header;
	uint8_t *data;
	long size;
};

static void block_free(struct block *block)
{
	OPENSSL_free(block->name);
	OPENSSL_free(block->header);
	OPENSSL_free(block->data);
	*block = (struct block)CH_NONE;
}

CH_DEFINE_AUTO_VALUE(block, struct block, block_free)
CH_DEFINE_AUTO_POINTER(BIO, BIO, BIO_free_all)

bool ch_pem_read(struct ch_view text, const char *label, struct ch_bytes *der, struct ch_error *err)
{
	CH_AUTO(BIO) source = text.size <= INT32_MAX ? BIO_new_mem_buf(text.data, (int)text.size) : NULL;
	if (!source)
		return ch_fail(err, CH_INVALID, "PEM: no text");
	for (;;) {
		CH_AUTO(block) block = CH_NONE;
		if (!PEM_read_bio(source, &block.name, &block.header, &block.data, &block.size))
			return ch_fail_openssl(err, CH_INVALID, "PEM: no readable '%s' block", label);
		if (strcmp(block.name, label) != 0)
			continue;
		if (block.header[0] != '\0')
			return ch_fail(err, CH_INVALID, "PEM: headers in the '%s' block (RFC 7468 2)", label);
		*der = ch_bytes_copy(ch_view(block.data, (size_t)block.size));
		return true;
	}
}
