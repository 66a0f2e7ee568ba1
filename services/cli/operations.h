/* SPDX-License-Identifier: Apache-2.0 */
/* operations.h: the daemons' operations ports (/readyz, /metrics) that --operations names. status.c and
 * vault.c use it. */
#ifndef CHANCERY_CLI_OPERATIONS_H
#define CHANCERY_CLI_OPERATIONS_H

#include "cli.h"

struct operations_port {
	char *instance; /* owned: "ocsp-1" */
	char *address;  /* owned: "127.0.0.1:19001" */
};
struct operations_ports {
	struct operations_port *items;
	size_t count;
};
void operations_ports_free(struct operations_ports *ports);
CH_DEFINE_AUTO_VALUE(operations_ports, struct operations_ports, operations_ports_free)

/* Of "ocsp-1=127.0.0.1:19001 vault-1=…"; CH_INVALID names what is not of that form. */
CH_MUST_USE bool operations_read(const char *text, struct operations_ports *ports, struct ch_error *err);
/* GET http://<address><path>: status and body (the caller frees it). CH_UNAVAILABLE where nothing answers. */
CH_MUST_USE bool operations_get(const struct operations_port *port, const char *path, long *status,
				struct ch_bytes *body, struct ch_error *err);

#endif
