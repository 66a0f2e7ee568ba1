/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read.c: walks the events of libyaml's parser along a schema. The document never becomes a tree: what the
 * schema does not expect at a place ends the reading there. Called through ch_conf_read.
 */
#include "conf/conf_internal.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one; owned */
	const char *source;
	unsigned depth;
};

static void reader_close(struct reader *reader)
{
	yaml_event_delete(&reader->event);
	yaml_parser_delete(&reader->parser);
}

static bool reader_open(struct reader *reader, struct ch_view document, const char *source,
			struct ch_error *err)
{
	memset(reader, 0, sizeof(*reader));
	if (!yaml_parser_initialize(&reader->parser))
		return ch_fail(err, CH_INTERNAL, "the YAML parser cannot be made");
	yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader->parser, document.data ? document.data : (const uint8_t *)"",
				     document.size);
	reader->source = source;
	return true;
}

/* Puts "issuer.yaml line 12: " before the message. */
static bool fail_at(const struct reader *reader, size_t line, struct ch_error *err)
{
	if (*reader->source)
		return ch_fail_in(err, "%s line %zu", reader->source, line);
	return ch_fail_in(err, "line %zu", line);
}

static size_t line_of(const struct reader *reader)
{
	return reader->event.start_mark.line + 1;
}

/* Anchors and tags change what a document means away from where it says it: none are taken. */
static bool check_plain(const yaml_event_t *event, struct ch_error *err)
{
	const yaml_char_t *anchor = NULL;
	const yaml_char_t *tag = NULL;

	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return ch_fail(err, CH_INVALID, "alias '*%.32s': aliases are not allowed",
			       event->data.alias.anchor);
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		return ch_fail(err, CH_INVALID, "anchor '&%.32s': anchors are not allowed", anchor);
	if (tag)
		return ch_fail(err, CH_INVALID, "tag '%.32s': tags are not allowed", tag);
	return true;
}

static bool next(struct reader *reader, struct ch_error *err)
{
	yaml_event_delete(&reader->event);
	memset(&reader->event, 0, sizeof(reader->event));
	if (!yaml_parser_parse(&reader->parser, &reader->event)) {
		const char *problem = reader->parser.problem;

		ch_fail(err, CH_INVALID, "not YAML: %s", problem ? problem : "it does not parse");
		return fail_at(reader, reader->parser.problem_mark.line + 1, err);
	}
	return check_plain(&reader->event, err) || fail_at(reader, line_of(reader), err);
}

static bool current_scalar(const struct reader *reader, struct ch_conf_scalar *scalar, struct ch_error *err)
{
	const char *text = (const char *)reader->event.data.scalar.value;

	if (strlen(text) != reader->event.data.scalar.length)
		return ch_fail(err, CH_INVALID, "a zero octet inside '%.64s'", text);
	scalar->text = text;
	scalar->quoted = reader->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	return true;
}

static bool read_mapping(struct reader *reader, const struct ch_conf_schema *schema, void *target,
			 struct ch_error *err);
static bool finish_section(const struct reader *reader, const struct ch_conf_schema *schema, const bool *seen,
			   void *target, struct ch_error *err);

/* One element more in a string list, or a failure. */
static bool read_string_element(struct reader *reader, const struct ch_conf_field *field,
				struct ch_conf_strings *list, struct ch_error *err)
{
	struct ch_conf_scalar scalar = CH_NONE;
	char *element = NULL;

	if (reader->event.type != YAML_SCALAR_EVENT)
		return ch_fail(err, CH_INVALID, "an element is not a text");
	if (!current_scalar(reader, &scalar, err) || !ch_conf_store_element(field, scalar, &element, err))
		return false;
	list->items = ch_realloc(list->items, (list->count + 1) * sizeof(*list->items));
	list->items[list->count++] = element;
	return true;
}

static bool read_section_element(struct reader *reader, const struct ch_conf_field *field,
				 struct ch_conf_list *list, struct ch_error *err)
{
	uint8_t *element;

	list->items = ch_realloc(list->items, (list->count + 1) * field->element_size);
	element = (uint8_t *)list->items + list->count * field->element_size;
	memset(element, 0, field->element_size);
	list->count++;
	return read_mapping(reader, field->schema, element, err);
}

/* What stands at the current event and has no place of its own yet gets the line of that event. */
static bool read_list(struct reader *reader, const struct ch_conf_field *field, void *member,
		      struct ch_error *err)
{
	size_t line = line_of(reader);
	size_t count = 0;

	if (reader->event.type != YAML_SEQUENCE_START_EVENT) {
		ch_fail(err, CH_INVALID, "'%s' is not a list", field->name);
		return fail_at(reader, line, err);
	}
	for (;;) {
		if (!next(reader, err))
			return false;
		if (reader->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (++count > CH_CONF_LIST_MAX || (field->max && count > (size_t)field->max)) {
			ch_fail(err, CH_INVALID, "'%s' has over %zu elements", field->name, count - 1);
			return fail_at(reader, line_of(reader), err);
		}
		if (field->type == CH_CONF_SECTION_LIST) {
			if (!read_section_element(reader, field, member, err))
				return false;
		} else if (!read_string_element(reader, field, member, err)) {
			ch_fail_in(err, "'%s'", field->name);
			return fail_at(reader, line_of(reader), err);
		}
	}
	if (!ch_conf_check_count(field, count, err)) {
		ch_fail_in(err, "'%s'", field->name);
		return fail_at(reader, line, err);
	}
	return true;
}

static bool read_scalar(struct reader *reader, const struct ch_conf_field *field, void *member,
			struct ch_error *err)
{
	struct ch_conf_scalar scalar = CH_NONE;

	if (reader->event.type != YAML_SCALAR_EVENT) {
		ch_fail(err, CH_INVALID, "'%s' is a list or a mapping where one value is expected",
			field->name);
		return fail_at(reader, line_of(reader), err);
	}
	if (!current_scalar(reader, &scalar, err) ||
	    !ch_conf_store_scalar(field, scalar, reader->source, member, err)) {
		ch_fail_in(err, "'%s'", field->name);
		return fail_at(reader, line_of(reader), err);
	}
	return true;
}

static bool fail_unknown_list(const struct ch_conf_field *field, const char *key, struct ch_error *err)
{
	CH_AUTO(ch_buffer) known = CH_NONE;
	CH_AUTO(ch_string) text = NULL;

	ch_conf_put_choices(&known, field->choices);
	text = ch_buffer_steal_text(&known);
	return ch_fail(err, CH_INVALID, "unknown key '%.64s' in '%s' (known: %s)", key, field->name, text);
}

/* The key at the current event -> a list that is to be filled. */
static bool take_list(const struct reader *reader, const struct ch_conf_field *field,
		      struct ch_conf_lists *lists, struct ch_error *err)
{
	struct ch_conf_scalar key = CH_NONE;

	if (reader->event.type != YAML_SCALAR_EVENT)
		return ch_fail(err, CH_INVALID, "a key of '%s' is not a text", field->name);
	if (!current_scalar(reader, &key, err))
		return false;
	if (!ch_conf_is_choice(field->choices, key.text))
		return fail_unknown_list(field, key.text, err);
	for (size_t i = 0; i < lists->count; i++)
		if (strcmp(lists->items[i].name, key.text) == 0)
			return ch_fail(err, CH_INVALID, "key '%s' stands twice in '%s'", key.text,
				       field->name);
	lists->items = ch_realloc(lists->items, (lists->count + 1) * sizeof(*lists->items));
	lists->items[lists->count++] = (struct ch_conf_named_list){ .name = ch_strdup(key.text) };
	return true;
}

static bool read_lists(struct reader *reader, const struct ch_conf_field *field, struct ch_conf_lists *lists,
		       struct ch_error *err)
{
	struct ch_conf_field one = { .type = CH_CONF_STRING_LIST, .min = field->min, .max = field->max };

	if (reader->event.type != YAML_MAPPING_START_EVENT) {
		ch_fail(err, CH_INVALID, "'%s' is not a mapping", field->name);
		return fail_at(reader, line_of(reader), err);
	}
	for (;;) {
		if (!next(reader, err))
			return false;
		if (reader->event.type == YAML_MAPPING_END_EVENT)
			return true;
		if (!take_list(reader, field, lists, err))
			return fail_at(reader, line_of(reader), err);
		one.name = lists->items[lists->count - 1].name;
		if (!next(reader, err) || !read_list(reader, &one, &lists->items[lists->count - 1].list, err))
			return false;
	}
}

static bool read_value(struct reader *reader, const struct ch_conf_field *field, void *member,
		       struct ch_error *err)
{
	switch (field->type) {
	case CH_CONF_SECTION:
		return read_mapping(reader, field->schema, member, err);
	case CH_CONF_STRING_LIST:
	case CH_CONF_SECTION_LIST:
		return read_list(reader, field, member, err);
	case CH_CONF_LISTS:
		return read_lists(reader, field, member, err);
	default:
		return read_scalar(reader, field, member, err);
	}
}

static bool fail_unknown(const struct ch_conf_schema *schema, const char *key, struct ch_error *err)
{
	CH_AUTO(ch_buffer) known = CH_NONE;
	CH_AUTO(ch_string) text = NULL;

	for (size_t i = 0; i < schema->count; i++)
		ch_buffer_printf(&known, "%s%s", i ? ", " : "", schema->fields[i].name);
	text = ch_buffer_steal_text(&known);
	return ch_fail(err, CH_INVALID, "unknown key '%.64s' in '%s' (known: %s)", key, schema->name, text);
}

/* The key at the current event -> its field's index, each at most once. */
static bool take_key(const struct reader *reader, const struct ch_conf_schema *schema, bool *seen,
		     size_t *index, struct ch_error *err)
{
	struct ch_conf_scalar key = CH_NONE;

	if (reader->event.type != YAML_SCALAR_EVENT)
		return ch_fail(err, CH_INVALID, "a key of '%s' is not a text", schema->name);
	if (!current_scalar(reader, &key, err))
		return false;
	for (size_t i = 0; i < schema->count; i++) {
		if (strcmp(schema->fields[i].name, key.text) != 0)
			continue;
		if (seen[i])
			return ch_fail(err, CH_INVALID, "key '%s' stands twice in '%s'", key.text,
				       schema->name);
		seen[i] = true;
		*index = i;
		return true;
	}
	return fail_unknown(schema, key.text, err);
}

static bool read_mapping(struct reader *reader, const struct ch_conf_schema *schema, void *target,
			 struct ch_error *err)
{
	bool seen[CH_CONF_FIELDS_MAX] = { false };
	size_t index = 0;

	if (schema->count > CH_CONF_FIELDS_MAX)
		return ch_fail(err, CH_INTERNAL, "schema '%s' has over %d keys", schema->name,
			       CH_CONF_FIELDS_MAX);
	if (reader->event.type != YAML_MAPPING_START_EVENT) {
		ch_fail(err, CH_INVALID, "'%s' is not a mapping", schema->name);
		return fail_at(reader, line_of(reader), err);
	}
	if (++reader->depth > CH_CONF_DEPTH_MAX) {
		ch_fail(err, CH_INVALID, "nested deeper than %d", CH_CONF_DEPTH_MAX);
		return fail_at(reader, line_of(reader), err);
	}
	for (;;) {
		const struct ch_conf_field *field;

		if (!next(reader, err))
			return false;
		if (reader->event.type == YAML_MAPPING_END_EVENT)
			break;
		if (!take_key(reader, schema, seen, &index, err))
			return fail_at(reader, line_of(reader), err);
		field = &schema->fields[index];
		if (!next(reader, err) || !read_value(reader, field, (uint8_t *)target + field->offset, err))
			return false;
	}
	reader->depth--;
	return finish_section(reader, schema, seen, target, err);
}

/* Lists have defaults too, written as in a file: "[a, b]". */
static bool store_default(const struct reader *outer, const struct ch_conf_field *field, void *member,
			  struct ch_error *err)
{
	struct ch_conf_scalar scalar = { field->default_text, true };
	struct reader reader;
	bool done;

	if (field->type == CH_CONF_BOOLEAN || field->type == CH_CONF_INTEGER)
		scalar.quoted = false;
	if (field->type != CH_CONF_STRING_LIST)
		return ch_conf_store_scalar(field, scalar, outer->source, member, err);
	if (!reader_open(&reader, ch_view_text(field->default_text), "default", err))
		return false;
	/* stream start, document start, the list */
	done = next(&reader, err) && next(&reader, err) && next(&reader, err) &&
	       read_list(&reader, field, member, err);
	reader_close(&reader);
	return done;
}

/* Defaults of what was not written, and whether it may be left out. */
static bool finish_section(const struct reader *reader, const struct ch_conf_schema *schema, const bool *seen,
			   void *target, struct ch_error *err)
{
	static const bool none[CH_CONF_FIELDS_MAX];

	for (size_t i = 0; i < schema->count; i++) {
		const struct ch_conf_field *field = &schema->fields[i];
		void *member = (uint8_t *)target + field->offset;

		if (seen[i])
			continue;
		if (field->required) {
			ch_fail(err, CH_INVALID, "required key '%s' is missing in '%s'", field->name,
				schema->name);
			return fail_at(reader, line_of(reader), err);
		}
		if (field->default_text && !store_default(reader, field, member, err))
			return ch_fail_in(err, "default of '%s'", field->name);
		if (field->type == CH_CONF_SECTION && !field->nullable_section &&
		    !finish_section(reader, field->schema, none, member, err))
			return false;
	}
	return true;
}

static bool read_document(struct reader *reader, const struct ch_conf_schema *schema, void *target,
			  struct ch_error *err)
{
	if (!next(reader, err) || !next(reader, err))
		return false;
	if (reader->event.type == YAML_STREAM_END_EVENT) {
		ch_fail(err, CH_INVALID, "the document is empty");
		return fail_at(reader, line_of(reader), err);
	}
	if (!next(reader, err) || !read_mapping(reader, schema, target, err) || !next(reader, err) ||
	    !next(reader, err))
		return false;
	if (reader->event.type != YAML_STREAM_END_EVENT) {
		ch_fail(err, CH_INVALID, "a second document begins here");
		return fail_at(reader, line_of(reader), err);
	}
	return true;
}

bool ch_conf_read(const struct ch_conf_schema *schema, struct ch_view document, const char *source,
		  void *target, struct ch_error *err)
{
	struct reader reader;
	bool done;

	if (document.size > CH_CONF_DOCUMENT_CAP)
		return ch_fail(err, CH_TOO_LARGE, "document '%s' is %zu bytes, at most %d allowed", source,
			       document.size, CH_CONF_DOCUMENT_CAP);
	if (!reader_open(&reader, document, source, err))
		return false;
	done = read_document(&reader, schema, target, err);
	reader_close(&reader);
	if (!done)
		ch_conf_free(schema, target);
	return done;
}

bool ch_conf_read_file(const struct ch_conf_schema *schema, const char *path, void *target,
		       struct ch_error *err)
{
	CH_AUTO(ch_bytes) document = CH_NONE;

	return ch_read_file(path, CH_CONF_DOCUMENT_CAP, &document, err) &&
	       ch_conf_read(schema, ch_view_of(&document), path, target, err);
}
