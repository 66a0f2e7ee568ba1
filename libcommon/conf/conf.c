/* SPDX-License-Identifier: Apache-2.0 */
/* conf.c: what a schema says besides reading: how to free what was read, and its reference for people. */
#include "conf/conf_internal.h"

#include <stdlib.h>
#include <string.h>

static void free_text(char **text)
{
	if (*text)
		ch_wipe(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void free_strings(struct ch_conf_strings *list)
{
	for (size_t i = 0; i < list->count; i++)
		free_text(&list->items[i]);
	free(list->items);
	*list = (struct ch_conf_strings)CH_NONE;
}

static void free_lists(struct ch_conf_lists *lists)
{
	for (size_t i = 0; i < lists->count; i++) {
		free_text(&lists->items[i].name);
		free_strings(&lists->items[i].list);
	}
	free(lists->items);
	*lists = (struct ch_conf_lists)CH_NONE;
}

static void free_list(const struct ch_conf_field *field, struct ch_conf_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		ch_conf_free(field->schema, (uint8_t *)list->items + i * field->element_size);
	free(list->items);
	*list = (struct ch_conf_list)CH_NONE;
}

static void free_member(const struct ch_conf_field *field, void *member)
{
	switch (field->type) {
	case CH_CONF_STRING:
	case CH_CONF_PATH:
		free_text(member);
		break;
	case CH_CONF_STRING_LIST:
		free_strings(member);
		break;
	case CH_CONF_SECTION:
		ch_conf_free(field->schema, member);
		break;
	case CH_CONF_SECTION_LIST:
		free_list(field, member);
		break;
	case CH_CONF_LISTS:
		free_lists(member);
		break;
	case CH_CONF_BOOLEAN:
		*(bool *)member = false;
		break;
	case CH_CONF_INTEGER:
	case CH_CONF_DURATION:
	case CH_CONF_SIZE:
		*(int64_t *)member = 0;
		break;
	}
}

void ch_conf_free(const struct ch_conf_schema *schema, void *target)
{
	for (size_t i = 0; i < schema->count; i++)
		free_member(&schema->fields[i], (uint8_t *)target + schema->fields[i].offset);
}

static const char *type_name(enum ch_conf_type type)
{
	static const char *const names[] = {
		[CH_CONF_STRING] = "string",
		[CH_CONF_PATH] = "path",
		[CH_CONF_INTEGER] = "integer",
		[CH_CONF_BOOLEAN] = "boolean",
		[CH_CONF_DURATION] = "duration",
		[CH_CONF_SIZE] = "size",
		[CH_CONF_STRING_LIST] = "list of strings",
		[CH_CONF_SECTION] = "section",
		[CH_CONF_SECTION_LIST] = "list of sections",
		[CH_CONF_LISTS] = "lists of strings",
	};

	return names[type];
}

static void add_range(struct ch_buffer *out, const struct ch_conf_field *field)
{
	CH_AUTO(ch_string) low = ch_conf_number_text(field->type, field->min);
	CH_AUTO(ch_string) high = ch_conf_number_text(field->type, field->max);

	if (field->choices)
		ch_conf_put_choices(out, field->choices);
	else if (field->min || field->max)
		ch_buffer_printf(out, "%s to %s", low, high);
}

/* A row for each name, as if it were a key of a section. */
static void describe_lists(const struct ch_conf_field *field, const char *prefix, struct ch_buffer *out)
{
	for (const char *at = field->choices; *at;) {
		size_t length = strcspn(at, "|");

		ch_buffer_printf(out, "| `%s%s.%.*s` | %s |  | %lld to %lld | %s |\n", prefix, field->name,
				 (int)length, at, type_name(CH_CONF_STRING_LIST), (long long)field->min,
				 (long long)field->max, field->help ? field->help : "");
		at += length + (at[length] == '|');
	}
}

static void describe(const struct ch_conf_schema *schema, const char *prefix, struct ch_buffer *out)
{
	for (size_t i = 0; i < schema->count; i++) {
		const struct ch_conf_field *field = &schema->fields[i];
		const char *fallback = field->required ? "required" : field->default_text;
		bool list = field->type == CH_CONF_SECTION_LIST;
		CH_AUTO(ch_string) inner = ch_format("%s%s%s.", prefix, field->name, list ? "[]" : "");

		if (field->type == CH_CONF_LISTS) {
			describe_lists(field, prefix, out);
		} else if (field->type != CH_CONF_SECTION || field->help) {
			ch_buffer_printf(out, "| `%s%s` | %s | %s | ", prefix, field->name,
					 type_name(field->type), fallback ? fallback : "");
			add_range(out, field);
			ch_buffer_printf(out, " | %s |\n", field->help ? field->help : "");
		}
		if (field->schema)
			describe(field->schema, inner, out);
	}
}

const struct ch_conf_strings *ch_conf_lists_find(const struct ch_conf_lists *lists, const char *name)
{
	static const struct ch_conf_strings none;

	for (size_t i = 0; i < lists->count; i++)
		if (strcmp(lists->items[i].name, name) == 0)
			return &lists->items[i].list;
	return &none;
}

char *ch_conf_describe(const struct ch_conf_schema *schema)
{
	struct ch_buffer out = CH_NONE;

	describe(schema, "", &out);
	return ch_buffer_steal_text(&out);
}
