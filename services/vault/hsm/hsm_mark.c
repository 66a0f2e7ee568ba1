/* SPDX-License-Identifier: Apache-2.0 */
/* hsm_mark.c: numbers that only grow. worker_marks.c and policy/marks.c use them. */
#include "hsm_mark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hsm_mark_set(struct hsm_mark *mark, struct ch_view value)
{
	while (value.size > 1 && value.data[0] == 0)
		value = ch_view(value.data + 1, value.size - 1);
	memset(mark, 0, sizeof(*mark));
	if (value.size > sizeof(mark->value)) {
		memset(mark->value, 0xff, sizeof(mark->value));
		mark->size = sizeof(mark->value);
		return;
	}
	mark->size = value.size ? value.size : 1;
	if (value.size)
		memcpy(mark->value, value.data, value.size);
}

bool hsm_mark_read(struct hsm_mark *mark, struct ch_view value)
{
	if (value.size > sizeof(mark->value))
		return false;
	hsm_mark_set(mark, value);
	return true;
}

void hsm_mark_of_number(struct hsm_mark *mark, uint64_t number)
{
	uint8_t octets[8];

	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (uint8_t)(number >> (56 - 8 * i));
	hsm_mark_set(mark, ch_view(octets, sizeof(octets)));
}

int hsm_mark_compare(const struct hsm_mark *a, const struct hsm_mark *b)
{
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return memcmp(a->value, b->value, a->size);
}

void hsm_mark_list_add(struct hsm_mark_list *list, const char *name, const struct hsm_mark *mark)
{
	struct hsm_named_mark *item;

	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->items[i].name, name) == 0) {
			if (hsm_mark_compare(mark, &list->items[i].mark) > 0)
				list->items[i].mark = *mark;
			return;
		}
	if (list->count == list->room) {
		list->room = list->room ? 2 * list->room : 64;
		list->items = ch_realloc(list->items, list->room * sizeof(*list->items));
	}
	item = &list->items[list->count++];
	snprintf(item->name, sizeof(item->name), "%s", name);
	item->mark = *mark;
}

void hsm_mark_list_free(struct hsm_mark_list *list)
{
	free(list->items);
	*list = (struct hsm_mark_list)CH_NONE;
}
