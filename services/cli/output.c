/* SPDX-License-Identifier: Apache-2.0 */
/* output.c: prints JSON values as tables or as they are. */
#include "output.h"

#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_text(struct ch_buffer *out, const cJSON *value)
{
	const cJSON *item, *type = cJSON_GetObjectItemCaseSensitive(value, "type");
	bool first = true;

	if (cJSON_IsString(value))
		ch_buffer_printf(out, "%s", value->valuestring);
	else if (cJSON_IsNumber(value))
		ch_buffer_printf(out, "%.0f", value->valuedouble);
	else if (cJSON_IsBool(value))
		ch_buffer_printf(out, "%s", cJSON_IsTrue(value) ? "yes" : "no");
	else if (cJSON_IsObject(value) && cJSON_IsString(type))
		ch_buffer_printf(out, "%s:%s", type->valuestring,
				 cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(value, "value")));
	else if (cJSON_IsArray(value) || cJSON_IsObject(value))
		cJSON_ArrayForEach(item, value)
		{
			ch_buffer_printf(out, "%s%s%s", first ? "" : ", ",
					 cJSON_IsObject(value) ? item->string : "",
					 cJSON_IsObject(value) ? "=" : "");
			add_text(out, item);
			first = false;
		}
}

char *cli_text(const cJSON *value)
{
	CH_AUTO(ch_buffer) out = CH_NONE;

	add_text(&out, value);
	/* What comes from outside must not move the cursor of a person's terminal. */
	return ch_text_escape(ch_buffer_view(&out));
}

/* Characters, not octets: UTF-8 continuation octets take no column. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (const char *at = text; *at; at++)
		width += ((unsigned char)*at & 0xc0) != 0x80;
	return width;
}

static void print_cell(const char *text, size_t width, bool last)
{
	fputs(text, stdout);
	for (size_t used = width_of(text); !last && used < width + 2; used++)
		putchar(' ');
	if (last)
		putchar('\n');
}

static size_t column_width(const cJSON *rows, const struct cli_column *column)
{
	size_t width = width_of(column->title);
	const cJSON *row;

	cJSON_ArrayForEach(row, rows)
	{
		CH_AUTO(ch_string) text = cli_text(cJSON_GetObjectItemCaseSensitive(row, column->field));

		if (width_of(text) > width)
			width = width_of(text);
	}
	return width;
}

void cli_print_json(const cJSON *value)
{
	CH_AUTO(ch_string) text = cJSON_Print(value);
	CH_AUTO(ch_buffer) safe = CH_NONE;

	ch_text_add_json(&safe, ch_view_text(text ? text : "null"), true);
	printf("%.*s\n", (int)safe.used, (const char *)safe.data);
}

void cli_print_lines(FILE *out, const char *text)
{
	CH_AUTO(ch_string) safe = ch_text_escape_lines(ch_view_text(text ? text : ""));

	fputs(safe, out);
}

void cli_print_table(const struct cli *cli, const cJSON *rows, const struct cli_column *columns, size_t count)
{
	size_t *widths;
	const cJSON *row;

	if (cli_flag(cli, "json")) {
		cli_print_json(rows);
		return;
	}
	widths = ch_alloc(count * sizeof(*widths));
	for (size_t i = 0; i < count; i++)
		widths[i] = column_width(rows, &columns[i]);
	for (size_t i = 0; i < count; i++)
		print_cell(columns[i].title, widths[i], i + 1 == count);
	cJSON_ArrayForEach(row, rows)
	{
		for (size_t i = 0; i < count; i++) {
			CH_AUTO(ch_string) text =
				cli_text(cJSON_GetObjectItemCaseSensitive(row, columns[i].field));

			print_cell(text[0] ? text : "-", widths[i], i + 1 == count);
		}
	}
	free(widths);
}

void cli_print_object(const struct cli *cli, const cJSON *object, const struct cli_column *columns,
		      size_t count)
{
	size_t width = 0;

	if (cli_flag(cli, "json")) {
		cli_print_json(object);
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (width_of(columns[i].title) > width)
			width = width_of(columns[i].title);
	for (size_t i = 0; i < count; i++) {
		CH_AUTO(ch_string) text =
			cli_text(cJSON_GetObjectItemCaseSensitive(object, columns[i].field));

		if (text[0] == '\0')
			continue;
		print_cell(columns[i].title, width, false);
		print_cell(text, 0, true);
	}
}
