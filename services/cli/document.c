/* SPDX-License-Identifier: Apache-2.0 */
/* document.c: the top-level texts of a YAML (or JSON) document. Called by ca.c and profile.c. */
#include "document.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct place {
	const char *key;
	char **text;
};

static void free_parser(yaml_parser_t *parser)
{
	yaml_parser_delete(parser);
}
static void free_tree(yaml_document_t *tree)
{
	yaml_document_delete(tree);
}
CH_DEFINE_AUTO_VALUE(yaml_parser, yaml_parser_t, free_parser)
CH_DEFINE_AUTO_VALUE(yaml_tree, yaml_document_t, free_tree)

static void take(const struct place *places, size_t count, const yaml_node_t *key, const yaml_node_t *value)
{
	for (size_t i = 0; i < count; i++) {
		if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE || *places[i].text ||
		    strcmp((const char *)key->data.scalar.value, places[i].key) != 0)
			continue;
		*places[i].text =
			ch_strndup((const char *)value->data.scalar.value, value->data.scalar.length);
	}
}

bool document_read(struct ch_view text, const char *source, struct document *document, struct ch_error *err)
{
	CH_AUTO(yaml_parser) parser = CH_NONE;
	CH_AUTO(yaml_tree) tree = CH_NONE;
	CH_AUTO(document) read = CH_NONE;
	const struct place places[] = {
		{ "name", &read.name }, { "parent", &read.parent },     { "subject", &read.subject },
		{ "key", &read.key },   { "validity", &read.validity }, { "path_length", &read.path_length },
	};
	yaml_node_t *root;

	if (!yaml_parser_initialize(&parser))
		return ch_fail(err, CH_INTERNAL, "libyaml cannot start");
	yaml_parser_set_input_string(&parser, text.data, text.size);
	if (!yaml_parser_load(&parser, &tree))
		return ch_fail(err, CH_INVALID, "%s line %zu: %s", source, parser.problem_mark.line + 1,
			       parser.problem ? parser.problem : "not YAML");
	root = yaml_document_get_root_node(&tree);
	if (!root || root->type != YAML_MAPPING_NODE)
		return ch_fail(err, CH_INVALID, "%s is not a mapping of keys to values", source);
	for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top;
	     pair++)
		take(places, CH_COUNT(places), yaml_document_get_node(&tree, pair->key),
		     yaml_document_get_node(&tree, pair->value));
	if (!read.name)
		return ch_fail(err, CH_INVALID, "%s has no name", source);
	*document = CH_STEAL(read);
	return true;
}

void document_free(struct document *document)
{
	free(document->name);
	free(document->parent);
	free(document->subject);
	free(document->key);
	free(document->validity);
	free(document->path_length);
	*document = (struct document)CH_NONE;
}

bool document_seconds(const char *text, int64_t *seconds, struct ch_error *err)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'y', 365 * 86400 } };
	char *end = NULL;
	long long number = strtoll(text, &end, 10);

	for (size_t i = 0; i < CH_COUNT(units) && end != text && number > 0 && number < 1000000; i++) {
		if (end[0] == units[i].unit && end[1] == '\0') {
			*seconds = number * units[i].seconds;
			return true;
		}
	}
	return ch_fail(err, CH_INVALID, "validity '%s' is not a duration such as 90d or 5y", text);
}
