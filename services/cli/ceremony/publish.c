/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c: the files that a ceremony hands out. Called by run.c; transcript.c lists them. */
#include "ceremony.h"

#include <string.h>

static void add_chain(const struct ceremony_plan *plan, const struct ch_ca *ca, struct ch_buffer *text)
{
	for (; ca; ca = ceremony_parent(plan, ca))
		ch_pem_add(text, "CERTIFICATE", ch_view_of(&ca->certificate_der));
}

static void add_crl(const struct ceremony_plan *plan, const char *ca, struct ch_buffer *octets)
{
	for (size_t i = 0; i < plan->crl_count; i++)
		if (strcmp(plan->crls[i].asked->ca, ca) == 0)
			ch_buffer_add_view(octets, ch_view_of(&plan->crls[i].der));
}

void ceremony_publication_content(const struct ceremony_plan *plan,
				  const struct ceremony_publication *publication, struct ch_bytes *content)
{
	const struct ch_ca *ca = ceremony_find(plan, publication->ca);
	CH_AUTO(ch_buffer) text = CH_NONE;

	if (strcmp(publication->form, "crl") == 0)
		add_crl(plan, publication->ca, &text);
	else if (strcmp(publication->form, "der") == 0)
		ch_buffer_add_view(&text, ch_view_of(&ca->certificate_der));
	else if (strcmp(publication->form, "chain") == 0)
		add_chain(plan, ca, &text);
	else
		ch_pem_add(&text, "CERTIFICATE", ch_view_of(&ca->certificate_der));
	*content = ch_buffer_steal(&text);
}

bool ceremony_publish(struct ceremony_run *run, struct ch_error *err)
{
	const struct ceremony_publication *items = run->document->file.publish.items;

	for (size_t i = 0; i < run->document->file.publish.count; i++) {
		CH_AUTO(ch_string) file = ch_format("published/%s", items[i].file);
		CH_AUTO(ch_bytes) content = CH_NONE;

		ceremony_publication_content(&run->plan, &items[i], &content);
		if (!ceremony_save(run->folder, file, ch_view_of(&content), err))
			return false;
	}
	return true;
}
