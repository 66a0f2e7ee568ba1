/* SPDX-License-Identifier: Apache-2.0 */
/* config.c: the sections that every daemon's configuration file has (CH_DAEMON_COMMON_FIELDS lists them). */
#include "daemon/internal.h"

static const struct ch_conf_field identity_fields[] = {
	CH_CONF_FIELD(struct ch_identity_config, certificate, CH_CONF_PATH, .required = true,
		      .help = "this instance's identity certificate, PEM"),
	CH_CONF_FIELD(struct ch_identity_config, key, CH_CONF_PATH, .required = true,
		      .help = "its private key, PEM, readable by the daemon's user alone"),
	CH_CONF_FIELD(struct ch_identity_config, system_ca, CH_CONF_PATH, .required = true,
		      .help = "the system CA's certificate, PEM (two while one takes over from the other): "
			      "peers' identities are verified against it"),
};
const struct ch_conf_schema ch_identity_schema = { "identity", identity_fields, CH_COUNT(identity_fields) };

static const struct ch_conf_field operations_fields[] = {
	CH_CONF_FIELD(struct ch_operations_config, listen, CH_CONF_STRING, .default_text = "127.0.0.1:0",
		      .help = "address of /metrics, /healthz, /readyz; port 0 picks a free one (written to "
			      "state_directory/operations.address)"),
};
const struct ch_conf_schema ch_operations_schema = { "operations", operations_fields,
						     CH_COUNT(operations_fields) };

static const struct ch_conf_field database_fields[] = {
	CH_CONF_FIELD(struct ch_database_config, url, CH_CONF_STRING, .default_text = "",
		      .help = "libpq connection string; several hosts with target_session_attrs"),
	CH_CONF_FIELD(struct ch_database_config, pool_size, CH_CONF_INTEGER, .default_text = "8", .min = 1,
		      .max = 256, .help = "connections at the most"),
};
const struct ch_conf_schema ch_database_schema = { "database", database_fields, CH_COUNT(database_fields) };

static const struct ch_conf_field bus_listen_fields[] = {
	CH_CONF_FIELD(struct ch_bus_listen_config, listen, CH_CONF_STRING, .default_text = "",
		      .help = "address that takes bus messages; only for services that are asked"),
	CH_CONF_FIELD(struct ch_bus_listen_config, workers, CH_CONF_INTEGER, .default_text = "8", .min = 1,
		      .max = 256, .help = "messages handled at once"),
};
const struct ch_conf_schema ch_bus_listen_schema = { "bus", bus_listen_fields, CH_COUNT(bus_listen_fields) };

static size_t member_size(const struct ch_conf_field *field)
{
	switch (field->type) {
	case CH_CONF_STRING:
	case CH_CONF_PATH:
		return sizeof(char *);
	case CH_CONF_BOOLEAN:
		return sizeof(bool);
	case CH_CONF_INTEGER:
	case CH_CONF_DURATION:
	case CH_CONF_SIZE:
		return sizeof(int64_t);
	case CH_CONF_STRING_LIST:
		return sizeof(struct ch_conf_strings);
	case CH_CONF_SECTION_LIST:
		return sizeof(struct ch_conf_list);
	case CH_CONF_LISTS:
		return sizeof(struct ch_conf_lists);
	case CH_CONF_SECTION:
		return ch_daemon_config_size(field->schema);
	}
	return 0;
}

size_t ch_daemon_config_size(const struct ch_conf_schema *schema)
{
	size_t size = sizeof(struct ch_daemon_config);

	for (size_t i = 0; i < schema->count; i++) {
		size_t end = schema->fields[i].offset + member_size(&schema->fields[i]);

		if (end > size)
			size = end;
	}
	return (size + 15) & ~(size_t)15;
}
