/* SPDX-License-Identifier: Apache-2.0 */
/* conf_test.c: what a document may say, and how a wrong one is told. */
#include "conf/conf.h"

#include "clock/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct inner {
	char *color;
	int64_t depth;
};
struct optional {
	char *must;
};
struct point {
	char *label;
	int64_t x;
};
struct sample {
	char *name;
	char *file;
	int64_t count;
	bool on;
	int64_t wait_us;
	int64_t cap;
	struct ch_conf_strings tags;
	struct ch_conf_strings kinds;
	struct inner inner;
	struct optional optional;
	struct ch_conf_list points;
	struct ch_conf_lists routes;
};

static const struct ch_conf_field inner_fields[] = {
	CH_CONF_FIELD(struct inner, color, CH_CONF_STRING, .default_text = "red", .choices = "red|green",
		      .help = "paint"),
	CH_CONF_FIELD(struct inner, depth, CH_CONF_INTEGER, .default_text = "3", .min = 1, .max = 9),
};
static const struct ch_conf_schema inner_schema = { "inner", inner_fields, CH_COUNT(inner_fields) };
static const struct ch_conf_field optional_fields[] = {
	CH_CONF_FIELD(struct optional, must, CH_CONF_STRING, .required = true),
};
static const struct ch_conf_schema optional_schema = { "optional", optional_fields,
						       CH_COUNT(optional_fields) };
static const struct ch_conf_field point_fields[] = {
	CH_CONF_FIELD(struct point, label, CH_CONF_STRING, .required = true),
	CH_CONF_FIELD(struct point, x, CH_CONF_INTEGER, .min = -5, .max = 5),
};
static const struct ch_conf_schema point_schema = { "point", point_fields, CH_COUNT(point_fields) };
static const struct ch_conf_field sample_fields[] = {
	CH_CONF_FIELD(struct sample, name, CH_CONF_STRING, .required = true, .help = "what it is called"),
	CH_CONF_FIELD(struct sample, file, CH_CONF_PATH),
	CH_CONF_FIELD(struct sample, count, CH_CONF_INTEGER),
	CH_CONF_FIELD(struct sample, on, CH_CONF_BOOLEAN, .default_text = "true"),
	CH_CONF_NAMED("wait", struct sample, wait_us, CH_CONF_DURATION, .default_text = "5s",
		      .min = CH_MILLISECOND, .max = 2 * 365 * CH_DAY),
	CH_CONF_FIELD(struct sample, cap, CH_CONF_SIZE, .default_text = "64KiB"),
	CH_CONF_FIELD(struct sample, tags, CH_CONF_STRING_LIST, .min = 0, .max = 3,
		      .default_text = "[one, two]"),
	CH_CONF_FIELD(struct sample, kinds, CH_CONF_STRING_LIST, .choices = "a|bc"),
	CH_CONF_SUB(struct sample, inner, &inner_schema),
	CH_CONF_SUB(struct sample, optional, &optional_schema, .nullable_section = true),
	CH_CONF_FIELD(struct sample, points, CH_CONF_SECTION_LIST, .schema = &point_schema,
		      .element_size = sizeof(struct point)),
	CH_CONF_FIELD(struct sample, routes, CH_CONF_LISTS, .choices = "north|south", .max = 2,
		      .help = "stops"),
};
static const struct ch_conf_schema sample_schema = { "sample", sample_fields, CH_COUNT(sample_fields) };

static struct sample accepted(const char *text)
{
	struct sample sample = CH_NONE;
	struct ch_error err = CH_NONE;

	if (!ch_conf_read(&sample_schema, ch_view_text(text), "/etc/chancery/sample.yaml", &sample, &err))
		fail_msg("refused: %s", err.message);
	return sample;
}

static void refused(const char *text, const char *message)
{
	static const struct sample empty;
	struct sample sample = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(ch_conf_read(&sample_schema, ch_view_text(text), "sample.yaml", &sample, &err));
	assert_int_equal(err.code, CH_INVALID);
	assert_string_equal(err.message, message);
	/* What was read before the error was freed again. */
	assert_memory_equal(&sample, &empty, sizeof(sample));
}

static void every_type_is_read(void **state)
{
	struct sample s = accepted("name: first\n"
				   "file: keys/one.pem\n"
				   "count: 12\n"
				   "on: false\n"
				   "wait: 250ms\n"
				   "cap: 2MiB\n"
				   "tags: [x]\n"
				   "kinds:\n  - bc\n  - a\n"
				   "inner: { color: green, depth: 9 }\n"
				   "optional:\n  must: yes\n"
				   "points:\n  - { label: p, x: -5 }\n  - { label: q }\n"
				   "routes:\n  south: [a, b]\n");
	const struct point *points = s.points.items;

	assert_string_equal(s.name, "first");
	assert_string_equal(s.file, "/etc/chancery/keys/one.pem");
	assert_int_equal(s.count, 12);
	assert_false(s.on);
	assert_int_equal(s.wait_us, 250000);
	assert_int_equal(s.cap, 2 << 20);
	assert_int_equal(s.tags.count, 1);
	assert_string_equal(s.tags.items[0], "x");
	assert_int_equal(s.kinds.count, 2);
	assert_string_equal(s.kinds.items[0], "bc");
	assert_string_equal(s.inner.color, "green");
	assert_int_equal(s.inner.depth, 9);
	assert_string_equal(s.optional.must, "yes");
	assert_int_equal(s.points.count, 2);
	assert_string_equal(points[0].label, "p");
	assert_int_equal(points[0].x, -5);
	assert_int_equal(points[1].x, 0);
	assert_int_equal(ch_conf_lists_find(&s.routes, "south")->count, 2);
	assert_string_equal(ch_conf_lists_find(&s.routes, "south")->items[1], "b");
	assert_int_equal(ch_conf_lists_find(&s.routes, "north")->count, 0);
	ch_conf_free(&sample_schema, &s);
}

static void defaults_fill_what_is_absent(void **state)
{
	struct sample s = accepted("name: first\n");

	assert_null(s.file);
	assert_true(s.on);
	assert_int_equal(s.wait_us, 5 * CH_SECOND);
	assert_int_equal(s.cap, 64 << 10);
	assert_int_equal(s.tags.count, 2);
	assert_string_equal(s.tags.items[1], "two");
	assert_string_equal(s.inner.color, "red");
	assert_int_equal(s.inner.depth, 3);
	assert_null(s.optional.must);
	assert_int_equal(s.points.count, 0);
	ch_conf_free(&sample_schema, &s);
}

static void json_is_read_too(void **state)
{
	struct sample s =
		accepted("{\"name\": \"a\\\"\\u00e9\\/\", \"count\": 7, \"wait\": \"2y\", \"on\":true,\n"
			 "\t\"tags\": [\"t\"], \"inner\": {\"depth\": 4}}\n");

	assert_string_equal(s.name, "a\"\xc3\xa9/");
	assert_int_equal(s.count, 7);
	assert_int_equal(s.wait_us, 730 * CH_DAY);
	assert_int_equal(s.inner.depth, 4);
	ch_conf_free(&sample_schema, &s);
}

static void mistakes_are_told_with_their_line(void **state)
{
	refused("name: a\ncuont: 3\n", "sample.yaml line 2: unknown key 'cuont' in 'sample' (known: name, "
				       "file, count, on, wait, cap, tags, "
				       "kinds, inner, optional, points, routes)");
	refused("name: a\ninner:\n  depht: 3\n",
		"sample.yaml line 3: unknown key 'depht' in 'inner' (known: color, depth)");
	refused("name: a\nroutes:\n  north: [a]\n  nroth: [a]\n",
		"sample.yaml line 4: unknown key 'nroth' in 'routes' (known: north, south)");
	refused("name: a\nroutes: { north: [a], north: [b] }\n",
		"sample.yaml line 2: key 'north' stands twice in 'routes'");
	refused("name: a\ncount: 1\nname: b\n", "sample.yaml line 3: key 'name' stands twice in 'sample'");
	refused("count: 1\n", "sample.yaml line 2: required key 'name' is missing in 'sample'");
	refused("name: a\noptional: {}\n",
		"sample.yaml line 2: required key 'must' is missing in 'optional'");
	refused("name: a\npoints: [{x: 1}]\n",
		"sample.yaml line 2: required key 'label' is missing in 'point'");
	refused("name: a\n---\nname: b\n", "sample.yaml line 2: a second document begins here");
	refused("", "sample.yaml line 1: the document is empty");
	refused("name\n", "sample.yaml line 1: 'sample' is not a mapping");
}

static void values_of_the_wrong_type_are_refused(void **state)
{
	refused("name: [a]\n",
		"sample.yaml line 1: 'name' is a list or a mapping where one value is expected");
	refused("name:\n", "sample.yaml line 1: 'name': no value is given");
	refused("name: ~\n", "sample.yaml line 1: 'name': no value is given");
	refused("name: a\ncount: \"12\"\n", "sample.yaml line 2: 'count': '12' is not an integer");
	refused("name: a\ncount: 012\n", "sample.yaml line 2: 'count': '012' is not an integer");
	refused("name: a\ncount: 0x10\n", "sample.yaml line 2: 'count': '0x10' is not an integer");
	refused("name: a\ncount: 1.5\n", "sample.yaml line 2: 'count': '1.5' is not an integer");
	refused("name: a\ncount: 99999999999999999999\n",
		"sample.yaml line 2: 'count': '99999999999999999999' is not an integer");
	refused("name: a\ncount: -1\n", "sample.yaml line 2: 'count': -1 is negative");
	refused("name: a\non: yes\n", "sample.yaml line 2: 'on': 'yes' is not a boolean (true or false)");
	refused("name: a\nwait: 5\n", "sample.yaml line 2: 'wait': '5' is not a duration (a whole number and "
				      "one of ms, s, m, h, d, y)");
	refused("name: a\nwait: 3y\n", "sample.yaml line 2: 'wait': 3y is out of range (1ms to 2y)");
	refused("name: a\nwait: 9999999999999y\n", "sample.yaml line 2: 'wait': '9999999999999y' is not a "
						   "duration (a whole number and one of ms, s, m, "
						   "h, d, y)");
	refused("name: a\ncap: 5MB\n", "sample.yaml line 2: 'cap': '5MB' is not a size (a whole number of "
				       "bytes, or with KiB, MiB, GiB)");
	refused("name: a\ninner: { color: blue }\n",
		"sample.yaml line 2: 'color': 'blue' is not one of red|green");
	refused("name: a\ninner: { depth: 10 }\n",
		"sample.yaml line 2: 'depth': 10 is out of range (1 to 9)");
	refused("name: a\nkinds: [b]\n", "sample.yaml line 2: 'kinds': 'b' is not one of a|bc");
	refused("name: a\ntags: x\n", "sample.yaml line 2: 'tags' is not a list");
	refused("name: a\ntags: [1, 2, 3, 4]\n", "sample.yaml line 2: 'tags' has over 3 elements");
	refused("name: a\ntags: [[x]]\n", "sample.yaml line 2: 'tags': an element is not a text");
	refused("name: a\ninner: 3\n", "sample.yaml line 2: 'inner' is not a mapping");
	refused("name: a\nroutes: [north]\n", "sample.yaml line 2: 'routes' is not a mapping");
	refused("name: a\nroutes: { north: a }\n", "sample.yaml line 2: 'north' is not a list");
	refused("name: a\nroutes: { north: [a, b, c] }\n", "sample.yaml line 2: 'north' has over 2 elements");
	refused("name: a\nroutes: { [north]: [a] }\n", "sample.yaml line 2: a key of 'routes' is not a text");
	refused("name: a\npoints: [3]\n", "sample.yaml line 2: 'point' is not a mapping");
}

static void what_makes_yaml_clever_is_refused(void **state)
{
	refused("name: &n a\n", "sample.yaml line 1: anchor '&n': anchors are not allowed");
	refused("name: a\nfile: *n\n", "sample.yaml line 2: alias '*n': aliases are not allowed");
	refused("name: !!binary aGk=\n",
		"sample.yaml line 1: tag 'tag:yaml.org,2002:binary': tags are not allowed");
	refused("name: \"a\\0b\"\n", "sample.yaml line 1: 'name': a zero octet inside 'a'");
	refused("name: 'a\n", "sample.yaml line 2: not YAML: found unexpected end of stream");
	refused("? [a]\n: b\n", "sample.yaml line 1: a key of 'sample' is not a text");
}

static void a_document_over_the_cap_is_not_parsed(void **state)
{
	struct sample sample = CH_NONE;
	struct ch_error err = CH_NONE;
	CH_AUTO(ch_bytes) document = { ch_alloc(CH_CONF_DOCUMENT_CAP + 1), CH_CONF_DOCUMENT_CAP + 1 };

	memset(document.data, '#', document.size);
	assert_false(ch_conf_read(&sample_schema, ch_view_of(&document), "", &sample, &err));
	assert_int_equal(err.code, CH_TOO_LARGE);
}

/* A document from the network has no directory that a path could start from. */
static void paths_are_refused_in_documents_without_a_file(void **state)
{
	struct sample sample = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_false(ch_conf_read(&sample_schema, ch_view_text("name: a\nfile: /etc/passwd\n"), "", &sample,
				  &err));
	assert_string_equal(err.message, "line 2: 'file': a path has no meaning in this document");
}

static void a_file_is_read_and_named_in_errors(void **state)
{
	char path[] = "/tmp/conf_test.XXXXXX";
	int fd = mkstemp(path);
	struct sample sample = CH_NONE;
	struct ch_error err = CH_NONE;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "name: a\nx: 1\n", 13), 13);
	close(fd);
	assert_false(ch_conf_read_file(&sample_schema, path, &sample, &err));
	assert_ptr_equal(strstr(err.message, path), err.message);
	assert_non_null(strstr(err.message, "line 2: unknown key 'x'"));
	unlink(path);
	assert_false(ch_conf_read_file(&sample_schema, path, &sample, &err));
	assert_int_equal(err.code, CH_NOT_FOUND);
}

static void the_reference_names_nested_keys_with_dots(void **state)
{
	char *text = ch_conf_describe(&sample_schema);

	assert_non_null(strstr(text, "| `name` | string | required |  | what it is called |\n"));
	assert_non_null(strstr(text, "| `wait` | duration | 5s | 1ms to 2y |  |\n"));
	assert_non_null(strstr(text, "| `inner.color` | string | red | red, green | paint |\n"));
	assert_non_null(strstr(text, "| `routes.north` | list of strings |  | 0 to 2 | stops |\n"
				     "| `routes.south` | list of strings |  | 0 to 2 | stops |\n"));
	assert_non_null(strstr(text, "| `points[].x` | integer |  | -5 to 5 |  |\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_is_read),
		cmocka_unit_test(defaults_fill_what_is_absent),
		cmocka_unit_test(json_is_read_too),
		cmocka_unit_test(mistakes_are_told_with_their_line),
		cmocka_unit_test(values_of_the_wrong_type_are_refused),
		cmocka_unit_test(what_makes_yaml_clever_is_refused),
		cmocka_unit_test(a_document_over_the_cap_is_not_parsed),
		cmocka_unit_test(paths_are_refused_in_documents_without_a_file),
		cmocka_unit_test(a_file_is_read_and_named_in_errors),
		cmocka_unit_test(the_reference_names_nested_keys_with_dots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
