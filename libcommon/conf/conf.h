/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h: strict typed YAML (and so JSON). A schema is a table of fields that point into a struct; what the
 * table does not name is refused with its line. Daemon configuration, CA documents and certificate profiles
 * are all read by it.
 *
 *   struct example { char *name; int64_t timeout_us; struct inner inner; };
 *   static const struct ch_conf_field example_fields[] = {
 *       CH_CONF_FIELD(struct example, name, CH_CONF_STRING, .required = true, .help = "what it is called"),
 *       CH_CONF_FIELD(struct example, timeout_us, CH_CONF_DURATION, .default_text = "5s", .min = 1, .max = 60
 * * CH_SECOND), CH_CONF_SUB(struct example, inner, &inner_schema, .help = "…"),
 *   };
 *   static const struct ch_conf_schema example_schema = { "example", example_fields, CH_COUNT(example_fields)
 * };
 */
#ifndef CH_CONF_H
#define CH_CONF_H

#include "err/err.h"
#include "mem/mem.h"

enum ch_conf_type {
	CH_CONF_STRING,  /* char *, from malloc; NULL when absent without default. .choices: "a|b|c" limits it
			  */
	CH_CONF_PATH,    /* char *; a relative path is taken from the directory of the configuration file */
	CH_CONF_INTEGER, /* int64_t, within min..max */
	CH_CONF_BOOLEAN, /* bool: true or false */
	CH_CONF_DURATION,    /* int64_t microseconds: "250ms", "5s", "10m", "24h", "30d", "2y" (365 d); within
				min..max */
	CH_CONF_SIZE,        /* int64_t bytes: "512", "64KiB", "1MiB"; within min..max */
	CH_CONF_STRING_LIST, /* struct ch_conf_strings; min..max limits the count */
	CH_CONF_SECTION, /* a struct embedded by value, described by .schema; its defaults apply when it is
			    absent */
	CH_CONF_SECTION_LIST, /* struct ch_conf_list of structs of .element_size described by .schema */
	CH_CONF_LISTS, /* struct ch_conf_lists: a mapping of the names in .choices to string lists, each
			  optional and of min..max elements */
};

struct ch_conf_strings {
	char **items; /* owned */
	size_t count;
};

struct ch_conf_named_list {
	char *name; /* owned */
	struct ch_conf_strings list;
};
struct ch_conf_lists {
	struct ch_conf_named_list *items; /* owned; those that were written */
	size_t count;
};

struct ch_conf_list {
	void *items; /* owned array of structs */
	size_t count;
};

struct ch_conf_schema;

struct ch_conf_field {
	const char *name;
	enum ch_conf_type type;
	size_t offset;
	bool required;
	bool nullable_section; /* sections: when absent, defaults are not applied and .required inside is not
				  asked */
	const char *default_text; /* as it would be written in the file */
	int64_t min; /* numbers, durations (µs), sizes, list counts; both 0: any non-negative value */
	int64_t max;
	const char *choices; /* strings and string lists: "a|b|c"; of lists, their names */
	const struct ch_conf_schema *schema;
	size_t element_size;
	const char *help; /* one line; docs/configuration.md and `--help-config` print it */
};

struct ch_conf_schema {
	const char *name;
	const struct ch_conf_field *fields;
	size_t count;
};

#define CH_CONF_FIELD(struct_type, member, conf_type, ...)                                                 \
	{                                                                                                  \
		.name = #member, .type = (conf_type), .offset = offsetof(struct_type, member), __VA_ARGS__ \
	}
/* For a key whose name differs from the member's ("timeout" for timeout_us). */
#define CH_CONF_NAMED(key, struct_type, member, conf_type, ...)                                          \
	{                                                                                                \
		.name = (key), .type = (conf_type), .offset = offsetof(struct_type, member), __VA_ARGS__ \
	}
#define CH_CONF_SUB(struct_type, member, schema_pointer, ...)                                      \
	{                                                                                          \
		.name = #member, .type = CH_CONF_SECTION, .offset = offsetof(struct_type, member), \
		.schema = (schema_pointer), __VA_ARGS__                                            \
	}

#define CH_CONF_DOCUMENT_CAP (256 * 1024)

/*
 * Reads a document into *target (zeroed by the caller). `source` names it in errors and is what relative
 * paths start from
 * ("" for a document that came over the network: then CH_CONF_PATH is refused).
 * Errors  CH_INVALID "issuer.yaml line 12: unknown key 'validty' in 'profile' (known: name, validity, …)";
 * also duplicate key, wrong type, out of range, missing required key, alias or anchor, second document,
 * nesting over 16. CH_TOO_LARGE over CH_CONF_DOCUMENT_CAP.
 */
CH_MUST_USE bool ch_conf_read(const struct ch_conf_schema *schema, struct ch_view document,
			      const char *source, void *target, struct ch_error *err);
CH_MUST_USE bool ch_conf_read_file(const struct ch_conf_schema *schema, const char *path, void *target,
				   struct ch_error *err);

/* Frees what ch_conf_read allocated inside *target (not target itself) and zeroes it. Strings are wiped. */
void ch_conf_free(const struct ch_conf_schema *schema, void *target);

/* The list of that name, an empty one where it was not written; borrowed from `lists`. */
const struct ch_conf_strings *ch_conf_lists_find(const struct ch_conf_lists *lists, const char *name);

/* The reference of a schema as Markdown table rows (key, type, default, range, help), nested keys dotted. The
 * caller frees it. */
char *ch_conf_describe(const struct ch_conf_schema *schema);

#endif
