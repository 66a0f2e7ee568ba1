/* SPDX-License-Identifier: Apache-2.0 */
/*
 * renew.c: a client whose daemon has another identity: connections that are made from now on have it. Those
 * that stand go on: messages are signed with the new identity at once, and it is a message that is believed
 * or not. Closing them would cost calls, and with nng 1.5 now and then a connection for ever
 * (docs/decisions/0013). Called by the identity when it was reloaded (envelope.h).
 */
#include "bus/internal.h"

void ch_bus_tls_free(struct ch_bus_tls *tls)
{
	if (tls->current)
		nng_tls_config_free(tls->current);
	if (tls->before)
		nng_tls_config_free(tls->before);
	*tls = (struct ch_bus_tls)CH_NONE;
}

void ch_bus_client_renew(void *context)
{
	struct ch_bus_client *client = context;
	CH_AUTO(ch_string) server_name = ch_format("%s.chancery.internal", client->service);
	struct ch_error err = CH_NONE;
	nng_tls_config *fresh = NULL;

	if (!ch_bus_tls_config(client->identity, server_name, &fresh, &err)) {
		ch_log_error("bus: connections to %s keep the identity of before: %s", client->service,
			     err.message);
		return;
	}
	pthread_mutex_lock(&client->tls_lock);
	if (client->tls.before)
		nng_tls_config_free(client->tls.before);
	client->tls.before = client->tls.current;
	client->tls.current = fresh;
	for (size_t i = 0; i < client->count; i++) {
		struct replica *replica = &client->replicas[i];
		int result = nng_dialer_set_ptr(replica->dialer, NNG_OPT_TLS_CONFIG, fresh);

		if (result != 0)
			ch_log_error("bus: the connection to %s at %s keeps the identity of before: %s",
				     client->service, replica->address, nng_strerror(result));
	}
	pthread_mutex_unlock(&client->tls_lock);
}
