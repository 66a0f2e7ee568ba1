/* SPDX-License-Identifier: Apache-2.0 */
/* refused_list.h: the CRL of a CA that is a file: <directory>/<name>.crl. refuse.c uses it. */
#ifndef CHANCERY_CLI_REFUSED_LIST_H
#define CHANCERY_CLI_REFUSED_LIST_H

#include "x509/x509.h"

#define REFUSED_LIST_FILE_CAP (512 * 1024)

struct refused_list {
	char *path;
	int lock; /* a descriptor: one command at a time changes the list */
	X509 *ca;
	EVP_PKEY *key;
	X509_CRL *crl;
	char *number_text; /* decimal, after refused_list_save */
};
void refused_list_free(struct refused_list *list);
CH_DEFINE_AUTO_VALUE(refused_list, struct refused_list, refused_list_free)

/* Reads it, or begins an empty one of number 0. */
CH_MUST_USE bool refused_list_open(const char *directory, const char *ca, struct refused_list *list,
				   struct ch_error *err);
/* Goes on from this one (DER) where it is the CA's and has a higher number. */
void refused_list_take_newer(struct refused_list *list, struct ch_view crl);
/* serial: hex. *is_new false: it stands in the list. */
CH_MUST_USE bool refused_list_add(struct refused_list *list, const char *serial, const char *reason,
				  bool *is_new, struct ch_error *err);
/* changed: signed with the next number. Written to its file; the caller frees *der. */
CH_MUST_USE bool refused_list_save(struct refused_list *list, bool changed, struct ch_bytes *der,
				   struct ch_error *err);

#endif
